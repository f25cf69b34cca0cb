/*
 * fsck_extent_tree.c: the tree of extents of one inode made anew, of a list of its runs. A repair that
 * cuts runs to pieces needs more records than the old nodes may have room for.
 */
#include <stdlib.h>

#include "fsck_walk.h"

enum { ROOT_RECORDS = (EXT_INLINE_BYTES - EXTENT_BYTES) / EXTENT_BYTES };

/* A node that was made: where it begins in the file, and where it lies. */
struct made {
	lblk_t lblk;
	pblk_t pblk;
};

struct tree {
	struct fsck *f;
	uint32_t seed;
	const struct fsck_runs *runs;
	ARRAY_OF(struct made) nodes;	/* level by level, the leaves first */
};

static void node_init(struct extent_node *n, unsigned cap, unsigned depth)
{
	struct ext_disk_extent_header *h = extent_head(n);

	memset(h, 0, EXTENT_BYTES + (size_t)cap * EXTENT_BYTES);
	h->eh_magic = le16_of(EXT_EXTENT_MAGIC);
	h->eh_max = le16_of((uint16_t)cap);
	h->eh_depth = le16_of((uint16_t)depth);
	n->depth = depth;
}

/* Records from..from + nr of what the node stands on: runs for a leaf, else nodes. */
static void node_fill(const struct tree *t, struct extent_node *n, size_t from, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (n->depth == 0) {
			const struct fsck_run *r = &t->runs->v[from + i];

			extent_set(extent_leaf(n, i), r->lblk, r->pblk, r->nr, r->unwritten);
		} else {
			const struct made *m = &t->nodes.v[from + i];
			struct ext_disk_extent_idx *e = extent_index(n, i);

			e->ei_block = le32_of((uint32_t)m->lblk);
			e->ei_leaf_lo = le32_of((uint32_t)m->pblk);
			e->ei_leaf_hi = le16_of((uint16_t)(m->pblk >> 32));
		}
	}
	extent_head(n)->eh_entries = le16_of((uint16_t)nr);
}

static lblk_t record_lblk(const struct tree *t, unsigned depth, size_t i)
{
	return depth == 0 ? t->runs->v[i].lblk : t->nodes.v[i].lblk;
}

/* Nodes of this depth over the records from..to. Near what they map. */
static int level_make(struct tree *t, unsigned depth, size_t from, size_t to)
{
	const unsigned cap = (t->f->block_bytes - EXTENT_BYTES) / EXTENT_BYTES;
	struct extent_node n = { .bytes = calloc(1, t->f->block_bytes) };
	int err = n.bytes ? 0 : -ENOMEM;

	for (size_t nr; !err && from < to; from += nr) {
		nr = MIN(to - from, (size_t)cap);
		n.pblk = fsck_block_alloc(t->f, t->runs->v[0].pblk);
		if (!n.pblk || !array_push(t->f, &t->nodes, (struct made){ record_lblk(t, depth, from), n.pblk })) {
			err = n.pblk ? -ENOMEM : -ENOSPC;
			break;
		}
		node_init(&n, cap, depth);
		node_fill(t, &n, from, (unsigned)nr);
		fsck_extent_write(t->f, t->seed, &n);
	}
	free(n.bytes);
	return err;
}

int fsck_extents_make(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, const struct fsck_runs *runs)
{
	struct tree t = { .f = f, .seed = inode_seed(f, ino, raw), .runs = runs };
	struct extent_node root = { .bytes = (uint8_t *)raw->i_block };
	size_t from = 0, to = runs->nr;
	unsigned depth = 0;
	int err = 0;

	while (!err && to - from > ROOT_RECORDS) {
		const size_t first = t.nodes.nr;

		err = level_make(&t, depth++, from, to);
		from = first;
		to = t.nodes.nr;
	}
	if (err) {
		for (size_t i = 0; i < t.nodes.nr; i++)
			fsck_unclaim(f, t.nodes.v[i].pblk, 1);
	} else {
		node_init(&root, ROOT_RECORDS, depth);
		node_fill(&t, &root, from, (unsigned)(to - from));
	}
	array_free(&t.nodes);
	return err;
}
