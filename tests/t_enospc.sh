#!/bin/bash
# A disk filled by several writers, emptied, and filled again: nothing lost, e2fsck has
# nothing to say, and the free count is what it was.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires e2fsck python3

members 3
"$MKFS" -q --level=5 --size=64M -m 0 "${IMGS[@]}"
mount_osfs "${IMGS[@]}"

free_now() { sync -f "$MNT"; stat -f -c '%f %d' "$MNT"; }
writer() {	# until the disk is full; what was written must read back
    python3 - "$MNT/w$1" "$1" <<'P'
import errno, os, sys
top, seed = sys.argv[1], int(sys.argv[2])
os.mkdir(top)
sizes = {}
try:
    for i in range(100000):
        want = 1 + (i * 7919 + seed * 104729) % 300000
        name = "%s/f%d" % (top, i)
        data = bytes([(i + seed) & 255]) * want
        fd = os.open(name, os.O_CREAT | os.O_WRONLY)
        done = 0
        try:
            while done < want:
                done += os.write(fd, data[done:])
                sizes[name] = (done, data[0])
        finally:
            os.close(fd)
except OSError as e:
    if e.errno != errno.ENOSPC:
        raise
else:
    sys.exit("the disk never filled up")
for name, (n, byte) in sizes.items():
    got = open(name, "rb").read()
    # writes that the kernel had taken but the disk could not may be cut off, never wrong
    assert len(got) <= n and got == bytes([byte]) * len(got), name
P
}

before=$(free_now)
for round in 1 2; do
    pids=()
    for w in 1 2 3 4; do writer $w & pids+=($!); done
    for p in "${pids[@]}"; do wait "$p" || fail "a writer of round $round"; done
    [ "$(free_now | cut -d' ' -f1)" -lt 64 ] || fail "round $round: $(free_now) blocks were left"
    umount_osfs
    fsck_volume "${IMGS[@]}"
    mount_osfs "${IMGS[@]}"
    rm -rf "$MNT"/w?
    after=$(free_now)
    [ "$before" = "$after" ] || fail "round $round: free blocks and inodes were $before, are $after"
done
umount_osfs
fsck_volume "${IMGS[@]}"
note ok
