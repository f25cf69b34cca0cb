/*
 * fs_map_extent.c: extent trees, for reading. Filesystems with extents are mounted read-only.
 *
 * A node is a header and sorted records: leaves hold extents, index nodes point to nodes one
 * depth lower. The root is i_block. Unwritten extents read as holes.
 */
#include "base/crc.h"
#include "fs/fs_map.h"

enum {
	MAX_DEPTH = 5,			/* five levels hold more than 2^32 blocks */
	UNWRITTEN_ABOVE = 32768,	/* ee_len beyond it: unwritten, minus it */
	RECORD_BYTES = sizeof(struct ext_disk_extent),
	HEADER_BYTES = sizeof(struct ext_disk_extent_header),
};

/* A node as bytes: i_block or a block. */
struct node {
	const uint8_t *bytes;
	unsigned nr, depth;
};

static const struct ext_disk_extent *leaf_record(const struct node *n, unsigned i)
{
	return (const struct ext_disk_extent *)(n->bytes + HEADER_BYTES) + i;
}

static const struct ext_disk_extent_idx *index_record(const struct node *n, unsigned i)
{
	return (const struct ext_disk_extent_idx *)(n->bytes + HEADER_BYTES) + i;
}

/* Both kinds of records begin with the first file block. */
static lblk_t record_lblk(const struct node *n, unsigned i)
{
	return le32_get(leaf_record(n, i)->ee_block);
}

static uint32_t leaf_length(const struct ext_disk_extent *e)
{
	const uint16_t len = le16_get(e->ee_len);

	return len > UNWRITTEN_ABOVE ? len - UNWRITTEN_ABOVE : len;
}

static pblk_t leaf_start(const struct ext_disk_extent *e)
{
	return (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo);
}

static pblk_t index_child(const struct ext_disk_extent_idx *e)
{
	return (pblk_t)le16_get(e->ei_leaf_hi) << 32 | le32_get(e->ei_leaf_lo);
}

/* The node as it lies in cap bytes; NULL, or what is wrong with it. */
static const char *node_parse(const void *bytes, size_t cap, struct node *n)
{
	const struct ext_disk_extent_header *eh = bytes;

	n->bytes = bytes;
	n->nr = le16_get(eh->eh_entries);
	n->depth = le16_get(eh->eh_depth);
	if (le16_get(eh->eh_magic) != EXT_EXTENT_MAGIC)
		return "no magic number";
	if (n->depth > MAX_DEPTH)
		return "too deep";
	if (n->nr > le16_get(eh->eh_max) || HEADER_BYTES + (size_t)le16_get(eh->eh_max) * RECORD_BYTES > cap)
		return "more records than fit";
	if (n->depth > 0 && n->nr == 0)
		return "an index node without records";
	for (unsigned i = 0; i < n->nr; i++) {
		const lblk_t from = record_lblk(n, i);
		const lblk_t end = n->depth ? from + 1 : from + leaf_length(leaf_record(n, i));

		if (end == from)
			return "an extent without length";
		if (i + 1 < n->nr && record_lblk(n, i + 1) < end)
			return "records out of order";
	}
	return NULL;
}

static int bad_node(const struct fs_inode *inode, const char *what, pblk_t pblk)
{
	log_error("%s: inode %" PRIu32 ": extent node at block %" PRIu64 ": %s", blk_name(inode->fs->dev), inode->ino,
		  pblk, what);
	return -EUCLEAN;
}

/* The tail lies behind the last possible record; not every block size leaves room for it. */
static bool checksum_ok(const struct fs_inode *inode, const uint8_t *bytes)
{
	const struct ext_disk_extent_header *eh = (const void *)bytes;
	const size_t at = HEADER_BYTES + (size_t)le16_get(eh->eh_max) * RECORD_BYTES;
	le32 found;

	if (!fs_has_csum(inode->fs))
		return true;
	if (at + sizeof(found) > inode->fs->block_bytes)
		return false;
	memcpy(&found, bytes + at, sizeof(found));
	return le32_get(found) == crc32c(inode->csum_seed, bytes, at);
}

static int check_node(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs_inode *inode = arg;
	struct node n;
	const char *what = node_parse(b->data, inode->fs->block_bytes, &n);

	(void)owner;
	if (!what && !checksum_ok(inode, b->data))
		what = "checksum does not match";
	return what ? bad_node(inode, what, b->pblk) : 0;
}

static const struct cache_kind extent_kind = { "extent node", check_node };

int fs_map_extent_check_root(struct fs_inode *inode)
{
	uint8_t root[EXT_INLINE_BYTES] __attribute__((aligned(8)));
	const char *what;
	struct node n;

	fs_inode_block_bytes_get(inode, root);
	what = node_parse(root, sizeof(root), &n);
	return what ? bad_node(inode, what, 0) : 0;
}

/* The last record that begins at lblk or before; nr: all begin behind. */
static unsigned record_before(const struct node *n, lblk_t lblk)
{
	unsigned lo = 0, hi = n->nr;

	while (lo < hi) {
		const unsigned mid = (lo + hi) / 2;

		if (record_lblk(n, mid) <= lblk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 ? lo - 1 : n->nr;
}

/* lblk in a leaf whose subtree ends before limit: its extent, or the hole up to the next one. */
static int find_in_leaf(struct fs_inode *inode, const struct node *n, lblk_t lblk, lblk_t limit,
			struct fs_extent *out, uint32_t max)
{
	const unsigned i = record_before(n, lblk);
	const struct ext_disk_extent *e = leaf_record(n, i);
	const unsigned next = i == n->nr ? 0 : i + 1;
	lblk_t end = next < n->nr ? MIN(limit, record_lblk(n, next)) : limit;

	out->lblk = lblk;
	out->pblk = 0;
	if (i < n->nr && lblk < record_lblk(n, i) + leaf_length(e)) {
		const uint32_t into = (uint32_t)(lblk - record_lblk(n, i));

		end = record_lblk(n, i) + leaf_length(e);
		if (le16_get(e->ee_len) <= UNWRITTEN_ABOVE) {
			if (!fs_data_blocks_ok(inode->fs, leaf_start(e), leaf_length(e)))
				return fs_map_bad(inode, "extent", 0, i, leaf_start(e));
			out->pblk = leaf_start(e) + into;
		}
	}
	out->nr = (uint32_t)MIN((lblk_t)max, end - lblk);
	return 0;
}

/* From *b (NULL: i_block) to the node below record i of n; *b changes hands. */
static int go_down(struct fs_inode *inode, const struct node *n, unsigned i, struct cache_buf **b)
{
	const pblk_t pblk = index_child(index_record(n, i));
	struct cache_buf *child;
	int err;

	if (!fs_data_blocks_ok(inode->fs, pblk, 1))
		return fs_map_bad(inode, "pointer to an extent node", n->depth, i, pblk);
	err = cache_get(inode->fs->cache, pblk, &extent_kind, inode, &child);
	if (err)
		return err;
	cache_put(*b);
	*b = child;
	return 0;
}

static int extent_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out)
{
	uint8_t root[EXT_INLINE_BYTES] __attribute__((aligned(8)));
	lblk_t limit = MAX((lblk_t)UINT32_MAX + 1, lblk + max);	/* where the subtree that holds lblk ends */
	CLEANUP_BUF struct cache_buf *b = NULL;
	const char *what;
	struct node n;

	fs_inode_block_bytes_get(inode, root);
	what = node_parse(root, sizeof(root), &n);
	while (!what && n.depth > 0) {
		const unsigned i = record_before(&n, lblk), depth = n.depth;
		int err;

		if (i == n.nr) {	/* before the first record of all */
			*out = (struct fs_extent){ lblk, 0, (uint32_t)MIN((lblk_t)max, record_lblk(&n, 0) - lblk) };
			return 0;
		}
		if (i + 1 < n.nr)
			limit = MIN(limit, record_lblk(&n, i + 1));
		err = go_down(inode, &n, i, &b);
		if (err)
			return err;
		/* Parsed again: on a damaged filesystem the block may have changed since it was read. */
		what = node_parse(b->data, inode->fs->block_bytes, &n);
		if (!what && n.depth != depth - 1)
			what = "wrong depth";
	}
	if (!what)
		return find_in_leaf(inode, &n, lblk, limit, out, max);
	return fs_damaged(inode->fs, inode->ino, b ? b->pblk : 0, bad_node(inode, what, b ? b->pblk : 0));
}

static int extent_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max,
		       struct fs_extent *out, bool *fresh)
{
	(void)h, (void)max, (void)inode, (void)lblk, (void)out, (void)fresh;
	return -EROFS;
}

static int extent_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to)
{
	(void)h, (void)inode, (void)from, (void)to;
	return -EROFS;
}

static unsigned extent_fill_credits(const struct fs_inode *inode, uint32_t nr)
{
	(void)inode, (void)nr;
	return 0;
}

const struct fs_map_ops fs_map_extent = {
	.name = "extents",
	.find = extent_find,
	.fill = extent_fill,
	.punch = extent_punch,
	.fill_credits = extent_fill_credits,
};
