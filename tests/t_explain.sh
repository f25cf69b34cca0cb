#!/bin/bash
# explain, forth and back, for every block of a small filesystem on each level: what it says of
# places is proved by the bytes there, what it says of owners by debugfs' icheck, ncheck and testb.
. "$(dirname "$0")/lib.sh"
requires_fuse
requires debugfs python3
DUMP=$build/dump.osfs

S=$T/src
mkdir -p "$S/sub/deep" "$S/many"
head -c 900000 /dev/urandom >"$S/double"
head -c 30000 /dev/urandom >"$S/single"
head -c 700 /dev/urandom >"$S/sub/small"
printf x | dd of="$S/sub/deep/triple" bs=1 seek=70000000 status=none
ln -s "$(printf 'y%.0s' {1..200})" "$S/slow"
ln "$S/single" "$S/sub/again"
for i in $(seq 200); do : >"$S/many/name-number-$i"; done
setfattr -n user.long -v "$(printf 'z%.0s' {1..300})" "$S/single" 2>/dev/null || true

cat >"$T/check.py" <<'P'
import json, os, re, subprocess, sys
dump, src, vol = sys.argv[1:4]
members = sys.argv[4:]
def ours(*a):
    p = subprocess.run([dump, "--json", *members, "explain", *a], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 0, (a, p.returncode, p.stderr, p.stdout[-400:])
    return json.loads(p.stdout)
def debugfs(r):
    return subprocess.run(["debugfs", "-R", r, vol], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
fds = {m: os.open(m, os.O_RDONLY) for m in members}
vfd = os.open(vol, os.O_RDONLY)
vsects = os.fstat(vfd).st_size // 512
array = len(members) > 1
def raw(member, sect, nr): return os.pread(fds[member], nr * 512, sect * 512)
def volume(sect, nr): return os.pread(vfd, nr * 512, sect * 512)

# forth: every byte of every file is where it says, in every copy; P is the sum of what it covers
forth = {}			# block: set of (path, kind)
for top, dirs, files in os.walk(src):
    for name in [""] + files[:3]:
        full = os.path.join(top, name) if name else top
        path = "/" + os.path.relpath(full, src) if full != src else "/"
        e = ours(path)
        bs = e["block_bytes"]
        if os.path.isfile(full) and not os.path.islink(full):
            want, got = open(full, "rb").read(), bytearray(e["size"])
            assert len(want) == e["size"]
        for p in e["pieces"]:
            for b in range(p["block"], p["block"] + p["nr_blocks"]): forth.setdefault(b, set()).add((path, p["kind"]))
            for q in p["places"]:
                data = raw(q["member"], q["sector"], q["nr_sectors"])
                at = q.get("volume_sector", q["sector"])
                assert data == volume(at, q["nr_sectors"]), (path, q)
                if p["kind"] == "data" and os.path.isfile(full) and not os.path.islink(full):
                    off = p["lblk"] * bs + (at - p["volume_sector"]) * 512
                    got[off:off + len(data)] = data[:max(0, e["size"] - off)]
        if os.path.isfile(full) and not os.path.islink(full):
            assert bytes(got[:len(want)]) == want, path
bs = ours("/")["block_bytes"]
one = ours("/double@654321")
assert len(one["pieces"]) == 1 and one["pieces"][0]["nr_sectors"] == 1, one
byte = open(os.path.join(src, "double"), "rb").read()[654321]
for q in one["pieces"][0]["places"]: assert raw(q["member"], q["sector"], 1)[654321 % 512] == byte

# back by block: agrees with forth, and with debugfs
nr_blocks = int(re.search(r"Block count: *(\d+)", debugfs("stats")).group(1))
back = {}
for a in ours("--blocks=0-%d" % (nr_blocks - 1))["answers"]:
    for o in a["owners"]:
        for b in range(o["block"], o["block"] + o["nr_blocks"]): back.setdefault(b, []).append(o)
assert set(back) == set(range(nr_blocks)), "blocks without an answer"
for b, users in forth.items():
    if users and all(k == "inode" for _, k in users):
        assert back[b][0]["owner"] == "inode table", (b, back[b])
        continue
    want = {os.stat(os.path.join(src, p[1:]), follow_symlinks=False).st_ino for p, k in users if k != "inode"}
    got = {os.stat(os.path.join(src, o["path"][1:]), follow_symlinks=False).st_ino for o in back[b]}
    assert want == got, (b, users, back[b])
icheck, used = {}, {}
blocks = sorted(back)
for i in range(0, nr_blocks, 1000):
    for l in debugfs("icheck " + " ".join(map(str, blocks[i:i + 1000]))).splitlines()[1:]:
        b, ino = l.split("\t")
        icheck[int(b)] = int(ino) if ino.isdigit() else None
    for l in debugfs("testb %d %d" % (max(i, 1), 1000)).splitlines():
        m = re.match(r"Block (\d+) (not in use|marked in use)", l)
        if m: used[int(m.group(1))] = m.group(2) != "not in use"
fixed = {"superblock", "group descriptors", "reserved group descriptors", "block bitmap", "inode bitmap", "inode table", "boot block"}
inodes = set()
for b in blocks:
    o = back[b][0]
    if "inode" in o:
        assert icheck.get(b) == o["inode"], (b, o, icheck.get(b))
        inodes.add(o["inode"])
    else:
        assert icheck.get(b) is None or o["owner"] in fixed, (b, o, icheck.get(b))
    if b in used: assert used[b] == (o["owner"] != "free"), (b, o)
paths = {o["inode"]: o["path"] for l in back.values() for o in l if "path" in o}
for l in debugfs("ncheck " + " ".join(map(str, sorted(inodes)))).splitlines()[1:]:
    ino, path = l.split("\t", 1)
    names = [x.split("\t", 1)[1] for x in debugfs("ncheck " + ino).splitlines()[1:]] if paths.get(int(ino)) != path else [path]
    norm = lambda n: "/" + n.strip("/")	# debugfs has //lost+found
    assert norm(paths[int(ino)]) in map(norm, names), (ino, path, paths[int(ino)])

# back by member: what it calls data has the volume's bytes, every volume sector is on as many members as there are copies
if array:
    seen, parity, copies = [0] * vsects, 0, set()
    for slot, m in enumerate(members):
        nr = os.fstat(fds[m]).st_size // 512
        at = 0
        for a in ours("--member=" + m, "--sectors=0-%d" % (nr - 1))["answers"]:
            assert a["sector"] == at, (a, at)
            at += a["nr_sectors"]
            if a["what"] == "data":
                assert raw(m, a["sector"], a["nr_sectors"]) == volume(a["volume_sector"], a["nr_sectors"]), a
                for s in range(a["volume_sector"], a["volume_sector"] + a["nr_sectors"]): seen[s] += 1
                copies.add(a.get("copy", 0))
                assert a["owners"], a
            elif a["what"] in ("P", "Q"):
                parity += a["nr_sectors"]
            elif a["what"] == "md superblock":
                assert raw(m, a["sector"], 1)[:4] == b"\xfc\x4e\x2b\xa9", a
        assert at == nr
    assert set(seen) == {len(copies)}, set(seen)
    print("%d volume sectors, %d copies, %d sectors of parity, %d blocks" % (vsects, len(copies), parity, nr_blocks))
P

one() {	# one WHAT COUNT MKFS-OPTION...
    local what=$1 n=$2
    shift 2
    members "$n"
    rm -f "${IMGS[@]}"
    "$MKFS" -q -b 1024 -N 1000 -d "$S" "$@" "${IMGS[@]}" || fail "$what: mkfs.osfs"
    "$OSFS" volume --pid-file "$T/vol.pid" -o ro "${IMGS[@]}" "$VOL" 2>"$T/out" || fail "$what: osfs volume"
    mounted+=("$VOL")
    cp --sparse=always "$VOL/volume" "$T/volume"
    "$OSFS" umount "$VOL"
    python3 "$T/check.py" "$DUMP" "$S" "$T/volume" "${IMGS[@]}" || fail "$what"
    note "$what: ok"
}
for level in ${OSFS_LEVELS:-single 0 1 4 5 6 10 linear}; do
    case $level in
    single) one single 1 --size=12M ;;
    0) one "RAID 0" 3 --level=0 --size=6M --chunk=16 ;;
    1) one "RAID 1" 3 --level=1 --size=12M ;;
    linear) one linear 3 --level=linear --size=6M ;;
    4) one "RAID 4" 4 --level=4 --chunk=8 --size=6M ;;
    5) one "RAID 5" 4 --level=5 --chunk=64 --size=6M --metadata=1.0
       [ -n "${OSFS_SMALL:-}" ] || one "RAID 5, ra" 3 --level=5 --layout=ra --chunk=16 --size=8M ;;
    6) one "RAID 6" 5 --level=6 --chunk=32 --size=6M ;;
    10) one "RAID 10, near" 4 --level=10 --chunk=16 --size=8M
        one "RAID 10, far" 3 --level=10 --layout=f2 --chunk=16 --size=10M
        one "RAID 10, offset" 3 --level=10 --layout=o2 --chunk=16 --size=10M ;;
    esac
done

# lists of bad sectors, in the ways in which others write them
members 3
rm -f "${IMGS[@]}"
"$MKFS" -q --level=5 --chunk=64 --size=8M -d "$S" "${IMGS[@]}"
"$DUMP" --json "${IMGS[@]}" explain /single >"$T/one"
sect=$(python3 -c 'import json,sys; print([p for p in json.load(open(sys.argv[1]))["pieces"] if p["kind"] == "data"][0]["places"][0]["sector"])' "$T/one")
member=$(python3 -c 'import json,sys; print([p for p in json.load(open(sys.argv[1]))["pieces"] if p["kind"] == "data"][0]["places"][0]["slot"])' "$T/one")
printf '%d\n%d-%d\n8\n' "$((sect + 1))" "$sect" "$sect" >"$T/list"
printf '%d\n' $((sect / 2)) >"$T/badblocks"
printf '# Mapfile. Created by GNU ddrescue\n0x0 + 1\n0x0 0x%x +\n0x%x 0x200 -\n0x%x 0x1000 +\n' $((sect * 512)) $((sect * 512)) $((sect * 512 + 512)) >"$T/map"
for list in "--list=$T/list" "--list=$T/badblocks --unit=1024" "--list=$T/map"; do
    "$DUMP" "${IMGS[@]}" explain --member="$member" $list >"$T/out" || { cat "$T/out" >&2; fail "explain $list"; }
    grep -qE 'file /(single|sub/again) \(inode [0-9]+, has more names\), bytes 0-' "$T/out" || { cat "$T/out" >&2; fail "explain $list does not name the file"; }
done
"$DUMP" "${IMGS[@]}" explain --member="$member" "--list=$T/list" | grep -q 'sector 8: md superblock' || fail "the list's last line"

# a mounted one says the same, of what is not on disk yet too
mount_osfs "${IMGS[@]}"
"$OSFSCTL" explain "$MNT" /single --json >"$T/two" || fail "osfsctl explain"
python3 -c 'import json,sys; a, b = [json.load(open(f)) for f in sys.argv[1:]]; assert a == b, (a, b)' "$T/one" "$T/two" ||
    fail "osfsctl explain says something else than dump.osfs"
head -c 300000 /dev/urandom >"$MNT/fresh"
"$OSFSCTL" explain "$MNT" "$MNT/fresh@200000" >"$T/out" || fail "osfsctl explain of a fresh file"
block=$(sed -n 's/.*filesystem block \([0-9]*\),.*/\1/p' "$T/out")
"$OSFSCTL" explain "$MNT" --blocks="$block" | grep -q ': file /fresh (inode' || fail "a fresh block has no owner"
"$OSFSCTL" explain "$MNT" --member="$member" --list="$T/list" | grep -qE 'file /(single|sub/again) ' || fail "osfsctl explain --list"
"$OSFSCTL" explain "$MNT" --member=1 --sectors=8 | grep -q ': md superblock' || fail "osfsctl explain: md superblock"
umount_osfs
"$DUMP" "${IMGS[@]}" explain --blocks="$block" | grep -q ': file /fresh (inode' || fail "the fresh block on disk"

# mistakes are named
wrong() { local p=$1; shift; if "$DUMP" "${IMGS[@]}" explain "$@" >"$T/out" 2>&1; then fail "explain $*"; fi
    grep -qE -- "$p" "$T/out" || { cat "$T/out" >&2; fail "explain $*: no '$p'"; }; }
wrong 'nosuch' /nosuch
wrong 'has 700 bytes' /sub/small@700
wrong "no member '7'" --member=7 --sectors=1
wrong 'of which member' --sectors=1
wrong 'no range' --member=0 --sectors=5-
wrong 'has 16384 sectors' --member=0 --sectors=16384
wrong 'the filesystem has' --blocks=99999999
wrong 'say what'

# a member that is gone: what lay there can still be said
"$DUMP" "${IMGS[@]:1}" explain /double 2>/dev/null | grep -q 'missing (slot 0), sectors* .* of its data' ||
    fail "a missing member"
IMGS=("${IMGS[@]:1}")
wrong 'slot 0 is missing' --member=0 --sectors=5
note ok
