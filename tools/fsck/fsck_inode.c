/*
 * fsck_inode.c: one inode: its fields, its map, its attributes; and what a sound one adds to
 * what pass 1 knows: block bits, type, links, directories.
 *
 * A worker enters what it found only when there was nothing to ask (K4); the main thread
 * enters what is left after its repairs.
 */
#include <stdlib.h>

#include "base/log.h"
#include "fsck_int.h"

enum { MAX_DIR_HOLES = 64 };

struct claim {
	pblk_t first;
	uint64_t nr;
};

struct inode_scratch {
	ARRAY_OF(struct claim) claims;		/* of the inode at hand */
	ARRAY_OF(struct fsck_dblk) blks;	/* its blocks, when it is a directory */
	/* Of all so far; inode_scratch_collect() */
	ARRAY_OF(struct fsck_dir) dirs;
	ARRAY_OF(struct fsck_dblk) dblks;
	ARRAY_OF(struct fsck_xref) xrefs;
};

/* The inode at hand. */
struct look {
	struct worker *w;
	struct fsck *f;
	struct inode_scratch *s;
	ino_nr_t ino;
	struct ext_disk_inode *raw;
	uint32_t mode;
	bool dirty, csum_bad, cleared, has_ibody;
	uint64_t nr_blocks;	/* of the filesystem, map and attribute blocks too */
	lblk_t end;		/* behind the last block of data that is written */
	pblk_t xattr;
	uint32_t xattr_told;
};

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

/* Map ----------------------------------------------------------------------------------------------- */

static enum walk_act claim_ptr(struct walk *wk, struct visit *v)
{
	struct look *l = wk->arg;
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
	struct look *l = wk->arg;
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

static void look_at_map(struct look *l)
{
	struct walk wk = { .w = l->w, .ino = l->ino, .raw = l->raw, .ptr = claim_ptr, .bad = claim_bad,
			   .gone = claim_gone, .arg = l };

	fsck_walk(&wk);
	l->dirty |= wk.raw_dirty;
}

/* Contents by type -------------------------------------------------------------------------------------- */

static void clear(struct look *l)
{
	l->cleared = true;
	l->raw->i_links_count = le16_of(0);
	l->raw->i_dtime = le32_of(l->f->now);
	l->dirty = true;
	fsck_fate(l->f, "inode %" PRIu32 " was cleared: its contents are lost", l->ino);
}

static uint64_t sects_of(const struct fsck *f, uint64_t nr_blocks)
{
	return nr_blocks << (f->block_shift - SECT_SHIFT);
}

static void look_at_special(struct look *l)
{
	const uint32_t no = EXT_FL_IMMUTABLE | EXT_FL_APPEND | EXT_FL_EXTENTS | EXT_FL_INDEX | EXT_FL_INLINE_DATA;

	if ((le32_get(l->raw->i_flags) & no) && fsck_fix(l->w, P1_SPECIAL_FLAGS, .ino = l->ino)) {
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) & ~no);
		l->dirty = true;
	}
	if ((le32_get(l->raw->i_size_lo) || le32_get(l->raw->i_size_hi)) &&
	    fsck_fix(l->w, P1_SPECIAL_SIZE, .ino = l->ino, .num = le32_get(l->raw->i_size_lo))) {
		l->raw->i_size_lo = l->raw->i_size_hi = le32_of(0);
		l->dirty = true;
	}
}

/* Is the target where the size says, and of that length? */
static bool symlink_ok(struct look *l)
{
	const struct fsck *f = l->f;
	const uint64_t size = le32_get(l->raw->i_size_lo);
	const uint32_t flags = le32_get(l->raw->i_flags);
	uint8_t *block;
	bool ok;

	if (size == 0 || (flags & EXT_FL_INDEX))
		return false;
	if (flags & EXT_FL_INLINE_DATA) {
		const struct inline_part p = fsck_inline_part(f, l->raw);

		return p.value && size <= EXT_INLINE_BYTES + (uint64_t)p.len;
	}
	if (size < EXT_INLINE_BYTES)
		return !inode_has_map(f, l->raw) && strnlen((const char *)l->raw->i_block, EXT_INLINE_BYTES) == size;
	if (size >= f->block_bytes || l->s->claims.nr != 1 || l->s->claims.v[0].nr != 1 || l->end != 1)
		return false;
	block = malloc(f->block_bytes);
	ok = block && !fsck_block_read(l->f, l->s->claims.v[0].first, block) &&
	     strnlen((const char *)block, f->block_bytes) == size;
	free(block);
	return ok;
}

static void look_at_symlink(struct look *l)
{
	if (!symlink_ok(l) && fsck_fix(l->w, P1_SYMLINK, .ino = l->ino))
		clear(l);
}

static void fix_size(struct look *l, enum problem pr, uint64_t should)
{
	if (fsck_fix(l->w, pr, .ino = l->ino, .num = inode_size(l->raw), .num2 = should)) {
		inode_set_size(l->raw, should);
		l->dirty = true;
	}
}

/* Where a directory ends whose map has a far pointer somewhere: before the first gap that is too large. */
static lblk_t dense_end(const struct look *l)
{
	lblk_t end = 0;

	for (size_t i = 0; i < l->s->blks.nr; i++) {
		if (l->s->blks.v[i].lblk > i + MAX_DIR_HOLES)
			break;
		end = (lblk_t)l->s->blks.v[i].lblk + 1;
	}
	return end;
}

static void look_again_at_map(struct look *l)
{
	l->s->claims.nr = l->s->blks.nr = 0;
	l->nr_blocks = l->xattr ? 1 : 0;
	l->end = 0;
	look_at_map(l);
}

static void look_at_dir(struct look *l)
{
	const lblk_t dense = dense_end(l);
	uint64_t size, should;

	if (dense < l->end && fsck_fix(l->w, P1_DIR_SPARSE, .ino = l->ino, .lblk = l->end - 1)) {
		fsck_map_truncate(l->f, l->ino, l->raw, dense);
		l->dirty = true;
		look_again_at_map(l);
	}
	size = inode_size(l->raw);
	should = l->end << l->f->block_shift;
	if (l->end == 0) {
		if (fsck_fix(l->w, P1_DIR_EMPTY, .ino = l->ino))
			clear(l);
		return;
	}
	if (size != should)
		fix_size(l, P1_DIR_SIZE, should);
}

/* The largest size that the map can reach. */
static uint64_t max_size(const struct look *l)
{
	const unsigned shift = l->f->block_shift - 2;
	const uint64_t blocks = EXT_NR_DIRECT + (1ull << shift) + (1ull << 2 * shift) + (1ull << 3 * shift);

	if (le32_get(l->raw->i_flags) & EXT_FL_EXTENTS)
		return ((1ull << 32) << l->f->block_shift) - 1;
	return blocks << l->f->block_shift;
}

/* Blocks may lie behind the size only as far as the last one begins there. */
static void look_at_reg(struct look *l)
{
	const uint64_t size = inode_size(l->raw);
	const uint64_t last = l->end ? (l->end - 1) << l->f->block_shift : 0;

	if (size < last || size > max_size(l))
		fix_size(l, P1_SIZE, l->end << l->f->block_shift);
}

static void look_at_inline(struct look *l)
{
	const struct inline_part p = fsck_inline_part(l->f, l->raw);
	const uint64_t size = inode_size(l->raw);
	uint64_t should = size;

	if (!p.value) {
		if (!fsck_fix(l->w, P1_INLINE_BAD, .ino = l->ino))
			return;
		if (!S_ISREG(l->mode)) {
			clear(l);
			return;
		}
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) & ~(uint32_t)EXT_FL_INLINE_DATA);
		memset(l->raw->i_block, 0, sizeof(l->raw->i_block));
		inode_set_size(l->raw, 0);
		l->dirty = true;
		fsck_fate(l->f, "inode %" PRIu32 ": its inline contents are lost", l->ino);
		return;
	}
	/* A directory fills its space, a file need not fill i_block. */
	if (S_ISDIR(l->mode) || p.len > 0)
		should = EXT_INLINE_BYTES + (uint64_t)p.len;
	else if (size > EXT_INLINE_BYTES)
		should = EXT_INLINE_BYTES;
	if (size != should)
		fix_size(l, P1_INLINE_SIZE, should);
}

/* Flags and fields that hold for all types ------------------------------------------------------------- */

static void drop_flag(struct look *l, enum problem pr, uint32_t flag)
{
	if (fsck_fix(l->w, pr, .ino = l->ino, .num = flag)) {
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) & ~flag);
		l->dirty = true;
	}
}

static bool looks_like_extents(const struct ext_disk_inode *raw)
{
	const struct ext_disk_extent_header *h = (const void *)raw->i_block;

	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && le16_get(h->eh_depth) < 5 && le16_get(h->eh_max) > 0 &&
	       le16_get(h->eh_max) <= 4 && le16_get(h->eh_entries) <= le16_get(h->eh_max);
}

/* Flags of features that fsck refuses to look at when they are on. */
enum { FOREIGN_FLAGS = EXT_FL_ENCRYPT | EXT_FL_VERITY | EXT_FL_EA_INODE | EXT_FL_CASEFOLD | 0x200 /* compressed */,
       IMAGIC_FLAG = 0x2000 };

static void look_at_flags(struct look *l)
{
	const uint32_t flags = le32_get(l->raw->i_flags);
	const bool maps = S_ISREG(l->mode) || S_ISDIR(l->mode);

	if (flags & FOREIGN_FLAGS)
		drop_flag(l, P1_FLAG_FEATURE, flags & FOREIGN_FLAGS);
	if ((flags & IMAGIC_FLAG) && !has_compat(l->f, EXT_COMPAT_IMAGIC_INODES))
		drop_flag(l, P1_FLAG_FEATURE, IMAGIC_FLAG);
	if ((flags & EXT_FL_EXTENTS) && (!has_incompat(l->f, EXT_INCOMPAT_EXTENTS) || (flags & EXT_FL_INLINE_DATA)))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_EXTENTS);
	else if (maps && has_incompat(l->f, EXT_INCOMPAT_EXTENTS) && !(flags & (EXT_FL_EXTENTS | EXT_FL_INLINE_DATA)) &&
		 looks_like_extents(l->raw) && fsck_fix(l->w, P1_EXTENT_FLAG, .ino = l->ino)) {
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) | EXT_FL_EXTENTS);
		l->dirty = true;
	}
	if ((flags & EXT_FL_INLINE_DATA) && !has_incompat(l->f, EXT_INCOMPAT_INLINE_DATA))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_INLINE_DATA);
	if ((flags & EXT_FL_INDEX) && !S_ISDIR(l->mode))
		drop_flag(l, P1_INDEX_NO_DIR, EXT_FL_INDEX);
	else if ((flags & EXT_FL_INDEX) && (!has_compat(l->f, EXT_COMPAT_DIR_INDEX) || (flags & EXT_FL_INLINE_DATA)))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_INDEX);
}

/* A negative time with all epoch bits set: a writer that did not know them meant the former only. */
static void look_at_times(struct look *l)
{
	enum { EPOCH = 3 };
	struct ext_disk_inode *raw = l->raw;
	const struct {
		le32 low, *extra;
		size_t end;
	} times[] = {
		{ raw->i_ctime, &raw->i_ctime_extra, offsetof(struct ext_disk_inode, i_mtime_extra) },
		{ raw->i_mtime, &raw->i_mtime_extra, offsetof(struct ext_disk_inode, i_atime_extra) },
		{ raw->i_atime, &raw->i_atime_extra, offsetof(struct ext_disk_inode, i_crtime) },
		{ raw->i_crtime, &raw->i_crtime_extra, offsetof(struct ext_disk_inode, i_version_hi) },
	};
	bool bad = false;

	if (l->f->inode_bytes == EXT_GOOD_OLD_INODE_BYTES)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		bad |= times[i].end <= EXT_GOOD_OLD_INODE_BYTES + (size_t)le16_get(raw->i_extra_isize) &&
		       (int32_t)le32_get(times[i].low) < 0 && (le32_get(*times[i].extra) & EPOCH) == EPOCH;
	if (!bad || !fsck_fix(l->w, P1_TIME, .ino = l->ino))
		return;
	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		*times[i].extra = le32_of(le32_get(*times[i].extra) & ~(uint32_t)EPOCH);
	l->dirty = true;
}

static void look_at_fields(struct look *l)
{
	struct ext_disk_inode *raw = l->raw;

	if (l->f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES) {
		const unsigned extra = le16_get(raw->i_extra_isize), max = l->f->inode_bytes - EXT_GOOD_OLD_INODE_BYTES;

		if (extra && (extra < 4 || extra > max || extra % 4) &&
		    fsck_fix(l->w, P1_EXTRA_ISIZE, .ino = l->ino, .num = extra)) {
			const unsigned want = le16_get(l->f->sb.s_want_extra_isize);

			raw->i_extra_isize = le16_of((uint16_t)(want >= 4 && want <= max && want % 4 == 0 ? want : MIN(32u, max)));
			l->dirty = true;
		}
	}
	look_at_times(l);
	if (le32_get(raw->i_dtime) && fsck_fix(l->w, l->ino == EXT_ROOT_INO ? P1_ROOT_DTIME : P1_DTIME_SET, .ino = l->ino)) {
		raw->i_dtime = le32_of(0);
		l->dirty = true;
	}
	if (le32_get(raw->i_obso_faddr) &&
	    fsck_fix(l->w, P1_FADDR, .ino = l->ino, .num = le32_get(raw->i_obso_faddr))) {
		raw->i_obso_faddr = le32_of(0);
		l->dirty = true;
	}
	if (!has_incompat(l->f, EXT_INCOMPAT_64BIT) && le16_get(raw->i_file_acl_hi) &&
	    fsck_fix(l->w, P1_ACL_HIGH, .ino = l->ino, .num = le16_get(raw->i_file_acl_hi))) {
		raw->i_file_acl_hi = le16_of(0);
		l->dirty = true;
	}
	if (!S_ISREG(l->mode) && le32_get(raw->i_size_hi) &&
	    fsck_fix(l->w, P1_SIZE_HIGH, .ino = l->ino, .num = le32_get(raw->i_size_hi))) {
		raw->i_size_hi = le32_of(0);
		l->dirty = true;
	}
}

static void look_at_xattr(struct look *l)
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

static void look_at_count(struct look *l)
{
	const uint64_t found = inode_nr_sects(l->f, l->raw), should = sects_of(l->f, l->nr_blocks);

	if (found != should && fsck_fix(l->w, P1_BLOCKS, .ino = l->ino, .num = found, .num2 = should)) {
		inode_set_nr_sects(l->f, l->raw, should);
		l->dirty = true;
	}
}

/* A checksum that is wrong over something that cannot be an inode. */
static bool is_garbage(const struct look *l)
{
	const unsigned extra = l->f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES ? le16_get(l->raw->i_extra_isize) : 0;
	unsigned nr_bad = 0;

	if (!fsck_ft_of(l->mode) || extra % 4 || extra > l->f->inode_bytes - EXT_GOOD_OLD_INODE_BYTES)
		return true;
	if (!inode_has_map(l->f, l->raw))
		return false;
	if (le32_get(l->raw->i_flags) & EXT_FL_EXTENTS)
		return !looks_like_extents(l->raw);
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		nr_bad += l->raw->i_block[i].raw && !fsck_data_ok(l->f, le32_get(l->raw->i_block[i]), 1);
	return nr_bad >= EXT_NR_BLOCK / 2;
}

/* Entering what was found ------------------------------------------------------------------------------ */

static void enter_dir(struct look *l)
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

static void enter(struct look *l)
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

/* A type that has no contents, or none at all, over the contents of a directory. */
static bool is_really_dir(const struct look *l)
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

/* The inode as a whole ------------------------------------------------------------------------------------ */

static void look_at_used(struct look *l)
{
	const bool is_inline = le32_get(l->raw->i_flags) & EXT_FL_INLINE_DATA;

	if (is_really_dir(l) && fsck_fix(l->w, P1_REALLY_DIR, .ino = l->ino, .num = l->mode)) {
		l->mode = S_IFDIR | (l->mode & 07777);
		l->raw->i_mode = le16_of((uint16_t)l->mode);
		l->dirty = true;
	}
	if (l->csum_bad && !fsck_is_system_ino(l->f, l->ino) && is_garbage(l) && fsck_fix(l->w, P1_GARBAGE, .ino = l->ino)) {
		clear(l);
		return;
	}
	if (!fsck_ft_of(l->mode) && fsck_fix(l->w, P1_MODE, .ino = l->ino, .num = l->mode)) {
		clear(l);
		return;
	}
	if (l->ino == EXT_ROOT_INO && !S_ISDIR(l->mode) && fsck_fix(l->w, P1_ROOT_NO_DIR, .ino = l->ino)) {
		clear(l);
		return;
	}
	look_at_fields(l);
	look_at_flags(l);
	look_at_xattr(l);
	if (S_ISREG(l->mode) || S_ISDIR(l->mode) || S_ISLNK(l->mode))
		look_at_map(l);
	if (S_ISLNK(l->mode))
		look_at_symlink(l);
	else if (!S_ISREG(l->mode) && !S_ISDIR(l->mode))
		look_at_special(l);
	else if (is_inline && has_incompat(l->f, EXT_INCOMPAT_INLINE_DATA))
		look_at_inline(l);
	else if (S_ISDIR(l->mode))
		look_at_dir(l);
	else
		look_at_reg(l);
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
static bool look_at_low_dtime(struct look *l)
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

static void look_at_free(struct look *l)
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
static bool look_at_reserved(struct look *l)
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
		look_at_map(l);
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
	struct look l = { .w = w, .f = w->f, .s = w->inode, .ino = ino, .raw = raw, .mode = le16_get(raw->i_mode) };
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
