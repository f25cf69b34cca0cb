#!/bin/bash
# The journal on real mounts: the daemon is killed (-9) under load, again and again, and every time our
# replay leaves a filesystem that e2fsck has nothing to say about, with all that was synced; dirty journals
# of ours are replayed by e2fsck to the same tree, and those of this machine's kernel by us.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires e2fsck mke2fs debugfs python3
rounds=${OSFS_JOURNAL_ROUNDS:-3}
[ "${OSFS_TEST_TIER:-}" = night ] && rounds=40
IMG=$T/img

# load SEED: works below the mount until that goes away; what fsync has returned for is noted in $T/synced
cat >"$T/load.py" <<'P'
import hashlib, os, random, sys
top, seed, notes = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "w", buffering=1)
rnd = random.Random(seed)
work = "%s/work%d" % (top, seed % 3)
try:
    os.makedirs(work, exist_ok=True)
    while True:
        path = "%s/f%d" % (work, rnd.randrange(60))
        what = rnd.randrange(9)
        try:
            if what < 3:
                data = rnd.randbytes(rnd.choice([10, 1000, 5000, 70000, 300000]))
                notes.write("gone %s\n" % path)
                with open(path, "wb") as f:
                    f.write(data)
                    if rnd.random() < 0.3:
                        f.flush()
                        os.fsync(f.fileno())
                        notes.write("%s %s\n" % (hashlib.sha256(data).hexdigest(), path))
            elif what == 3:
                notes.write("gone %s\n" % path)
                os.unlink(path)
            elif what == 4:
                to = "%s/f%d" % (work, rnd.randrange(60))
                notes.write("gone %s\ngone %s\n" % (path, to))
                os.rename(path, to)
            elif what == 5:
                notes.write("gone %s\n" % path)
                os.truncate(path, rnd.randrange(200000))
            elif what == 6:
                os.mkdir(path + "d")
            elif what == 7:
                os.rmdir(path + "d")
            else:
                os.symlink("x" * rnd.randrange(1, 200), path + "l")
        except (FileNotFoundError, FileExistsError):
            pass
except OSError as e:
    sys.exit(0 if e.errno in (5, 103, 107) else "load: %s" % e)	# the mount went away
P

# The newest word on each path: a checksum must be found, "gone" may be anything.
check_synced() {
    python3 - "$T/synced" <<'P'
import hashlib, sys
state = {}
for line in open(sys.argv[1]):
    if line.endswith("\n"):
        word, path = line.split()
        state[path] = word
n = 0
for path, word in state.items():
    if word != "gone":
        n += 1
        if hashlib.sha256(open(path, "rb").read()).hexdigest() != word:
            sys.exit("%s is not what was synced" % path)
print("%d synced files are there" % n)
P
}

kill_daemon() {
    local p
    p=$(cat "$T/osfs.pid")
    kill -9 "$p"
    while kill -0 "$p" 2>/dev/null; do sleep 0.02; done
    rm -f "$T/osfs.pid"
    umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT"
}

tree_of() { (cd "$1" && find . ! -path ./lost+found -printf '%P|%y|%m|%n|%s|%T@|%l\n' | sort && find . -type f -print0 | sort -z | xargs -0 -r sha256sum); }

# by e2fsck on a copy; nothing but counts in the superblock may be wrong there
e2fsck_copy() {
    cp --sparse=always "$IMG" "$T/copy"
    e2fsck -fy "$T/copy" >"$T/fsck.out" 2>&1 || [ $? = 1 ] || { cat "$T/fsck.out" >&2; fail "e2fsck -fy"; }
    ! grep -vE '^Pass |^e2fsck |^Free (blocks|inodes) count wrong \(|^Fix\? yes|^$|recovering journal|MODIFIED|blocks$|^(Clearing|Truncating) orphaned inode ' \
        "$T/fsck.out" >&2 || fail "e2fsck mends more than counts after its replay"
}

kill_rounds() {
    local what=$1 opts=$2 i pid
    note "$what: killed under load"
    for ((i = 0; i < rounds; i++)); do
        mount_osfs ${opts:+-o "$opts"} "$IMG"
        rm -f "$T/synced"
        python3 "$T/load.py" "$MNT" $((i + $3)) "$T/synced" &
        pid=$!
        until grep -qs '^[0-9a-f]* /' "$T/synced"; do sleep 0.02; done	# the first fsync is back
        sleep "0.$((1 + i * 3 % 7))"
        kill_daemon
        wait $pid || fail "$what: the load ended by itself (seed $((i + $3)))"
        e2fsck_copy
        mount_osfs -o ro "$T/copy"
        tree_of "$MNT" >"$T/theirs"
        umount_osfs
        mount_osfs -o ro "$IMG"			# replayed into memory
        check_synced || fail "$what: seed $((i + $3))"
        tree_of "$MNT" | diff "$T/theirs" - || fail "$what: our replay gives another tree (seed $((i + $3)))"
        umount_osfs
        mount_osfs "$IMG"
        umount_osfs
        e2fsck -fn "$IMG" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "$what: e2fsck (seed $((i + $3)))"; }
    done
}

"$MKFS" -q -O has_journal --size=64M "$IMG"
kill_rounds "mkfs.osfs" "" 100
kill_rounds "data=journal" "data=journal,commit=1" 200
rm -f "$IMG"
truncate -s 64M "$IMG"
mke2fs -q -F -t ext4 -O ^extent,^64bit -b 1024 -J size=1 "$IMG"
kill_rounds "mke2fs, the smallest log" "" 300

# What osfsctl says of it.
mount_osfs "$IMG"
echo x >"$MNT/y" && sync "$MNT/y"
"$OSFSCTL" journal "$MNT" >"$T/out" || fail "osfsctl journal"
grep -q 'data=ordered.* commits' "$T/out" && grep -q 'ring *blocks 1 to 1023, tail 1' "$T/out" && grep -q ' committed ' "$T/out" || { cat "$T/out" >&2; fail "osfsctl journal"; }
"$OSFSCTL" journal "$MNT" --json | python3 -c '
import json, sys
j = json.load(sys.stdin)
by = j["used_by"]
assert sum(by.values()) == j["used_blocks"] > 0, j
assert by["commits"] == sum(t["state"] == "committed" for t in j["transactions"]), j' || fail "osfsctl journal --json"
"$OSFSCTL" status "$MNT" | grep -q '^journal ' || fail "osfsctl status has no line about the journal"
umount_osfs

# A read-only mount of a dirty journal writes not one byte.
mount_osfs "$IMG"
echo x >"$MNT/x" && sync "$MNT/x"
kill_daemon
sha256sum "$IMG" >"$T/sum"
mount_osfs -o ro "$IMG"
[ "$(cat "$MNT/x")" = x ] || fail "not replayed into memory"
umount_osfs
sha256sum --status -c "$T/sum" || fail "a read-only mount changed the image"

# A journal that cannot be written: read-only for good, told to who unmounts; with errors=panic the daemon ends.
write_until_it_fails() {
    local i
    for ((i = 0; i < 100; i++)); do
        { echo x >"$MNT/$1$i" && sync "$MNT/$1$i"; } 2>/dev/null && continue
        sync "$MNT" 2>/dev/null || :		# it may have been data: now it is the log
        return 0
    done
    fail "no write failed"
}
mount_osfs "fault:write,fail,from=60:$IMG"
write_until_it_fails a
[ "$(cat "$MNT/x")" = x ] || fail "reads do not go on after an abort"
! touch "$MNT/more" 2>/dev/null || fail "writes go on after an abort"
"$OSFSCTL" journal "$MNT" | grep -q ABORTED || fail "osfsctl journal does not tell of the abort"
! "$OSFS" umount "$MNT" 2>/dev/null || fail "the unmount does not tell of the abort"
while [ -e "$T/osfs.pid" ]; do sleep 0.05; done
mount_osfs -o errors=panic "fault:write,fail,from=60:$IMG"
write_until_it_fails b
for ((i = 0; i < 100; i++)); do mountpoint -q "$MNT" || break; sleep 0.05; done
! mountpoint -q "$MNT" || fail "errors=panic left a mount"
rm -f "$T/osfs.pid"
mount_osfs "$IMG"
[ "$(cat "$MNT/x")" = x ] || fail "what was synced is not there after two aborts"
umount_osfs
e2fsck -fn "$IMG" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "e2fsck after two aborts"; }

# fsync's work is done ahead where one is expected: it still tells of what failed, and what it promised is there.
rm -f "$IMG"
"$MKFS" -q --size=64M "$IMG"
for case in "400 always" "401 always" "402 always" "403 always" "404 always" "405 always" "406 always" "404 never" "404 auto"; do
    read -r from ahead <<<"$case"
    mount_osfs -s -o "ahead=$ahead" "fault:write,fail,from=$from:$IMG"
    python3 - "$MNT/$ahead$from" >"$T/promised" <<'P' || fail "write and fsync, failing from write $from on"
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
done = 0
try:
    while done < 2000:
        os.write(fd, b"%06d" % done * 682 + b"-end")
        os.fsync(fd)
        done += 1
except OSError as e:
    print(done)
    sys.exit(0)
sys.exit("no write failed")
P
    case $ahead in
    always) [ "$(nr_ahead)" -gt 20 ] || fail "nothing was done ahead" ;;
    never) [ "$(nr_ahead)" = 0 ] || fail "ahead=never, and yet" ;;
    esac
    kill_daemon
    mount_osfs "$IMG"
    python3 - "$MNT/$ahead$from" "$(cat "$T/promised")" <<'P' || fail "failing from write $from on: what fsync promised is not there"
import sys
n = int(sys.argv[2])
data = open(sys.argv[1], "rb").read()
assert n > 20, n
assert data[:n * 4096] == b"".join(b"%06d" % i * 682 + b"-end" for i in range(n))
P
    umount_osfs
    e2fsck -fn "$IMG" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "e2fsck, failing from write $from on"; }
done

# Journals of this machine's kernel.
[ "$(id -u)" = 0 ] && { grep -qw ext4 /proc/filesystems || modprobe ext4 2>/dev/null; } || { note "the kernel's journals: not root, or no ext4"; exit 0; }
KMNT=$T/kmnt
mkdir "$KMNT"
for opts in "-O ^extent,^64bit" "-O ^extent,^64bit,^metadata_csum -b 1024" ""; do
    note "the kernel's journal: mke2fs $opts"
    rm -f "$T/kimg"
    truncate -s 64M "$T/kimg"
    # shellcheck disable=SC2086
    mke2fs -q -F -t ext4 $opts "$T/kimg"
    mount -o loop,commit=300 "$T/kimg" "$KMNT" || skip "the kernel does not mount a loop device"
    mounted+=("$KMNT")
    for ((i = 0; i < 40; i++)); do
        mkdir -p "$KMNT/d$((i % 5))"
        head -c $((i * 700)) /dev/urandom >"$KMNT/d$((i % 5))/f$i"
        [ $((i % 7)) = 6 ] && rm -rf "$KMNT/d$((i % 3))" && sync "$KMNT"
    done
    sync -f "$KMNT"
    python3 -c 'import os,sys; f=os.open(sys.argv[1],os.O_CREAT|os.O_RDWR); os.write(f,b"last"); os.fsync(f)' "$KMNT/last"
    cp --sparse=always "$T/kimg" "$IMG"		# as a power cut leaves it
    umount "$KMNT"
    [[ $(dumpe2fs -h "$IMG" 2>/dev/null) == *needs_recovery* ]] || fail "the copy has no dirty journal"
    e2fsck_copy
    mount_osfs -o ro "$T/copy"
    tree_of "$MNT" >"$T/theirs"
    umount_osfs
    mount_osfs ${opts:+-o rw} "$IMG"
    [ "$(cat "$MNT/last")" = last ] || fail "the last file is missing"
    tree_of "$MNT" | diff "$T/theirs" - || fail "our replay of the kernel's journal gives another tree"
    umount_osfs
    [ -z "$opts" ] || e2fsck -fn "$IMG" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "e2fsck after our replay"; }
done

# The kernel's orphan file: what was unlinked and still open at the power cut.
rm -f "$T/kimg"
truncate -s 64M "$T/kimg"
mke2fs -q -F -t ext4 -O ^extent,^64bit,orphan_file "$T/kimg" 2>/dev/null && mount -o loop "$T/kimg" "$KMNT" ||
    { note "no orphan_file here"; exit 0; }
python3 - "$KMNT" "$T/kimg" "$IMG" <<'P'
import os, shutil, subprocess, sys
top, image, copy = sys.argv[1:]
fds = []
for i in range(20):
    fd = os.open("%s/f%d" % (top, i), os.O_CREAT | os.O_RDWR)
    os.write(fd, b"x" * 100000)
    if i % 2:
        os.unlink("%s/f%d" % (top, i))
    fds.append(fd)
for fd in fds:
    os.fsync(fd)
subprocess.run(["cp", "--sparse=always", image, copy], check=True)
P
umount "$KMNT"
dumpe2fs -h "$IMG" >"$T/out" 2>/dev/null
[[ $(cat "$T/out") == *needs_recovery* ]] || fail "the copy has no dirty journal"
mount_osfs "$IMG"
[ "$(ls "$MNT" | grep -c '^f')" = 10 ] || fail "ten files should be there"
umount_osfs
[[ $(dumpe2fs -h "$IMG" 2>/dev/null) != *orphan_present* ]] || fail "the orphan file was not worked off"
e2fsck -fn "$IMG" >"$T/fsck.out" 2>&1 || { cat "$T/fsck.out" >&2; fail "e2fsck after the orphan file"; }
