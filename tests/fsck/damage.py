"""damage.py: changes named fields of an ext2/3/4 image, with the checksums made right again
unless told otherwise, so that damage lies in what a field says and not only in its checksum.

    damage.py IMAGE 'inode /d1/big size 5000' 'raw bbit 300 flip' ...

A line is a verb and its words (class Damage has one method a verb). PATH may be <N>, an inode.
Numbers may be written 0x10, +N or ^N (relative to what is there), -1, block:PATH:LBLK (where
a file's block lies), ind:PATH:LEVEL (its map blocks), ino:PATH. "raw" before a verb leaves checksums alone.
"""
import random
import struct
import sys

CRC = []
for n in range(256):
    c = n
    for _ in range(8):
        c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    CRC.append(c)


def crc32c(crc, data):
    for b in data:
        crc = (crc >> 8) ^ CRC[(crc ^ b) & 0xFF]
    return crc


SUPER = {name: (off, size) for off, size, name in [
    (0x00, 4, "inodes_count"), (0x04, 4, "blocks_count"), (0x08, 4, "r_blocks_count"), (0x0c, 4, "free_blocks"),
    (0x10, 4, "free_inodes"), (0x14, 4, "first_data_block"), (0x18, 4, "log_block_size"), (0x20, 4, "blocks_per_group"),
    (0x28, 4, "inodes_per_group"), (0x34, 2, "mnt_count"), (0x38, 2, "magic"), (0x3a, 2, "state"), (0x4c, 4, "rev_level"),
    (0x54, 4, "first_ino"), (0x58, 2, "inode_size"), (0x5c, 4, "compat"), (0x60, 4, "incompat"), (0x64, 4, "ro_compat"),
    (0xce, 2, "reserved_gdt"), (0xe0, 4, "journal_inum"), (0xe8, 4, "last_orphan"), (0xfc, 1, "def_hash_version"),
    (0xfd, 1, "jnl_backup_type"), (0xfe, 2, "desc_size"), (0x280, 4, "orphan_file_inum")]}
GROUP = {name: (off, size) for off, size, name in [
    (0, 4, "block_bitmap"), (4, 4, "inode_bitmap"), (8, 4, "inode_table"), (12, 2, "free_blocks"), (14, 2, "free_inodes"),
    (16, 2, "used_dirs"), (18, 2, "flags"), (24, 2, "bb_csum"), (26, 2, "ib_csum"), (28, 2, "itable_unused"),
    (30, 2, "checksum")]}
INODE = {name: (off, size) for off, size, name in [
    (0, 2, "mode"), (2, 2, "uid"), (4, 4, "size"), (20, 4, "dtime"), (24, 2, "gid"), (26, 2, "links"), (28, 4, "blocks"),
    (32, 4, "flags"), (100, 4, "generation"), (104, 4, "file_acl"), (108, 4, "size_high"), (112, 4, "faddr"),
    (118, 2, "file_acl_hi"), (124, 2, "checksum"), (128, 2, "extra_isize"), (130, 2, "checksum_hi")]}


class Image:
    def __init__(self, path):
        self.f = open(path, "r+b")
        self.sb = self.get(1024, 1024)
        u32 = lambda off: struct.unpack_from("<I", self.sb, off)[0]
        self.bs = 1024 << u32(0x18)
        self.first, self.bpg, self.ipg = u32(0x14), u32(0x20), u32(0x28)
        self.nr_blocks, self.nr_inodes = u32(4), u32(0)
        self.isize = struct.unpack_from("<H", self.sb, 0x58)[0]
        self.incompat, self.ro = u32(0x60), u32(0x64)
        self.csum = bool(self.ro & 0x400)
        self.dsize = struct.unpack_from("<H", self.sb, 0xfe)[0] if self.incompat & 0x80 else 32
        self.seed = u32(0x270) if self.incompat & 0x2000 else crc32c(0xFFFFFFFF, self.sb[0x68:0x78])
        self.seal = True

    def get(self, off, n):
        self.f.seek(off)
        return bytearray(self.f.read(n))

    def put(self, off, data):
        if off + len(data) > self.f.seek(0, 2):
            raise ValueError("behind the end of the image")
        self.f.seek(off)
        self.f.write(data)
        self.f.flush()

    def block(self, b):
        return self.get(b * self.bs, self.bs)

    def put_block(self, b, data):
        self.put(b * self.bs, data)

    # descriptors
    def group_off(self, g):
        return (self.first + 1) * self.bs + g * self.dsize

    def group(self, g, name):
        off, size = GROUP[name]
        return int.from_bytes(self.get(self.group_off(g) + off, size), "little")

    def seal_group(self, g):
        if not self.csum or not self.seal:
            return
        d = self.get(self.group_off(g), self.dsize)
        d[30:32] = b"\0\0"
        c = crc32c(crc32c(self.seed, struct.pack("<I", g)), d)
        d[30:32] = struct.pack("<H", c & 0xFFFF)
        self.put(self.group_off(g), d)

    def set_group(self, g, name, value):
        off, size = GROUP[name]
        self.put(self.group_off(g) + off, (value % (1 << 8 * size)).to_bytes(size, "little"))
        if name != "checksum":
            self.seal_group(g)

    def seal_bitmap(self, g, which):
        if not self.csum or not self.seal:
            return
        nr = self.bpg if which == "block_bitmap" else self.ipg
        c = crc32c(self.seed, self.block(self.group(g, which))[:nr // 8])
        self.set_group(g, "bb_csum" if which == "block_bitmap" else "ib_csum", c & 0xFFFF)

    # inodes
    def inode_off(self, ino):
        g, i = divmod(ino - 1, self.ipg)
        return self.group(g, "inode_table") * self.bs + i * self.isize

    def inode(self, ino):
        return self.get(self.inode_off(ino), self.isize)

    def iseed(self, ino):
        raw = self.inode(ino)
        return crc32c(crc32c(self.seed, struct.pack("<I", ino)), raw[100:104])

    def put_inode(self, ino, raw):
        if self.csum and self.seal:
            hi = self.isize > 128 and struct.unpack_from("<H", raw, 128)[0] >= 4
            t = bytearray(raw)
            t[124:126] = b"\0\0"
            if hi:
                t[130:132] = b"\0\0"
            seed = crc32c(crc32c(self.seed, struct.pack("<I", ino)), raw[100:104])
            c = crc32c(seed, t)
            raw[124:126] = struct.pack("<H", c & 0xFFFF)
            if hi:
                raw[130:132] = struct.pack("<H", c >> 16)
        self.put(self.inode_off(ino), raw)

    def pointers(self, ino):
        """All blocks of the file: {lblk: block}, and its map blocks [[by level]]."""
        raw = self.inode(ino)
        data, maps = {}, [[], [], [], []]
        if struct.unpack_from("<I", raw, 32)[0] & 0x80000:
            self.extents(raw[40:100], data, maps)
            return data, maps
        ptr = struct.unpack_from("<15I", raw, 40)
        for i in range(12):
            if ptr[i]:
                data[i] = ptr[i]
        per, base = self.bs // 4, 12
        for level in (1, 2, 3):
            if ptr[11 + level]:
                self.table(ptr[11 + level], level, base, data, maps)
            base += per ** level
        return data, maps

    def table(self, b, level, lblk, data, maps):
        maps[level].append(b)
        per = self.bs // 4
        for i, p in enumerate(struct.unpack("<%dI" % per, self.block(b))):
            if not p:
                continue
            if level == 1:
                data[lblk + i] = p
            else:
                self.table(p, level - 1, lblk + i * per ** (level - 1), data, maps)

    def extents(self, node, data, maps):
        magic, nr, _, depth = struct.unpack_from("<4H", node, 0)
        for i in range(nr):
            rec = node[12 + 12 * i:24 + 12 * i]
            if depth:
                leaf = struct.unpack_from("<I", rec, 4)[0]
                maps[depth].append(leaf)
                self.extents(self.block(leaf), data, maps)
            else:
                lblk, n, _, start = struct.unpack("<IHHI", rec)
                for k in range(n if n <= 32768 else 0):
                    data[lblk + k] = start + k

    # directories
    def entries(self, ino):
        """(lblk, offset in block, inode, name) of each entry in use."""
        raw = self.inode(ino)
        if struct.unpack_from("<I", raw, 32)[0] & 0x10000000:
            yield from self.chain(0, b"\0\0\0\0" + raw[44:100])
            return
        data, _ = self.pointers(ino)
        for lblk in sorted(data):
            yield from self.chain(lblk, self.block(data[lblk]))

    def chain(self, lblk, b):
        off = 4 if len(b) == 60 else 0      # the parent, of an inline directory
        while off + 8 <= len(b):
            i, rec, n, _ = struct.unpack_from("<IHBB", b, off)
            if rec < 8:
                break
            if i and n:
                yield lblk, off, i, bytes(b[off + 8:off + 8 + n]).decode("latin-1")
            off += rec

    def lookup(self, path):
        if path == "orphan":        # the orphan file
            return struct.unpack_from("<I", self.sb, 0x280)[0]
        if path.startswith("<"):
            return int(path[1:-1])
        ino = 2
        for part in [p for p in path.split("/") if p]:
            for _, _, i, name in self.entries(ino):
                if name == part:
                    ino = i
                    break
            else:
                raise SystemExit("damage: no %s in %s" % (part, path))
        return ino

    def seal_dir_block(self, ino, b):
        if not self.csum or not self.seal:
            return
        d, seed = self.block(b), self.iseed(ino)
        rec = struct.unpack_from("<H", d, 4)[0]
        rec2 = struct.unpack_from("<H", d, 16)[0]
        flags = struct.unpack_from("<I", self.inode(ino), 32)[0]
        off = 0
        if flags & 0x1000 and rec == self.bs and not struct.unpack_from("<I", d, 0)[0]:
            off = 8
        elif flags & 0x1000 and rec == 12 and rec2 == self.bs - 12:
            off = 32
        if off:
            limit, count = struct.unpack_from("<HH", d, off)
            if count <= limit and off + limit * 8 + 8 <= self.bs:
                c = crc32c(seed, d[:off + count * 8])
                c = crc32c(crc32c(c, d[off + limit * 8:off + limit * 8 + 4]), b"\0\0\0\0")
                struct.pack_into("<I", d, off + limit * 8 + 4, c)
        else:
            struct.pack_into("<I", d, self.bs - 4, crc32c(seed, d[:self.bs - 12]))
        self.put_block(b, d)

    def seal_super(self):
        sb = self.get(1024, 1024)
        if self.csum and self.seal:
            struct.pack_into("<I", sb, 0x3fc, crc32c(0xFFFFFFFF, sb[:0x3fc]))
            self.put(1024, sb)


class Damage:
    def __init__(self, path, rng=None):
        self.i = Image(path)
        self.rng = rng or random.Random(1)

    def number(self, text, old=0):
        text = str(text)
        if text.startswith("block:"):
            _, path, lblk = text.split(":")
            return self.i.pointers(self.i.lookup(path))[0][int(lblk)]
        if text.startswith("ind:"):
            _, path, level = text.split(":")
            return self.i.pointers(self.i.lookup(path))[1][int(level)][0]
        if text.startswith("acl:"):
            return struct.unpack_from("<I", self.i.inode(self.i.lookup(text[4:])), 104)[0]
        if text.startswith("ino:"):
            return self.i.lookup(text[4:])
        if text == "random":
            return self.rng.getrandbits(32)
        if text.startswith("^"):
            return old ^ int(text[1:], 0)
        if text.startswith("+"):
            return old + int(text[1:], 0)
        return int(text, 0)

    def field(self, buf, off, size, text):
        old = int.from_bytes(buf[off:off + size], "little")
        buf[off:off + size] = (self.number(text, old) % (1 << 8 * size)).to_bytes(size, "little")

    def run(self, line):
        words = line.split()
        self.i.seal = words[0] != "raw"
        if not self.i.seal:
            words = words[1:]
        getattr(self, "do_" + words[0])(*words[1:])

    def do_super(self, name, value, where="first"):
        """A field of the superblock; where: a group, for its copy."""
        off = 1024 if where == "first" else (int(where) * self.i.bpg + self.i.first) * self.i.bs
        sb = self.i.get(off, 1024)
        self.field(sb, SUPER[name][0], SUPER[name][1], value)
        if self.i.csum and self.i.seal:
            struct.pack_into("<I", sb, 0x3fc, crc32c(0xFFFFFFFF, sb[:0x3fc]))
        self.i.put(off, sb)

    def do_group(self, g, name, value):
        self.i.set_group(int(g), name, self.number(value, self.i.group(int(g), name)))

    def do_bytes(self, block, off, data):
        """Bytes of a block: hex, or N random or zero ones."""
        b, off = self.number(block), int(off, 0)
        if data.startswith("random"):
            data = bytes(self.rng.getrandbits(8) for _ in range(int(data[6:])))
        elif data.startswith("zero"):
            data = bytes(int(data[4:]))
        else:
            data = bytes.fromhex(data)
        self.i.put(b * self.i.bs + off, data)

    def do_bitmap(self, g, which, off, data):
        """Bytes of a group's block_bitmap or inode_bitmap."""
        self.do_bytes(str(self.i.group(int(g), which)), off, data)
        self.i.seal_bitmap(int(g), which)

    def do_itable(self, g, off, data):
        self.do_bytes(str(self.i.group(int(g), "inode_table")), off, data)

    def do_inode(self, path, name, value):
        ino = self.i.lookup(path)
        raw = self.i.inode(ino)
        self.field(raw, INODE[name][0], INODE[name][1], value)
        self.i.put_inode(ino, raw)

    def do_iblock(self, path, n, value):
        """Word n of i_block."""
        ino = self.i.lookup(path)
        raw = self.i.inode(ino)
        self.field(raw, 40 + 4 * int(n), 4, value)
        self.i.put_inode(ino, raw)

    def do_ibytes(self, path, off, data):
        """Bytes of the inode."""
        ino = self.i.lookup(path)
        raw = self.i.inode(ino)
        off = int(off)
        data = bytes.fromhex(data)
        raw[off:off + len(data)] = data
        self.i.put_inode(ino, raw)

    def do_ptr(self, path, level, n, value):
        """Pointer n in the file's first map block of this level."""
        b = self.i.pointers(self.i.lookup(path))[1][int(level)][0]
        d = self.i.block(b)
        self.field(d, 4 * int(n), 4, value)
        self.i.put_block(b, d)

    def do_extent(self, path, n, name, value):
        """Record n in the inode's extent root: block, len, start; header: magic, entries, max, depth (n -1)."""
        ino = self.i.lookup(path)
        raw = self.i.inode(ino)
        head = {"magic": (0, 2), "entries": (2, 2), "max": (4, 2), "depth": (6, 2)}
        rec = {"block": (0, 4), "len": (4, 2), "start": (8, 4)}
        off, size = head[name] if int(n) < 0 else rec[name]
        self.field(raw, 40 + (0 if int(n) < 0 else 12 + 12 * int(n)) + off, size, value)
        self.i.put_inode(ino, raw)

    def do_node(self, path, off, size, value):
        """A word of the file's first extent block."""
        ino = self.i.lookup(path)
        b = self.i.pointers(ino)[1][1][0]
        d = self.i.block(b)
        self.field(d, int(off), int(size), value)
        if self.i.csum and self.i.seal:
            at = 12 + 12 * struct.unpack_from("<H", d, 4)[0]
            struct.pack_into("<I", d, at, crc32c(self.i.iseed(ino), d[:at]))
        self.i.put_block(b, d)

    def find_entry(self, path, name):
        ino = self.i.lookup(path)
        for lblk, off, _, n in self.i.entries(ino):
            if n == name:
                return ino, self.i.pointers(ino)[0][lblk], off
        raise SystemExit("damage: no entry %s in %s" % (name, path))

    def do_entry(self, path, name, field, value):
        """inode, rec_len, name_len, type, or name (a name of the same length) of an entry."""
        ino, b, off = self.find_entry(path, name)
        d = self.i.block(b)
        if field == "name":
            text = value.encode("latin-1").decode("unicode_escape").encode("latin-1")
            d[off + 8:off + 8 + len(text)] = text
        else:
            at, size = {"inode": (0, 4), "rec_len": (4, 2), "name_len": (6, 1), "type": (7, 1)}[field]
            self.field(d, off + at, size, value)
        self.i.put_block(b, d)
        self.i.seal_dir_block(ino, b)

    def do_swap(self, path):
        """Two names of a hashed directory, each in the other's leaf."""
        ino = self.i.lookup(path)
        data, found = self.i.pointers(ino)[0], {}
        for lblk, off, _, name in self.i.entries(ino):
            other = found.setdefault(len(name), (lblk, off))
            if lblk > 0 and other[0] not in (0, lblk):
                a, b = self.i.block(data[other[0]]), self.i.block(data[lblk])
                for at, n in ((0, 4), (7, 1 + len(name))):
                    x, y = other[1] + at, off + at
                    a[x:x + n], b[y:y + n] = b[y:y + n], a[x:x + n]
                self.i.put_block(data[other[0]], a)
                self.i.put_block(data[lblk], b)
                self.i.seal_dir_block(ino, data[other[0]])
                self.i.seal_dir_block(ino, data[lblk])
                return
        raise SystemExit("damage: no two names to swap in " + path)

    def do_dirblock(self, path, lblk, off, data):
        """Bytes of a directory's block."""
        ino = self.i.lookup(path)
        b = self.i.pointers(ino)[0][int(lblk)]
        self.do_bytes(str(b), off, data)
        self.i.seal_dir_block(ino, b)

    def do_bbit(self, block, how):
        """A bit of the block bitmap: set, clear or flip."""
        g, bit = divmod(self.number(block) - self.i.first, self.i.bpg)
        self.bit(g, "block_bitmap", bit, how)

    def do_ibit(self, ino, how):
        g, bit = divmod(self.number(ino) - 1, self.i.ipg)
        self.bit(g, "inode_bitmap", bit, how)

    def bit(self, g, which, bit, how):
        b = self.i.group(g, which)
        d = self.i.block(b)
        mask = 1 << bit % 8
        d[bit // 8] = d[bit // 8] | mask if how == "set" else \
            d[bit // 8] & ~mask if how == "clear" else d[bit // 8] ^ mask
        self.i.put_block(b, d)
        self.i.seal_bitmap(g, which)

    def do_xattr(self, path, off, data):
        """Bytes of a file's attribute block."""
        b = struct.unpack_from("<I", self.i.inode(self.i.lookup(path)), 104)[0]
        self.do_bytes(str(b), off, data)
        d = self.i.block(b)
        if self.i.csum and self.i.seal:
            d[16:20] = b"\0\0\0\0"
            c = crc32c(crc32c(self.i.seed, struct.pack("<Q", b)), d)
            struct.pack_into("<I", d, 16, c)
            self.i.put_block(b, d)

    def do_noise(self, nr):
        """Random bytes all over the metadata: tables, bitmaps, descriptors, map and directory blocks."""
        spots = [(self.i.first + 1) * self.i.bs]
        for g in range(2):
            spots += [self.i.group(g, k) * self.i.bs for k in ("block_bitmap", "inode_bitmap", "inode_table")]
        for ino in range(2, min(self.i.nr_inodes, 120)):
            raw = self.i.inode(ino)
            mode = struct.unpack_from("<H", raw, 0)[0]
            if mode & 0xF000 in (0x4000, 0x8000) and not raw[35] & 0x10:
                data, maps = self.i.pointers(ino)
                spots += [b * self.i.bs for level in maps for b in level]
                if mode & 0xF000 == 0x4000:
                    spots += [b * self.i.bs for b in data.values()]
                spots += [self.i.inode_off(ino)] * 2
        for _ in range(int(nr)):
            off = self.rng.choice(spots) + self.rng.randrange(256 if self.rng.random() < 0.7 else self.i.bs)
            self.i.put(off, bytes(self.rng.getrandbits(8) for _ in range(self.rng.choice([1, 1, 2, 4, 16]))))


if __name__ == "__main__":
    d = Damage(sys.argv[1])
    for line in sys.argv[2:]:
        d.run(line)
