/* fsck_inode_type.c: size and contents of an inode, by its type. */
#include <stdlib.h>

#include "fsck_inode.h"

enum { MAX_DIR_HOLES = 64 };

static void look_at_special(struct inode_look *l)
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
static bool symlink_ok(struct inode_look *l)
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

static void look_at_symlink(struct inode_look *l)
{
	if (!symlink_ok(l) && fsck_fix(l->w, P1_SYMLINK, .ino = l->ino))
		inode_drop(l);
}

static void fix_size(struct inode_look *l, enum problem pr, uint64_t should)
{
	if (fsck_fix(l->w, pr, .ino = l->ino, .num = inode_size(l->raw), .num2 = should)) {
		inode_set_size(l->raw, should);
		l->dirty = true;
	}
}

/* Where a directory ends whose map has a far pointer somewhere: before the first gap that is too large. */
static lblk_t dense_end(const struct inode_look *l)
{
	lblk_t end = 0;

	for (size_t i = 0; i < l->s->blks.nr; i++) {
		if (l->s->blks.v[i].lblk > i + MAX_DIR_HOLES)
			break;
		end = (lblk_t)l->s->blks.v[i].lblk + 1;
	}
	return end;
}

static void look_again_at_map(struct inode_look *l)
{
	l->s->claims.nr = l->s->blks.nr = 0;
	l->nr_blocks = l->xattr ? 1 : 0;
	l->end = 0;
	inode_check_map(l);
}

static void look_at_dir(struct inode_look *l)
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
			inode_drop(l);
		return;
	}
	if (size != should)
		fix_size(l, P1_DIR_SIZE, should);
}

/* The largest size that the map can reach. */
static uint64_t max_size(const struct inode_look *l)
{
	const unsigned shift = l->f->block_shift - 2;
	const uint64_t blocks = EXT_NR_DIRECT + (1ull << shift) + (1ull << 2 * shift) + (1ull << 3 * shift);

	if (le32_get(l->raw->i_flags) & EXT_FL_EXTENTS)
		return ((1ull << 32) - 1) << l->f->block_shift;
	return blocks << l->f->block_shift;
}

/* Blocks may lie behind the size only as far as the last one begins there. */
static void look_at_reg(struct inode_look *l)
{
	const uint64_t size = inode_size(l->raw);
	const uint64_t last = l->end ? (l->end - 1) << l->f->block_shift : 0;

	if (size < last || size > max_size(l))
		fix_size(l, P1_SIZE, l->end << l->f->block_shift);
}

static void look_at_inline(struct inode_look *l)
{
	const struct inline_part p = fsck_inline_part(l->f, l->raw);
	const uint64_t size = inode_size(l->raw);
	uint64_t should = size;

	if (!p.value) {
		if (!fsck_fix(l->w, P1_INLINE_BAD, .ino = l->ino))
			return;
		if (!S_ISREG(l->mode)) {
			inode_drop(l);
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

void inode_check_contents(struct inode_look *l)
{
	if (S_ISLNK(l->mode))
		look_at_symlink(l);
	else if (!S_ISREG(l->mode) && !S_ISDIR(l->mode))
		look_at_special(l);
	else if ((le32_get(l->raw->i_flags) & EXT_FL_INLINE_DATA) && has_incompat(l->f, EXT_INCOMPAT_INLINE_DATA))
		look_at_inline(l);
	else if (S_ISDIR(l->mode))
		look_at_dir(l);
	else
		look_at_reg(l);
}
