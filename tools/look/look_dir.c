/* look_dir.c: directories, entry by entry. See look.h. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/crc.h"
#include "look/look.h"

enum { HEAD_BYTES = 8, MIN_ENTRY_BYTES = 12, TAIL_BYTES = 12, PARENT_BYTES = 4 };

static unsigned rec_len_of(const struct ext_disk_dirent *de)
{
	const unsigned raw = le16_get(de->rec_len);

	return raw == 0 || raw == 65535 ? 65536 : raw;
}

struct walk {
	struct look *l;
	const struct look_inode *dir;
	bool all, stopped;
	look_entry_fn *fn;
	void *arg;
	uint8_t *buf;
	uint64_t nr_left;	/* blocks: a directory of more than there are repeats itself (LK2) */
};

/* Entries in len bytes at p, which count from base in the block. */
static void chain(struct walk *w, const uint8_t *p, unsigned len, lblk_t lblk, pblk_t pblk, unsigned base)
{
	for (unsigned off = 0; off < len && !w->stopped;) {
		const struct ext_disk_dirent *de = (const void *)(p + off);
		const unsigned rest = len - off;
		struct look_entry e = { .lblk = lblk, .pblk = pblk, .off = base + off };
		const char *bad = NULL;

		if (rest < HEAD_BYTES) {
			bad = "the last entry does not reach the end";
		} else {
			e.rec_len = rec_len_of(de);
			if (e.rec_len < MIN_ENTRY_BYTES || e.rec_len % 4)
				bad = "bad rec_len";
			else if (e.rec_len > rest)
				bad = "an entry reaches past the end";
			else if (e.rec_len < HEAD_BYTES + (unsigned)de->name_len)
				bad = "rec_len is too small for the name";
		}
		if (bad) {
			look_fault(w->l, "directory inode %" PRIu32 ", block %" PRIu64 ", offset %u: %s", w->dir->ino, pblk, e.off, bad);
			return;
		}
		e.ino = le32_get(de->inode);
		e.type = de->file_type;
		e.name = de->name;
		e.name_len = de->name_len;
		if (e.ino > w->l->nr_inodes)
			look_fault(w->l, "directory inode %" PRIu32 ", block %" PRIu64 ", offset %u: inode number %" PRIu32
				   " out of range", w->dir->ino, pblk, e.off, e.ino);
		if ((e.ino || w->all) && !w->fn(w->arg, &e))
			w->stopped = true;
		off += e.rec_len;
	}
}

/* Index blocks ------------------------------------------------------------------------------ */

unsigned look_dx_off(const struct look *l, const struct look_inode *dir, lblk_t lblk, const uint8_t *block)
{
	const unsigned off = dir->flags & EXT_FL_INDEX ? ext_dx_entries_off(block, l->block_bytes) : 0;

	return off == (lblk ? EXT_DX_NODE_OFF : EXT_DX_ROOT_OFF) ? off : 0;
}

void look_dx_check(struct look *l, const struct look_inode *dir, lblk_t lblk, pblk_t pblk, const uint8_t *block)
{
	const unsigned off = look_dx_off(l, dir, lblk, block);
	const struct ext_disk_dx_countlimit *cl = (const void *)(block + off);
	const unsigned room = (l->block_bytes - off - (l->csum ? sizeof(struct ext_disk_dx_tail) : 0)) / sizeof(struct ext_disk_dx_entry);
	const unsigned limit = le16_get(cl->limit), count = le16_get(cl->count);
	const struct ext_disk_dx_tail *tail;
	uint32_t crc;

	if (!off)
		return;
	if (limit != room || count > limit || !count) {
		look_fault(l, "directory inode %" PRIu32 ", index block %" PRIu64 ": %u of %u entries, there is room for %u", dir->ino, pblk,
			   count, limit, room);
		return;
	}
	if (!l->csum)
		return;
	tail = (const void *)(block + off + (size_t)limit * sizeof(struct ext_disk_dx_entry));
	crc = ext_dx_csum(dir->csum_seed, block, off, count, tail);
	if (crc != le32_get(tail->checksum))
		look_fault(l, "directory inode %" PRIu32 ", index block %" PRIu64 ": checksum is %#" PRIx32 ", should be %#" PRIx32,
			   dir->ino, pblk, le32_get(tail->checksum), crc);
}

/* Blocks -------------------------------------------------------------------------------------- */

/* How much of a leaf are entries. */
static unsigned leaf_len(struct walk *w, pblk_t pblk)
{
	struct look *l = w->l;
	const struct ext_disk_dir_tail *tail = (const void *)(w->buf + l->block_bytes - TAIL_BYTES);
	uint32_t want;

	if (!l->csum)
		return l->block_bytes;
	if (tail->zero1.raw || le16_get(tail->rec_len) != TAIL_BYTES || tail->zero2 || tail->fake_type != EXT_FT_DIR_CSUM) {
		look_fault(l, "directory inode %" PRIu32 ", block %" PRIu64 ": no place for a checksum", w->dir->ino, pblk);
		return l->block_bytes;
	}
	want = crc32c(w->dir->csum_seed, w->buf, l->block_bytes - TAIL_BYTES);
	if (want != le32_get(tail->checksum))
		look_fault(l, "directory inode %" PRIu32 ", block %" PRIu64 ": checksum is %#" PRIx32 ", should be %#" PRIx32, w->dir->ino,
			   pblk, le32_get(tail->checksum), want);
	return l->block_bytes - TAIL_BYTES;
}

static void dir_block(struct walk *w, lblk_t lblk, pblk_t pblk)
{
	if (look_block(w->l, pblk, w->buf))
		return;
	if (!look_dx_off(w->l, w->dir, lblk, w->buf)) {
		chain(w, w->buf, leaf_len(w, pblk), lblk, pblk, 0);
		return;
	}
	look_dx_check(w->l, w->dir, lblk, pblk, w->buf);
	if (lblk == 0)
		chain(w, w->buf, w->l->block_bytes, lblk, pblk, 0);
}

static bool dir_piece(void *arg, const struct look_piece *p)
{
	struct walk *w = arg;
	const lblk_t end = DIV_UP(w->dir->size_bytes, (uint64_t)w->l->block_bytes);

	for (uint32_t k = 0; p->kind == LOOK_DATA && k < p->nr && !w->stopped && p->lblk + k < end; k++) {
		if (!w->nr_left) {
			look_fault(w->l, "directory inode %" PRIu32 ": more blocks than there can be", w->dir->ino);
			w->stopped = true;
			break;
		}
		w->nr_left--;
		dir_block(w, p->lblk + k, p->pblk + k);
	}
	return !w->stopped;
}

static int dir_inline(struct walk *w)
{
	unsigned len;
	const int err = look_inline(w->l, w->dir, w->buf, &len);

	if (err || len < EXT_INLINE_BYTES)
		return err;
	chain(w, w->buf + PARENT_BYTES, EXT_INLINE_BYTES - PARENT_BYTES, 0, 0, PARENT_BYTES);
	chain(w, w->buf + EXT_INLINE_BYTES, len - EXT_INLINE_BYTES, 0, 0, EXT_INLINE_BYTES);
	return 0;
}

int look_dir(struct look *l, const struct look_inode *dir, bool all, look_entry_fn *fn, void *arg)
{
	const uint64_t start = MIN(l->nr_blocks, l->dir_blocks_left);
	struct walk w = { .l = l, .dir = dir, .all = all, .fn = fn, .arg = arg };
	int err;

	w.nr_left = start;
	w.buf = malloc((size_t)MAX(l->block_bytes, l->inode_bytes) + EXT_INLINE_BYTES);
	if (!w.buf)
		return -ENOMEM;
	err = look_inode_has_inline(dir) ? dir_inline(&w) : look_map(l, dir, NULL, dir_piece, &w);
	if (l->dir_blocks_left != UINT64_MAX)
		l->dir_blocks_left -= start - w.nr_left;
	free(w.buf);
	return err;
}

/* Paths ---------------------------------------------------------------------------------------- */

struct lookup {
	const char *name;
	size_t len;
	ino_nr_t ino;
};

static bool lookup_entry(void *arg, const struct look_entry *e)
{
	struct lookup *u = arg;

	if (e->ino && e->name_len == u->len && !memcmp(e->name, u->name, u->len))
		u->ino = e->ino;
	return !u->ino;
}

static int step(struct look *l, ino_nr_t dir_ino, struct lookup *u)
{
	struct look_inode dir;
	int err = look_inode(l, dir_ino, &dir);

	if (err)
		return -EUCLEAN;
	u->ino = 0;
	if (!S_ISDIR(dir.mode))
		err = -ENOTDIR;
	else if (look_inode_has_inline(&dir) && u->len == 2 && !memcmp(u->name, "..", 2))
		u->ino = le32_get(dir.raw->i_block[0]);
	else if (u->len == 1 && u->name[0] == '.')
		u->ino = dir_ino;
	else
		err = look_dir(l, &dir, false, lookup_entry, u);
	look_inode_done(&dir);
	return err ? err : u->ino ? 0 : -ENOENT;
}

int look_path(struct look *l, const char *path, ino_nr_t *ino)
{
	*ino = EXT_ROOT_INO;
	for (;;) {
		struct lookup u;
		int err;

		path += strspn(path, "/");
		if (!*path)
			return 0;
		u = (struct lookup){ .name = path, .len = strcspn(path, "/") };
		err = step(l, *ino, &u);
		if (err)
			return err;
		*ino = u.ino;
		path += u.len;
	}
}
