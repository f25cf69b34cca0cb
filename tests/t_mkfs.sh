#!/bin/bash
# mkfs.osfs: every option leaves something that e2fsck accepts, dumpe2fs shows and osfs mounts.
. "$(dirname "$0")/lib.sh"
requires e2fsck dumpe2fs debugfs

made() {	# made OPTION...: on one image, checked
    rm -f "$T/img"
    "$MKFS" -q --size="${size:-64M}" "$@" "$T/img" || fail "mkfs.osfs $*"
    e2fsck -fn "$T/img" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "e2fsck after mkfs.osfs $*"; }
    dumpe2fs -h "$T/img" >"$T/dump" 2>/dev/null || fail "dumpe2fs after mkfs.osfs $*"
}
shows() { grep -qE "$1" "$T/dump" || { cat "$T/dump" >&2; fail "dumpe2fs does not show '$1'"; }; }

made
shows 'Inode size:[[:space:]]*256'
for b in 1024 2048 4096 8192 16384 32768 65536; do
    size=256M made -b $b
    shows "Block size:[[:space:]]*$b"
done
for i in 128 256 512 1024; do made -I $i; shows "Inode size:[[:space:]]*$i"; done
made -N 5000;   shows 'Inode count:[[:space:]]*5[0-9]{3}'
made -i 65536 -m 1 -L label -U 01234567-89ab-cdef-0123-456789abcdef
shows 'volume name:[[:space:]]*label'
shows 'UUID:[[:space:]]*01234567-89ab-cdef'
made -E stride=16,stripe_width=48
shows 'RAID stride:[[:space:]]*16'
shows 'RAID stripe width:[[:space:]]*48'
for o in ^metadata_csum ^flex_bg ^sparse_super ^dir_index ^filetype inline_data none ^extra_isize,^huge_file \
         ^metadata_csum,uninit_bg metadata_csum_seed large_dir; do
    made -O "$o"
    size=700M made -O "$o" -b 1024
done
for s in 1M 3M 9M 127M 129M 1025M 20G; do size=$s made; done
# a large one is quick and small, since nothing that is zero is written
size=1T made
[ "$(du -k "$T/img" | cut -f1)" -lt 65536 ] || fail "1 TiB takes $(du -k "$T/img" | cut -f1) KiB"

# -n shows and writes nothing; -F overwrites; without it what is there is named
rm -f "$T/img"
"$MKFS" -n --size=64M "$T/img" | grep -q 'Creating filesystem' || fail "-n says nothing"
[ ! -e "$T/img" ] || fail "-n made an image"
made -L one
if "$MKFS" -q "$T/img" 2>"$T/out"; then fail "overwrote without -F"; fi
grep -q "labelled 'one'" "$T/out" || fail "does not name what is there"
head -c 67108864 /dev/urandom >"$T/img"
"$MKFS" -q -F -L two "$T/img"
e2fsck -fn "$T/img" >/dev/null 2>&1 || fail "e2fsck after -F over noise"

# the array: superblock, stride and width from it, existing noise below parity does not matter
members 4
for i in "${IMGS[@]}"; do head -c 33554432 /dev/urandom >"$i"; done
"$MKFS" -q -F --level=5 --chunk=64 --name=box --uuid=00112233:44556677:8899aabb:ccddeeff "${IMGS[@]}"
mdadm --examine "${IMGS[2]}" >"$T/dump"
shows 'Array UUID : 00112233:44556677:8899aabb:ccddeeff'
shows 'Name : .*box'
shows 'Chunk Size : 64K'
shows 'Checksum : .* correct'
"$MKFS" -q -F --level=5 --metadata=0.90 --bitmap=internal --uuid=00112233:44556677:8899aabb:ccddeeff "${IMGS[@]}"
mdadm --examine "${IMGS[2]}" >"$T/dump"
shows ' UUID : 00112233:44556677:8899aabb:ccddeeff'
# its bitmap lies behind the superblock and has the same four numbers
at=$(($(stat -c %s "${IMGS[2]}") / 65536 * 65536 - 65536 + 4096))
od -An -tx4 -j$at -N24 "${IMGS[2]}" | tr '\n' ' ' >"$T/dump"
shows '6d746962 00000004 00112233 44556677  8899aabb ccddeeff'

# members that are taken as they are keep what nobody writes to
for i in "${IMGS[@]}"; do head -c 33554432 /dev/urandom >"$i"; done
cp "${IMGS[1]}" "$T/before"
"$MKFS" -q -F --level=5 --assume-clean -E nodiscard "${IMGS[@]}"
cmp -s -i 20M -n 8M "${IMGS[1]}" "$T/before" || fail "--assume-clean zeroed a member"
"$MKFS" -q -F --level=5 "${IMGS[@]}"
cmp -s -i 20M -n 8M "${IMGS[1]}" "$T/before" && fail "parity over noise is not made right"
rm "$T/before"
rc=0
"$MKFS" -q -F --level=5 --write-mostly "${IMGS[@]}" 2>"$T/out" || rc=$?
[ $rc = 1 ] && grep -q 'RAID 1' "$T/out" || fail "--write-mostly of RAID 5: exit status $rc"

# -d DIR
requires_fuse
mkdir -p "$T/tree/sub/deep"
seq 100000 >"$T/tree/numbers"
ln "$T/tree/numbers" "$T/tree/sub/again"
ln -s numbers "$T/tree/link"
truncate -s 1G "$T/tree/sub/hole"
mkfifo "$T/tree/sub/deep/fifo"
chmod 2750 "$T/tree/sub"
touch -d '2001-02-03 04:05:06.789' "$T/tree/numbers"
manifest "$T/tree" >"$T/manifest"
rm -f "${IMGS[@]}"
"$MKFS" -q --level=5 --size=64M -d "$T/tree" "${IMGS[@]}"
fsck_volume "${IMGS[@]}"
mount_osfs "${IMGS[@]}"
manifest "$MNT" | grep -v '^lost+found' | diff "$T/manifest" - || fail "-d: the tree differs"
umount_osfs

# The journal finds its place at every size, also where the last group is a short one.
for kb in 2048 2049 8192 8193 8200 16385 24600 33000 65600 131100 132000 140000 262200 525000 1050000 2097300 9000000; do
    for o in "" "-b 1024" "-O ^flex_bg"; do
        # shellcheck disable=SC2086
        "$MKFS" -n -q --size=${kb}k $o "$T/sizes" || fail "-n at $kb KiB $o"
    done
done
for kb in 132000 65600; do
    rm -f "$T/sizes"
    "$MKFS" -q --size=${kb}k "$T/sizes"
    e2fsck -fn "$T/sizes" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "e2fsck at $kb KiB"; }
    [[ $(dumpe2fs -h "$T/sizes" 2>/dev/null) == *has_journal* ]] || fail "no journal at $kb KiB"
done
! "$MKFS" -q -J size=1 --size=64M "$T/none" 2>"$T/out" && grep -q '1024 blocks at least' "$T/out" || fail "-J size=1 with 4 KiB blocks"
! "$MKFS" -q -J size=40 --size=64M "$T/none" 2>"$T/out" && grep -q 'more than half' "$T/out" || fail "-J size=40 of 64 MiB"
"$MKFS" -q -J size=8 --size=64M "$T/j8"
[[ $(dumpe2fs -h "$T/j8" 2>/dev/null) == *"Total journal blocks:     2048"* ]] || fail "-J size=8"
# Its map is also in the superblock: e2fsck brings a lost inode back.
debugfs -w -R 'clri <8>' "$T/j8" 2>/dev/null
e2fsck -fy "$T/j8" >/dev/null 2>&1 || :
e2fsck -fn "$T/j8" >"$T/out" 2>&1 && [[ $(dumpe2fs -h "$T/j8" 2>/dev/null) == *"Total journal blocks:     2048"* ]] || { cat "$T/out" >&2; fail "the journal's inode did not come back"; }
note ok
