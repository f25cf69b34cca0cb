#!/bin/bash
# fsck.osfs: agrees with e2fsck on what is clean; repairs each kind of damage of tests/fsck; a
# second run and e2fsck find nothing then, and undamaged files are unchanged.
. "$(dirname "$0")/lib.sh"
requires e2fsck e2undo mke2fs debugfs dumpe2fs python3 script
FSCK=$build/fsck.osfs
small=${OSFS_SMALL:-}

# ---- clean filesystems ---------------------------------------------------------------
mkdir -p "$T/tree/d1/d2" "$T/tree/d3"
for ((i = 0; i < 40; i++)); do echo "file $i" >"$T/tree/f$i"; done
for ((i = 0; i < 300; i++)); do echo $i >"$T/tree/d3/some_long_name_number_$i"; done
seq 400000 >"$T/tree/d1/big"
ln "$T/tree/f1" "$T/tree/d1/hard"
ln -s f1 "$T/tree/fast"
ln -s "$(printf 'x%.0s' {1..200})" "$T/tree/slow"
mkfifo "$T/tree/fifo"
truncate -s 300M "$T/tree/hole"
echo end >>"$T/tree/hole"
setfattr -n user.short -v b "$T/tree/f2" 2>/dev/null || true
setfattr -n user.long -v "$(printf 'y%.0s' {1..300})" "$T/tree/f3" 2>/dev/null || true

agree_clean() {	# agree_clean WHAT: $T/img is clean, and both say so
    "$FSCK" -fn "$T/img" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "fsck.osfs -fn after $1 (exit $?)"; }
    e2fsck -fn "$T/img" >"$T/out2" 2>&1 || { cat "$T/out2" >&2; fail "e2fsck -fn after $1"; }
}
ours=("-b 1024" "-b 4096" "-b 1024 -I 128" "-O ^metadata_csum" "-O ^metadata_csum,uninit_bg" "-O inline_data"
    "-O ^flex_bg -b 1024" "-O none" "-O ^dir_index" "-O ^filetype" "-O has_journal")
theirs=("-t ext4" "-t ext3" "-t ext2 -b 1024" "-t ext4 -O orphan_file" "-t ext4 -O inline_data"
    "-t ext4 -O meta_bg,^resize_inode -b 1024" "-t ext4 -O ^metadata_csum,uninit_bg" "-t ext4 -O sparse_super2")
[ -z "$small" ] || { ours=("-b 1024"); theirs=("-t ext4"); }
for o in "${ours[@]}"; do
    rm -f "$T/img"
    # shellcheck disable=SC2086
    "$MKFS" -q --size=24M -d "$T/tree" $o "$T/img" || fail "mkfs.osfs $o"
    agree_clean "mkfs.osfs $o"
done
for o in "${theirs[@]}"; do
    rm -f "$T/img"
    # shellcheck disable=SC2086
    mke2fs -q -F -d "$T/tree" $o "$T/img" 24M >/dev/null 2>&1 || fail "mke2fs $o"
    agree_clean "mke2fs $o"
done

# an array; -n changes no byte of it
members 4
"$MKFS" -q --level=5 --size=16M -d "$T/tree" "${IMGS[@]}"
sha256sum "${IMGS[@]}" >"$T/sums"
"$FSCK" -fn "${IMGS[@]}" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "fsck.osfs -fn of an array"; }
sha256sum -c --quiet "$T/sums" || fail "-n has changed a member"
"$FSCK" "${IMGS[0]}" "${IMGS[1]}" -p "${IMGS[2]}" | grep -q ': clean, ' || fail "-p of a degraded array"
"$FSCK" -c "$T/img" 2>/dev/null && fail "-c is not refused"

# ---- damage ----------------------------------------------------------------------------
# Small files in a memory filesystem where there is one: each repair is flushed several times.
W=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "$T")/osfs-t_fsck.XXXXXX")
trap 'rm -rf "$W"; cleanup' EXIT
t=$T/damage
mkdir -p "$t/d1/d2" "$t/d3" "$t/e1"
for ((i = 0; i < 20; i++)); do echo "file $i" >"$t/f$i"; done
for ((i = 1; i <= 150; i++)); do echo $i >"$t/d3/some_long_name_number_$i"; done
seq 52000 >"$t/d1/big"
seq 100000 152000 >"$t/d1/big2"
echo leaf >"$t/d1/d2/leaf"
ln "$t/f1" "$t/d1/hard"
ln -s f1 "$t/fast"
ln -s "$(printf 'x%.0s' {1..200})" "$t/slow"
mkfifo "$t/fifo"
truncate -s 70M "$t/hole"
echo end >>"$t/hole"
for ((i = 0; i < 12; i++)); do seq $i $((i + 200)) | dd of="$t/frag" bs=4096 seek=$((2 * i)) conv=notrunc status=none; done
python3 -c 'import sys; f = open(sys.argv[1], "wb"); [(f.seek(8192 * i), f.write(b"%4d" % i * 1024)) for i in range(200)]' "$t/many"
echo xa >"$t/xa"
echo xs >"$t/xs"
setfattr -n user.long -v "$(printf 'y%.0s' {1..300})" "$t/xa" &&
    setfattr -n user.short -v b "$t/xs" || skip "no extended attributes on $T"
# undo: e2undo brings the damaged image back, byte for byte; also what the replay of a journal wrote
fsck_rc() {	# fsck_rc WANT ARGUMENT...: exit status
    local want=$1 rc=0
    shift
    "$FSCK" "$@" >"$T/out" 2>&1 </dev/null || rc=$?
    [ $rc = "$want" ] || { cat "$T/out" >&2; fail "fsck.osfs $*: exit $rc, not $want"; }
}
damage() { python3 "$here/fsck/damage.py" "$@" || fail "damage.py $*"; }
undone() {	# undone: W/img as it is, repaired with an undo file and brought back
    local sum
    sum=$(sha256sum <"$W/img")
    rm -f "$W/undo"
    "$FSCK" -fy -z "$W/undo" "$W/img" >"$T/out" 2>&1
    [ $? -le 1 ] || { cat "$T/out" >&2; fail "-fy -z"; }
    [ "$sum" != "$(sha256sum <"$W/img")" ] || fail "-fy -z has changed nothing"
    e2undo "$W/undo" "$W/img" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "e2undo"; }
    [ "$sum" = "$(sha256sum <"$W/img")" ] || fail "e2undo does not bring the image back"
}
set +e
"$MKFS" -q -b 1024 -N 512 -O has_journal --size=16M -d "$t" "$W/img" || fail "mkfs.osfs -O has_journal"
cp "$W/img" "$W/clean"
damage "$W/img" 'bytes ind:/d1/big:1 0 random1024' 'bytes block:/d1:0 0 zero1024'
undone
cp "$W/clean" "$W/img"
python3 "$here/fsck/damage.py" "$W/img" 'inode /f0 links 7'
blk=$(debugfs -R 'bmap /f5 0' "$W/img" 2>/dev/null)
head -c 1024 /dev/urandom >"$T/new"
printf 'jo\njw -b %s %s\njc\n' "$blk" "$T/new" | debugfs -w "$W/img" >/dev/null 2>&1
dumpe2fs -h "$W/img" 2>/dev/null | grep -q needs_recovery || fail "no journal to be replayed was made"
sum=$(sha256sum <"$W/img")
fsck_rc 4 -fn "$W/img"
grep -q 'not replayed' "$T/out" || fail "-n does not speak of the journal"
[ "$sum" = "$(sha256sum <"$W/img")" ] || fail "-n has replayed the journal"
undone
fsck_rc 0 -p "$W/img"			# replayed, and marked clean
debugfs -R 'cat /f5' "$W/img" 2>/dev/null | cmp -s - <(head -c "$(stat -c %s "$t/f5")" "$T/new") || fail "not replayed"
fsck_rc 1 -pf "$W/img"			# link counts are preen's
fsck_rc 0 -pf "$W/img"

# exit status, letters, questions
fsck_rc 16 -p -y "$W/img"
fsck_rc 16
fsck_rc 16 -c -n "$W/img"
fsck_rc 16 -D -y "$W/img"
fsck_rc 8 -f "$W/img"			# no terminal to ask on
fsck_rc 8 -n "$T/nothing"
damage "$W/img" 'entry /d1 hard inode 2'
fsck_rc 4 -pf "$W/img"			# not preen's to decide
grep -q 'UNEXPECTED INCONSISTENCY' "$T/out" || fail "-p gives up in silence"
fsck_rc 4 -n "$W/img"			# it was not left marked clean
fsck_rc 1 -y "$W/img"
damage "$W/img" 'super magic 0'
fsck_rc 1 -y -b 8193 -B 1024 "$W/img"
fsck_rc 0 -fn "$W/img"
head -c 8388608 /dev/zero >"$W/img"
fsck_rc 8 -fn "$W/img"
printf 'n\n' | script -qec "'$FSCK' -f '$W/clean'" /dev/null >/dev/null 2>&1
[ $? = 0 ] || fail "a clean filesystem on a terminal"
cp "$W/clean" "$W/img"
damage "$W/img" 'inode /f0 links 7'
sum=$(sha256sum <"$W/img")
printf 'a\n' | script -qec "'$FSCK' -f '$W/img'" /dev/null >"$T/out" 2>&1
[ $? = 1 ] || { cat "$T/out" >&2; fail "answering yes to all"; }
fsck_rc 0 -fn "$W/img"

# blocks that cannot be read: told, and what hangs on them is given up on -y only
cp "$W/clean" "$W/img"
bad=$(debugfs -R 'bmap /d1 0' "$W/img" 2>/dev/null)
fsck_rc 4 -fn "fault:read,fail,sects=$((bad * 2))-$((bad * 2 + 1)):$W/img"
grep -q "block $bad cannot be read" "$T/out" || fail "an unreadable block is not named"
fsck_rc 1 -fy "fault:read,fail,sects=$((bad * 2))-$((bad * 2 + 1)):$W/img"
fsck_rc 0 -fn "$W/img"
fsck_rc 8 -fy "fault:write,fail:$W/img"

# a sector of an inode table that can be neither read nor written: told, and all other repairs are on the disk
cp "$W/clean" "$W/img"
damage "$W/img" 'inode /f0 links 7'
bad=$(($(dumpe2fs "$W/img" 2>/dev/null | sed -n 's/.*Inode table at \([0-9]*\)-.*/\1/p' | head -1) + 10))
dev="fault:read,fail,sects=$((bad * 2))-$((bad * 2 + 1))+write,fail,sects=$((bad * 2))-$((bad * 2 + 1)):$W/img"
fsck_rc 9 -fy "$dev"
grep -q "block $bad cannot be written" "$T/out" || fail "a block that cannot be written is not named"
debugfs -R 'stat /f0' "$W/img" 2>/dev/null | grep -q 'Links: 1' || fail "one bad sector keeps other repairs from the disk"

# -c: the list is kept with -k, and made anew without it
cp "$W/clean" "$W/img"
bad=$(debugfs -R 'bmap /d1/big 20' "$W/img" 2>/dev/null)
fsck_rc 1 -cy "fault:read,fail,sects=$((bad * 2))-$((bad * 2)):$W/img"
[ "$(dumpe2fs -b "$W/img" 2>/dev/null)" = "$bad" ] || fail "-c: block $bad is not in the list"
debugfs -R "dump /d1/big $T/big" "$W/img" 2>/dev/null
cmp -l "$T/big" "$t/d1/big" | awk '$1 <= 20480 || $1 > 20992 { bad = 1 } END { exit bad || NR == 0 }' ||
    fail "-c: more is lost than the sector that cannot be read"
fsck_rc 0 -cky "$W/img"
[ "$(dumpe2fs -b "$W/img" 2>/dev/null)" = "$bad" ] || fail "-k does not keep the list"
fsck_rc 1 -cy "$W/img"
[ -z "$(dumpe2fs -b "$W/img" 2>/dev/null)" ] || fail "-c does not make the list anew"

# a truncation to be finished, of a file whose map has no room for one more extent
for i in 0 1 2 3; do head -c 8192 /dev/urandom | dd of="$W/four" bs=32768 seek=$i conv=notrunc status=none; done
mkdir "$W/fourtree" && cp --sparse=always "$W/four" "$W/fourtree/four"
rm -f "$W/img"
mke2fs -q -F -t ext4 -b 1024 -N 64 -d "$W/fourtree" "$W/img" 4M >/dev/null 2>&1 || fail "mke2fs"
damage "$W/img" 'inode /four size 101376' 'super last_orphan ino:/four'
fsck_rc 1 -fy "$W/img"
debugfs -R "dump /four $T/four" "$W/img" 2>/dev/null
head -c 101376 "$W/four" | cmp - "$T/four" || fail "a truncation has taken more than what lay behind the end"
e2fsck -fn "$W/img" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "e2fsck after a truncation"; }

# lost+found grows block by block where only single blocks are free, so that its map has to grow, too
mkdir -p "$W/many/d"
python3 -c 'import sys; [open("%s/%d" % (sys.argv[1], i), "w").write("x" * 1000) for i in range(3000)]' "$W/many/d"
rm -f "$W/img"
mke2fs -q -F -t ext4 -O ^has_journal -b 1024 -N 4000 -d "$W/many" "$W/img" 6M >/dev/null 2>&1 || fail "mke2fs"
seq -f 'rm /d/%g' 0 2 2999 | debugfs -w "$W/img" >/dev/null 2>&1
damage "$W/img" 'inode /d mode 0' 'inode /d links 0'
fsck_rc 1 -fy "$W/img"
[ "$(debugfs -R 'ls -l /lost+found' "$W/img" 2>/dev/null | grep -c '100644')" = 1500 ] || fail "not all files are in lost+found"
debugfs -R 'stat /lost+found' "$W/img" 2>/dev/null | grep -q ETB0 || fail "the map of lost+found did not have to grow"
e2fsck -fn "$W/img" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "e2fsck after lost+found has grown"; }
set -e

drive() {
    python3 "$here/fsck/drive.py" --fsck "$FSCK" --mkfs "$MKFS" --work "$W" --tree "$t" "$@" >"$T/drive" 2>&1 ||
        { tail -60 "$T/drive" >&2; fail "drive.py $*"; }
    note "$(tail -1 "$T/drive")"
}
seeds=0:60 noise=0:40 unreadable=0:60
[ "${OSFS_TEST_TIER:-}" != night ] || { seeds=0:2000 noise=0:4000 unreadable=0:2000; }
if [ -n "$small" ]; then
    drive sb-zero gd-zero map-noise dup-map dir-noise dir-loop htree-zero inode-root-zero journal-super extent-magic \
        xattr-value inline-noise
    drive --noise 0:12
    drive --unreadable 0:12 --bad-sectors 0:12
else
    drive
    drive --seeds "$seeds"
    drive --noise "$noise"
    drive --unreadable "$unreadable" --bad-sectors "$unreadable"
fi

# the same on arrays, whole and short of members
if [ -z "$small" ] && [ -e /dev/fuse ]; then
    kinds=(gd-zero map-noise dup-map htree-zero journal-super xattr-value)
    [ "${OSFS_TEST_TIER:-}" != night ] || kinds=()
    for array in 5:4 5:4:1 6:5:2 10:4:1; do
        drive --osfs "$OSFS" --array $array "${kinds[@]}"
    done
fi
note ok
