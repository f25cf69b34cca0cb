#!/bin/bash
# dump.osfs: what it shows is what dumpe2fs, debugfs and mdadm show of the same images; damage is
# said in place.
. "$(dirname "$0")/lib.sh"
requires dumpe2fs debugfs mke2fs mdadm python3
DUMP=$build/dump.osfs

# A small tree with everything that has a structure of its own.
S=$T/src
mkdir -p "$S/sub" "$S/few"
seq 60000 >"$S/double"
seq 3000 >"$S/single"
echo tiny >"$S/tiny"
printf x | dd of="$S/triple" bs=1 seek=70000000 status=none
ln -s tiny "$S/fast"
ln -s "$(printf 'y%.0s' {1..200})" "$S/slow"
for i in $(seq 600); do : >"$S/sub/name-number-$i"; done
: >"$S/few/one"

cat >"$T/compare.py" <<'P'
import json, re, subprocess, sys
dump, img = sys.argv[1], sys.argv[2]
env = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
def run(*a, rc=0):
    p = subprocess.run(a, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert rc is None or p.returncode == rc, (a, p.returncode, p.stdout[-500:], p.stderr)
    return p.stdout.decode("utf-8", "replace")
def ours(*a): return json.loads(run(dump, "--json", img, *a))
def debugfs(r): return run("debugfs", "-R", r, img)
def fields(text):
    return {k.strip(): re.sub(r"\s+", " ", v).strip() for k, v in (l.split(":", 1) for l in text.splitlines() if ":" in l)}

# superblock: every field that both show
a, b = fields(run(dump, img, "super")), fields(run("dumpe2fs", "-h", img))
for k in b:
    if k in a and k != "Lifetime writes":
        assert a[k] == b[k], (k, a[k], b[k])
missing = set(b) - set(a) - {"Journal backup", "Journal features", "Total journal size", "Total journal blocks", "Max transaction length",
    "Fast commit length", "Journal sequence", "Journal start", "Journal checksum type", "Journal checksum"}
assert not missing, missing
sb = ours("super")

# groups and bitmaps
text = run("dumpe2fs", img)
def spans(s): return [[int(x) for x in (p.split("-") * 2)[:2]] for p in s.replace(" ", "").split(",") if p]
for g in ours("groups")["groups"]:
    n = g["group"]
    part = re.search(r"^Group %d:.*?(?=^Group \d|\Z)" % n, text, re.S | re.M).group(0)
    assert "Block bitmap at %d " % g["block_bitmap"] in part and "Inode bitmap at %d " % g["inode_bitmap"] in part, (g, part)
    assert "Inode table at %d-" % g["inode_table"] in part, part
    m = re.search(r"(\d+) free blocks, (\d+) free inodes, (\d+) directories", part)
    assert [int(x) for x in m.groups()] == [g["free_blocks"], g["free_inodes"], g["directories"]], (g, part)
    assert ours("bitmap", "block", str(n))["free"] == spans(re.search(r"Free blocks:(.*)", part).group(1)), n
    assert ours("bitmap", "inode", str(n))["free"] == spans(re.search(r"Free inodes:(.*)", part).group(1)), n

# inodes: fields and every block of the tree, in debugfs' order
for path in ["/", "/double", "/single", "/tiny", "/triple", "/fast", "/slow", "/sub", "/few"] + (["<8>"] if "journal_inode" in sb else []):
    i, st = ours("inode", path), debugfs("stat " + path)
    assert "Inode: %d " % i["inode"] in st and "Size: %d" % i["size"] in st and "Links: %d " % i["links"] in st, (i, st)
    assert "Mode:  %04o" % i["mode"] in st and "Flags: 0x%x" % i["flags"] in st, (i, st)
    assert ("checksum" in i) == ("Inode checksum:" in st), st
    assert "checksum" not in i or "Inode checksum: 0x%08x" % i["checksum"] in st, (i, st)
    if "blocks" in i:
        mine = []
        for p in i["blocks"]:
            mine += [p["pblk"]] if "map" in p else range(p["pblk"], p["pblk"] + p["nr"])
        assert mine == [int(x) for x in debugfs("blocks " + path).split()], path

# directories: entries, and the hash tree
for path in ["/", "/sub", "/few"]:
    d = ours("dir", path)
    theirs = sorted((int(f[1]), f[5]) for f in (l.split("/") for l in debugfs("ls -p " + path).splitlines()) if len(f) > 6)
    mine = sorted((e["inode"], e["name"]) for e in d["entries"] if e["inode"])
    if d["inode"] != 2 and "parent" in d:
        theirs = [t for t in theirs if t[1] not in (".", "..")]
    mine = [m for m in mine if "parent" not in d or m[1] not in (".", "..")]
    assert mine == theirs, (path, mine[:5], theirs[:5])
    if path == "/sub":
        tree = list(dict.fromkeys(re.findall(r"Entry #\d+: Hash 0x([0-9a-f]+)(?: \(\d+\))?, block (\d+)", debugfs("htree_dump /sub"))))	# each is shown twice
        assert [(int(h, 16), int(n)) for h, n in tree] == [(e["hash"], e["lblk"]) for e in d.get("index", [])], tree
        assert tree or len(sys.argv) < 4, "no tree"
P

one() {	# one WHAT MKFS-COMMAND...
    local what=$1
    shift
    rm -f "$T/img"
    truncate -s 48M "$T/img"
    "$@" >/dev/null 2>&1 || fail "$what: $*"
    TZ=UTC python3 "$T/compare.py" "$DUMP" "$T/img" $(case $what in ours*) echo tree ;; esac) || fail "$what differs"
}
one "ours" "$MKFS" -q -b 1024 -N 3000 -L label -d "$S" "$T/img"
one "ours with inline data" "$MKFS" -q -b 1024 -N 3000 -O inline_data -d "$S" "$T/img"
one "ext4" mke2fs -q -F -t ext4 -b 1024 -N 3000 -d "$S" "$T/img"
one "ext4 with 4 KiB blocks" mke2fs -q -F -t ext4 -b 4096 -N 3000 -O meta_bg,^resize_inode -d "$S" "$T/img"
one "ext2" mke2fs -q -F -t ext2 -b 1024 -N 3000 -d "$S" "$T/img"

# attributes and contents in the inode
rm -f "$T/img"
truncate -s 16M "$T/img"
mke2fs -q -F -t ext4 -O inline_data "$T/img"
head -c 100 /dev/zero | tr '\0' v >"$T/value"
printf '%s\n' "write $S/tiny tiny" "ea_set tiny user.color blue" "ea_set -f $T/value tiny user.long" >"$T/cmd"
debugfs -w -f "$T/cmd" "$T/img" >/dev/null 2>&1
"$DUMP" "$T/img" inode /tiny >"$T/out" || { cat "$T/out"; fail "an inode with attributes"; }
grep -q 'user.color (4) = "blue"' "$T/out" || { cat "$T/out"; fail "no user.color"; }
grep -q 'user.long (100) = "vvvv' "$T/out" || { cat "$T/out"; fail "no user.long"; }
grep -q 'Inline data: *tiny\\012' "$T/out" || { cat "$T/out"; fail "no inline data"; }

# md: every field that mdadm shows too
for conf in "5 1.2 4" "6 1.1 5" "10 1.0 4" "1 0.90 2" "0 1.2 3"; do
    set -- $conf
    members "$3"
    rm -f "${IMGS[@]}"
    "$MKFS" -q --level="$1" --metadata="$2" --size=16M "${IMGS[@]}"
    for m in "${IMGS[@]}"; do
        "$DUMP" "$m" md >"$T/a" || { cat "$T/a"; fail "md of level $1, metadata $2"; }
        mdadm --examine "$m" >"$T/b"
        python3 - "$T/a" "$T/b" <<'P' || fail "level $1, metadata $2: mdadm shows something else"
import re, sys
def f(p): return {k.strip(): re.sub(r"\s+", " ", v).strip() for k, v in (l.split(" : " if " : " in l else ":", 1) for l in open(p) if ":" in l)}
a, b = f(sys.argv[1]), f(sys.argv[2])
n = 0
for k in set(a) & set(b) - {"Used Dev Size", "Avail Dev Size"}:
    v = b[k].split(" (local")[0]
    assert a[k] == v or (k == "Checksum" and a[k] == v), (k, a[k], v)
    n += 1
assert n >= 10, (sorted(a), sorted(b))
for k in {"Used Dev Size", "Avail Dev Size"} & set(a) & set(b):
    assert a[k].split()[0] == b[k].split()[0], (k, a[k], b[k])
P
    done
    "$DUMP" "${IMGS[@]}" dir / >/dev/null || fail "a directory on level $1"
done

# a journal that has something to replay
rm -f "$T/img"
truncate -s 32M "$T/img"
mke2fs -q -F -t ext4 -b 1024 "$T/img"
printf 'jo\njw -b 333 /dev/zero\njw -r 333\njc\n' >"$T/cmd"
debugfs -w -f "$T/cmd" "$T/img" >/dev/null 2>&1
debugfs -R 'logdump -a' "$T/img" >"$T/log" 2>/dev/null
"$DUMP" --json "$T/img" journal >"$T/out" || { cat "$T/out"; fail "journal"; }
python3 - "$T/out" "$T/log" <<'P' || fail "the journal's transactions differ from debugfs'"
import json, re, sys
j, log = json.load(open(sys.argv[1])), open(sys.argv[2]).read()
mine = [t["sequence"] for t in j["transactions"] if t["committed"]]
theirs = sorted({int(x) for x in re.findall(r"Found expected sequence (\d+), type 2 \(commit", log)})
assert mine == theirs and len(mine) == 2, (mine, theirs)
assert [t["copies"] for t in j["transactions"]] == [1, 0] and [t["revoked"] for t in j["transactions"]] == [0, 1], j
P

# damage is said, and the rest is shown
rm -f "$T/img"
"$MKFS" -q -b 1024 --size=32M -d "$S" "$T/img"
damaged() {	# damaged PATTERN WHAT...
    local pattern=$1 rc=0
    shift
    "$DUMP" "$T/bad" "$@" >"$T/out" 2>&1 || rc=$?
    [ $rc = 1 ] || { tail -n 5 "$T/out" >&2; fail "$*: exit status $rc, not 1"; }
    grep -qE "^ *!! .*$pattern" "$T/out" || { tail -n 5 "$T/out" >&2; fail "$*: no line '!! $pattern'"; }
    "$DUMP" --json "$T/bad" "$@" | python3 -c 'import json,sys; json.load(sys.stdin)' || fail "$*: no JSON"
}
poke() { printf "$3" | dd of="$T/bad" bs=1 seek=$(($1 * 1024 + $2)) conv=notrunc status=none; }
ind=$(debugfs -R 'stat /double' "$T/img" 2>/dev/null | grep -o '(IND):[0-9]*' | head -1 | cut -d: -f2)
leaf=$(debugfs -R 'blocks /sub' "$T/img" 2>/dev/null | awk '{print $2}')
root=$(debugfs -R 'blocks /sub' "$T/img" 2>/dev/null | awk '{print $1}')
cp "$T/img" "$T/bad"; poke "$ind" 0 '\377\377\377\377'
damaged 'does not exist' inode /double
[ "$(grep -c 'IND' "$T/out")" -gt 1 ] || fail "the rest of the tree is not shown"
cp "$T/img" "$T/bad"; poke "$leaf" 4 '\003'
damaged 'bad rec_len' dir /sub
[ "$(grep -c name-number "$T/out")" -gt 400 ] || fail "the other blocks are not shown"
cp "$T/img" "$T/bad"; poke "$root" 40 '\377'
damaged 'checksum' dir /sub
cp "$T/img" "$T/bad"; poke 1 1020 'x'
damaged 'superblock: checksum' super
cp "$T/img" "$T/bad"; poke 1 24 '\011'
damaged 's_log_block_size cannot be 9' super
cp "$T/img" "$T/bad"; poke 2 12 '\377\177'
damaged 'descriptor of group 0: checksum' groups
members 3
rm -f "${IMGS[@]}"
"$MKFS" -q --level=5 --size=16M "${IMGS[@]}"
cp "${IMGS[0]}" "$T/bad"; poke 4 100 'x'
damaged 'checksum does not match' md

# usage
rc=0; "$DUMP" "$T/img" >/dev/null 2>&1 || rc=$?; [ $rc = 2 ] || fail "no word: exit status $rc"
rc=0; "$DUMP" "$T/nosuch" super >/dev/null 2>&1 || rc=$?; [ $rc = 4 ] || fail "no image: exit status $rc"
rc=0; "$DUMP" "$T/img" inode /nosuch >"$T/out" 2>&1 || rc=$?; [ $rc = 4 ] || fail "no file: exit status $rc"
grep -q 'nosuch: No such file' "$T/out" || fail "the missing path is not named"
note ok
