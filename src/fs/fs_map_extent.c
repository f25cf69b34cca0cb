/* fs_map_extent.c: extent trees: nodes and their checks, walking down, lookup. See fs_map_extent.h. */
#include "base/crc.h"
#include "fs/fs_map_extent.h"

/* A node as bytes: i_block or a block. */
struct node {
	const uint8_t *bytes;
	unsigned nr, depth;
};

static const struct ext_disk_extent *leaf_record(const struct node *n, unsigned i)
{
	return (const struct ext_disk_extent *)(n->bytes + EXTENT_HEADER_BYTES) + i;
}

static const struct ext_disk_extent_idx *index_record(const struct node *n, unsigned i)
{
	return (const struct ext_disk_extent_idx *)(n->bytes + EXTENT_HEADER_BYTES) + i;
}

/* Both kinds of records begin with the first file block. */
static lblk_t record_lblk(const struct node *n, unsigned i)
{
	return le32_get(leaf_record(n, i)->ee_block);
}

struct extent extent_load(const struct ext_disk_extent *raw)
{
	const uint32_t len = le16_get(raw->ee_len);
	const bool unwritten = len > EXTENT_MAX_LEN;

	return (struct extent){
		.lblk = le32_get(raw->ee_block),
		.pblk = (pblk_t)le16_get(raw->ee_start_hi) << 32 | le32_get(raw->ee_start_lo),
		.nr = unwritten ? len - EXTENT_MAX_LEN : len,
		.unwritten = unwritten,
	};
}

void extent_store(struct ext_disk_extent *raw, const struct extent *e)
{
	*raw = (struct ext_disk_extent){
		.ee_block = le32_of((uint32_t)e->lblk),
		.ee_len = le16_of((uint16_t)(e->nr + (e->unwritten ? EXTENT_MAX_LEN : 0))),
		.ee_start_hi = le16_of((uint16_t)(e->pblk >> 32)),
		.ee_start_lo = le32_of((uint32_t)e->pblk),
	};
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
	if (n->depth > EXTENT_MAX_DEPTH)
		return "too deep";
	if (n->nr > le16_get(eh->eh_max) ||
	    EXTENT_HEADER_BYTES + (size_t)le16_get(eh->eh_max) * EXTENT_RECORD_BYTES > cap)
		return "more records than fit";
	if (n->depth > 0 && n->nr == 0)
		return "an index node without records";
	for (unsigned i = 0; i < n->nr; i++) {
		const lblk_t from = record_lblk(n, i);
		const lblk_t end = n->depth ? from + 1 : from + extent_load(leaf_record(n, i)).nr;

		if (end == from)
			return "an extent without length";
		if (end > EXTENT_NR_LBLKS + 1)
			return "an extent beyond the last possible block";
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

/* The tail lies behind the last possible record; every block size leaves room for it. */
static size_t tail_at(const uint8_t *bytes)
{
	const struct ext_disk_extent_header *eh = (const void *)bytes;

	return EXTENT_HEADER_BYTES + (size_t)le16_get(eh->eh_max) * EXTENT_RECORD_BYTES;
}

static bool checksum_ok(const struct fs_inode *inode, const uint8_t *bytes)
{
	const size_t at = tail_at(bytes);
	le32 found;

	if (!fs_has_csum(inode->fs))
		return true;
	if (at + sizeof(found) > inode->fs->block_bytes)
		return false;
	memcpy(&found, bytes + at, sizeof(found));
	return le32_get(found) == crc32c(inode->csum_seed, bytes, at);
}

void extent_seal(const struct fs_inode *inode, uint8_t *bytes)
{
	const size_t at = tail_at(bytes);
	le32 csum;

	if (!fs_has_csum(inode->fs))
		return;
	csum = le32_of(crc32c(inode->csum_seed, bytes, at));
	memcpy(bytes + at, &csum, sizeof(csum));
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

const struct cache_kind extent_kind = { "extent node", check_node };

int fs_map_extent_check_root(struct fs_inode *inode)
{
	uint8_t root[EXT_INLINE_BYTES] __attribute__((aligned(8)));
	const char *what;
	struct node n;

	fs_inode_block_bytes_get(inode, root);
	what = node_parse(root, sizeof(root), &n);
	return what ? bad_node(inode, what, 0) : 0;
}

void fs_map_extent_root(uint8_t root[EXT_INLINE_BYTES])
{
	const struct ext_disk_extent_header eh = {
		.eh_magic = le16_of(EXT_EXTENT_MAGIC),
		.eh_max = le16_of((EXT_INLINE_BYTES - EXTENT_HEADER_BYTES) / EXTENT_RECORD_BYTES),
	};

	memset(root, 0, EXT_INLINE_BYTES);
	memcpy(root, &eh, sizeof(eh));
}

/* Walking down ------------------------------------------------------------------------ */

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

void extent_path_put(struct extent_path *p)
{
	for (unsigned level = 0; level <= EXTENT_MAX_DEPTH; level++) {
		cache_put(p->bufs[level]);
		p->bufs[level] = NULL;
	}
}

/* The node below record i of n. */
static int child_get(struct fs_inode *inode, const struct node *n, unsigned i, struct cache_buf **out)
{
	const pblk_t pblk = index_child(index_record(n, i));

	if (!fs_data_blocks_ok(inode->fs, pblk, 1))
		return fs_map_bad(inode, "pointer to an extent node", n->depth, i, pblk);
	return cache_get(inode->fs->cache, pblk, &extent_kind, inode, out);
}

int extent_descend(struct fs_inode *inode, lblk_t lblk, struct extent_path *p)
{
	const char *what;
	pblk_t pblk = 0;
	struct node n;

	memset(p->bufs, 0, sizeof(p->bufs));
	p->limit = EXTENT_NR_LBLKS + 1;
	fs_inode_block_bytes_get(inode, p->root);
	what = node_parse(p->root, sizeof(p->root), &n);
	p->depth = what ? 0 : n.depth;
	while (!what && n.depth > 0) {
		const unsigned level = n.depth, found = record_before(&n, lblk);
		const unsigned i = found < n.nr ? found : 0;	/* before the first record of all */
		int err;

		p->at[level] = i;
		if (i + 1 < n.nr)
			p->limit = MIN(p->limit, record_lblk(&n, i + 1));
		err = child_get(inode, &n, i, &p->bufs[level - 1]);
		if (err) {
			p->bufs[level - 1] = NULL;
			return err;
		}
		pblk = p->bufs[level - 1]->pblk;
		/* Parsed again: on a damaged filesystem the block may have changed since it was read. */
		what = node_parse(p->bufs[level - 1]->data, inode->fs->block_bytes, &n);
		if (!what && n.depth != level - 1)
			what = "wrong depth";
	}
	if (what)
		return fs_damaged(inode->fs, inode->ino, pblk, bad_node(inode, what, pblk));
	p->at[0] = record_before(&n, lblk);
	return 0;
}

/* Lookup ---------------------------------------------------------------------------------- */

struct extent extent_at(struct extent_path *p, lblk_t lblk, uint32_t *hole)
{
	const unsigned nr = extent_nr(p, 0), i = p->at[0], next = i == nr ? 0 : i + 1;
	struct extent e = { 0 };
	lblk_t end = MIN(p->limit, EXTENT_NR_LBLKS);

	*hole = 0;
	if (i < nr)
		e = extent_load(extent_record(p, 0, i));
	if (lblk < e.lblk + e.nr)
		return e;
	if (next < nr)
		end = extent_load(extent_record(p, 0, next)).lblk;
	if (lblk < end)
		*hole = (uint32_t)(end - lblk);
	return (struct extent){ 0 };
}

int extent_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out)
{
	CLEANUP_EXTENT_PATH struct extent_path p;
	struct extent e;
	uint32_t hole;
	int err = extent_descend(inode, lblk, &p);

	if (err)
		return err;
	e = extent_at(&p, lblk, &hole);
	if (!e.unwritten && e.nr && !fs_data_blocks_ok(inode->fs, e.pblk, e.nr))
		return fs_map_bad(inode, "extent", 0, p.at[0], e.pblk);
	*out = (struct fs_extent){ .lblk = lblk, .nr = max };	/* behind the last possible block there is nothing */
	if (e.nr)
		out->nr = (uint32_t)MIN((lblk_t)max, e.lblk + e.nr - lblk);
	else if (hole)
		out->nr = MIN(max, hole);
	if (e.nr && !e.unwritten)
		out->pblk = e.pblk + (lblk - e.lblk);
	return 0;
}

/* Nodes on a path of the tree as it is. */
static unsigned nr_levels(const struct fs_inode *inode)
{
	return MIN(inode->block[1] >> 16 /* eh_depth */, (uint32_t)EXTENT_MAX_DEPTH) + 1;
}

static unsigned extent_fill_credits(const struct fs_inode *inode, uint32_t nr)
{
	(void)nr;	/* one extent, and one record for each rest of an unwritten one */
	/* Every node on the path changed, and a new one beside it or above. */
	return DIV_UP(nr_levels(inode) * (1 + 1 + FS_CREDITS_ALLOC), 1 + FS_CREDITS_ALLOC);
}

static unsigned extent_punch_credits(const struct fs_inode *inode)
{
	/* The same in the middle of an extent; else nodes on the path are changed or freed. */
	return nr_levels(inode) * (1 + MAX(1 + FS_CREDITS_ALLOC, FS_CREDITS_FREE_GROUP));
}

const struct fs_map_ops fs_map_extent = {
	.name = "extents",
	.find = extent_find,
	.fill = extent_fill,
	.punch = extent_punch,
	.fill_credits = extent_fill_credits,
	.punch_credits = extent_punch_credits,
	.punch_steps = 8,
};
