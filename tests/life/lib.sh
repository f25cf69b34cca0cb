# tests/life/lib.sh: for tests of arrays' lives, after tests/lib.sh: applications that work on $MNT,
# questions to the array.
# shellcheck shell=bash
requires_fuse
requires e2fsck mdadm python3 git sqlite3 tar

small=${OSFS_SMALL:-}	# sanitizer builds: the same things, fewer of them
seconds=2
[ -z "$small" ] || seconds=1
[ "${OSFS_TEST_TIER:-all}" != night ] || seconds=30
seed=${OSFS_SEED:-20261}
trap 'note "seed $seed"' ERR

mkdir "$T/src"
cp "$here"/*.sh "$here"/test_[bcr]*.c "$T/src"

# What an application mix leaves behind must be whole; any complaint is in $T/apps.out.
apps() {
    local top=$1
    "$here/life/writer" "$top/random" "$seed" "$seconds" &
    local writer=$! i=0
    mkdir "$top/w"
    while kill -0 $writer 2>/dev/null; do
        i=$((i + 1))
        mkdir "$top/w/$i" || return 1
        tar -C "$T/src" -cf "$top/w/$i/t.tar" . && tar -C "$top/w/$i" -xf "$top/w/$i/t.tar" || return 1
        diff -r "$T/src" "$top/w/$i" | grep -v '^Only in .*/w/[0-9]*: t.tar$' && return 1
        (cd "$top/w/$i" && git init -q . && git add -A && git -c user.name=t -c user.email=t@t commit -qm x &&
            git fsck --full >/dev/null 2>&1) || { echo "git in round $i"; return 1; }
        seq 200 | sed 's/.*/insert into t values(&, hex(randomblob(200)));/' |
            (echo 'create table t(a, b); begin;'; cat; echo 'commit;') | sqlite3 "$top/w/$i/db" || return 1
        [ "$(sqlite3 "$top/w/$i/db" 'pragma integrity_check; select count(*) from t;')" = 'ok
200' ] || { echo "sqlite in round $i"; return 1; }
        [ $i -lt 3 ] || rm -rf "$top/w/$((i - 2))"
    done
    wait $writer
}
start_apps() { apps "$MNT" >"$T/apps.out" 2>&1 & apps_pid=$!; }
end_apps() { wait $apps_pid || { cat "$T/apps.out" >&2; fail "$1: the applications noticed"; }; }

state() { "$OSFSCTL" status --json "$MNT" >"$T/status.json" 2>/dev/null || true; }
# holds PYTHON: an expression over a (the array) and by (its members by last part of the name)
holds() {
    state
    python3 - "$T/status.json" "$1" <<'P'
import json, os, sys
a = json.load(open(sys.argv[1]))["array"]
by = {os.path.basename(m["name"]): m for m in a["members"] if m["name"]}
sys.exit(not eval(sys.argv[2]))
P
}
until_holds() {
    local i
    for ((i = 0; i < 300; i++)); do
        holds "$1" && return 0
        sleep 0.1
    done
    cat "$T/status.json" >&2
    fail "$2"
}
made() {	# made COUNT MKFS-OPTION...
    members "$1"
    shift
    rm -f "${IMGS[@]}"
    "$MKFS" -q -j -J size=4 --size=48M "$@" "${IMGS[@]}" || fail "mkfs.osfs $*"
}
cat >"$T/told" <<E
#!/bin/sh
echo "\$*" >>"$T/events"
E
chmod +x "$T/told"
told() { grep -qE "$1" "$T/events" || { cat "$T/events" >&2; fail "no event $1"; }; }

# Scrub finds nothing.
agree() {
    "$OSFSCTL" scrub check "$MNT" >/dev/null || fail "$1: scrub check"
    "$OSFSCTL" wait "$MNT" || fail "$1: degraded"
    holds 'a["scrub"]["last"] == "check" and a["scrub"]["mismatch_sectors"] == 0' ||
        { cat "$T/status.json" >&2; fail "$1: members do not agree"; }
}
