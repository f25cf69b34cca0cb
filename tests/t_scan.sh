#!/bin/bash
# osfs scan says what images are: arrays whole, short, mixed, doubled, behind; bare
# filesystems, partition tables, foreign files; and changes nothing. osfsctl layout says where
# bytes lie, osfsctl status what mdadm --examine says.
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
# metadata 0.90 has four numbers, not bytes
"$MKFS" -q --level=1 --metadata=0.90 --size=24M old0 old1
uuid=$(mdadm --examine old0 | sed -n 's/^ *UUID : \([0-9a-f:]*\).*/\1/p')
[ ${#uuid} = 35 ] || fail "mdadm shows no UUID of metadata 0.90"
scan 0 old0 old1
says "array $uuid\$"
rm old0 old1

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
says 'arrays/f3 \([0-9]+ behind\): it (is stale|was set faulty|was removed)'

# a copy of a member is not taken for another one
cp arrays/t1 t1copy
scan 2 arrays/t0 arrays/t1 t1copy arrays/t2 arrays/t3
says 'same member'
# the same file twice is that file once
scan 0 arrays/t0 arrays/t1 ./arrays/t1 arrays/t2 arrays/t3

# halves that were both written since they parted
"$MKFS" -q -F --level=1 arrays/one0 arrays/one1
for half in arrays/one0 arrays/one1; do
    mount_osfs -o degraded $half
    echo $half >"$MNT/mine"
    umount_osfs
done
scan 2 arrays/one0 arrays/one1
says 'arrays/one0 and arrays/one1 were both written to since they parted'
rc=0
"$OSFS" arrays/one0 arrays/one1 "$MNT" 2>out || rc=$?
[ $rc = 32 ] && grep -q 'since they parted' out || fail "two halves: exit status $rc, $(cat out)"

# layout, offline: each place that it names has the volume's byte, each solution is the XOR of what it takes
head -c 3000000 /dev/urandom >pattern
fill_volume() {
    "$OSFS" volume --pid-file "$T/vol.pid" "$@" "$VOL"
    dd if=pattern of="$VOL/volume" conv=notrunc status=none
    "$OSFS" umount "$VOL"
}
"$MKFS" -q -F --level=5 --chunk=16 arrays/f0 arrays/f1 arrays/f2 arrays/f3
fill_volume arrays/f0 arrays/f1 arrays/f2 arrays/f3
"$MKFS" -q -F --level=10 --layout=f2 --chunk=16 arrays/t0 arrays/t1 arrays/t2
fill_volume arrays/t0 arrays/t1 arrays/t2
python3 - "$OSFSCTL" pattern <<'P' || fail "layout names wrong places"
import json, random, subprocess, sys
ctl, pattern = sys.argv[1], open(sys.argv[2], "rb").read()
rnd = random.Random(7)
def layout(*args):
    return json.loads(subprocess.check_output([ctl, "layout", "--json", *args], stderr=subprocess.DEVNULL))
def at(name, byte):
    with open(name, "rb") as f:
        f.seek(byte)
        return f.read(1)[0]
five, ten = ["arrays/f%d" % i for i in range(4)], ["arrays/t%d" % i for i in range(3)]
for members, copies in ((five, 1), (ten, 2)):
    for _ in range(20):
        byte = rnd.randrange(len(pattern))
        w = layout("--offset=%d" % byte, *members)["where"]
        assert len(w["places"]) == copies and w["volume_byte"] == byte, w
        for p in w["places"]:
            assert at(p["name"], p["image_byte"]) == pattern[byte], (byte, p)
solved = 0
for _ in range(16):
    byte, lost = rnd.randrange(len(pattern)), rnd.randrange(4)
    l = layout("--offset=%d" % byte, *[m if i != lost else "missing" for i, m in enumerate(five)])
    w, place = l["where"], l["where"]["places"][0]
    if place["slot"] != lost:
        assert w["read"]["how"] == "direct" and w["read"]["slots"] == [place["slot"]], w
        continue
    assert w["read"]["how"] == "solve" and w["read"]["parity"] == "P" and len(w["read"]["slots"]) == 3, w
    x = 0
    for s in w["read"]["slots"]:
        x ^= at(five[s], place["image_byte"])
    assert x == pattern[byte], (byte, w)
    solved += 1
assert solved
P
"$OSFSCTL" layout arrays/f0 arrays/f1 missing arrays/f3 --rows=2 2>/dev/null >out
grep -qE '^stripe 1 .* 4 +5 +P +3$' out || { cat out >&2; fail "the table of RAID 5"; }
grep -qE '^state .*in sync +in sync +missing +in sync$' out || { cat out >&2; fail "the states above the table"; }
rc=0
"$OSFSCTL" layout arrays/f0 >out 2>&1 || rc=$?
[ $rc = 4 ] || fail "layout of one member of four: exit status $rc"

# on a mount: the byte of a file is where layout says
"$MKFS" -q -F --level=6 --chunk=16 arrays/f0 arrays/f1 arrays/f2 arrays/f3
mount_osfs arrays/f0 arrays/f1 arrays/f2 arrays/f3
cp pattern "$MNT/file" && sync "$MNT/file"
"$OSFSCTL" layout --json "$MNT" "$MNT/file" 2345678 >where.json
python3 - where.json pattern <<'P' || { cat where.json >&2; fail "the file's byte is not where layout says"; }
import json, sys
p = json.load(open(sys.argv[1]))["where"]["places"][0]
f = open(p["name"], "rb")
f.seek(p["image_byte"])
data = open(sys.argv[2], "rb").read()
sys.exit(f.read(100) != data[2345678:2345778])
P
truncate -s 1G "$MNT/hole"
rc=0
"$OSFSCTL" layout "$MNT" "$MNT/hole" 5000000 2>out || rc=$?
grep -q 'lies in a hole' out && [ $rc = 4 ] || fail "a hole: exit status $rc, $(cat out)"

# status and mdadm --examine say the same of every member
same_as_mdadm() {
    local f
    "$OSFSCTL" status --json "$MNT" >status.json || true
    for f in "$@"; do mdadm --examine "$f" | sed "s|^|$f |"; done >examine
    python3 - status.json examine <<'P' || { cat status.json examine >&2; fail "status and mdadm differ"; }
import json, sys
a = json.load(open(sys.argv[1]))["array"]
ex = {}
for l in open(sys.argv[2]):
    if " : " in l:
        f, rest = l.split(" ", 1)
        k, v = rest.split(" : ", 1)
        ex.setdefault(f, {})[k.strip()] = v.strip()
letters = ["."] * a["raid_devices"]
for m in a["members"]:
    if m["state"] == "in sync":
        letters[m["slot"]] = "A"
for m in a["members"]:
    if m["state"] not in ("in sync", "spare"):
        continue
    e = ex[m["name"]]
    assert int(e["Events"]) == m["events"], (m, e)
    assert e["Array State"].split()[0] == "".join(letters), (letters, e)
    assert e["State"] == a["state"].split(",")[0], (a["state"], e)
    role = "spare" if m["state"] == "spare" else "Active device %d" % m["slot"]
    assert e["Device Role"] == role, (m, e)
P
}
same_as_mdadm arrays/f?
for ((i = 0; i < 100; i++)); do
    "$OSFSCTL" status "$MNT" >out || fail "status of a whole array: exit status $?"
    grep -q 'state  *clean;' out && break
    sleep 0.1
done
grep -q 'state  *clean;' out || { cat out >&2; fail "the array does not get clean"; }
same_as_mdadm arrays/f?
umount_osfs
mount_osfs -o degraded arrays/f0 arrays/f1 arrays/f3
rc=0
"$OSFSCTL" status "$MNT" >out || rc=$?
[ $rc = 1 ] || fail "status of a degraded array: exit status $rc"
rc=0
"$OSFSCTL" status --json "$MNT" >out || rc=$?
[ $rc = 1 ] || fail "status --json of a degraded array: exit status $rc"
echo more >"$MNT/more" && sync "$MNT/more"
same_as_mdadm arrays/f0 arrays/f1 arrays/f3
umount_osfs
note ok
