#!/bin/bash
# A long listing while names come and go: what was there all the time is given exactly once, and a name
# that was gone before a piece was asked for is not in it, although the daemon makes pieces ahead.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires e2fsck python3

members 1
"$MKFS" -q --size=64M -N 32000 "${IMGS[@]}"

cat >"$T/listing.py" <<'P'
import ctypes, os, random, struct, sys, time

top, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
GETDENTS64 = 217
buf = ctypes.create_string_buffer(32768)


def piece(fd):
    n = libc.syscall(GETDENTS64, fd, buf, len(buf))
    assert n >= 0, os.strerror(ctypes.get_errno())
    names, at = [], 0
    while at < n:
        length = struct.unpack_from("<H", buf.raw, at + 16)[0]
        names.append(buf.raw[at + 19:at + length].split(b"\0")[0].decode())
        at += length
    return [x for x in names if x not in (".", "..")]


count = 8000
for i in range(count):
    os.close(os.open("%s/n%06d" % (top, i), os.O_CREAT | os.O_WRONLY))
stable = {"n%06d" % i for i in range(0, count, 2)}
passing = {"n%06d" % i for i in range(1, count, 2)}
seen, gone, nr_pieces, nr_new = [], set(), 0, 0
fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
while True:
    time.sleep(0.02)    # the next piece is made now
    # Of those still to come: a look-up of one that was given makes the kernel ask for attributes again,
    # and pieces with attributes are not made ahead.
    coming = sorted(passing - set(seen))
    for name in rng.sample(coming, min(len(coming), 300)):
        what = rng.randrange(3)
        if what == 0:
            os.unlink("%s/%s" % (top, name))
        elif what == 1:
            os.rename("%s/%s" % (top, name), "%s/new%d" % (top, nr_new))
            nr_new += 1
        else:
            continue
        passing.remove(name)
        gone.add(name)
    names = piece(fd)
    if not names:
        break
    nr_pieces += 1
    wrong = gone & set(names)
    assert not wrong, "seed %d: piece %d has names that were gone before: %s" % (seed, nr_pieces, sorted(wrong)[:5])
    seen += names
assert nr_pieces > 4, "only %d pieces: the test tests nothing" % nr_pieces
assert len(seen) == len(set(seen)), "seed %d: a name came twice" % seed
missing = (stable | passing) - set(seen)
assert not missing, "seed %d: %d names that were there all the time are missing: %s" % (
    seed, len(missing), sorted(missing)[:5])

# Nothing changes: the pieces that were made ahead must be the whole, in one order, every time.
lists = [sorted(os.listdir(top)) for _ in range(5)]
assert all(x == lists[0] for x in lists) and stable | passing <= set(lists[0])
# Two listings at once take each other's pieces for their own.
fds = [os.open(top, os.O_RDONLY | os.O_DIRECTORY) for _ in range(2)]
both = [[], []]
while True:
    got = [piece(f) for f in fds]
    for i in range(2):
        both[i] += got[i]
    if not any(got):
        break
assert both[0] == both[1] and sorted(both[0]) == lists[0]
P
for how in "-s -o ahead=always" "-o ahead=always" "-o ahead=auto"; do
    # shellcheck disable=SC2086
    mount_osfs $how "${IMGS[@]}"
    for seed in 1 2; do
        mkdir "$MNT/d$seed"
        python3 "$T/listing.py" "$MNT/d$seed" $seed || fail "$how, seed $seed"
        rm -r "$MNT/d$seed"
    done
    [[ $how != -s* ]] || [ "$(nr_ahead)" -gt 8 ] || fail "no piece was made ahead"
    umount_osfs
    fsck_volume "${IMGS[@]}"
done
note ok
