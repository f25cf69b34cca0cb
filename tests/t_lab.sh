#!/bin/bash
# t_lab.sh: crash states by the ten thousand: all single operations on a single image in each data
# mode, on RAID 1, 5, 6 and 10, with a member that fails, pairs by seed. OSFS_TEST_TIER=night: all
# states of all of them, and of many more pairs.
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
    lab 100 --workloads=pairs --sample=2000 --e2fsck=1000
    lab 20 --level=5 --workloads=pairs --sample=500 --e2fsck=1000
else
    lab 12 --e2fsck=150
    lab 3 --data=journal --e2fsck=150
    lab 3 --data=writeback --e2fsck=150
    lab 2 --level=1 --e2fsck=150
    lab 1 --level=5 --e2fsck=150
    lab 1 --level=6 --e2fsck=150
    lab 1 --level=1 --failing-member --e2fsck=150
    lab 10 --workloads=pairs --sample=30 --e2fsck=150
    [ "$states" -ge 20000 ] || fail "only $states states"
fi
note "$states crash states, none breaks a promise"
