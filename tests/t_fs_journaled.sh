#!/bin/bash
# The unit tests of src/fs once more, on filesystems with a journal: credits are true sums, blocks are got
# back in time, and everything else holds as it does without.
. "$(dirname "$0")/lib.sh"
requires mke2fs e2fsck debugfs
tests="fs_map fs_file fs_xattr"
[ "${OSFS_TEST_TIER:-}" = night ] && tests="$tests fs_dir"
for t in $tests; do
    OSFS_TEST_JOURNAL=1 "$build/tests/test_$t" >"$T/out" 2>&1 || { cat "$T/out" >&2; fail "test_$t"; }
    note "test_$t: $(grep -o 'Checks: [0-9]*' "$T/out" | tail -1)"
done
