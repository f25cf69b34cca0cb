#!/bin/bash
# t_lab.sh: crash states by the ten thousand: all single operations on a single image in each data
# mode, on RAID 1, 5, 6 and 10, with a member that fails, pairs by seed; and a recorded real mount,
# cut in many places, for which e2fsck recovers and judges. OSFS_TEST_TIER=night: all states of all of
# them, and of many more pairs.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"
requires e2fsck
LAB=$build/osfs-lab
seed=${OSFS_TEST_SEED:-1}
states=0

# lab PERCENT OPTION...: no failure
lab() {
    local percent=$1 rc=0 n
    shift
    "$LAB" crash --seed="$seed" --percent="$percent" "$@" >"$T/lab.out" 2>&1 || rc=$?
    cat "$T/lab.out"
    [ $rc = 0 ] || fail "osfs-lab crash --seed=$seed --percent=$percent $*: exit status $rc"
    n=$(sed -n 's/.* workloads, \([0-9]*\) states.*/\1/p' "$T/lab.out")
    [ "${n:-0}" -gt 0 ] || fail "no state was judged"
    states=$((states + n))
}

if [ "${OSFS_TEST_TIER:-}" = night ]; then
    for data in ordered journal writeback; do
        for level in single 1 5 6 10; do lab 100 --level=$level --data=$data --e2fsck=500; done
    done
    lab 100 --level=1 --failing-member --e2fsck=500
    lab 100 --level=10 --failing-member --e2fsck=500
    for level in 1 5 6 10; do lab 50 --level=$level --bitmap --e2fsck=500; done
    lab 50 --level=1 --bitmap --failing-member --e2fsck=500
    for block in 2048 4096; do lab 50 --block=$block --e2fsck=500; done
    for features in inline_data ^metadata_csum ^dir_index; do lab 50 --features=$features --e2fsck=500; done
    lab 2 --workloads=pairs --e2fsck=2000
    lab 20 --level=5 --workloads=pairs --sample=500 --e2fsck=1000
else
    lab 12 --e2fsck=150
    lab 3 --data=journal --e2fsck=150
    lab 3 --data=writeback --e2fsck=150
    lab 2 --level=1 --e2fsck=150
    lab 1 --level=5 --e2fsck=150
    lab 1 --level=6 --e2fsck=150
    lab 1 --level=5 --bitmap --e2fsck=150
    lab 2 --block=4096 --features=inline_data --e2fsck=150
    lab 1 --level=1 --failing-member --e2fsck=150
    lab 10 --workloads=pairs --sample=30 --e2fsck=150
    [ "$states" -ge 20000 ] || fail "only $states states"
fi
note "$states crash states, none breaks a promise"
requires_fuse

# What programs do on a real mount: git, sqlite, unpacking, a mail spool; each where it is installed.
real_work() {
    local i
    mkdir spool spool/tmp spool/new
    for i in 1 2 3 4 5 6; do
        echo "mail $i" >spool/tmp/$i && sync spool/tmp/$i && mv spool/tmp/$i spool/new/$i
    done
    tar -C "$here" -cf - lib.sh t_lab.sh | tar xf -
    if command -v git >/dev/null; then
        git init -q repo && cp lib.sh repo && git -C repo add lib.sh &&
            git -C repo -c user.name=lab -c user.email=lab@localhost commit -qm lab
    fi
    if command -v sqlite3 >/dev/null; then
        for i in delete wal; do
            sqlite3 $i.db "PRAGMA journal_mode=$i; CREATE TABLE t(a,b); INSERT INTO t VALUES(1,2); UPDATE t SET b=3;" >/dev/null
        done
    fi
    rm -r spool/new
    sync
}

# e2fsck replays and finds nothing to fix; what programs were promised is there: a database is sound at every
# moment (its side files belong to it), and a mail has its name in new only once it is whole.
cat >"$T/judge.sh" <<'E'
rc=0
e2fsck -p "$DISK0" >"$DISK0.out" 2>&1 || rc=$?
[ $rc -le 1 ] && e2fsck -fn "$DISK0" >>"$DISK0.out" 2>&1 || { cat "$DISK0.out"; exit 1; }
d=$DISK0.files
rm -rf "$d" && mkdir -p "$d/new"
for i in delete.db delete.db-journal wal.db wal.db-wal; do echo "dump /$i $d/$i"; done >"$d/cmds"
for i in 1 2 3 4 5 6; do echo "dump /spool/new/$i $d/new/$i"; done >>"$d/cmds"
debugfs -f "$d/cmds" "$DISK0" >/dev/null 2>&1
for db in "$d"/*.db; do
    [ -s "$db" ] || continue
    said=$(sqlite3 "$db" 'PRAGMA integrity_check; SELECT b FROM t;' 2>&1)
    case $said in
    ok | "ok
"[23] | *"no such table: t"*) ;;
    *) echo "${db##*/} is broken: $said"; exit 1 ;;
    esac
    echo "sound ${db##*/}" >>"${DISK0%/*}.seen"
done
for m in "$d"/new/*; do
    [ ! -e "$m" ] || [ "$(cat "$m")" = "mail ${m##*/}" ] || { echo "mail ${m##*/} is not whole"; exit 1; }
    [ ! -e "$m" ] || echo "whole mail" >>"${DISK0%/*}.seen"
done
E

# recorded EVERY MKFS-OPTION... : a journal that a crash leaves is replayed by e2fsck, and nothing is left to fix
recorded() {
    local every=$1 rc=0 n
    shift
    rm -rf "$T/img" "$T/log" "$T/cut"
    mkdir "$T/cut"
    "$MKFS" -q --size=24m -O has_journal "$@" "$T/img" || fail "mkfs $*"
    cp --sparse=always "$T/img" "$T/base"
    mount_osfs "record:$T/log:$T/img"
    (cd "$MNT" && real_work) || fail "the work on the mount failed"
    umount_osfs
    "$LAB" log "$T/log" >"$T/log.out" || fail "osfs-lab log"
    grep -q ' flush' "$T/log.out" || fail "a record without a flush"
    for cut in some underway torn; do
        "$LAB" replay --base="$T/base" --out="$T/cut" --every="$every" --cut=$cut --seed="$seed" \
            --judge="bash $T/judge.sh" "$T/log" >"$T/lab.out" || rc=$?
        tail -40 "$T/lab.out"
        [ $rc = 0 ] || fail "replay --cut=$cut --every=$every: exit status $rc"
        n=$(sed -n 's/^\([0-9]*\) states, 0 failed$/\1/p' "$T/lab.out")
        [ "${n:-0}" -ge 10 ] || fail "only ${n:-0} states of the recorded mount"
    done
}
every=5
[ "${OSFS_TEST_TIER:-}" != night ] || every=1
recorded $every
recorded $every -b 1024
for what in "whole mail" $(command -v sqlite3 >/dev/null && echo delete.db wal.db); do
    note "$(grep -c "$what" "$T/cut.seen" || fail "no state had $what to be judged") states with $what"
done

# Two members, two logs: a cut goes through both at one moment, and osfs recovers.
rm -rf "$T"/cut/*
members 2
"$MKFS" -q --level=1 --size=16m -O has_journal "${IMGS[@]}" || fail "mkfs of an array"
for i in 0 1; do cp --sparse=always "$T/disk$i" "$T/base$i"; done
mount_osfs "record:$T/log0:$T/disk0" "record:$T/log1:$T/disk1"
(cd "$MNT" && real_work) || fail "the work on the array failed"
umount_osfs
n=$("$LAB" log "$T/log0" "$T/log1" | sed -n 's/^\([0-9]*\) records: .*/\1/p')
for part in 3 5 7; do
    "$LAB" replay --base="$T/base0" --base="$T/base1" --out="$T/cut" --at=$((n * part / 8)) --cut=torn --seed="$seed" \
        "$T/log0" "$T/log1" || fail "replay of two logs"
    mount_osfs "$T/cut/disk0" "$T/cut/disk1"
    find "$MNT" -type f -exec cat {} + >/dev/null || fail "not all can be read after a cut at $part/8"
    umount_osfs
    fsck_volume "$T/cut/disk0" "$T/cut/disk1"
done

# The ring, step by step: a dirty log has what would be replayed, and after e2fsck it is empty.
found=0
for at in $(sed -n 's/^\([0-9]*\): .* write+fua.*/\1/p' "$T/log.out"); do
    "$LAB" replay --base="$T/base" --out="$T/cut" --at=$((at + 1)) "$T/log"
    "$LAB" journal "$T/cut/disk0" >"$T/ring.out" || { cat "$T/ring.out"; fail "osfs-lab journal: status $?"; }
    grep -q '^[2-9] transactions would be replayed$' "$T/ring.out" && found=1 && break
done
[ $found = 1 ] || fail "no cut leaves anything to replay"
grep -q '^superblock (block 0): ring ' "$T/ring.out" || fail "no superblock in the ring"
grep -q '^> .* commit, .*, checksum ok$' "$T/ring.out" || { cat "$T/ring.out"; fail "no commit in the ring"; }
grep -q 'copy of block [0-9]*, checksum ok' "$T/ring.out" || { cat "$T/ring.out"; fail "no copy in the ring"; }
e2fsck -p "$T/cut/disk0" >"$T/fsck.out" 2>&1 || [ $? = 1 ] || { cat "$T/fsck.out"; fail "e2fsck -p"; }
"$LAB" journal "$T/cut/disk0" >"$T/ring.out"
grep -q '^0 transactions would be replayed$' "$T/ring.out" || fail "e2fsck left something to replay"
