"""drive.py: each damage of tests/fsck, or seeded combinations, against fsck.osfs and e2fsck.

    drive.py --fsck PROGRAM --mkfs PROGRAM --work DIR --tree DIR [--seeds FROM:TO] [--noise FROM:TO]
             [--unreadable FROM:TO] [--bad-sectors FROM:TO] [--osfs PROGRAM --array LEVEL:N[:MISSING]] [NAME...]

For each: fsck.osfs -fn names the expected problems and agrees with e2fsck -fn on clean or not;
after fsck.osfs -fy a second run and e2fsck -fn are clean, and files that the recipe does not
name are unchanged; those it calls moved exist somewhere.

With --array the filesystem lies on an array of N members, of which the last MISSING are not given to
fsck.osfs; e2fsck looks at what the volume holds.
"""
import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import damage  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 60
IMAGES = {
    "base": "{mkfs} -q -b 1024 -N 512 -O ^has_journal --size=16M -d {tree} {img}",
    "nocsum": "{mkfs} -q -b 1024 -N 512 -O ^has_journal,^metadata_csum --size=16M -d {tree} {img}",
    "inline": "{mkfs} -q -b 1024 -N 512 -O ^has_journal,inline_data --size=16M -d {tree} {img}",
    "single": "{mkfs} -q -b 4096 -N 512 -O ^has_journal --size=16M -d {tree} {img}",
    "journal": "{mkfs} -q -b 1024 -N 512 -O has_journal --size=16M -d {tree} {img}",
    "orphan": "mke2fs -q -F -t ext4 -O orphan_file -b 1024 -N 512 -d {tree} {img} 16M",
    "ext4": "mke2fs -q -F -t ext4 -b 1024 -N 512 -d {tree} {img} 16M",
}


class Failed(Exception):
    pass


def run(*args):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
    return p.returncode, p.stdout.decode("utf-8", "replace")


class Array:
    """Members that fsck.osfs is given, and the way of an image onto them and back (osfs volume)."""
    def __init__(self, a):
        level, n, missing = (a.array + ":0").split(":")[:3]
        self.a, self.mnt = a, os.path.join(a.work, "volume")
        members = [os.path.join(a.work, "member%d" % i) for i in range(int(n))]
        self.members = members[:len(members) - int(missing)]
        self.must(a.mkfs, "-q", "-F", "--level=" + level, "--size=24M", *members)
        os.makedirs(self.mnt, exist_ok=True)

    @staticmethod
    def must(*args):
        rc, out = run(*args)
        if rc:
            raise Failed("%s: exit %d\n%s" % (" ".join(args), rc, out))

    def mounted(self, option, mode, fn):
        self.must(self.a.osfs, "volume", "-o", option, *self.members, self.mnt)
        try:
            with open(os.path.join(self.mnt, "volume"), mode) as f:
                return fn(f)
        finally:
            self.must(self.a.osfs, "umount", self.mnt)

    def put(self, img):
        with open(img, "rb") as f:
            data = f.read()
        self.mounted("degraded", "r+b", lambda volume: volume.write(data))

    def get(self, img):
        size = os.path.getsize(img)
        data = self.mounted("ro", "rb", lambda volume: volume.read(size))
        with open(img, "wb") as f:
            f.write(data)


class Recipe:
    def __init__(self, name):
        self.name, self.image, self.damage, self.expect, self.lost, self.moved = name, "base", [], [], [], []
        self.stricter = False   # e2fsck passes over it
        for line in open(os.path.join(HERE, name, "recipe")):
            verb, _, rest = line.strip().partition(" ")
            if verb == "image":
                self.image = rest
            elif verb == "damage":
                self.damage.append(rest)
            elif verb == "expect":
                self.expect.append(rest)
            elif verb == "stricter":
                self.stricter = True
            elif verb in ("lost", "moved"):
                getattr(self, verb).extend(rest.split())


class Driver:
    def __init__(self, a):
        self.a = a
        self.bases, self.used = {}, {}
        self.array = Array(a) if a.array else None

    def base(self, name):
        """(path, {path: hash}, {ino: path}) of an undamaged image."""
        if name not in self.bases:
            img = os.path.join(self.a.work, name + ".base")
            if os.path.exists(img):
                os.unlink(img)
            command = IMAGES[name].format(mkfs=self.a.mkfs, tree=self.a.tree, img=img).split()
            rc, out = run(*command)
            if rc:
                raise Failed("cannot make image %s: %s" % (name, out))
            self.bases[name] = (img, self.manifest(img), self.numbers(img))
        return self.bases[name]

    def numbers(self, img):
        d, found = damage.Image(img), {}

        def walk(ino, path):
            for _, _, i, name in d.entries(ino):
                if name in (".", ".."):
                    continue
                found.setdefault(i, path + "/" + name)
                if d.inode(i)[1] & 0xF0 == 0x40 and not d.inode(i)[35] & 0x10:
                    walk(i, path + "/" + name)
        if not d.inode(2)[35] & 0x10:
            walk(2, "")
        return found

    def manifest(self, img):
        """{path: hash} of files and links: size and contents, where they are not zero."""
        found = {}
        for path, (head, blocks) in self.contents(img).items():
            h = hashlib.sha1(head)
            for lblk, data in sorted(blocks.items()):
                h.update(b"%d:" % lblk + data)
            found[path] = h.hexdigest()
        return found

    @staticmethod
    def contents(img):
        """{path: (size and what is in the inode, {file block: what is not zero})} of files and links."""
        d, found = damage.Image(img), {}

        def walk(ino, path, depth):
            for _, _, i, name in d.entries(ino):
                if name in (".", ".."):
                    continue
                raw = d.inode(i)
                kind, inline = raw[1] & 0xF0, raw[35] & 0x10
                if kind == 0x40 and depth < 8:
                    walk(i, path + "/" + name, depth + 1)
                elif kind in (0x80, 0xA0):
                    head, blocks = raw[4:8] + raw[108:112], {}
                    if inline or (kind == 0xA0 and raw[4] < 60 and not raw[5]):
                        head += raw[40:100] + raw[160:]
                    else:
                        blocks = {lblk: d.block(b).rstrip(b"\0") for lblk, b in d.pointers(i)[0].items()}
                    found[path + "/" + name] = head, {lblk: data for lblk, data in blocks.items() if data}
        walk(2, "", 0)
        d.f.close()
        return found

    def run_fsck(self, img, *options):
        if not self.array:
            return run(self.a.fsck, *options, img)
        self.array.put(img)
        rc, out = run(self.a.fsck, *options, *self.array.members)
        self.array.get(img)
        return rc, out

    def fsck(self, mode, img):
        rc, out = self.run_fsck(img, "-f" + mode)
        if rc < 0 or rc & ~5 or "Sanitizer" in out or "runtime error" in out:
            raise Failed("fsck.osfs -f%s: exit %d\n%s" % (mode, rc, out[-3000:]))
        return rc, out

    def check(self, image, lines, expect, lost, moved, seed=0, agree=True, stricter=False):
        base, before, numbers = self.base(image)
        img = os.path.join(self.a.work, "img")
        shutil.copyfile(base, img)
        d = damage.Damage(img, random.Random(seed))
        for line in lines:
            d.run(line)
        d.i.f.close()
        was = hashlib.sha1(open(img, "rb").read()).hexdigest()
        rc, out = self.run_fsck(img, "-fn", "--json")
        if rc < 0 or rc & ~5:
            raise Failed("fsck.osfs -fn --json: exit %d\n%s" % (rc, out[-3000:]))
        try:
            ids = {p["id"] for p in json.loads(out[out.index("{\n"):])["problems"]}
        except ValueError:
            raise Failed("no JSON: " + out[-3000:])
        if hashlib.sha1(open(img, "rb").read()).hexdigest() != was:
            raise Failed("-n has changed the image")
        for e in expect:
            if e not in ids:
                raise Failed("%s is not found, but %s" % (e, " ".join(sorted(ids)) or "nothing"))
        erc, eout = run("e2fsck", "-fn", img)
        clean = erc == 0 and "? no" not in eout     # of counts it says so in words only
        if agree and (rc == 0) != (clean and not stricter):
            raise Failed("fsck.osfs -fn says %d, e2fsck %d: %s\n%s" % (rc, erc, " ".join(sorted(ids)), eout[-2000:]))
        self.repair(img)
        self.compare(before, self.manifest(img), [numbers.get(int(p[1:-1]), p) if p[0] == "<" else p for p in lost], moved)

    def repair(self, img):
        first, out = self.fsck("y", img)
        second, out2 = self.fsck("n", img)
        if second:
            raise Failed("after -fy a second run finds:\n%s\n--- the first said:\n%s" % (out2[-2500:], out[-2500:]))
        if first & 4:
            raise Failed("-fy left errors:\n" + out[-3000:])
        erc, eout = run("e2fsck", "-fn", img)
        if erc:
            raise Failed("after -fy e2fsck finds:\n%s\n--- fsck.osfs said:\n%s" % (eout[-2500:], out[-2500:]))

    @staticmethod
    def compare(before, after, lost, moved):
        def below(path, tops):
            return any(path == t or path.startswith(t.rstrip("/") + "/") for t in tops)
        somewhere = set(after.values())
        for path, digest in before.items():
            if below(path, lost):
                continue
            if below(path, moved):
                if digest not in somewhere:
                    raise Failed("%s is nowhere" % path)
            elif after.get(path) != digest:
                raise Failed("%s has changed" % path if path in after else "%s is gone" % path)

    def recipe(self, r):
        self.check(r.image, r.damage, r.expect, r.lost, r.moved, stricter=r.stricter)

    def combination(self, recipes, seed):
        """Three of the kinds that go together, one after the other; who damages what another needs to find it is left out."""
        rng = random.Random(seed)
        image = rng.choice(["base"] * 6 + ["nocsum", "inline", "journal", "ext4"])
        pool = [r for r in recipes if r.image == image] if image == "ext4" else \
            [r for r in recipes if r.image in ("base", image)] if image != "inline" else \
            [r for r in recipes if r.image == image or (r.image == "base" and r.name.startswith(("sb-", "gd-", "bitmap")))]
        chosen = rng.sample([r for r in pool if r.name != "sb-copy"], 3)     # with it, nothing may be left to go by
        self.what = "seed %d: %s: %s" % (seed, image, " ".join(r.name for r in chosen))
        base, _, _ = self.base(image)
        probe, lines, lost, moved = os.path.join(self.a.work, "probe"), [], [], []
        shutil.copyfile(base, probe)
        for r in chosen:
            try:
                d = damage.Damage(probe, random.Random(seed))
                for line in r.damage:
                    d.run(line)
            except (SystemExit, Exception):     # what it names is no longer to be found
                shutil.copyfile(base, probe)
                d = damage.Damage(probe, random.Random(seed))
                for line in lines:
                    d.run(line)
                continue
            lines, lost, moved = lines + r.damage, lost + r.lost, moved + r.moved
        names = [r.name for r in chosen]
        if "inode-dir-as-device" in names and any(n.startswith("dot") for n in names):
            moved = moved + ["/d1"]     # without "." and ".." nothing says that it is a directory
        self.check(image, lines, [], lost, moved, seed, agree=False)

    def noise(self, seed):
        """Random bytes all over the metadata: no crash, an end, and a sound filesystem after it."""
        rng = random.Random(seed)
        image = rng.choice(["base", "ext4", "inline", "journal", "nocsum"])
        self.what = "noise %d: %s" % (seed, image)
        img = os.path.join(self.a.work, "img")
        shutil.copyfile(self.base(image)[0], img)
        d = damage.Damage(img, rng)
        d.run("noise %d" % rng.choice([1, 3, 10, 40]))
        d.i.f.close()
        self.fsck("n", img)
        self.repair(img)

    def used_blocks(self, image):
        if image not in self.used:
            rc, out = run("dumpe2fs", self.base(image)[0])
            if rc:
                raise Failed("dumpe2fs: " + out)
            ranges = [r for line in re.findall(r"^ +Free blocks: (.+)$", out, re.M) for r in line.split(", ") if r]
            free = {b for r in ranges for b in range(int(r.split("-")[0]), int(r.split("-")[-1]) + 1)}
            nr, first = (int(re.search(r"^%s: +(\d+)" % w, out, re.M)[1]) for w in ("Block count", "First block"))
            self.used[image] = sorted(set(range(first, nr)) - free)
        return self.used[image]

    def unreadable(self, seed):
        """A block in use that cannot be read, but written: what hangs on it is lost, and no more."""
        rng = random.Random(seed)
        image = rng.choice([i for i in IMAGES if i != "single"] * 4 + ["single"])
        size = 4096 if image == "single" else 1024
        block = rng.choice([b for b in self.used_blocks(image) if b > 1 or image != "single"])  # it has no copies
        self.what = "unreadable %d: %s, block %d" % (seed, image, block)
        img = os.path.join(self.a.work, "img")
        base, before, _ = self.base(image)
        shutil.copyfile(base, img)
        first = block * size // 512
        dev = "fault:read,fail,sects=%d-%d:%s" % (first, first + size // 512 - 1, img)
        self.fsck("n", dev)
        if open(img, "rb").read() != open(base, "rb").read():
            raise Failed("-n has changed the image")
        rc, out = self.fsck("y", dev)
        if rc & 4:
            raise Failed("-fy left errors:\n" + out[-3000:])
        self.repair(img)
        gone = set(before.values()) - set(self.manifest(img).values())
        if len(gone) > size // 256:
            raise Failed("%d files are lost\n%s" % (len(gone), out[-3000:]))

    def bad_sectors(self, seed):
        """-c: sectors that cannot be read, anywhere: their blocks are the list, and nothing else needs them."""
        rng = random.Random(seed)
        image = rng.choice([i for i in IMAGES if i != "single"] * 4 + ["single"])
        size = 4096 if image == "single" else 1024
        img = os.path.join(self.a.work, "img")
        base, _, _ = self.base(image)
        shutil.copyfile(base, img)
        blocks = rng.choices(self.used_blocks(image), k=rng.choice([1, 3, 30])) + rng.choices(range(2, (16 << 20) // size), k=5)
        sects = sorted({b * size // 512 + rng.randrange(size // 512) for b in blocks if b > 1 or image != "single"})
        self.what = "bad sectors %d: %s, sectors %s" % (seed, image, sects)
        dev = "fault:%s:%s" % ("+".join("read,fail,sects=%d-%d" % (s, s) for s in sects), img)
        rc, out = self.fsck("cy", dev)
        if rc & 4:
            raise Failed("-fcy left errors:\n" + out[-3000:])
        fixed = {int(b) for b in re.findall(r"block (\d+) cannot be read, and holds metadata", out)}
        for mode, what in (("n", img), ("cy", dev)):
            rc2, out2 = self.fsck(mode, what)
            if rc2 and not (mode == "cy" and fixed and rc2 == 1):
                raise Failed("after -fcy, -f%s finds:\n%s\n--- the first said:\n%s" % (mode, out2[-2500:], out[-2500:]))
        erc, eout = run("e2fsck", "-fn", img)
        if erc:
            raise Failed("after -fcy e2fsck finds:\n%s\n--- fsck.osfs said:\n%s" % (eout[-2500:], out[-2500:]))
        listed = {int(w) for w in re.findall(r"^(\d+)$", run("dumpe2fs", "-b", img)[1], re.M)}
        if listed != {s * 512 // size for s in sects} - fixed:
            raise Failed("the list is %s, without place %s" % (sorted(listed), sorted(fixed)))
        before, after = self.contents(base), self.contents(img)
        gone = len(before) - len(after)
        if gone > len(sects) * (size // 256):
            raise Failed("%d files are lost\n%s" % (gone, out[-3000:]))
        changed = ["%s block %d" % (path, b) for path, (_, blocks) in before.items() if path in after
                   for b, data in blocks.items() if after[path][1].get(b) != data]
        if len(changed) > len(sects) and "P1_MAP_READ" not in out:
            raise Failed("%d blocks are lost: %s\n%s" % (len(changed), " ".join(changed[:20]), out[-3000:]))


def span(text):
    a, _, b = text.partition(":")
    return range(int(a), int(b))


def main():
    p = argparse.ArgumentParser()
    for name in ("fsck", "mkfs", "work", "tree"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--seeds", type=span)
    p.add_argument("--noise", type=span)
    p.add_argument("--unreadable", type=span)
    p.add_argument("--bad-sectors", type=span)
    p.add_argument("--osfs")
    p.add_argument("--array")
    p.add_argument("--keep-going", action="store_true")
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    recipes = [Recipe(n) for n in sorted(os.listdir(HERE)) if os.path.exists(os.path.join(HERE, n, "recipe"))]
    d, bad, nr = Driver(a), 0, 0

    def attempt(what, fn, *args):
        nonlocal bad, nr
        d.what = what
        nr += 1
        try:
            fn(*args)
        except (Failed, subprocess.TimeoutExpired) as e:
            bad += 1
            print("FAILED %s: %s" % (d.what, e))
            if os.path.exists(os.path.join(a.work, "img")):
                shutil.copyfile(os.path.join(a.work, "img"), os.path.join(a.work, "failed-%s" % re.sub(r"\W+", "_", what)))
            if not a.keep_going:
                sys.exit(1)

    if a.seeds is None and a.noise is None and a.unreadable is None and a.bad_sectors is None:
        for r in recipes:
            if not a.names or r.name in a.names:
                attempt(r.name, d.recipe, r)
    for s in a.seeds or []:
        attempt("seed %d" % s, d.combination, recipes, s)
    for s in a.noise or []:
        attempt("noise %d" % s, d.noise, s)
    for s in a.unreadable or []:
        attempt("unreadable %d" % s, d.unreadable, s)
    for s in a.bad_sectors or []:
        attempt("bad sectors %d" % s, d.bad_sectors, s)
    print("%d damages, %d failed" % (nr, bad))
    sys.exit(bad != 0)


main()
