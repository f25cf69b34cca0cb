#!/bin/bash
# The daemon is killed in the middle of a rebuild and of degraded writes: at the next assembly
# the array is consistent, the rebuild goes on where it was, what was synced is there.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/life/lib.sh"

# The daemon is killed; what it had mounted is dead.
kill_daemon() {
    local p
    p=$(cat "$T/osfs.pid")
    kill -9 "$p"
    while kill -0 "$p" 2>/dev/null; do sleep 0.02; done
    fusermount3 -u "$MNT" 2>/dev/null || umount -l "$MNT"
    rm -f "$T/osfs.pid"
}
# Records that were synced are counted outside; all of those must be there afterwards.
start_recorder() {
    local i n
    rm -f "$T/synced"
    python3 - "$MNT/records" "$T/synced" <<'P' 2>/dev/null &
import hashlib, os, sys
f = open(sys.argv[1], "wb", buffering=0)
n = open(sys.argv[2], "wb", buffering=0)
i = 0
while True:
    body = hashlib.sha256(b"%d" % i).digest() * 128
    f.write(body)
    os.fsync(f.fileno())
    i += 1
    os.pwrite(n.fileno(), b"%d" % i, 0)
P
    recorder=$!
    for ((i = 0; i < 100; i++)); do
        n=$(cat "$T/synced" 2>/dev/null) || n=
        [ "${n:-0}" -lt 20 ] || return 0
        sleep 0.05
    done
    fail "nothing is written"
}
verify_records() {
    wait $recorder 2>/dev/null || true
    python3 - "$MNT/records" "$T/synced" <<'P' || fail "$1: what was synced is not there"
import hashlib, sys
data, n = open(sys.argv[1], "rb").read(), int(open(sys.argv[2]).read())
for i in range(n):
    if data[i * 4096:(i + 1) * 4096] != hashlib.sha256(b"%d" % i).digest() * 128:
        sys.exit("record %d of %d" % (i, n))
P
}

# in the middle of a rebuild: it goes on where it was
made 5 --level=5 --chunk=64 --spare-devices=1
mount_osfs "${IMGS[@]}"
head -c 20000000 /dev/urandom >"$MNT/data" && sync "$MNT/data"
sha256sum <"$MNT/data" >"$T/sum"
"$OSFSCTL" rebuild "$MNT" 500 8000 >/dev/null
"$OSFSCTL" disk fail "$MNT" 2 >/dev/null
until_holds 'a["state"].startswith("clean") and by["disk4"].get("recovered_bytes", 0) > 16 << 20' "the rebuild does not get on"
kill_daemon
offset=$(mdadm --examine "$T/disk4" | sed -n 's/.*Recovery Offset : \([0-9]*\) sectors/\1/p')
[ "${offset:-0}" -gt 8192 ] || { mdadm --examine "$T/disk4" >&2; fail "no checkpoint of the rebuild in md's field"; }
examine_members "$T/disk0" "$T/disk1" "$T/disk3" "$T/disk4"
mount_osfs -o degraded "$T/disk0" "$T/disk1" "$T/disk3" "$T/disk4"
holds "'recovering' not in a['state'] or a['action']['done_bytes'] >= $offset * 512" || { cat "$T/status.json" >&2; fail "the rebuild began anew"; }
"$OSFSCTL" wait "$MNT" || fail "degraded after the rebuild went on"
sha256sum <"$MNT/data" | diff "$T/sum" - || fail "other contents after the rebuild"
agree "a rebuild that was interrupted"
umount_osfs
fsck_volume "$T/disk0" "$T/disk1" "$T/disk3" "$T/disk4"
note "killed in the middle of a rebuild: ok"

# in the middle of degraded writes, with mirrors: all that was synced is there
made 4 --level=10 --chunk=64
mount_osfs "${IMGS[@]}"
"$OSFSCTL" disk fail "$MNT" 1 >/dev/null
start_recorder
kill_daemon
mount_osfs -o degraded "$T/disk0" "$T/disk1" "$T/disk2" "$T/disk3"
holds 'by["disk1"]["state"] == "faulty"' || fail "a disk that was behind is believed"
verify_records "RAID 10, degraded"
"$OSFSCTL" disk return "$MNT" disk1 >/dev/null || fail "disk return after a crash"
"$OSFSCTL" wait "$MNT" || fail "degraded after a disk came back"
agree "a disk that came back after a crash"
verify_records "RAID 10, whole again"
umount_osfs
fsck_volume "${IMGS[@]}"
note "killed in the middle of degraded writes to mirrors: ok"

# with parity, what the missing disk had is uncertain: no writing without --force
made 4 --level=5 --chunk=64
left=("$T/disk0" "$T/disk2" "$T/disk3")
mount_osfs "${IMGS[@]}"
"$OSFSCTL" disk fail "$MNT" 1 >/dev/null
start_recorder
kill_daemon
wait $recorder 2>/dev/null || true
rc=0
"$OSFS" -o degraded "${left[@]}" "$MNT" 2>"$T/out" </dev/null || rc=$?
[ $rc = 32 ] && grep -q 'not stopped cleanly and is degraded' "$T/out" ||
    fail "dirty and degraded: exit status $rc, $(cat "$T/out")"
rc=0
"$OSFS" scan "${left[@]}" >"$T/out" || rc=$?
[ $rc = 1 ] && grep -q -- '--force' "$T/out" || fail "scan of dirty and degraded: exit status $rc, $(cat "$T/out")"
mount_osfs -o degraded --force "${left[@]}"
truncate -s 48M "$T/new"
"$OSFSCTL" disk add "$MNT" "$T/new" >/dev/null || fail "disk add"
"$OSFSCTL" wait "$MNT" || fail "degraded after a new disk was filled"
agree "a new disk after a crash"
umount_osfs
examine_members "${left[@]}" "$T/new"
note "killed in the middle of degraded writes with parity: ok"
note ok
