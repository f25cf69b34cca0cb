# tests/lib.sh: what the shell tests share. Source it first; it sets up a private
# directory $T that goes away with the test, and unmounts what the test left mounted.
# shellcheck shell=bash
#
# Exit status of a test: 0 passed, 77 skipped (something is missing here), else failed.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${OSFS_BUILD:-$(pwd)}
OSFS=$build/osfs MKFS=$build/mkfs.osfs OSFSCTL=$build/osfsctl
name=$(basename "$0" .sh)

fail() { echo "$name: FAILED: $*" >&2; exit 1; }
skip() { echo "$name: skipped: $*" >&2; exit 77; }
note() { echo "$name: $*"; }

# requires PROGRAM...: skip where one is missing
requires() {
    local p
    for p in "$@"; do command -v "$p" >/dev/null 2>&1 || skip "no $p here"; done
}
requires_fuse() {
    [ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "no access to /dev/fuse"
    requires fusermount3
}
requires_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }

T=$(mktemp -d "${TMPDIR:-/var/tmp}/osfs-$name.XXXXXX")
MNT=$T/mnt VOL=$T/vol
mkdir "$MNT" "$VOL"
mounted=()

cleanup() {
    local rc=$? m
    set +e
    for m in "${mounted[@]}"; do
        mountpoint -q "$m" && { fusermount3 -u "$m" 2>/dev/null || umount -l "$m"; }
    done
    wait_daemons
    rm -rf "$T" "${MEM:-$T}"
    exit $rc
}
trap cleanup EXIT
trap 'exit 129' HUP INT TERM

# nr_ahead: how often the mount at $MNT did work ahead. Timing decides, but for -o ahead=always (with -s: one worker sees it all) and never.
nr_ahead() {
    "$OSFSCTL" stats "$MNT" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["requests"]["ahead"])'
}

# Every daemon started here writes its process id into $T/*.pid.
wait_daemons() {
    local f p i
    for f in "$T"/*.pid; do
        p=$(cat "$f" 2>/dev/null) || continue	# the daemon takes it away as it ends
        for ((i = 0; i < 400; i++)); do
            kill -0 "$p" 2>/dev/null || break
            sleep 0.05
        done
        kill -9 "$p" 2>/dev/null
    done
    return 0
}

# mount_osfs ARGUMENT... : mounts at $MNT (the last argument is added)
mount_osfs() {
    "$OSFS" --pid-file "$T/osfs.pid" "$@" "$MNT" || fail "osfs $* did not mount"
    mounted+=("$MNT")
}
# unmounts $MNT, waits until the images are safe
umount_osfs() {
    "$OSFS" umount "$MNT" || fail "osfs umount failed"
    local p i
    p=$(cat "$T/osfs.pid" 2>/dev/null) || return 0
    for ((i = 0; i < 400; i++)); do
        kill -0 "$p" 2>/dev/null || return 0
        sleep 0.05
    done
    fail "the daemon still runs 20 s after the unmount"
}

# fsck_volume MEMBER...: e2fsck -fn on the assembled volume must have nothing to say
fsck_volume() {
    local rc=0
    "$OSFS" volume --pid-file "$T/vol.pid" -o ro "$@" "$VOL" || fail "osfs volume $* did not mount"
    mounted+=("$VOL")
    e2fsck -fn "$VOL/volume" >"$T/fsck.out" 2>&1 || rc=$?
    "$OSFS" umount "$VOL" || fail "osfs umount of the volume failed"
    if [ $rc != 0 ] || grep -qE 'Fix|WARNING|ERROR|differ|wrong' "$T/fsck.out"; then
        cat "$T/fsck.out" >&2
        fail "e2fsck complains (exit $rc)"
    fi
}

# examine_members MEMBER...: mdadm accepts the superblock of each
examine_members() {
    local m
    for m in "$@"; do
        mdadm --examine "$m" >"$T/examine.out" 2>&1 || { cat "$T/examine.out" >&2; fail "mdadm --examine $m"; }
        grep -q 'Checksum : .* - correct' "$T/examine.out" || { cat "$T/examine.out" >&2; fail "checksum of $m"; }
    done
}

# members COUNT: names of image files in $T, into the array IMGS
members() {
    local i
    IMGS=()
    for ((i = 0; i < $1; i++)); do IMGS+=("$T/disk$i"); done
}

# manifest DIR: a line for everything below it: type, mode, owner, links, size, time, target, contents
manifest() {
    (
        cd "$1"
        find . -mindepth 1 ! -path ./lost+found \( -type d -printf '%P|d|%m|%U:%G|%n||%T@\n' \
            -o -type l -printf '%P|l|%m|%U:%G|%n|%s|%T@|%l\n' \
            -o -printf '%P|%y|%m|%U:%G|%n|%s|%T@\n' \) | sort
        find . -type f -print0 | sort -z | xargs -0 -r sha256sum
    )
}
