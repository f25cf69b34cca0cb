#!/bin/bash
# Members of arrays die in every way a disk can go while tar, git, sqlite3 and a verified
# random writer work on them; spares take over; everything is there, e2fsck and mdadm agree.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/life/lib.sh"

# ---- disks that go while the applications work, and the spare that takes over ----------------------

# whole WHAT IMAGE...: everything verifies, now and after an assembly from what is left
whole() {
    local what=$1
    shift
    end_apps "$what"
    "$OSFSCTL" wait "$MNT" >/dev/null || fail "$what: still degraded after the rebuild (exit status $?)"
    manifest "$MNT" >"$T/manifest"
    umount_osfs
    examine_members "$@"
    fsck_volume "$@"
    mount_osfs "$@"
    manifest "$MNT" | diff "$T/manifest" - >"$T/diff" || { head -20 "$T/diff" >&2; fail "$what: other contents after a new mount"; }
    agree "$what, after a new mount"
    umount_osfs
    note "$what: ok"
}

: >"$T/events"
made 4 --level=1 --spare-devices=1
mount_osfs -o on-event="$T/told" "${IMGS[@]}"
start_apps
sleep 0.5
"$OSFSCTL" disk kill "$MNT" 1 >/dev/null
until_holds 'by["disk1"]["state"] == "faulty" and by["disk3"]["slot"] == 1' "RAID 1: the spare does not take over"
whole "RAID 1, a disk that fails every request" "$T/disk0" "$T/disk2" "$T/disk3"
told "^Fail $MNT $T/disk1\$"
told "^RebuildStarted $MNT"
told "^SpareActive $MNT $T/disk3\$"

made 5 --level=5 --chunk=64 --spare-devices=1
mount_osfs "${IMGS[@]}"
start_apps
sleep 0.5
truncate -s 1M "$T/disk2"
until_holds 'by["disk2"]["state"] == "faulty"' "RAID 5: nobody notices that an image was cut off"
whole "RAID 5, an image that was cut off" "$T/disk0" "$T/disk1" "$T/disk3" "$T/disk4"

made 7 --level=6 --chunk=32 --spare-devices=2
mount_osfs "${IMGS[@]}"
start_apps
sleep 0.5
rm "$T/disk0"
"$OSFSCTL" disk fault "$MNT" disk3 write,fail=ENOSPC,from=20 >/dev/null	# a full host disk
until_holds 'by["disk0"]["state"] == "faulty" and by["disk3"]["state"] == "faulty"' "RAID 6: both are not set faulty"
holds 'by["disk0"]["why"] == "its image has been deleted"' || fail "RAID 6: status does not say why: $(cat "$T/status.json")"
whole "RAID 6, an image deleted and a full host disk at once" "$T/disk1" "$T/disk2" "$T/disk4" "$T/disk5" "$T/disk6"
# with one of them overwritten, the others know it no more, and a new disk takes its place
head -c 50331648 /dev/urandom >"$T/disk2"
rc=0
"$OSFS" "$T/disk1" "$T/disk2" "$T/disk4" "$T/disk5" "$T/disk6" "$MNT" 2>"$T/out" || rc=$?
[ $rc = 32 ] && grep -q 'disk2: no RAID superblock' "$T/out" || fail "RAID 6: garbage as a member: exit status $rc, $(cat "$T/out")"
mount_osfs -o degraded "$T/disk1" missing "$T/disk4" "$T/disk5" "$T/disk6"
rm -rf "$MNT/w" "$MNT/random"
start_apps
"$OSFSCTL" disk add "$MNT" "$T/disk2" >/dev/null || fail "RAID 6: a disk full of garbage cannot be added"
whole "RAID 6, an image overwritten with garbage" "$T/disk1" "$T/disk2" "$T/disk4" "$T/disk5" "$T/disk6"

made 5 --level=10 --chunk=64 --spare-devices=1 --bitmap=internal
mount_osfs "${IMGS[@]}"
start_apps
sleep 0.5
"$OSFSCTL" disk fail "$MNT" 0 >/dev/null || fail "disk fail"
"$OSFSCTL" wait "$MNT" || fail "RAID 10: degraded after the spare took over"
"$OSFSCTL" disk replace "$MNT" 1 >/dev/null 2>"$T/out" && fail "replaced by a spare that is not there"
"$OSFSCTL" disk remove "$MNT" disk0 >/dev/null || fail "disk remove"
"$OSFSCTL" disk add "$MNT" "$T/disk0" --spare >/dev/null || fail "disk add --spare"
"$OSFSCTL" disk replace "$MNT" 1 >/dev/null || fail "disk replace"
"$OSFSCTL" wait "$MNT" || fail "RAID 10: degraded after a replacement"
holds 'by["disk0"]["slot"] == 1' || fail "RAID 10: the spare did not replace its disk: $(cat "$T/status.json")"
whole "RAID 10, a disk replaced while it serves" "$T/disk0" "$T/disk2" "$T/disk3" "$T/disk4"

# a disk that takes too long, again and again, is as good as dead; once it works again it comes back
made 2 --level=1 --bitmap=internal
mount_osfs -o slow_msec=200,max_slow=2 "${IMGS[@]}"
"$OSFSCTL" disk slow "$MNT" 1 250 >/dev/null
for ((i = 0; i < 60; i++)); do
    dd if=/dev/urandom of="$MNT/slow$i" bs=64K count=1 conv=fsync status=none
    holds 'by["disk1"]["state"] == "faulty"' && break
done
holds 'by["disk1"]["state"] == "faulty" and by["disk0"]["state"] == "in sync"' || { cat "$T/status.json" >&2; fail "a slow disk is kept"; }
sums() { (cd "$MNT" && sha256sum slow*); }
dd if=/dev/urandom of="$MNT/slow_not" bs=64K count=20 conv=fsync status=none
sums >"$T/sums"
"$OSFSCTL" disk return "$MNT" 1 >/dev/null || fail "disk return"
"$OSFSCTL" wait "$MNT" || fail "degraded after the slow disk came back"
umount_osfs
mount_osfs -o degraded missing "$T/disk1"
sums | diff "$T/sums" - || fail "the disk that came back has other contents"
umount_osfs
note "a slow disk: ok"

# what a disk got wrong is found by scrub, and with two parities it is known which disk that is
made 5 --level=6 --chunk=16
mount_osfs "${IMGS[@]}"
"$OSFSCTL" disk flip "$MNT" 3 1000 --write --seed=$seed >/dev/null
dd if=/dev/urandom of="$MNT/data" bs=1M count=4 conv=fsync status=none
sha256sum <"$MNT/data" >"$T/sum"
"$OSFSCTL" disk return "$MNT" 3 >/dev/null
"$OSFSCTL" scrub check "$MNT" >/dev/null || fail "scrub check"
"$OSFSCTL" wait "$MNT" || fail "degraded by flipped bits"
holds 'a["scrub"]["mismatch_sectors"] > 0 and all(p["slot"] == 3 and not p["repaired"] for p in a["scrub"]["places"])' ||
    { cat "$T/status.json" >&2; fail "scrub check does not tell which disk is wrong"; }
"$OSFSCTL" scrub repair "$MNT" >/dev/null || fail "scrub repair"
"$OSFSCTL" wait "$MNT" || fail "degraded after scrub repair"
"$OSFSCTL" scrub status "$MNT" >"$T/out"
grep -qE 'last repair: [1-9][0-9]* sectors differ, [1-9][0-9]* repaired' "$T/out" || { cat "$T/out" >&2; fail "scrub status"; }
agree "after scrub repair"
umount_osfs
mount_osfs "${IMGS[@]}"
sha256sum <"$MNT/data" | diff "$T/sum" - || fail "scrub repaired the wrong disk"
umount_osfs
fsck_volume "${IMGS[@]}"
note "wrong bits, found and repaired: ok"

# beyond the tolerance: errors, never wrong data
made 3 --level=5 --chunk=16
mount_osfs "${IMGS[@]}"
seq 300000 >"$T/numbers"
cp "$T/numbers" "$MNT/numbers" && sync "$MNT/numbers"
"$OSFSCTL" disk fail "$MNT" 1 >/dev/null
"$OSFSCTL" disk fail "$MNT" 2 >/dev/null 2>"$T/out" && fail "a disk that nothing can replace was set faulty"
grep -q 'cannot do without slot 2' "$T/out" || fail "disk fail: $(cat "$T/out")"
"$OSFSCTL" disk kill "$MNT" 2 >/dev/null
if (echo more >"$MNT/more" && sync "$MNT/more") 2>/dev/null; then fail "a write was acknowledged that no disk has"; fi
rc=0
"$OSFSCTL" status "$MNT" >"$T/out" || rc=$?
[ $rc = 2 ] && grep -q 'state .*failed' "$T/out" || { cat "$T/out" >&2; fail "status of a failed array: exit status $rc"; }
"$OSFSCTL" drop-caches "$MNT"
dd if="$MNT/numbers" of="$T/read" bs=4K iflag=direct conv=noerror 2>/dev/null || true
python3 - "$T/numbers" "$T/read" <<'P' || fail "a failed array: not what is still there was read, and nothing else"
import sys
a, b = (open(f, "rb").read() for f in sys.argv[1:])
blocks = {a[i:i + 4096] for i in range(0, len(a), 4096)}
sys.exit(not (0 < len(b) < len(a) and all(b[i:i + 4096] in blocks for i in range(0, len(b), 4096))))
P
"$OSFS" umount "$MNT" 2>/dev/null && fail "an unmount that could not write says all is well"
wait_daemons
rc=0
"$OSFS" scan "${IMGS[@]}" >"$T/out" || rc=$?
[ $rc = 2 ] && grep -q 'too few members' "$T/out" || { cat "$T/out" >&2; fail "scan of a failed array: exit status $rc"; }
note "more disks gone than the level can do without: ok"
note ok
