/* fsck_extent.c: a node of an extent tree in memory. See fsck_walk.h. */
#include "base/crc.h"
#include "fsck_walk.h"

void fsck_extent_remove(struct extent_node *n, unsigned i)
{
	const unsigned nr = extent_nr(n);

	memmove(extent_leaf(n, i), extent_leaf(n, i + 1), (size_t)(nr - i - 1) * EXTENT_BYTES);
	memset(extent_leaf(n, nr - 1), 0, EXTENT_BYTES);
	extent_head(n)->eh_entries = le16_of((uint16_t)(nr - 1));
	n->changed = true;
}

bool fsck_extent_insert(struct extent_node *n, unsigned i)
{
	const unsigned nr = extent_nr(n);

	if (nr >= le16_get(extent_head(n)->eh_max))
		return false;
	memmove(extent_leaf(n, i + 1), extent_leaf(n, i), (size_t)(nr - i) * EXTENT_BYTES);
	extent_head(n)->eh_entries = le16_of((uint16_t)(nr + 1));
	n->changed = true;
	return true;
}

bool fsck_extent_head_ok(const struct extent_node *n, size_t cap)
{
	const struct ext_disk_extent_header *h = extent_head(n);
	const unsigned max = le16_get(h->eh_max);

	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && le16_get(h->eh_depth) == n->depth && max > 0 &&
	       le16_get(h->eh_entries) <= max && EXTENT_BYTES + (size_t)max * EXTENT_BYTES <= cap;
}

/* Where the checksum lies, behind the last record there is room for. NULL: there is none. */
static le32 *csum_of(const struct fsck *f, const struct extent_node *n)
{
	const size_t at = EXTENT_BYTES + (size_t)le16_get(extent_head(n)->eh_max) * EXTENT_BYTES;

	return has_csum(f) && at + sizeof(le32) <= f->block_bytes ? (le32 *)(n->bytes + at) : NULL;
}

static uint32_t csum_want(uint32_t seed, const struct extent_node *n, const le32 *csum)
{
	return crc32c(seed, n->bytes, (size_t)((const uint8_t *)csum - n->bytes));
}

bool fsck_extent_csum_ok(const struct fsck *f, uint32_t seed, const struct extent_node *n)
{
	const le32 *csum = csum_of(f, n);

	return !csum || le32_get(*csum) == csum_want(seed, n, csum);
}

void fsck_extent_write(struct fsck *f, uint32_t seed, struct extent_node *n)
{
	le32 *csum = csum_of(f, n);

	if (csum)
		*csum = le32_of(csum_want(seed, n, csum));
	fsck_block_write(f, n->pblk, n->bytes);
}
