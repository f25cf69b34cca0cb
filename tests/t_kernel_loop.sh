#!/bin/bash
# Single images through this machine's own kernel, both ways: it mounts what osfs made and
# wrote; osfs mounts what mke2fs and the kernel made and wrote.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires_root
requires e2fsck mke2fs losetup python3
grep -qw ext4 /proc/filesystems || modprobe ext4 2>/dev/null || skip "this kernel has no ext4"
KMNT=$T/kmnt
mkdir "$KMNT"
kernel_mount() { mount -o loop "$@" "$KMNT" || fail "the kernel does not mount $*"; mounted+=("$KMNT"); }
kernel_umount() { umount "$KMNT"; }

populate() {
    python3 - "$1" "$2" <<'P'
import os, random, sys
top, rnd = sys.argv[1], random.Random(int(sys.argv[2]))
os.makedirs(top)
for d in range(10):
    os.mkdir("%s/dir%d" % (top, d))
    for i in range(rnd.randrange(5, 200)):
        with open("%s/dir%d/%s%d" % (top, d, "n" * rnd.randrange(1, 100), i), "wb") as f:
            f.write(rnd.randbytes(rnd.choice([0, 10, 59, 60, 61, 150, 1000, 5000, 100000])))
with open(top + "/holes", "wb") as f:
    for i in range(30):
        f.seek(rnd.randrange(1 << 27))
        f.write(rnd.randbytes(3000))
os.symlink("a" * 59, top + "/fast")
os.symlink("a" * 60, top + "/slow")
os.symlink("b" * 1000, top + "/slower")
os.link(top + "/holes", top + "/dir0/link")
os.mkdir(top + "/big")
for i in range(3000):
    open("%s/big/entry number %d" % (top, i), "w").close()
for i in range(0, 3000, 3):
    os.unlink("%s/big/entry number %d" % (top, i))
os.mkfifo(top + "/fifo")
os.mknod(top + "/dev", 0o20600, os.makedev(300, 70000))
os.setxattr(top + "/holes", "user.colour", b"blue")
P
}

both_ways() {
    local what=$1 img=$T/img
    note "$what"
    # ours wrote first; the kernel reads, writes on; ours reads that
    mount_osfs "$img"
    populate "$MNT/ours" 1
    manifest "$MNT/ours" >"$T/ours"
    umount_osfs
    e2fsck -fn "$img" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out"; fail "$what: e2fsck after osfs"; }
    kernel_mount "$img"
    manifest "$KMNT/ours" | diff "$T/ours" - || fail "$what: the kernel sees another tree"
    [ "$(getfattr --only-values -n user.colour "$KMNT/ours/holes" 2>/dev/null)" = blue ] || fail "$what: xattr"
    populate "$KMNT/theirs" 2
    rm -rf "$KMNT/ours/dir3" "$KMNT/ours/big"
    manifest "$KMNT" | grep -v lost+found >"$T/theirs"
    kernel_umount
    mount_osfs "$img"
    manifest "$MNT" | grep -v lost+found | diff "$T/theirs" - || fail "$what: osfs sees another tree"
    rm -rf "$MNT/theirs"
    umount_osfs
    e2fsck -fn "$img" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out"; fail "$what: e2fsck at the end"; }
}

for opts in "" "-O ^has_journal" "-b 1024" "-O inline_data" "-O extent" "-O ^metadata_csum" "-I 128" \
            "-b 2048 -O ^dir_index,^flex_bg"; do
    rm -f "$T/img"
    # shellcheck disable=SC2086
    "$MKFS" -q --size=256M $opts "$T/img"
    both_ways "mkfs.osfs $opts"
done
base="^has_journal,^extents,^64bit"
for opts in "ext4 -O $base" "ext4 -O ^extents,^64bit" "ext4 -O $base,^resize_inode -b 1024" "ext4 -O $base,inline_data" "ext2" \
            "ext4" "ext4 -O ^has_journal,inline_data -b 1024" \
            "ext4 -O $base,^metadata_csum,uninit_bg -E lazy_itable_init=1"; do
    rm -f "$T/img"
    truncate -s 256M "$T/img"
    # shellcheck disable=SC2086
    mke2fs -q -F -t $opts "$T/img"
    both_ways "mke2fs -t $opts"
done
