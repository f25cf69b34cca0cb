#!/bin/bash
# Arrays in the middle of their lives, handed over both ways: the emulated Debian kernel
# takes over what osfs left clean, degraded, half rebuilt, dirty with a bitmap, with a
# spare, half replaced; osfs takes over the same left by the kernel. No mount is needed.
. "$(dirname "$0")/lib.sh"
requires mdadm md5sum
DRIVE=$build/tests/raid_drive
[ -x "$DRIVE" ] || skip "tests/raid_drive is not built"
drive() { "$DRIVE" "$@" 2>>"$T/drive.log" || { cat "$T/drive.log" >&2; fail "raid_drive $*"; }; }
sum() { drive run -f "$@" -- cat | md5sum | cut -c1-32; }

expect() { local n=$1; shift; echo "$n sum0 $(sum "$@")" >>"$T/expect"; }
# mdadm -X takes a file for a bitmap alone: cut it out, 4 KiB behind a 1.2 superblock.
xray() { dd if="$1" of="$T/bitmap" bs=4k skip=2 count=2 status=none && mdadm -X "$T/bitmap"; }

disks=()		# all images, in the order of the guest's /dev/diskN
images() {	# NAME COUNT: makes images, sets imgs and devs
    local k f
    imgs=() devs=()
    for ((k = 0; k < $2; k++)); do
        f=$T/$1.$k
        truncate -s 7M "$f"
        imgs+=("$f") devs+=("/dev/disk${#disks[@]}")
        disks+=("$f")
    done
    declare -g "imgs_$1=${imgs[*]}" "devs_$1=${devs[*]}"
}
of() { local v="imgs_$1"; read -r -a imgs <<<"${!v}"; }
job=$T/job.sh
cat >"$job" <<'J'
total() { echo 3 >/proc/sys/vm/drop_caches; busybox md5sum /dev/md9 | cut -c1-32; }
settle() { sleep 0.3; while ! grep -q idle /sys/block/md9/md/sync_action; do sleep 0.1; done; }
up() { name=$1; shift; mdadm --assemble /dev/md9 --run "$@" >/tmp/err 2>&1 || { echo "$name: mdadm does not assemble it: $(cat /tmp/err)"; return 1; }; echo "$name sum0 $(total)"; }
members() { sed -n '/^md9/{n;s/.*\[\([U_]*\)\]$/\1/p;}' /proc/mdstat; }
scrub() { settle; echo check >/sys/block/md9/md/sync_action; settle; echo "$1 mismatch $(cat /sys/block/md9/md/mismatch_cnt)"; }
down() { name=$1; settle; [ "${name#k}" != "$name" ] || scrub "$name"; echo "$name members $(members)"
    dd if=/job/job.sh of=/dev/md9 bs=4k seek=100 conv=fsync 2>/dev/null
    echo "$name sum $(total)"; mdadm --stop /dev/md9 >/dev/null 2>&1; }
new() { name=$1; shift; mdadm --create /dev/md9 --run --assume-clean "$@" >/tmp/err 2>&1 || { echo "$name: mdadm --create: $(cat /tmp/err)"; return 1; }
    seq 300000 | head -c 1500000 | dd of=/dev/md9 bs=64k conv=fsync 2>/dev/null; }
J

# ---- what osfs leaves -------------------------------------------------------------------
images clean 3
drive create 5 - 16 bitmap=64 0 "${imgs[@]}"
drive run "${imgs[@]}" -- fill=1
xray "${imgs[0]}" >"$T/x" || fail "mdadm -X does not read our bitmap"
grep -q 'Version : 4' "$T/x" && grep -q 'Chunksize : 64 KB' "$T/x" && grep -q ', 0 dirty' "$T/x" ||
    { cat "$T/x" >&2; fail "mdadm -X says something else of a clean bitmap"; }
echo "up clean ${devs[*]} && down clean" >>"$job"
expect clean "${imgs[@]}"

images degraded 3
drive create 5 ra 16 bitmap=64 0 "${imgs[@]}"
drive run "${imgs[@]}" -- fill=2 idle fail=1 write=3,5
xray "${imgs[0]}" | grep -Eq ' [1-9][0-9]* dirty' || fail "no region is dirty in a degraded array's bitmap"
mdadm --examine "${imgs[0]}" | grep -q 'Array State : A.A ' || fail "mdadm --examine does not see the loss"
echo "up degraded ${devs[0]} ${devs[2]} && { mdadm /dev/md9 --re-add ${devs[1]} >/tmp/err 2>&1 || echo \"degraded: no re-add: \$(cat /tmp/err)\"; down degraded; }" >>"$job"
expect degraded "${imgs[0]}" "${imgs[2]}"

images half 5
drive create 6 - 16 none 0 "${imgs[@]:0:4}"
drive run "${imgs[@]:0:4}" -- fill=4 fail=1 remove=1 add="${imgs[4]}" step=30
mdadm --examine "${imgs[4]}" | grep -q 'Recovery Offset' || fail "a half rebuilt member has no recovery offset"
expect half "${imgs[0]}" "${imgs[2]}" "${imgs[3]}" "${imgs[4]}"
echo "up half ${devs[0]} ${devs[2]} ${devs[3]} ${devs[4]} && down half" >>"$job"

images dirty 3
drive create 5 - 16 bitmap=64 0 "${imgs[@]}"
echo "dirty sum0 $(drive run "${imgs[@]}" -- fill=5 idle write=6,3 cat kill | md5sum | cut -c1-32)" >>"$T/expect"
mdadm --examine "${imgs[0]}" | grep -q 'State : active' || fail "the killed array is not active"
xray "${imgs[0]}" | grep -Eq ' [1-9][0-9]* dirty' || fail "no region is dirty after writes"
echo "up dirty ${devs[*]} && down dirty" >>"$job"

images spare 3
drive create 1 - 0 none 1 "${imgs[@]}"
drive run "${imgs[@]}" -- fill=7
expect spare "${imgs[@]}"
echo "up spare ${devs[*]} && { mdadm /dev/md9 --fail ${devs[0]} >/dev/null 2>&1; down spare; }" >>"$job"

images repl 5
drive create 10 n2 16 bitmap=64 1 "${imgs[@]}"
drive run "${imgs[@]}" -- fill=8 replace=1 step=30
mdadm --examine "${imgs[4]}" | grep -q 'Recovery Offset' || fail "a replacement has no recovery offset"
expect repl "${imgs[@]}"
echo "up repl ${devs[*]} && down repl" >>"$job"

# ---- what the kernel leaves ---------------------------------------------------------------
images kclean 3
echo "new kclean --level=5 --chunk=16 -n 3 --bitmap=internal --bitmap-chunk=64K --delay=1 ${devs[*]} && down kclean" >>"$job"
images kdegraded 3
echo "new kdegraded --level=5 --chunk=16 -n 3 --bitmap=internal --bitmap-chunk=64K --delay=1 ${devs[*]} && { sleep 3; mdadm /dev/md9 --fail ${devs[1]} --remove ${devs[1]} >/dev/null 2>&1; down kdegraded; }" >>"$job"
images khalf 3
echo "new khalf --level=1 -n 2 ${devs[0]} ${devs[1]} && { mdadm /dev/md9 --fail ${devs[1]} --remove ${devs[1]} >/dev/null 2>&1
 echo 300 >/sys/block/md9/md/sync_speed_max; echo 300 >/sys/block/md9/md/sync_speed_min; mdadm /dev/md9 --add ${devs[2]} >/dev/null 2>&1; sleep 3
 echo khalf sum \$(total); mdadm --stop /dev/md9 >/dev/null 2>&1; }" >>"$job"
images kdirty 3
images kcopy 3
read -r -a from <<<"$devs_kdirty"
echo "new kdirty --level=5 --chunk=16 -n 3 --bitmap=internal --bitmap-chunk=64K --delay=1 ${from[*]} && { dd if=/job/job.sh of=/dev/md9 bs=4k seek=300 conv=fsync 2>/dev/null
 for i in 0 1 2; do set -- ${from[*]}; shift \$i; a=\$1; set -- ${devs[*]}; shift \$i; dd if=\$a of=\$1 bs=64k conv=fsync 2>/dev/null; done
 echo kcopy sum \$(total); mdadm --stop /dev/md9 >/dev/null 2>&1; }" >>"$job"
images kspare 5
echo "new kspare --level=6 --chunk=16 -n 4 --spare-devices=1 ${devs[*]} && down kspare" >>"$job"

rc=0
"$here/qemu/guest" "$job" "${disks[@]}" >"$T/guest.out" || rc=$?
[ $rc = 77 ] && skip "no emulator, kernel, or tool for it"
[ $rc = 0 ] || { cat "$T/guest.out" >&2; fail "the guest's job failed"; }
grep -E 'mismatch [1-9]' "$T/guest.out" && fail "the kernel's check found mismatches"
grep ' sum0 ' "$T/guest.out" | diff "$T/expect" - || fail "the kernel reads our arrays differently"
grep -vE '^[a-z]+ (sum0? [0-9a-f]{32}|members U+|mismatch 0)$' "$T/guest.out" | grep -v '^kdegraded members U_U$' &&
    { cat "$T/guest.out" >&2; fail "the guest complained"; }
guest() { sed -n "s/^$1 sum //p" "$T/guest.out"; }

# ---- and osfs takes over ---------------------------------------------------------------------
same() {	# NAME IMAGE...: as the guest left it, and redundancy agrees
    local who=$1 want
    shift
    want=$(guest "$who")
    [ -n "$want" ] || fail "$who: the guest gave no sum"
    [ "$(sum "$@")" = "$want" ] || fail "$who: osfs reads it differently than the kernel"
}
whole() {	# NAME IMAGE...
    local who=$1
    shift
    drive run "$@" -- finish check status >"$T/status"
    grep -q '^mismatch 0$' "$T/status" || { cat "$T/status" >&2; fail "$who: mismatches"; }
    grep -q ', degraded' "$T/status" && { cat "$T/status" >&2; fail "$who: still degraded"; }
    same "$who" "$@"
    note "$who: ok"
}
of clean; whole clean "${imgs[@]}"
of degraded; whole degraded "${imgs[@]}"
of half; whole half "${imgs[0]}" "${imgs[2]}" "${imgs[3]}" "${imgs[4]}"
of dirty; whole dirty "${imgs[@]}"
of spare; whole spare "${imgs[1]}" "${imgs[2]}"
of repl; whole repl "${imgs[0]}" "${imgs[2]}" "${imgs[3]}" "${imgs[4]}"
of kclean; whole kclean "${imgs[@]}"
of kdegraded
same kdegraded "${imgs[0]}" "${imgs[2]}"
drive run "${imgs[0]}" "${imgs[2]}" -- re-add="${imgs[1]}"
grep -q 'only what was written since it left is copied' "$T/drive.log" || fail "kdegraded: no re-add"
whole kdegraded "${imgs[@]}"
of khalf
mdadm --examine "${imgs[2]}" | grep -q 'Recovery Offset' || fail "khalf: the kernel left no half rebuilt member"
same khalf "${imgs[0]}" "${imgs[2]}"
whole khalf "${imgs[0]}" "${imgs[2]}"
of kcopy
xray "${imgs[0]}" | grep -Eq ' [1-9][0-9]* dirty' || fail "kcopy: the kernel left no dirty region"
whole kcopy "${imgs[@]}"
of kspare
drive run "${imgs[@]}" -- fail=0 finish check >"$T/status"
grep -q '^mismatch 0$' "$T/status" || fail "kspare: the spare was not filled"
same kspare "${imgs[1]}" "${imgs[2]}" "${imgs[3]}" "${imgs[4]}"
note "kspare: ok"
