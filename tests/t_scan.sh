#!/bin/bash
# osfs scan says what images are: arrays whole, short, mixed, doubled, behind; bare
# filesystems, partition tables, foreign files; and changes nothing.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires mke2fs mdadm sfdisk python3

cd "$T"
mkdir arrays
"$MKFS" -q --level=5 --name=five --size=24M -L data arrays/f0 arrays/f1 arrays/f2 arrays/f3
"$MKFS" -q --level=1 --size=24M arrays/one0 arrays/one1
"$MKFS" -q --level=10 --spare-devices=1 --size=24M arrays/t0 arrays/t1 arrays/t2 arrays/t3 arrays/t4
truncate -s 16M bare && mke2fs -q -F -t ext2 -L bare bare
truncate -s 16M table && echo 'label: gpt
start=2048, size=20000' | sfdisk -q table && mke2fs -q -F -t ext4 -E offset=1048576 -L inside table 9M
head -c 300000 /dev/urandom >noise
: >empty

stamps() { stat -c '%n %s %y' "$T"/arrays/* "$T/bare" "$T/table"; }
# scan STATUS PATH...: into $T/out and $T/json; the exit status is as expected
scan() {
    local want=$1 rc=0
    shift
    stamps >"$T/before"
    "$OSFS" scan "$@" >"$T/out" 2>"$T/err" || rc=$?
    [ $rc = "$want" ] || { cat "$T/out" "$T/err" >&2; fail "scan $*: exit status $rc, not $want"; }
    rc=0
    "$OSFS" scan --json "$@" >"$T/json" 2>/dev/null || rc=$?
    [ $rc = "$want" ] || fail "scan --json $*: exit status $rc, not $want"
    [ -n "${live:-}" ] || stamps | diff "$T/before" - || fail "scan $* changed an image"
}
says() { grep -qE -- "$1" "$T/out" || { cat "$T/out" >&2; fail "scan does not say '$1'"; }; }
# holds PYTHON: an expression over arrays (by name or level) and images (by path)
holds() {
    python3 - "$T/json" "$1" <<'P' || { cat "$T/json" >&2; fail "not so: $1"; }
import json, sys
j = json.load(open(sys.argv[1]))
arrays = {a["name"] or a["level"]: a for a in j["arrays"]}
images = {i["path"]: i for i in j["images"]}
sys.exit(not eval(sys.argv[2]))
P
}

scan 0 arrays bare
holds 'len(arrays) == 3 and all(a["verdict"] == "clean" for a in arrays.values())'
holds 'arrays["five"]["raid_devices"] == 4 and [m["path"] for m in arrays["five"]["members"]] == ["arrays/f%d" % i for i in range(4)]'
holds 'arrays["five"]["contents"]["type"] == "ext4" and arrays["five"]["contents"]["label"] == "data"'
holds '[m["state"] for m in arrays["raid10"]["members"]] == ["in sync"] * 4 + ["spare"]'
holds 'images["bare"]["contents"]["type"] == "ext2" and images["bare"]["usable"]'
uuid=$(mdadm --examine arrays/f0 | sed -n 's/.*Array UUID : //p')
says "array $uuid 'five'"
says 'raid5, 4 devices, chunk 128K, left-symmetric, metadata 1.2'

# a directory is what lies in it; ordinary files there are passed over, named ones are not
scan 0 .
holds 'not arrays and set(images) == {"bare", "table"}'
scan 4 noise
says 'noise: nothing that is known'
scan 4 empty
scan 4 nosuch bare
grep -q 'nosuch: No such file' err || fail "a missing path is not named"

# partitions are seen, inside an image and inside an array
scan 4 table
holds 'images["table"]["contents"]["table"] == "gpt" and images["table"]["contents"]["offset"] == 512'
holds '[(p["offset"], p["type"], p["label"]) for p in images["table"]["contents"]["partitions"]] == [(1048576, "ext4", "inside")]'
"$OSFS" volume --pid-file "$T/vol.pid" arrays/one0 arrays/one1 "$VOL"
mounted+=("$VOL")
dd if=table of="$VOL/volume" bs=1M conv=notrunc status=none
live=1 scan 0 arrays/one0 arrays/one1
says 'in use by osfs \(process [0-9]+\)'
"$OSFS" umount "$VOL"
wait_daemons
scan 0 arrays/one0 arrays/one1
holds 'arrays["raid1"]["contents"]["table"] == "gpt"'
holds '[(p["offset"], p["label"]) for p in arrays["raid1"]["contents"]["partitions"]] == [(1048576, "inside")]'

# short of members, within the tolerance and beyond it
scan 1 arrays/f0 missing arrays/f2 arrays/f3
holds 'arrays["five"]["verdict"] == "degraded" and [m["state"] for m in arrays["five"]["members"]] == ["in sync", "missing", "in sync", "in sync"]'
says '-o degraded'
scan 2 arrays/f0 arrays/f1
says 'too few'

# behind: written without it, a member is stale
mount_osfs -o degraded arrays/f0 arrays/f1 arrays/f2
echo more >"$MNT/more"
umount_osfs
scan 1 arrays/f0 arrays/f1 arrays/f2 arrays/f3
holds 'arrays["five"]["verdict"] == "degraded" and arrays["five"]["members"][3]["state"] == "missing"'
holds 'any(m["path"] == "arrays/f3" and m["behind"] >= 2 and m["state"] == "faulty" for m in arrays["five"]["members"])'
says 'arrays/f3 \([0-9]+ behind\)'

# a copy of a member is not taken for another one
cp arrays/t1 t1copy
scan 2 arrays/t0 arrays/t1 t1copy arrays/t2 arrays/t3
says 'same member'
# the same file twice is that file once
scan 0 arrays/t0 arrays/t1 ./arrays/t1 arrays/t2 arrays/t3
note ok
