#!/bin/bash
# For a single image and for each level: a real tree, a sparse file, a file past the
# double-indirect limit, a directory of many names: all there and the same after unmount
# and mount; e2fsck and mdadm agree.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires e2fsck mdadm python3
small=${OSFS_SMALL:-}	# sanitizer builds: the same things, fewer of them

nr_names=100000 image=600M
[ -z "$small" ] || nr_names=3000 image=200M

# ≥ 10,000 files, links of both kinds, odd names, attributes
make_source() {
    mkdir -p "$T/src"
    local d
    for d in /usr/include /usr/share/doc; do
        [ -d "$d" ] || continue
        if [ -n "$small" ]; then
            mkdir -p "$T/src/$(basename "$d")"
            find "$d" -maxdepth 1 -type f | head -200 | xargs -r cp -a -t "$T/src/$(basename "$d")"
        else
            cp -a "$d" "$T/src/"
        fi
    done
    python3 - "$T/src" "${small:+300}" <<'P'
import os, sys
top = sys.argv[1]
n = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else 4000
for i in range(n):
    d = "%s/gen/%02d" % (top, i % 40)
    os.makedirs(d, exist_ok=True)
    with open("%s/file %d" % (d, i), "wb") as f:
        f.write(bytes((i * 7 + k) & 255 for k in range(i * 13 % 9000)))
os.symlink("short", top + "/gen/fast link")
os.symlink("x" * 200, top + "/gen/slow link")
for i in range(5):
    os.link(top + "/gen/00/file 0", top + "/gen/hard %d" % i)
os.mkfifo(top + "/gen/fifo")
os.chmod(top + "/gen/01", 0o2775)
os.chmod(top + "/gen/00/file 0", 0o4711)
os.utime(top + "/gen/00/file 40", ns=(1234567890123456789, 987654321987654321))
P
    manifest "$T/src" >"$T/src.manifest"
}

fill() {
    cp -a "$T/src" "$MNT/src"
    truncate -s 5G "$MNT/sparse"
    # 12 + 1024 + 1024^2 blocks of 4 KiB: the triple-indirect pointer takes over past 4 GiB
    printf 'behind the double-indirect blocks' | dd of="$MNT/far" bs=1M seek=4200 conv=notrunc status=none
    printf 'the first byte' | dd of="$MNT/far" conv=notrunc status=none
    mkdir "$MNT/names"
    python3 - "$MNT/names" "$nr_names" <<'P'
import os, sys
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    os.close(os.open("a rather ordinary name %d" % i, os.O_CREAT | os.O_WRONLY, 0o644))
P
}

verify() {
    local n
    manifest "$MNT/src" | diff "$T/src.manifest" - >"$T/diff" || { head -20 "$T/diff" >&2; fail "$1: the tree differs"; }
    [ "$(stat -c %s "$MNT/sparse")" = $((5 << 30)) ] || fail "$1: sparse file's size"
    [ "$(stat -c %b "$MNT/sparse")" = 0 ] || fail "$1: sparse file has blocks"
    [ "$(stat -c %s "$MNT/far")" = $((4200 * 1048576 + 33)) ] || fail "$1: far file's size"
    [ "$(dd if="$MNT/far" bs=1M skip=4200 status=none)" = 'behind the double-indirect blocks' ] || fail "$1: far end"
    [ "$(head -c 14 "$MNT/far")" = 'the first byte' ] || fail "$1: near end"
    n=$(find "$MNT/names" -mindepth 1 | sort -u | wc -l)
    [ "$n" = "$nr_names" ] || fail "$1: $n names of $nr_names"
    [ -e "$MNT/names/a rather ordinary name $((nr_names - 1))" ] || fail "$1: last name"
}

# what osfsctl says of the array is what mdadm reads from the members
compare_status() {
    "$OSFSCTL" status --json "$MNT" >"$T/status.json"
    mdadm --examine "$1" >"$T/examine.out"
    python3 - "$T/status.json" "$T/examine.out" <<'P'
import json, re, sys
st = json.load(open(sys.argv[1]))["array"]
ex = dict((k.strip(), v.strip()) for k, v in (l.split(" : ", 1) for l in open(sys.argv[2]) if " : " in l))
def norm(u): return re.sub("[^0-9a-f]", "", u.lower())
assert norm(st["uuid"]) == norm(ex["Array UUID"]), (st["uuid"], ex["Array UUID"])
assert st["level"] == ex["Raid Level"], (st["level"], ex["Raid Level"])
assert st["raid_devices"] == int(ex["Raid Devices"]), (st, ex)
P
}

one() {
    local what=$1 n=$2
    shift 2
    members "$n"
    rm -f "${IMGS[@]}"
    "$MKFS" -q --size=$image "$@" "${IMGS[@]}" || fail "$what: mkfs.osfs"
    [ "$n" = 1 ] || examine_members "${IMGS[@]}"
    fsck_volume "${IMGS[@]}"
    mount_osfs "${IMGS[@]}"
    [ "$n" = 1 ] || compare_status "${IMGS[0]}"
    fill
    verify "$what, before"
    umount_osfs
    fsck_volume "${IMGS[@]}"
    [ "$n" = 1 ] || examine_members "${IMGS[@]}"
    mount_osfs "${IMGS[@]}"
    verify "$what, after"
    rm -rf "$MNT/src" "$MNT/names" "$MNT/far" "$MNT/sparse"
    umount_osfs
    fsck_volume "${IMGS[@]}"
    rm -f "${IMGS[@]}"
    note "$what: ok"
}

make_source
for level in ${OSFS_LEVELS:-single 0 1 4 5 6 10 linear}; do
    case $level in
    single) image=1200M one single 1 -N 150000 ;;
    1) image=1200M one "RAID 1" 2 --level=1 -N 150000 ;;
    linear) one linear 3 --level=linear -N 150000 ;;
    0) one "RAID 0" 3 --level=0 -N 150000 ;;
    4) one "RAID 4" 3 --level=4 --chunk=64 -N 150000 ;;
    5) one "RAID 5" 4 --level=5 -N 150000 ;;
    6) one "RAID 6" 5 --level=6 -N 150000 ;;
    10) one "RAID 10" 4 --level=10 -N 150000 ;;
    esac
done
