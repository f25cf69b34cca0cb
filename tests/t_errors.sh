#!/bin/bash
# Wrong arguments, foreign images, mixed and missing members: one line that names the
# thing, the right exit status, and not a byte changed on any image.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires e2fsck mke2fs mdadm python3

members 4
"$MKFS" -q --level=5 --size=32M "${IMGS[@]}"
A=("${IMGS[@]}")
B=("$T/b0" "$T/b1" "$T/b2" "$T/b3")
"$MKFS" -q --level=5 --size=32M "${B[@]}"
"$MKFS" -q --size=16M "$T/single"
truncate -s 16M "$T/blank"
head -c 3000000 /dev/urandom >"$T/noise"
: >"$T/empty"
head -c 5000000 "${A[1]}" >"$T/short"
truncate -s 16M "$T/xfs" && printf 'XFSB' | dd of="$T/xfs" conv=notrunc status=none
mkdir "$T/dir"
: >"$T/file"
cp "$T/single" "$T/strange"

hashes() { sha256sum "$T"/disk? "$T"/b? "$T/single" "$T/blank" "$T/noise" "$T/empty" "$T/short" "$T/xfs"; }
hashes >"$T/before"

# refused STATUS PATTERN COMMAND...: fails with that exit status and one line that matches
refused() {
    local status=$1 pattern=$2 rc=0
    shift 2
    "$@" >"$T/out" 2>&1 </dev/null || rc=$?
    [ "$rc" = "$status" ] || { cat "$T/out" >&2; fail "'${*#"$build"/}': exit status $rc, not $status"; }
    grep -qE -- "$pattern" "$T/out" || { cat "$T/out" >&2; fail "'${*#"$build"/}': no message like '$pattern'"; }
    [ "$(wc -l <"$T/out")" -le 3 ] || { cat "$T/out" >&2; fail "'${*#"$build"/}': not one line"; }
    if mountpoint -q "$MNT"; then fail "'${*#"$build"/}' mounted"; fi
}

# osfs: usage is 1, a mount that failed is 32, as mount(8) has it
refused 1 'option|usage|Usage' "$OSFS" --no-such-option "$MNT"
refused 1 'frobnicate' "$OSFS" -o frobnicate "${A[@]}" "$MNT"
refused 32 'nosuch.*No such file' "$OSFS" "$T/nosuch" "$MNT"
refused 32 "$T/nomnt" "$OSFS" "${A[@]}" "$T/nomnt"
refused 32 "$T/file.*not a directory" "$OSFS" "${A[@]}" "$T/file"
refused 32 'blank' "$OSFS" "$T/blank" "$MNT"
refused 32 'noise' "$OSFS" "$T/noise" "$MNT"
refused 32 'empty' "$OSFS" "$T/empty" "$MNT"
refused 32 'xfs' "$OSFS" "$T/xfs" "$MNT"
refused 32 "$T/dir" "$OSFS" "$T/dir" "$MNT"
refused 32 'b2|disk' "$OSFS" "${A[0]}" "${A[1]}" "$T/b2" "${A[3]}" "$MNT"
refused 32 '2 of 4|missing|too few|not enough' "$OSFS" "${A[0]}" "${A[1]}" "$MNT"
refused 32 'same|twice' "$OSFS" "${A[0]}" "${A[1]}" "${A[2]}" "${A[0]}" "$MNT"
refused 32 'short' "$OSFS" "${A[0]}" "$T/short" "${A[2]}" "${A[3]}" "$MNT"
refused 32 'single' "$OSFS" "${A[0]}" "${A[1]}" "${A[2]}" "$T/single" "$MNT"
refused 32 'blank' "$OSFS" "${A[0]}" "${A[1]}" "${A[2]}" "$T/blank" "$MNT"
refused 32 'every member is missing' "$OSFS" missing missing "$MNT"
refused 32 'single.*not a member' "$OSFS" missing "$T/single" "$MNT"
refused 1 'on-event' "$OSFS" -o on-event=/nonexistent/program "$T/single" "$MNT"

# mkfs.osfs: 1, and what is there stays
refused 1 'disk0.*array' "$MKFS" --level=5 "${A[@]}"
refused 1 'single.*ext' "$MKFS" "$T/single"
refused 1 'nosuch.*--size' "$MKFS" "$T/nosuch"
refused 1 'noise|small|few|size' "$MKFS" -F -b 65536 -N 4000000000 "$T/single"
refused 1 'banana' "$MKFS" --level=banana "$T/n0" "$T/n1"
refused 1 '100' "$MKFS" --level=5 --chunk=100 --size=32M "$T/n0" "$T/n1" "$T/n2"
refused 1 'member|devices|disks' "$MKFS" --level=6 --size=32M "$T/n0" "$T/n1"
refused 1 'bigalloc' "$MKFS" -O bigalloc --size=32M "$T/n0"
refused 1 'nonsense' "$MKFS" -O nonsense --size=32M "$T/n0"
refused 1 'member' "$MKFS"
refused 1 'same' "$MKFS" --level=1 --size=32M "$T/n0" "$T/n0"
for f in "$T"/n?; do [ ! -e "$f" ] || fail "a failed mkfs left $f behind"; done

# features that osfs does not have are named; those safe to read are read-only
truncate -s 16M "$T/enc"
mke2fs -q -F -t ext4 -O encrypt,^has_journal,^extents,^64bit "$T/enc"
sha256sum "$T/enc" >"$T/enc.sum"
refused 32 'encrypt' "$OSFS" "$T/enc" "$MNT"
sha256sum -c --quiet "$T/enc.sum" || fail "a refused image was written to"
truncate -s 16M "$T/proj"
mke2fs -q -F -t ext4 -O project,quota,^has_journal,^extents,^64bit "$T/proj"
sha256sum "$T/proj" >"$T/proj.sum"
mount_osfs "$T/proj"
if touch "$MNT/x" 2>/dev/null; then fail "a filesystem with quota was written to"; fi
umount_osfs
sha256sum -c --quiet "$T/proj.sum" || fail "a read-only mount wrote"

# read-only mounts write not one byte
mount_osfs -o ro "${A[@]}"
if touch "$MNT/x" 2>/dev/null; then fail "wrote to a read-only mount"; fi
ls "$MNT" >/dev/null
umount_osfs
hashes | diff "$T/before" - || fail "an image was changed"

# in use: the second user says who holds it
mount_osfs "${A[@]}"
second=$T/second
mkdir "$second"
rc=0
"$OSFS" "${A[@]}" "$second" >"$T/out" 2>&1 || rc=$?
[ $rc = 32 ] || fail "a second mount of the same members: exit status $rc"
grep -q "in use by osfs.*$(cat "$T/osfs.pid")" "$T/out" || { cat "$T/out" >&2; fail "the holder is not named"; }
refused_busy() { rc=0; "$@" >"$T/out" 2>&1 || rc=$?; [ $rc != 0 ] || fail "$* worked on members in use"; }
refused_busy "$MKFS" -F --level=5 "${A[@]}"
umount_osfs
fsck_volume "${A[@]}"

# short of one member: whole, but written to only when that is asked for
hashes | diff "$T/before" - >/dev/null && fail "nothing was written by a mount for writing"
hashes >"$T/before"
mount_osfs "${A[0]}" missing "${A[2]}" "${A[3]}" 2>"$T/out"
grep -q 'degraded.*read-only.*-o degraded' "$T/out" || { cat "$T/out" >&2; fail "no word of how to write"; }
if touch "$MNT/x" 2>/dev/null; then fail "a degraded array was written to without being asked"; fi
umount_osfs
hashes | diff "$T/before" - || fail "a degraded mount changed an image"
# at a terminal it is asked: answered YES_OR_NO
answered() {
    timeout 20 python3 - "$1" "$OSFS" --pid-file "$T/osfs.pid" "${A[0]}" "${A[2]}" "${A[3]}" "$MNT" <<'P' || fail "no question at the terminal"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
said = b""
while b"[y/N]" not in said:
    said += os.read(fd, 1000)
os.write(fd, sys.argv[1].encode() + b"\n")
sys.exit(os.waitpid(pid, 0)[1] != 0)
P
    mounted+=("$MNT")
}
answered n
if touch "$MNT/x" 2>/dev/null; then fail "a degraded array was written to against the answer"; fi
umount_osfs
answered y
touch "$MNT/x" 2>/dev/null || fail "a degraded array was not written to in spite of the answer"
umount_osfs
mount_osfs -o degraded "${A[0]}" "${A[2]}" "${A[3]}"
echo data >"$MNT/degraded"
umount_osfs
mount_osfs -o degraded "${A[3]}" "${A[0]}" "${A[2]}"
[ "$(cat "$MNT/degraded")" = data ] || fail "what was written degraded is not there"
umount_osfs
# the member that was left out is behind now, and must not be believed
mount_osfs -o degraded "${A[@]}" 2>"$T/out"
[ "$(cat "$MNT/degraded")" = data ] || fail "a stale member was believed"
umount_osfs
fsck_volume "${A[@]}"

# sectors that cannot be read: told, and what does not need them goes on
"$MKFS" -q -F -b 1024 --size=24M "$T/sick"	# three groups
unreadable() { printf 'fault:read,fail,sects=%d-%d:%s' $(($1 * 2)) $(($1 * 2 + 1)) "$T/sick"; }
where() { dumpe2fs "$T/sick" 2>/dev/null | sed -n "s/.*$1 at \\([0-9]*\\).*/\\1/p" | head -1; }
refused 32 'cannot be mounted: superblock' "$OSFS" "$(unreadable 1)" "$MNT"
refused 32 'cannot be mounted: root directory' "$OSFS" "$(unreadable "$(where 'Inode table')")" "$MNT"
for bitmap in 'Block bitmap' 'Inode bitmap'; do
    mount_osfs "$(unreadable "$(where "$bitmap")")"
    mkdir "$MNT/d" && head -c 3000000 /dev/urandom >"$MNT/d/f" && rm -r "$MNT/d" || fail "$bitmap unreadable: nothing can be written"
    umount_osfs
    e2fsck -fn "$T/sick" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "e2fsck, $bitmap unreadable"; }
done
note ok
