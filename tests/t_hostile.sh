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
for h in assemble mount journal dir look fsck; do
    "$REPLAY" "$h" --seeds=0-$last 2>"$T/$h.err" | tee "$T/$h.out" | tail -1
    grep -q ' 0 failures,' "$T/$h.out" || { cat "$T/$h.out"; grep -hE 'SUMMARY|Assertion|runtime error|^fuzz:' "$T/$h.err" | head; failed=1; }
    old=("$here"/fuzz/regress/"$h"-*)
    [ -e "${old[0]}" ] || continue
    "$REPLAY" "$h" "${old[@]}" 2>"$T/$h.err" >"$T/$h.out" || { cat "$T/$h.out"; failed=1; }
done
[ $failed = 0 ] || fail "see above; OSFS_FUZZ_IMAGES=DIR (tests/fuzz/images DIR) and tests/fuzz/replay HARNESS --seeds=N-N --one show it"
note ok
