/*
 * fsck_view.c: a directory in memory: its blocks, or its parts in the inode; checksums; growing,
 * linking, unlinking. What follows entries checks each length first, whatever pass 2 has found.
 */
#include <stdlib.h>

#include "base/crc.h"
#include "fs/fs_xattr.h"
#include "fsck_int.h"

enum { INLINE_PARENT_BYTES = 4, INLINE_FIRST_BYTES = EXT_INLINE_BYTES - INLINE_PARENT_BYTES, DIRENT_MIN = 12 };

/* Entries ---------------------------------------------------------------------------------- */

uint32_t fsck_rec_len(const struct ext_disk_dirent *de, uint32_t rest)
{
	uint32_t len;

	if (rest < DIRENT_MIN)
		return 0;
	len = le16_get(de->rec_len);
	if (len == 0 || len == 65535)
		len = 65536;
	if (len < DIRENT_MIN || len % 4 || len > rest || len < dirent_bytes(de->name_len))
		return 0;
	return len;
}

le16 fsck_rec_len_of(uint32_t len)
{
	return le16_of((uint16_t)MIN(len, 65535u));
}

bool fsck_name_is_dots(const char *name, unsigned len)
{
	return len > 0 && len <= 2 && name[0] == '.' && (len == 1 || name[1] == '.');
}

/* Checksums --------------------------------------------------------------------------------- */

static struct ext_disk_dir_tail *tail_of(const struct fsck *f, const uint8_t *block)
{
	return (struct ext_disk_dir_tail *)(block + f->block_bytes - sizeof(struct ext_disk_dir_tail));
}

bool fsck_leaf_has_tail(const struct fsck *f, const uint8_t *block)
{
	const struct ext_disk_dir_tail *t = tail_of(f, block);

	return !le32_get(t->zero1) && le16_get(t->rec_len) == sizeof(*t) && !t->zero2 && t->fake_type == EXT_FT_DIR_CSUM;
}

bool fsck_leaf_csum_ok(const struct fsck *f, uint32_t seed, const uint8_t *block)
{
	return le32_get(tail_of(f, block)->checksum) == crc32c(seed, block, leaf_bytes(f));
}

void fsck_leaf_init(const struct fsck *f, uint8_t *block)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)block;

	memset(block, 0, f->block_bytes);
	de->rec_len = fsck_rec_len_of(leaf_bytes(f));
	if (has_csum(f))
		*tail_of(f, block) = (struct ext_disk_dir_tail){
			.rec_len = le16_of(sizeof(struct ext_disk_dir_tail)), .fake_type = EXT_FT_DIR_CSUM };
}

unsigned fsck_dir_block_kind(const struct fsck *f, const struct dir_view *v, uint32_t i)
{
	unsigned off;

	if (!v->d->is_hashed || !v->blocks[i].data)
		return DIR_LEAF;
	off = ext_dx_entries_off(v->blocks[i].data, f->block_bytes);
	if (i == 0)
		return off == EXT_DX_ROOT_OFF ? DIR_DX_ROOT : DIR_LEAF;
	return off == EXT_DX_NODE_OFF ? DIR_DX_NODE : DIR_LEAF;
}

static void index_seal(const struct fsck *f, uint32_t seed, uint8_t *block, unsigned off)
{
	struct ext_disk_dx_entry *e = (struct ext_disk_dx_entry *)(block + off);
	const struct ext_disk_dx_countlimit *cl = (const void *)e;
	const unsigned limit = le16_get(cl->limit), count = le16_get(cl->count);
	struct ext_disk_dx_tail *t = (struct ext_disk_dx_tail *)(e + limit);

	if (count <= limit && off + (size_t)limit * sizeof(*e) + sizeof(*t) <= f->block_bytes)
		t->checksum = le32_of(ext_dx_csum(seed, block, off, count, t));
}

void fsck_dir_block_seal(const struct fsck *f, uint32_t seed, uint8_t *block, unsigned kind)
{
	if (!has_csum(f))
		return;
	if (kind != DIR_LEAF)
		index_seal(f, seed, block, kind == DIR_DX_ROOT ? EXT_DX_ROOT_OFF : EXT_DX_NODE_OFF);
	else if (fsck_leaf_has_tail(f, block))
		tail_of(f, block)->checksum = le32_of(crc32c(seed, block, leaf_bytes(f)));
}

/* The list of directories --------------------------------------------------------------------- */

static size_t place_of(const struct fsck *f, ino_nr_t ino)
{
	size_t lo = 0, hi = f->dirs.nr;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (f->dirs.v[mid].ino >= ino)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct fsck_dir *fsck_dir_find(const struct fsck *f, ino_nr_t ino)
{
	const size_t at = place_of(f, ino);

	return at < f->dirs.nr && f->dirs.v[at].ino == ino ? &f->dirs.v[at] : NULL;
}

struct fsck_dir *fsck_dir_add(struct fsck *f, ino_nr_t ino)
{
	const size_t at = place_of(f, ino);

	if (!array_room(f, &f->dirs, 1))
		return NULL;
	memmove(&f->dirs.v[at + 1], &f->dirs.v[at], (f->dirs.nr - at) * sizeof(*f->dirs.v));
	f->dirs.nr++;
	memset(&f->dirs.v[at], 0, sizeof(f->dirs.v[at]));
	f->dirs.v[at].ino = ino;
	return &f->dirs.v[at];
}

/* Views ------------------------------------------------------------------------------------------ */

struct dir_chain fsck_view_chain(const struct fsck *f, const struct dir_view *v, uint32_t i)
{
	if (v->d->is_inline) {
		struct inline_part p;

		if (!v->raw)
			return (struct dir_chain){ 0 };
		if (i == 0)
			return (struct dir_chain){ (uint8_t *)v->raw->i_block + INLINE_PARENT_BYTES, INLINE_FIRST_BYTES };
		p = fsck_inline_part(f, v->raw);
		return (struct dir_chain){ p.len >= DIRENT_MIN ? p.value : NULL, p.len };
	}
	if (!v->blocks[i].pblk || v->blocks[i].err)
		return (struct dir_chain){ 0 };
	return (struct dir_chain){ v->blocks[i].data,
		has_csum(f) && fsck_dir_block_kind(f, v, i) == DIR_LEAF && fsck_leaf_has_tail(f, v->blocks[i].data)
			? leaf_bytes(f) : f->block_bytes };
}

void fsck_view_chain_dirty(struct dir_view *v, uint32_t i)
{
	if (v->d->is_inline)
		v->raw_dirty = true;
	else
		v->blocks[i].dirty = true;
}

/* Blocks 0 to the last one; those without a place are holes. */
static int blocks_open(struct fsck *f, struct dir_view *v)
{
	const struct fsck_dblk *b = v->d->nr_blks ? f->dblks.v + v->d->first_blk : NULL;
	const uint32_t nr = v->d->nr_blks ? b[v->d->nr_blks - 1].lblk + 1 : 0;
	struct fsck_want *wants;

	if ((uint64_t)nr << f->block_shift > FSCK_DIR_MAX_BYTES)
		return -EFBIG;
	v->blocks = calloc(nr + 1, sizeof(*v->blocks));
	wants = calloc((size_t)v->d->nr_blks + 1, sizeof(*wants));
	if (!v->blocks || !wants) {
		free(wants);
		return -ENOMEM;
	}
	v->nr = nr;
	for (uint32_t i = 0; i < nr; i++) {
		v->blocks[i].lblk = i;
		v->blocks[i].data = calloc(1, f->block_bytes);
		if (!v->blocks[i].data) {
			free(wants);
			return -ENOMEM;
		}
	}
	for (uint32_t i = 0; i < v->d->nr_blks; i++) {
		v->blocks[b[i].lblk].pblk = b[i].pblk;
		wants[i] = (struct fsck_want){ .pblk = b[i].pblk, .buf = v->blocks[b[i].lblk].data };
	}
	fsck_blocks_want(f, wants, v->d->nr_blks);
	for (uint32_t i = 0; i < v->d->nr_blks; i++)
		for (uint32_t k = 0; wants[i].err && k < nr; k++)
			if (v->blocks[k].pblk == wants[i].pblk)
				v->blocks[k].err = wants[i].err;
	free(wants);
	return 0;
}

int fsck_view_open(struct fsck *f, struct fsck_dir *d, struct dir_view *v)
{
	int err;

	*v = (struct dir_view){ .d = d, .raw = calloc(1, f->inode_bytes + sizeof(*v->raw)) };
	err = v->raw ? fsck_inode_read(f, d->ino, v->raw) : -ENOMEM;
	if (!err && !d->is_inline)
		err = blocks_open(f, v);
	return err;
}

void fsck_view_close(struct fsck *f, struct dir_view *v)
{
	if (v->raw_dirty)
		fsck_inode_write(f, v->d->ino, v->raw);
	for (uint32_t i = 0; v->blocks && i < v->nr; i++) {
		struct dir_block *b = &v->blocks[i];

		if (b->dirty && b->pblk) {
			fsck_dir_block_seal(f, v->d->seed, b->data, fsck_dir_block_kind(f, v, i));
			fsck_block_write(f, b->pblk, b->data);
		}
		free(b->data);
	}
	v->d->rebuild |= v->rebuild;
	free(v->blocks);
	free(v->raw);
	*v = (struct dir_view){ 0 };
}

/* The list of blocks as the view has it. */
static void blocks_listed(struct fsck *f, struct dir_view *v)
{
	if (!array_room(f, &f->dblks, v->nr))
		return;
	v->d->first_blk = f->dblks.nr;
	v->d->nr_blks = 0;
	for (uint32_t i = 0; i < v->nr; i++)
		if (v->blocks[i].pblk) {
			f->dblks.v[f->dblks.nr++] = (struct fsck_dblk){ v->blocks[i].pblk, i };
			v->d->nr_blks++;
		}
}

int fsck_view_fill(struct fsck *f, struct dir_view *v, uint32_t i)
{
	const pblk_t near = i > 0 && v->blocks[i - 1].pblk ? v->blocks[i - 1].pblk : 0;
	const pblk_t pblk = fsck_block_alloc(f, near);
	int err = pblk ? fsck_map_put(f, v->d->ino, v->raw, i, pblk) : -ENOSPC;

	if (err) {
		if (pblk)
			fsck_unclaim(f, pblk, 1);
		return err;
	}
	v->raw_dirty = true;
	v->blocks[i].pblk = pblk;
	v->blocks[i].err = 0;
	fsck_leaf_init(f, v->blocks[i].data);
	v->blocks[i].dirty = true;
	blocks_listed(f, v);
	return 0;
}

int fsck_view_grow(struct fsck *f, struct dir_view *v)
{
	struct dir_block *more = realloc(v->blocks, (v->nr + 2) * sizeof(*more));
	int err;

	if (!more)
		return -ENOMEM;
	v->blocks = more;
	v->blocks[v->nr] = (struct dir_block){ .lblk = v->nr, .data = calloc(1, f->block_bytes) };
	if (!v->blocks[v->nr].data)
		return -ENOMEM;
	v->nr++;
	err = fsck_view_fill(f, v, v->nr - 1);
	if (err) {
		free(v->blocks[--v->nr].data);
		return err;
	}
	inode_set_size(v->raw, (uint64_t)v->nr << f->block_shift);
	return 0;
}

void fsck_view_shrink(struct fsck *f, struct dir_view *v, uint32_t nr)
{
	if (nr >= v->nr)
		return;
	fsck_map_truncate(f, v->d->ino, v->raw, nr);
	inode_set_size(v->raw, (uint64_t)nr << f->block_shift);
	v->raw_dirty = true;
	while (v->nr > nr)
		free(v->blocks[--v->nr].data);
	blocks_listed(f, v);
}

/* Names -------------------------------------------------------------------------------------------- */

static bool chain_put(const struct fsck *f, struct dir_chain c, const char *name, unsigned len, ino_nr_t ino,
		      unsigned ft)
{
	const uint32_t need = dirent_bytes(len);
	uint32_t rec_len;

	for (uint32_t off = 0; off < c.len; off += rec_len) {
		struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c.p + off);
		uint32_t used;

		rec_len = fsck_rec_len(de, c.len - off);
		if (!rec_len)
			return false;
		used = de->inode.raw ? dirent_bytes(de->name_len) : 0;
		if (rec_len < used + need)
			continue;
		if (used) {
			de->rec_len = fsck_rec_len_of(used);
			de = (struct ext_disk_dirent *)(c.p + off + used);
		}
		de->rec_len = fsck_rec_len_of(rec_len - used);
		de->inode = le32_of(ino);
		de->name_len = (uint8_t)len;
		de->file_type = dirent_type(f, ft);
		memcpy(de->name, name, len);
		return true;
	}
	return false;
}

/* A directory within its inode becomes one of a block. */
static int inline_to_block(struct fsck *f, struct dir_view *v)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	uint8_t *block = calloc(1, f->block_bytes), old[EXT_INLINE_BYTES];
	const struct inline_part p = fsck_inline_part(f, v->raw);
	const pblk_t pblk = block ? fsck_block_alloc(f, 0) : 0;
	ino_nr_t parent;
	struct dir_chain to = { block, leaf_bytes(f) };

	if (!pblk || pblk > UINT32_MAX) {
		free(block);
		return -ENOSPC;
	}
	memcpy(old, v->raw->i_block, sizeof(old));
	parent = le32_get(v->raw->i_block[0]);
	fsck_leaf_init(f, block);
	chain_put(f, to, ".", 1, v->d->ino, EXT_FT_DIR);
	chain_put(f, to, "..", 2, parent, EXT_FT_DIR);
	for (unsigned part = 0; part < 2; part++) {
		const struct dir_chain from = fsck_view_chain(f, v, part);
		uint32_t rec_len;

		for (uint32_t off = 0; from.p && off < from.len; off += rec_len) {
			const struct ext_disk_dirent *de = (const void *)(from.p + off);

			rec_len = fsck_rec_len(de, from.len - off);
			if (!rec_len)
				break;
			if (de->inode.raw)
				chain_put(f, to, de->name, de->name_len, le32_get(de->inode), de->file_type);
		}
	}
	if (p.value) {
		uint8_t *base = (uint8_t *)v->raw + EXT_GOOD_OLD_INODE_BYTES + le16_get(v->raw->i_extra_isize) + 4;
		const struct xattr_area a = { .base = base, .first = base, .end = (uint8_t *)v->raw + f->inode_bytes };
		struct ext_disk_xattr_entry *e = xattr_find(&a, &name);

		if (e)
			xattr_remove(&a, e);
	}
	v->raw->i_flags = le32_of(le32_get(v->raw->i_flags) & ~(uint32_t)EXT_FL_INLINE_DATA);
	memset(v->raw->i_block, 0, sizeof(v->raw->i_block));
	v->raw->i_block[0] = le32_of((uint32_t)pblk);
	inode_set_size(v->raw, f->block_bytes);
	inode_set_nr_sects(f, v->raw, inode_nr_sects(f, v->raw) + (f->block_bytes >> SECT_SHIFT));
	v->raw_dirty = true;
	v->d->is_inline = false;
	v->blocks = calloc(2, sizeof(*v->blocks));
	if (!v->blocks) {
		free(block);
		return -ENOMEM;
	}
	v->nr = 1;
	v->blocks[0] = (struct dir_block){ .data = block, .pblk = pblk, .dirty = true };
	blocks_listed(f, v);
	return 0;
}

static bool view_put(struct fsck *f, struct dir_view *v, const char *name, ino_nr_t ino, unsigned ft)
{
	for (uint32_t i = 0; i < fsck_view_nr_chains(v); i++) {
		const struct dir_chain c = fsck_view_chain(f, v, i);

		if (c.p && chain_put(f, c, name, (unsigned)strlen(name), ino, ft)) {
			fsck_view_chain_dirty(v, i);
			return true;
		}
	}
	return false;
}

int fsck_dir_link(struct fsck *f, ino_nr_t dir, const char *name, ino_nr_t ino, unsigned ft)
{
	struct fsck_dir *d = fsck_dir_find(f, dir);
	struct dir_view v = { 0 };
	int err = d ? 0 : -ENOENT;

	if (!err && d->is_hashed) {
		err = fsck_dir_rebuild(f, d, true);
		d->rebuild = true;
	}
	if (!err)
		err = fsck_view_open(f, d, &v);
	if (!err && !view_put(f, &v, name, ino, ft)) {
		err = d->is_inline ? inline_to_block(f, &v) : 0;
		if (!err && !view_put(f, &v, name, ino, ft)) {
			err = fsck_view_grow(f, &v);
			if (!err && !view_put(f, &v, name, ino, ft))
				err = -ENOSPC;
		}
	}
	if (v.d)
		fsck_view_close(f, &v);
	return err;
}

void fsck_dir_unlink(struct fsck *f, ino_nr_t dir, ino_nr_t ino, unsigned nr_keep, const char *name)
{
	struct fsck_dir *d = fsck_dir_find(f, dir);
	struct dir_view v;

	if (!d)
		return;
	if (!fsck_view_open(f, d, &v))
		for (uint32_t i = 0; i < fsck_view_nr_chains(&v); i++) {
			const struct dir_chain c = fsck_view_chain(f, &v, i);
			uint32_t rec_len;

			for (uint32_t off = 0; c.p && off < c.len; off += rec_len) {
				struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c.p + off);

				rec_len = fsck_rec_len(de, c.len - off);
				if (!rec_len)
					break;
				if (le32_get(de->inode) != ino || fsck_name_is_dots(de->name, de->name_len) ||
				    (name && (strlen(name) != de->name_len || memcmp(name, de->name, de->name_len))))
					continue;
				if (nr_keep > 0) {
					nr_keep--;
					continue;
				}
				de->inode = le32_of(0);
				fsck_view_chain_dirty(&v, i);
			}
		}
	fsck_view_close(f, &v);
}

void fsck_dir_set_dotdot(struct fsck *f, ino_nr_t dir, ino_nr_t parent)
{
	struct fsck_dir *d = fsck_dir_find(f, dir);
	struct dir_view v;

	if (!d)
		return;
	d->dotdot = parent;
	if (!fsck_view_open(f, d, &v)) {
		if (d->is_inline) {
			v.raw->i_block[0] = le32_of(parent);
			v.raw_dirty = true;
		} else if (v.nr && v.blocks[0].pblk && !v.blocks[0].err) {
			struct ext_disk_dirent *de = (struct ext_disk_dirent *)(v.blocks[0].data + DIRENT_MIN);

			/* Where there is no "..", the rebuilding of the directory makes one. */
			if (de->name_len == 2 && !memcmp(de->name, "..", 2)) {
				de->inode = le32_of(parent);
				v.blocks[0].dirty = true;
			}
		}
	}
	fsck_view_close(f, &v);
}
