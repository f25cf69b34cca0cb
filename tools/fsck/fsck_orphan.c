/*
 * fsck_orphan.c: inodes whose deletion or truncation a crash has cut short: the list that begins
 * in the superblock, and the orphan file. Deletions are finished by clearing the inode: its
 * blocks are then nobody's, which pass 5 writes down.
 */
#include <stdlib.h>

#include "base/crc.h"
#include "fsck_int.h"

#define ORPHAN_BLOCK_MAGIC 0x0b10ca04u

struct orphan_tail {
	le32 magic, checksum;
};

struct orphans {
	struct fsck *f;
	struct ext_disk_inode *raw;
	ARRAY_OF(ino_nr_t) list;
};

static bool ino_ok(const struct fsck *f, ino_nr_t ino)
{
	return ino >= f->first_ino && ino <= f->nr_inodes && !fsck_is_system_ino(f, ino);
}

/* Inode in o->raw: is it one that may be an orphan? */
static bool inode_ok(struct orphans *o, ino_nr_t ino)
{
	return ino_ok(o->f, ino) && !fsck_inode_read(o->f, ino, o->raw) && fsck_ft_of(le16_get(o->raw->i_mode)) &&
	       fsck_inode_csum_ok(o->f, ino, o->raw);
}

static void finish(struct orphans *o, ino_nr_t ino)
{
	struct fsck *f = o->f;
	struct ext_disk_inode *raw = o->raw;

	if (!inode_ok(o, ino))
		return;
	raw->i_dtime = le32_of(0);
	if (le16_get(raw->i_links_count)) {
		fsck_fix(&f->main, P0_ORPHAN_TRUNCATE, .ino = ino);
		if (S_ISREG(le16_get(raw->i_mode)))
			fsck_map_truncate(f, ino, raw, DIV_UP(inode_size(raw), (uint64_t)f->block_bytes));
	} else {
		fsck_fix(&f->main, P0_ORPHAN_CLEAR, .ino = ino);
		if (inode_file_acl(f, raw))
			fsck_xattr_release(f, inode_file_acl(f, raw));
		raw->i_dtime = le32_of(f->now);
	}
	fsck_inode_write(f, ino, raw);
}

/* The list, into o->list. False: it is damaged, at *at. */
static bool list_read(struct orphans *o, ino_nr_t *at)
{
	ino_nr_t ino = le32_get(o->f->sb.s_last_orphan);

	while (ino) {
		*at = ino;
		if (o->list.nr > o->f->nr_inodes || !inode_ok(o, ino))
			return false;
		for (size_t i = 0; i < o->list.nr && o->list.nr < 4096; i++)
			if (o->list.v[i] == ino)
				return false;
		if (!array_push(o->f, &o->list, ino))
			return false;
		ino = le32_get(o->raw->i_dtime);
	}
	return true;
}

static void list_clear(struct orphans *o)
{
	o->f->sb.s_last_orphan = le32_of(0);
	o->f->sb_dirty = true;
}

static void check_list(struct orphans *o)
{
	ino_nr_t at = 0;

	if (!le32_get(o->f->sb.s_last_orphan))
		return;
	if (!list_read(o, &at)) {
		if (fsck_fix(&o->f->main, P0_ORPHAN_BAD, .ino = at))
			list_clear(o);
		return;
	}
	if (o->f->opts.mode == FSCK_NO) {
		fsck_fix(&o->f->main, P0_ORPHAN_SKIPPED, .ino = at);
		return;
	}
	if (!fsck_fix(&o->f->main, P0_ORPHAN_LIST, .ino = 0))
		return;
	for (size_t i = 0; i < o->list.nr && !is_stopped(o->f); i++)
		finish(o, o->list.v[i]);
	list_clear(o);
}

/* The orphan file -------------------------------------------------------------------------------- */

struct file {
	struct orphans *o;
	uint8_t *block;
	uint32_t seed;
	pblk_t bad;		/* first damaged block */
	ARRAY_OF(pblk_t) blocks;	/* that are to be emptied */
};

static uint32_t block_csum(const struct fsck *f, uint32_t seed, pblk_t pblk, const uint8_t *block)
{
	const le64 nr = le64_of(pblk);

	return crc32c(crc32c(seed, &nr, sizeof(nr)), block, f->block_bytes - sizeof(struct orphan_tail));
}

void fsck_orphan_block_empty(const struct fsck *f, uint32_t seed, pblk_t pblk, uint8_t *block)
{
	struct orphan_tail *t = (struct orphan_tail *)(block + f->block_bytes - sizeof(*t));

	memset(block, 0, f->block_bytes);
	t->magic = le32_of(ORPHAN_BLOCK_MAGIC);
	if (has_csum(f))
		t->checksum = le32_of(block_csum(f, seed, pblk, block));
}

static enum walk_act file_ptr(struct walk *wk, struct visit *v)
{
	struct file *fl = wk->arg;
	struct fsck *f = fl->o->f;
	const struct orphan_tail *t = (const void *)(fl->block + f->block_bytes - sizeof(*t));
	const le32 *inos = (const le32 *)fl->block;
	const uint32_t nr = (f->block_bytes - (uint32_t)sizeof(*t)) / (uint32_t)sizeof(le32);

	for (uint32_t b = 0; v->level == 0 && b < v->nr; b++) {
		const size_t before = fl->o->list.nr;

		if (fsck_block_read(f, v->pblk + b, fl->block) || le32_get(t->magic) != ORPHAN_BLOCK_MAGIC ||
		    (has_csum(f) && le32_get(t->checksum) != block_csum(f, fl->seed, v->pblk + b, fl->block))) {
			fl->bad = fl->bad ? fl->bad : v->pblk + b;
			array_push(f, &fl->blocks, v->pblk + b);
			continue;
		}
		for (uint32_t i = 0; i < nr; i++)
			if (inos[i].raw)
				array_push(f, &fl->o->list, le32_get(inos[i]));
		if (fl->o->list.nr > before)
			array_push(f, &fl->blocks, v->pblk + b);
	}
	return WALK_KEEP;
}

static void file_empty(struct file *fl)
{
	struct fsck *f = fl->o->f;

	for (size_t i = 0; i < fl->blocks.nr; i++) {
		fsck_orphan_block_empty(f, fl->seed, fl->blocks.v[i], fl->block);
		fsck_block_write(f, fl->blocks.v[i], fl->block);
	}
}

static void flag_clear(struct fsck *f)
{
	f->ro_compat &= ~(uint32_t)EXT_RO_COMPAT_ORPHAN_PRESENT;
	f->sb.s_feature_ro_compat = le32_of(f->ro_compat);
	f->sb_dirty = true;
}

static void check_file(struct orphans *o)
{
	struct fsck *f = o->f;
	const ino_nr_t ino = le32_get(f->sb.s_orphan_file_inum);
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	struct file fl = { .o = o, .block = malloc(f->block_bytes) };
	struct walk wk = { .w = &f->main, .ino = ino, .raw = raw, .ptr = file_ptr, .arg = &fl };

	o->list.nr = 0;
	if (!raw || !fl.block) {
		fsck_failed(f, -ENOMEM);
	} else if (ino && ino <= f->nr_inodes && !fsck_inode_read(f, ino, raw)) {
		bool done = true;

		fl.seed = inode_seed(f, ino, raw);
		fsck_walk(&wk);
		if (fl.bad)
			done = fsck_fix(&f->main, P0_ORPHAN_FILE_BAD, .ino = ino, .pblk = fl.bad);
		if (done && o->list.nr)
			done = fsck_fix(&f->main, P0_ORPHAN_FILE, .ino = ino);
		for (size_t i = 0; done && i < o->list.nr && !is_stopped(f); i++)
			finish(o, o->list.v[i]);
		if (done && fl.blocks.nr)
			file_empty(&fl);
		if (done && has_ro_compat(f, EXT_RO_COMPAT_ORPHAN_PRESENT) &&
		    (fl.blocks.nr || fsck_fix(&f->main, P0_ORPHAN_FILE_FLAG, .ino = ino)))
			flag_clear(f);
	}
	array_free(&fl.blocks);
	free(fl.block);
	free(raw);
}

void fsck_orphans(struct fsck *f)
{
	struct orphans o = { .f = f, .raw = calloc(1, f->inode_bytes + sizeof(*o.raw)) };

	if (!o.raw)
		fsck_failed(f, -ENOMEM);
	else
		check_list(&o);
	if (!f->err && has_compat(f, EXT_COMPAT_ORPHAN_FILE))
		check_file(&o);
	array_free(&o.list);
	free(o.raw);
}
