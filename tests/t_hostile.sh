#!/bin/bash
# Hostile images: seeded damage with right checksums through every harness of tests/fuzz, and the
# inputs that were failures once. No crash, no hang, no flood of log lines, no memory that is not given back.
. "$(dirname "$0")/lib.sh"
REPLAY=$build/tests/fuzz/replay
[ -x "$REPLAY" ] || skip "tests/fuzz/replay is not built"
! grep -q -- '--enable-tsan' "$build/config.log" 2>/dev/null || skip "one thread: nothing for TSan to see"
case ${OSFS_TEST_TIER:-all} in night) last=20000 ;; *) last=250 ;; esac

OSFS_BUILD=$build bash "$here/fuzz/images" "$T/images"
export OSFS_FUZZ_IMAGES=$T/images
failed=0
for h in assemble mount journal dir extent look fsck sick; do
    "$REPLAY" "$h" --seeds=0-$last 2>"$T/$h.err" | tee "$T/$h.out" | tail -1
    grep -q ' 0 failures,' "$T/$h.out" || { cat "$T/$h.out"; grep -hE 'SUMMARY|Assertion|runtime error|^fuzz:' "$T/$h.err" | head; failed=1; }
    old=("$here"/fuzz/regress/"$h"-*)
    [ -e "${old[0]}" ] || continue
    "$REPLAY" "$h" "${old[@]}" 2>"$T/$h.err" >"$T/$h.out" || { cat "$T/$h.out"; failed=1; }
done
[ $failed = 0 ] || fail "see above; OSFS_FUZZ_IMAGES=DIR (tests/fuzz/images DIR) and tests/fuzz/replay HARNESS --seeds=N-N --one show it"
# A superblock that claims a terabyte of the smallest groups: refused at once, without memory for them.
if command -v python3 >/dev/null && [ -c /dev/fuse ]; then
    python3 - "$T/huge" <<'PY'
import struct, sys
blocks, per_group, inodes = 1 << 30, 16, 8
groups = (blocks - 1 + per_group - 1) // per_group
sb = bytearray(1024)
for at, v in ((0, groups * inodes), (4, blocks), (0x14, 1), (0x20, per_group), (0x24, per_group), (0x28, inodes), (0x4c, 1), (0x54, 11),
              (0x60, 0x202), (0x64, 1)): struct.pack_into("<I", sb, at, v)
for at, v in ((0x38, 0xef53), (0x3a, 1), (0x3c, 1), (0x58, 128)): struct.pack_into("<H", sb, at, v)
with open(sys.argv[1], "wb") as f:
    f.truncate(1 << 40)
    f.seek(1024)
    f.write(sb)
PY
    limit_kib=1000000
    # AddressSanitizer notes something about every byte that is set aside, used or not.
    ! grep -q -- '--enable-asan' "$build/config.log" 2>/dev/null || limit_kib=4000000
    python3 - $limit_kib "$OSFS" "$T/huge" "$MNT" >"$T/out" 2>&1 <<'PY' || { cat "$T/out" >&2; fail "a superblock of 67 million groups"; }
import resource, subprocess, sys
p = subprocess.run([sys.argv[2], "-o", "ro", *sys.argv[3:]], timeout=60)
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert p.returncode == 32 and kib < int(sys.argv[1]), "exit status %d, %d KiB" % (p.returncode, kib)
PY
    grep -q 'descriptor of group 0' "$T/out" || { cat "$T/out" >&2; fail "the descriptor is not named"; }
fi
note ok
