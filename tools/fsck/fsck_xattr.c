/*
 * fsck_xattr.c: extended attributes: in the inode, and in blocks that inodes may share. Areas
 * are checked by src/fs's xattr_area_check().
 */
#include <stdlib.h>

#include "fs/fs_xattr.h"
#include "fsck_int.h"

enum { MAGIC_BYTES = 4, MIN_AREA_BYTES = 8 };

/* In the inode ------------------------------------------------------------------------------ */

/* The record's rest behind the fields; 0: too short for attributes, or i_extra_isize is no good. */
static unsigned ibody_off(const struct fsck *f, const struct ext_disk_inode *raw)
{
	unsigned extra, off;

	if (f->inode_bytes == EXT_GOOD_OLD_INODE_BYTES)
		return 0;
	extra = le16_get(raw->i_extra_isize);
	off = EXT_GOOD_OLD_INODE_BYTES + extra;
	if (extra == 0 || extra % 4 || off + MAGIC_BYTES + MIN_AREA_BYTES > f->inode_bytes)
		return 0;
	return off;
}

/* False: there are none. */
static bool ibody_area(const struct fsck *f, struct ext_disk_inode *raw, struct xattr_area *a)
{
	const unsigned off = ibody_off(f, raw);
	uint8_t *rest = (uint8_t *)raw + off;
	le32 magic;

	if (!off)
		return false;
	memcpy(&magic, rest, sizeof(magic));
	if (le32_get(magic) != EXT_XATTR_MAGIC)
		return false;
	*a = (struct xattr_area){ .base = rest + MAGIC_BYTES, .first = rest + MAGIC_BYTES,
				  .end = (uint8_t *)raw + f->inode_bytes };
	return true;
}

/* As e2fsck wants it: over name and value; the sign of the name's bytes is the writer's machine's. */
static uint32_t entry_hash(const struct xattr_area *a, const struct ext_disk_xattr_entry *e, bool is_signed)
{
	const uint8_t *value = xattr_value(a, e);
	uint32_t hash = 0;
	le32 word;

	for (unsigned i = 0; i < e->e_name_len; i++)
		hash = (hash << 5) ^ (hash >> 27) ^
		       (is_signed ? (uint32_t)(int32_t)(signed char)e->e_name[i] : (uint8_t)e->e_name[i]);
	for (unsigned i = 0; i < ALIGN_UP(le32_get(e->e_value_size), 4u); i += sizeof(word)) {
		memcpy(&word, value + i, sizeof(word));
		hash = (hash << 16) ^ (hash >> 16) ^ le32_get(word);
	}
	return hash;
}

static const char *hash_fault(const struct xattr_area *a)
{
	xattr_for_each(e, a) {
		const uint32_t hash = le32_get(e->e_hash);

		if (hash && hash != entry_hash(a, e, false) && hash != entry_hash(a, e, true))
			return "a wrong hash";
	}
	return NULL;
}

/* What src/fs lets pass, as it does no harm there. */
static const char *entry_fault(const struct xattr_area *a)
{
	xattr_for_each(e, a) {
		if (!e->e_name_len && !e->e_name_index)
			return "an entry without a name";
		if (!e->e_value_size.raw && le16_get(e->e_value_offs) > a->end - a->base)
			return "an empty value outside of its area";
	}
	return NULL;
}

static const char *area_fault(const struct xattr_area *a)
{
	const char *fault = xattr_area_check(a);

	if (!fault)
		fault = entry_fault(a);
	return fault ? fault : hash_fault(a);
}

bool fsck_ibody_check(struct worker *w, ino_nr_t ino, struct ext_disk_inode *raw, bool *has_any)
{
	struct xattr_area a;
	const char *fault;

	*has_any = ibody_area(w->f, raw, &a);
	if (!*has_any)
		return false;
	fault = area_fault(&a);
	if (!fault || !fsck_fix(w, P1_IBODY_XATTR, .ino = ino, .str = fault))
		return false;
	memset(a.base - MAGIC_BYTES, 0, (size_t)(a.end - a.base) + MAGIC_BYTES);
	fsck_fate(w->f, "inode %" PRIu32 ": its attributes in the inode are lost", ino);
	*has_any = false;
	return true;
}

struct inline_part fsck_inline_part(const struct fsck *f, struct ext_disk_inode *raw)
{
	const struct xattr_name name = XATTR_NAME_DATA;
	struct xattr_area a;
	struct ext_disk_xattr_entry *e;

	if (!ibody_area(f, raw, &a) || xattr_area_check(&a))
		return (struct inline_part){ 0 };
	e = xattr_find(&a, &name);
	if (!e)
		return (struct inline_part){ 0 };
	return (struct inline_part){ xattr_value(&a, e), le32_get(e->e_value_size) };
}

/* Blocks ---------------------------------------------------------------------------------------- */

static const char *block_fault(const struct fsck *f, uint8_t *block)
{
	const struct ext_disk_xattr_header *h = (const void *)block;
	const struct xattr_area a = { .base = block, .first = block + sizeof(*h), .end = block + f->block_bytes,
				      .is_block = true };

	if (le32_get(h->h_magic) != EXT_XATTR_MAGIC)
		return "no magic number";
	if (le32_get(h->h_blocks) != 1)
		return "more than one block";
	return area_fault(&a);
}

static void seal(const struct fsck *f, pblk_t pblk, uint8_t *block)
{
	struct ext_disk_xattr_header *h = (void *)block;

	if (has_csum(f))
		h->h_checksum = le32_of(ext_xattr_block_csum(f->csum_seed, pblk, block, f->block_bytes));
}

static bool csum_ok(const struct fsck *f, pblk_t pblk, const uint8_t *block)
{
	const struct ext_disk_xattr_header *h = (const void *)block;

	return !has_csum(f) || le32_get(h->h_checksum) == ext_xattr_block_csum(f->csum_seed, pblk, block, f->block_bytes);
}

bool fsck_xattr_block_check(struct worker *w, ino_nr_t ino, pblk_t pblk, uint32_t *told)
{
	struct fsck *f = w->f;
	uint8_t *block;
	const char *fault;
	bool drop = false;

	if (!fsck_data_ok(f, pblk, 1))
		return fsck_fix(w, P1_XATTR_ILLEGAL, .ino = ino, .pblk = pblk);
	block = malloc(f->block_bytes);
	if (!block) {
		atomic_store(&f->any_err, true);
		return false;
	}
	fault = fsck_block_read(f, pblk, block) ? "it cannot be read" : block_fault(f, block);
	if (fault) {
		drop = fsck_fix(w, P1_XATTR_BAD, .ino = ino, .pblk = pblk, .str = fault);
		if (drop)
			fsck_fate(f, "inode %" PRIu32 ": its attributes in block %" PRIu64 " are lost", ino, pblk);
	} else if (!csum_ok(f, pblk, block) && fsck_fix(w, P1_XATTR_CSUM, .ino = ino, .pblk = pblk)) {
		seal(f, pblk, block);
		fsck_block_write(f, pblk, block);
	}
	*told = le32_get(((struct ext_disk_xattr_header *)block)->h_refcount);
	free(block);
	return drop;
}

static void refcount_set(struct fsck *f, pblk_t pblk, uint32_t nr, bool relative)
{
	uint8_t *block = malloc(f->block_bytes);
	struct ext_disk_xattr_header *h = (void *)block;

	if (!block || fsck_block_read(f, pblk, block)) {
		free(block);
		return;
	}
	if (relative)
		nr = le32_get(h->h_refcount) > nr ? le32_get(h->h_refcount) - nr : 0;
	if (le32_get(h->h_magic) == EXT_XATTR_MAGIC && nr > 0) {
		h->h_refcount = le32_of(nr);
		seal(f, pblk, block);
		fsck_block_write(f, pblk, block);
	}
	free(block);
}

void fsck_xattr_release(struct fsck *f, pblk_t pblk)
{
	if (fsck_data_ok(f, pblk, 1))
		refcount_set(f, pblk, 1, true);
}

void fsck_xattr_refcounts(struct fsck *f)
{
	for (size_t i = 0; i < f->xrefs.nr && !is_stopped(f); i++) {
		struct fsck_xref *x = &f->xrefs.v[i];

		if (x->found != x->told &&
		    fsck_fix(&f->main, P1_XATTR_REFCOUNT, .ino = x->ino, .pblk = x->pblk, .num = x->told, .num2 = x->found))
			refcount_set(f, x->pblk, x->found, false);
	}
}
