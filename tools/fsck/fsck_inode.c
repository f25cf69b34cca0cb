/*
 * fsck_inode.c: one inode as a whole, in use or not: its map, its attributes, its blocks; and
 * what a sound one adds to what pass 1 knows: block bits, type, links, directories.
 *
 * A worker enters what it found only when there was nothing to ask (K4); the main thread
 * enters what is left after its repairs.
 */
#include <stdlib.h>

#include "fsck_inode.h"

/* Scratch --------------------------------------------------------------------------------------- */

struct inode_scratch *inode_scratch_new(void)
{
	return calloc(1, sizeof(struct inode_scratch));
}

void inode_scratch_free(struct inode_scratch *s)
{
	if (!s)
		return;
	array_free(&s->claims);
	array_free(&s->blks);
	array_free(&s->dirs);
	array_free(&s->dblks);
	array_free(&s->xrefs);
	free(s);
}

/* Map, attributes, and how many blocks they take -------------------------------------------------------- */

static enum walk_act claim_ptr(struct walk *wk, struct visit *v)
{
	struct inode_look *l = wk->arg;
	struct inode_scratch *s = l->s;
	struct claim *last = s->claims.nr ? &s->claims.v[s->claims.nr - 1] : NULL;

	l->nr_blocks += v->nr;
	if (v->level == 0 && !v->unwritten)
		l->end = MAX(l->end, v->lblk + v->nr);
	if (last && last->first + last->nr == v->pblk)
		last->nr += v->nr;
	else
		array_push(l->f, &s->claims, (struct claim){ v->pblk, v->nr });
	if (v->level == 0 && S_ISDIR(l->mode))
		for (uint32_t i = 0; i < v->nr; i++)
			array_push(l->f, &s->blks, (struct fsck_dblk){ v->pblk + i, (uint32_t)(v->lblk + i) });
	return WALK_KEEP;
}

/* Nothing below it was claimed, so it is the end of the last claim. */
static void claim_gone(struct walk *wk, pblk_t pblk)
{
	struct inode_look *l = wk->arg;
	struct inode_scratch *s = l->s;
	struct claim *last = s->claims.nr ? &s->claims.v[s->claims.nr - 1] : NULL;

	if (!last || last->first + last->nr != pblk + 1)
		return;
	l->nr_blocks--;
	if (--last->nr == 0)
		s->claims.nr--;
}

static bool claim_bad(struct walk *wk, enum problem pr, const struct fsck_args *args)
{
	return fsck_fix_args(wk->w, pr, args);
}

void inode_check_map(struct inode_look *l)
{
	struct walk wk = { .w = l->w, .ino = l->ino, .raw = l->raw, .ptr = claim_ptr, .bad = claim_bad,
			   .gone = claim_gone, .arg = l };

	fsck_walk(&wk);
	l->dirty |= wk.raw_dirty;
}

static void look_at_xattr(struct inode_look *l)
{
	const pblk_t pblk = inode_file_acl(l->f, l->raw);

	l->dirty |= fsck_ibody_check(l->w, l->ino, l->raw, &l->has_ibody);
	if (!pblk)
		return;
	if (fsck_xattr_block_check(l->w, l->ino, pblk, &l->xattr_told)) {
		inode_set_file_acl(l->f, l->raw, 0);
		l->dirty = true;
	} else if (fsck_data_ok(l->f, pblk, 1)) {
		l->xattr = pblk;
		l->nr_blocks++;
	}
}

static uint64_t sects_of(const struct fsck *f, uint64_t nr_blocks)
{
	return nr_blocks << (f->block_shift - SECT_SHIFT);
}

static void look_at_count(struct inode_look *l)
{
	const uint64_t found = inode_nr_sects(l->f, l->raw), should = sects_of(l->f, l->nr_blocks);

	if (found != should && fsck_fix(l->w, P1_BLOCKS, .ino = l->ino, .num = found, .num2 = should)) {
		inode_set_nr_sects(l->f, l->raw, should);
		l->dirty = true;
	}
}

/* Entering what was found ------------------------------------------------------------------------------ */

static void enter_dir(struct inode_look *l)
{
	struct inode_scratch *s = l->s;
	const struct fsck_dir d = {
		.ino = l->ino, .nr_blks = (uint32_t)s->blks.nr, .first_blk = s->dblks.nr,
		.seed = inode_seed(l->f, l->ino, l->raw), .is_inline = le32_get(l->raw->i_flags) & EXT_FL_INLINE_DATA,
		.is_hashed = le32_get(l->raw->i_flags) & EXT_FL_INDEX,
	};

	if (!array_room(l->f, &s->dblks, s->blks.nr) || !array_push(l->f, &s->dirs, d))
		return;
	if (s->blks.nr)
		memcpy(s->dblks.v + s->dblks.nr, s->blks.v, s->blks.nr * sizeof(*s->blks.v));
	s->dblks.nr += s->blks.nr;
}

static void enter(struct inode_look *l)
{
	struct fsck *f = l->f;
	struct inode_scratch *s = l->s;
	const unsigned ft = fsck_ft_of(l->mode);

	for (size_t i = 0; i < s->claims.nr; i++)
		fsck_claim(f, s->claims.v[i].first, s->claims.v[i].nr);
	if (l->xattr)
		array_push(f, &s->xrefs, (struct fsck_xref){ .pblk = l->xattr, .found = 1, .told = l->xattr_told, .ino = l->ino });
	f->ilinks[l->ino] = le16_get(l->raw->i_links_count);
	f->itype[l->ino] = (uint8_t)(ft | (l->nr_blocks || l->has_ibody || inode_size(l->raw) ? FSCK_FT_BLOCKS : 0));
	if (ft == EXT_FT_DIR)
		enter_dir(l);
}

/* The inode as a whole ------------------------------------------------------------------------------------ */

/* A type that has no contents, or none at all, over the contents of a directory. */
static bool is_really_dir(const struct inode_look *l)
{
	const pblk_t at = inode_first_block(l->raw);
	uint8_t *block;
	ino_nr_t dotdot;
	bool is;

	if (S_ISDIR(l->mode) || S_ISREG(l->mode) || S_ISLNK(l->mode) || !fsck_data_ok(l->f, at, 1))
		return false;
	block = malloc(l->f->block_bytes);
	is = block && !fsck_block_read(l->f, at, block) && fsck_has_dots(block, l->ino, &dotdot) && dotdot &&
	     dotdot <= l->f->nr_inodes;
	free(block);
	return is;
}

void inode_drop(struct inode_look *l)
{
	l->cleared = true;
	l->raw->i_links_count = le16_of(0);
	l->raw->i_dtime = le32_of(l->f->now);
	l->dirty = true;
	fsck_fate(l->f, "inode %" PRIu32 " was cleared: its contents are lost", l->ino);
}

static void look_at_used(struct inode_look *l)
{
	if (is_really_dir(l) && fsck_fix(l->w, P1_REALLY_DIR, .ino = l->ino, .num = l->mode)) {
		l->mode = S_IFDIR | (l->mode & 07777);
		l->raw->i_mode = le16_of((uint16_t)l->mode);
		l->dirty = true;
	}
	if (l->csum_bad && !fsck_is_system_ino(l->f, l->ino) && inode_is_garbage(l) && fsck_fix(l->w, P1_GARBAGE, .ino = l->ino)) {
		inode_drop(l);
		return;
	}
	if ((!fsck_ft_of(l->mode) || inode_is_no_special(l)) && fsck_fix(l->w, P1_MODE, .ino = l->ino, .num = l->mode)) {
		inode_drop(l);
		return;
	}
	if (l->ino == EXT_ROOT_INO && !S_ISDIR(l->mode) && fsck_fix(l->w, P1_ROOT_NO_DIR, .ino = l->ino)) {
		inode_drop(l);
		return;
	}
	inode_check_fields(l);
	look_at_xattr(l);
	if (S_ISREG(l->mode) || S_ISDIR(l->mode) || S_ISLNK(l->mode))
		inode_check_map(l);
	inode_check_contents(l);
	if (!l->cleared)
		look_at_count(l);
}

static bool low_dtime_says_something(const struct fsck *f)
{
	const uint32_t times[] = { le32_get(f->sb.s_wtime), le32_get(f->sb.s_mtime), le32_get(f->sb.s_mkfs_time) };

	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		if (times[i] && times[i] < f->nr_inodes)
			return false;
	return true;
}

/* A deletion time that is the number of the next one on the list of orphans. True: it is one. */
static bool look_at_low_dtime(struct inode_look *l)
{
	struct ext_disk_inode *raw = l->raw;
	const uint32_t dtime = le32_get(raw->i_dtime);

	if (!dtime || dtime >= l->f->nr_inodes || !low_dtime_says_something(l->f))
		return false;
	if (fsck_fix(l->w, P1_ORPHAN_REFUGEE, .ino = l->ino)) {
		raw->i_dtime = le32_of(le16_get(raw->i_links_count) ? 0 : l->f->now);
		l->dirty = true;
	}
	return true;
}

static void look_at_free(struct inode_look *l)
{
	struct ext_disk_inode *raw = l->raw;

	if (look_at_low_dtime(l))
		return;
	if (!raw->i_dtime.raw && l->mode && fsck_fix(l->w, P1_DTIME_ZERO, .ino = l->ino)) {
		raw->i_dtime = le32_of(l->f->now);
		l->dirty = true;
	}
}

/* Nothing in it that would mean something; times may be there. */
static bool is_blank(const struct ext_disk_inode *raw)
{
	return !raw->i_mode.raw && !raw->i_size_lo.raw && !raw->i_size_hi.raw && !raw->i_links_count.raw &&
	       !raw->i_blocks_lo.raw && !raw->i_blocks_hi.raw && !raw->i_flags.raw && !raw->i_file_acl_lo.raw &&
	       !raw->i_file_acl_hi.raw && fsck_is_zero(raw->i_block, sizeof(raw->i_block));
}

/* Numbers below first_ino that the format keeps for itself. True: dealt with. */
static bool look_at_reserved(struct inode_look *l)
{
	struct ext_disk_inode *raw = l->raw;

	if (l->ino >= l->f->first_ino || l->ino == EXT_ROOT_INO || fsck_is_super_ino(l->f, l->ino))
		return false;
	look_at_low_dtime(l);
	if (l->ino == EXT_BAD_INO) {
		if ((l->csum_bad || l->mode || raw->i_links_count.raw || raw->i_file_acl_lo.raw || raw->i_uid_lo.raw ||
		     (le32_get(raw->i_flags) & (EXT_FL_EXTENTS | EXT_FL_INLINE_DATA))) &&
		    fsck_fix(l->w, P1_BAD_BLOCKS_INODE, .ino = l->ino)) {
			memset(raw, 0, l->f->inode_bytes);
			l->dirty = true;
			l->csum_bad = false;
		}
		inode_check_map(l);
		return true;
	}
	if (l->ino == EXT_RESIZE_INO && has_compat(l->f, EXT_COMPAT_RESIZE_INODE))
		return true;		/* fsck_resize.c */
	if (is_blank(raw))
		return true;
	if (fsck_fix(l->w, P1_RESERVED_IN_USE, .ino = l->ino, .num = l->mode)) {
		memset(raw, 0, l->f->inode_bytes);
		l->dirty = true;
		l->csum_bad = false;
	}
	return true;
}

void fsck_inode_check(struct worker *w, ino_nr_t ino, struct ext_disk_inode *raw)
{
	struct inode_look l = { .w = w, .f = w->f, .s = w->inode, .ino = ino, .raw = raw, .mode = le16_get(raw->i_mode) };
	bool used = false;

	w->suspect = false;
	l.s->claims.nr = l.s->blks.nr = 0;
	l.csum_bad = !fsck_inode_csum_ok(l.f, ino, raw);
	if (look_at_reserved(&l)) {
		;
	} else if (le16_get(raw->i_links_count) || (ino == EXT_ROOT_INO && l.mode)) {
		used = true;
		look_at_used(&l);
	} else {
		look_at_free(&l);
	}
	if (l.csum_bad && !l.dirty && fsck_fix(w, P1_CSUM, .ino = ino))
		l.dirty = true;
	if (w->suspect)
		return;		/* K4 */
	if (l.dirty)
		fsck_inode_write(l.f, ino, raw);
	if (used && !l.cleared && fsck_ft_of(l.mode))
		enter(&l);
	else if (!used)
		for (size_t i = 0; i < l.s->claims.nr; i++)	/* bad blocks */
			fsck_claim(l.f, l.s->claims.v[i].first, l.s->claims.v[i].nr);
}

void inode_scratch_collect(struct fsck *f, struct inode_scratch *s)
{
	const uint64_t base = f->dblks.nr;

	if (!array_room(f, &f->dirs, s->dirs.nr) || !array_room(f, &f->dblks, s->dblks.nr) ||
	    !array_room(f, &f->xrefs, s->xrefs.nr))
		return;
	for (size_t i = 0; i < s->dirs.nr; i++) {
		s->dirs.v[i].first_blk += base;
		f->dirs.v[f->dirs.nr++] = s->dirs.v[i];
	}
	for (size_t i = 0; i < s->dblks.nr; i++)
		f->dblks.v[f->dblks.nr++] = s->dblks.v[i];
	for (size_t i = 0; i < s->xrefs.nr; i++)
		f->xrefs.v[f->xrefs.nr++] = s->xrefs.v[i];
	s->dirs.nr = s->dblks.nr = s->xrefs.nr = 0;
}
