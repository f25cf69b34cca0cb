#!/bin/bash
# The assembled array as one file: any tool works on it, through any alignment.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires mke2fs e2fsck debugfs python3

members 4
"$MKFS" -q --level=5 --size=32M "${IMGS[@]}"
"$OSFS" volume --pid-file "$T/vol.pid" "${IMGS[@]}" "$VOL"
mounted+=("$VOL")
size=$(stat -c %s "$VOL/volume")
[ "$size" -gt $((80 << 20)) ] || fail "the volume has $size bytes"

# other tools' filesystem on it
mke2fs -q -F -t ext2 "$VOL/volume"
echo hello >"$T/hello"
debugfs -w -R "write $T/hello hello" "$VOL/volume" >/dev/null 2>&1
[ "$(debugfs -R 'cat hello' "$VOL/volume" 2>/dev/null)" = hello ] || fail "debugfs reads something else"
e2fsck -fn "$VOL/volume" >/dev/null 2>&1 || fail "e2fsck on the volume"

# random unaligned reads and writes against a copy
python3 - "$VOL/volume" <<'P'
import os, random, sys
seed = 20260
rnd = random.Random(seed)
fd = os.open(sys.argv[1], os.O_RDWR)
base, span = 1 << 20, 6 << 20
model = bytearray(os.pread(fd, span, base))
for step in range(600):
    off = rnd.randrange(span)
    n = min(span - off, rnd.choice([1, 3, 511, 512, 513, 4096, 5000, 70000, 400000]))
    if rnd.random() < 0.5:
        data = rnd.randbytes(n)
        assert os.pwrite(fd, data, base + off) == n
        model[off:off + n] = data
    else:
        assert os.pread(fd, n, base + off) == model[off:off + n], "seed %d step %d" % (seed, step)
os.fsync(fd)
assert os.pread(fd, span, base) == model
P
before=$(sha256sum <"$VOL/volume")
"$OSFS" umount "$VOL"
wait_daemons
"$OSFS" volume --pid-file "$T/vol.pid" -o ro "${IMGS[3]}" "${IMGS[1]}" "${IMGS[2]}" "$VOL" 2>/dev/null
[ "$(sha256sum <"$VOL/volume")" = "$before" ] || fail "one member short, the volume reads differently"
"$OSFS" umount "$VOL"
note ok
