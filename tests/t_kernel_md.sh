#!/bin/bash
# Arrays of each level in the emulated Debian kernel, both ways: its mdadm assembles and
# it mounts what osfs made; osfs mounts what mdadm and mke2fs made there.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires python3 mdadm

make_tree() {
    python3 - "$1" "$2" <<'P'
import os, random, sys
top, rnd = sys.argv[1], random.Random(int(sys.argv[2]))
os.makedirs(top)
for i in range(60):
    with open("%s/file%d" % (top, i), "wb") as f:
        f.write(rnd.randbytes(rnd.choice([1, 100, 4096, 70000, 300000])))
os.symlink("file1", top + "/link")
P
}
sums() { (cd "$1" && find . -type f ! -path './lost+found*' -print0 | sort -z | xargs -0 sha256sum); }

levels=(
    "0 3 --chunk=64"
    "1 2 --level=1"
    "4 3 --chunk=64"
    "5 4 --layout=la"
    "5 3 --layout=ra"
    "5 4 --layout=ls"
    "5 4 --layout=rs"
    "6 5 --chunk=32"
    "10 4 --layout=n2"
    "10 3 --layout=f2"
    "10 4 --layout=o2"
    "linear 2 --level=linear"
)
[ "${OSFS_TEST_TIER:-all}" = night ] || [ -n "${OSFS_ALL_LAYOUTS:-}" ] || levels=(
    "0 3 --chunk=64" "1 2 --level=1" "4 3 --chunk=64" "5 4 --layout=ls" "6 5 --chunk=32" "10 4 --layout=n2"
    "10 3 --layout=f2" "linear 2 --level=linear"
)

# One emulated machine for all arrays: the disks of all of them, a job that goes through them.
disks=() job=$T/job.sh
at=0
cat >"$job" <<'J'
sums() { (cd "$1" && find . -type f ! -path './lost+found*' -print0 | sort -z | xargs -0 sha256sum); }
ours() {	# NAME DEVICE...: osfs made it
    name=$1; shift
    mdadm --assemble /dev/md9 --run "$@" >/dev/null 2>&1 || { echo "$name: mdadm does not assemble it"; return; }
    mount -t ext4 /dev/md9 /mnt || { echo "$name: the kernel does not mount it"; mdadm --stop /dev/md9; return; }
    sums /mnt/tree | sed "s/^/$name ours /"
    mkdir /mnt/guest && cp -r /mnt/tree /mnt/guest/copy
    umount /mnt
    /sbin/e2fsck -fn /dev/md9 >/tmp/fsck 2>&1 || { echo "$name: e2fsck:"; cat /tmp/fsck; }
    mdadm --action=check /dev/md9 2>/dev/null && mdadm --wait /dev/md9 2>/dev/null
    [ ! -f /sys/block/md9/md/mismatch_cnt ] || echo "$name mismatch $(cat /sys/block/md9/md/mismatch_cnt)"
    mdadm --stop /dev/md9 >/dev/null 2>&1
}
theirs() {	# NAME "MDADM OPTIONS" DEVICE...: made here, for osfs to read
    name=$1 opts=$2; shift 2
    mdadm --create /dev/md9 --run --assume-clean $opts "$@" >/dev/null 2>&1 || { echo "$name: mdadm --create $opts"; return; }
    /sbin/mke2fs -q -t ext4 -O ^extent,^has_journal,^64bit /dev/md9
    mount -t ext4 /dev/md9 /mnt
    mkdir /mnt/tree
    for i in 1 2 3 4 5 6 7 8 9; do seq $((i * 7000)) >/mnt/tree/file$i; done
    sums /mnt/tree | sed "s/^/$name theirs /"
    umount /mnt
    mdadm --stop /dev/md9 >/dev/null 2>&1
}
J

i=0
for spec in "${levels[@]}"; do
    read -r level n opts <<<"$spec"
    for who in ours theirs; do
        names=() devs=()
        for ((k = 0; k < n; k++)); do
            f=$T/$who$i.$k
            names+=("$f") devs+=("/dev/disk$at")
            at=$((at + 1))
        done
        disks+=("${names[@]}")
        if [ $who = ours ]; then
            "$MKFS" -q --size=48M --level="$level" $opts "${names[@]}"
            mount_osfs "${names[@]}"
            make_tree "$MNT/tree" $i
            sums "$MNT/tree" | sed "s/^/a$i ours /" >>"$T/expect"
            umount_osfs
            echo "ours a$i ${devs[*]}" >>"$job"
        else
            for f in "${names[@]}"; do truncate -s 48M "$f"; done
            case $opts in *--layout*) l=$opts ;; *--chunk*) l=$opts ;; *) l= ;; esac
            echo "theirs a$i '--level=$level --raid-devices=$n $l' ${devs[*]}" >>"$job"
        fi
    done
    i=$((i + 1))
done
rc=0
"$here/qemu/guest" "$job" "${disks[@]}" >"$T/guest.out" || rc=$?
[ $rc = 77 ] && skip "no emulator, kernel, or tool for it"
[ $rc = 0 ] || { cat "$T/guest.out" >&2; fail "the guest's job failed"; }
grep -E ' ours ' "$T/guest.out" | sort >"$T/got"
sort "$T/expect" | diff - "$T/got" >"$T/diff" || { cat "$T/diff" "$T/guest.out" >&2; fail "the kernel read our arrays differently"; }
grep -E 'mismatch [1-9]' "$T/guest.out" && fail "the kernel's check found mismatches"
grep -vE ' ours | theirs | mismatch 0$' "$T/guest.out" && fail "the guest complained"

i=0
for spec in "${levels[@]}"; do
    read -r level n opts <<<"$spec"
    for who in ours theirs; do
        names=()
        for ((k = 0; k < n; k++)); do names+=("$T/$who$i.$k"); done
        fsck_volume "${names[@]}"
        mount_osfs "${names[@]}"
        if [ $who = ours ]; then
            diff -r "$MNT/tree" "$MNT/guest/copy" >/dev/null || fail "level $level: the guest's copy differs"
            rm -rf "$MNT/guest"
        else
            sums "$MNT/tree" | sed "s/^/a$i theirs /" >"$T/now"
            grep "^a$i theirs " "$T/guest.out" | diff - "$T/now" || fail "level $level: we read their array differently"
            cp -r "$MNT/tree" "$MNT/more"
            diff -r "$MNT/tree" "$MNT/more" || fail "level $level: our copy differs"
        fi
        umount_osfs
        fsck_volume "${names[@]}"
        examine_members "${names[@]}"
    done
    note "level $level $opts: ok"
    i=$((i + 1))
done
