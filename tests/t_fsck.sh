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
fsck_rc 16 -c "$W/img"
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
    drive --unreadable 0:12
else
    drive
    drive --seeds "$seeds"
    drive --noise "$noise"
    drive --unreadable "$unreadable"
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
