/*
 * fs_htree_add.c: a name into a hashed directory. A full leaf is split in two by hash; the
 * new index entry may in turn split nodes, up to a new level below the root. And a directory
 * of one block becomes a hashed one here.
 *
 * All blocks are appended first, and write access taken, before any byte changes (D3).
 */
#include <assert.h>
#include <stdlib.h>

#include "fs/fs_dir_int.h"

/* A leaf in two ---------------------------------------------------------------------------------- */

/* One name of the leaf, or the new one. */
struct item {
	uint32_t hash;
	uint16_t bytes;		/* that its entry takes */
	uint8_t type, name_len;
	ino_nr_t ino;
	const char *name;
};

static int item_compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* A copy of the leaf, and its names plus one sorted by hash. */
struct split {
	struct alloc *alloc;
	void *mem;		/* copy, then items */
	unsigned order;
	struct item *items;
	unsigned nr_items, first_right;
};

static void split_done(struct split *s)
{
	if (s->mem)
		alloc_pages_free(s->alloc, s->mem, s->order);
}
#define CLEANUP_SPLIT __attribute__((cleanup(split_done)))

static int split_alloc(struct split *s, struct fs *fs)
{
	const size_t max_items = fs->block_bytes / DIRENT_MIN_BYTES + 2;
	const size_t bytes = fs->block_bytes + max_items * sizeof(struct item);

	s->alloc = fs->alloc;
	while ((size_t)ALLOC_PAGE_BYTES << s->order < bytes)
		s->order++;
	s->mem = alloc_pages(fs->alloc, s->order);
	return s->mem ? 0 : -ENOMEM;
}

static int split_add_item(struct split *s, const struct fs_htree *t, struct fs_name name, ino_nr_t ino, unsigned type)
{
	struct item *item = &s->items[s->nr_items++];
	uint32_t minor;

	*item = (struct item){ .bytes = (uint16_t)fs_dirent_bytes(name.len), .type = (uint8_t)type,
			       .name_len = (uint8_t)name.len, .ino = ino, .name = name.s };
	return fs_htree_hash(t->dir, t->version, name, &item->hash, &minor);
}

/* Where the bytes are nearest to half: then each side has room, as no entry is above DIRENT_MAX_BYTES. */
static unsigned split_point(const struct split *s)
{
	unsigned total = 0, left = 0, i;

	for (i = 0; i < s->nr_items; i++)
		total += s->items[i].bytes;
	for (i = 0; i + 1 < s->nr_items && left + s->items[i].bytes / 2 < total / 2; i++)
		left += s->items[i].bytes;
	return MAX(i, 1u);
}

static int split_plan(struct split *s, const struct fs_htree *t, const struct cache_buf *leaf, struct fs_name name,
		      ino_nr_t ino, unsigned type)
{
	struct fs *fs = t->dir->fs;
	struct fs_chain chain = fs_dir_chain(t->dir, leaf);
	struct ext_disk_dirent *de;
	unsigned off;
	int err = split_alloc(s, fs);

	if (err)
		return err;
	memcpy(s->mem, chain.p, chain.len);
	chain.p = s->mem;
	s->items = (struct item *)((uint8_t *)s->mem + fs->block_bytes);
	fs_chain_for_each(de, off, &chain) {
		if (!de->inode.raw)
			continue;
		err = split_add_item(s, t, fs_dirent_name(de), le32_get(de->inode), de->file_type);
		if (err)
			return err;
	}
	err = split_add_item(s, t, name, ino, type);
	if (err)
		return err;
	if (s->nr_items < 2)
		return fs_dir_damaged(t->dir, leaf->pblk, "a leaf without names has no room for one");
	qsort(s->items, s->nr_items, sizeof(*s->items), item_compare);
	s->first_right = split_point(s);
	return 0;
}

/* The index entry's hash of the right half: its first, and whether that began on the left. */
static uint32_t split_hash(const struct split *s)
{
	const uint32_t hash = s->items[s->first_right].hash;

	return hash | (s->items[s->first_right - 1].hash == hash);
}

static void fill_leaf(const struct fs_chain *c, const struct item *items, unsigned nr)
{
	unsigned off = 0;

	fs_chain_clear(c);
	for (unsigned i = 0; i < nr; i++) {
		fs_chain_put(c, off, (struct fs_name){ items[i].name, items[i].name_len }, items[i].ino, items[i].type);
		off = i ? off + items[i - 1].bytes : 0;
	}
}

static void split_carry_out(struct jnl_handle *h, const struct split *s, struct fs_inode *dir, struct cache_buf *left,
			    struct cache_buf *right)
{
	struct fs_chain chain = fs_dir_chain(dir, left);

	fill_leaf(&chain, s->items, s->first_right);
	fs_dir_block_changed(h, dir, left);
	fs_dir_leaf_init(dir, right);
	chain = fs_dir_chain(dir, right);
	fill_leaf(&chain, s->items + s->first_right, s->nr_items - s->first_right);
	fs_dir_block_changed(h, dir, right);
}

/* Index blocks -------------------------------------------------------------------------------------- */

/* The new entry goes behind the one that was followed. The frame has room. */
static void frame_insert(struct fs_htree_frame *f, uint32_t hash, lblk_t lblk)
{
	const unsigned count = fs_htree_count(f->entries);
	struct ext_disk_dx_entry *at = f->entries + f->at + 1;

	assert(count < fs_htree_limit(f->entries));
	memmove(at + 1, at, (count - f->at - 1) * sizeof(*at));
	*at = (struct ext_disk_dx_entry){ le32_of(hash), le32_of((uint32_t)lblk) };
	fs_htree_set_count(f->entries, count + 1);
}

/* A fresh block becomes an index node with nr entries from src; the first one's hash is the caller's to keep. */
static struct ext_disk_dx_entry *node_init(struct fs_inode *dir, struct cache_buf *b,
					   const struct ext_disk_dx_entry *src, unsigned nr)
{
	struct ext_disk_dirent *fake = b->data;
	struct ext_disk_dx_entry *entries = (void *)((uint8_t *)b->data + HTREE_NODE_ENTRIES_OFF);

	*fake = (struct ext_disk_dirent){ .rec_len = fs_dirent_rec_len_of(dir->fs->block_bytes) };
	memcpy(entries, src, nr * sizeof(*src));
	fs_htree_set_limit(entries, fs_htree_room(dir->fs, HTREE_NODE_ENTRIES_OFF));
	fs_htree_set_count(entries, nr);
	return entries;
}

/* The frame is now the left part (nr_left entries) or the right one, in right: whichever was followed. */
static void frame_follow(struct fs_htree_frame *f, unsigned nr_left, struct cache_buf **right,
			 struct ext_disk_dx_entry *right_entries)
{
	struct cache_buf *left = f->b;

	if (f->at < nr_left)
		return;
	f->at -= nr_left;
	f->entries = right_entries;
	f->b = *right;
	*right = left;
}

/* The upper half of the node at this level goes to a fresh block; the level above has room. */
static void node_split(struct jnl_handle *h, struct fs_htree *t, unsigned level, struct cache_buf **fresh,
		       lblk_t fresh_lblk)
{
	struct fs_htree_frame *f = &t->frame[level], *up = &t->frame[level - 1];
	const unsigned count = fs_htree_count(f->entries), nr_left = count / 2;
	const uint32_t hash = le32_get(f->entries[nr_left].hash);
	struct ext_disk_dx_entry *right = node_init(t->dir, *fresh, f->entries + nr_left, count - nr_left);

	fs_htree_set_count(f->entries, nr_left);
	frame_insert(up, hash, fresh_lblk);
	fs_dir_block_changed(h, t->dir, f->b);
	fs_dir_block_changed(h, t->dir, *fresh);
	fs_dir_block_changed(h, t->dir, up->b);
	if (f->at >= nr_left)
		up->at++;
	frame_follow(f, nr_left, fresh, right);
}

/* The root's entries go to two fresh nodes below it: one level more, with room in it and in the root. */
static void root_split(struct jnl_handle *h, struct fs_htree *t, struct cache_buf **fresh, lblk_t fresh_lblk)
{
	struct fs_htree_frame *root = &t->frame[0], *f = &t->frame[1];
	struct ext_disk_dx_root_info *info = (void *)((uint8_t *)root->b->data + 2 * DIR_DOT_BYTES);
	const unsigned count = fs_htree_count(root->entries), nr_left = count / 2;
	const uint32_t hash = le32_get(root->entries[nr_left].hash);
	struct ext_disk_dx_entry *left = node_init(t->dir, fresh[0], root->entries, nr_left);
	struct ext_disk_dx_entry *right = node_init(t->dir, fresh[1], root->entries + nr_left, count - nr_left);

	fs_htree_set_count(root->entries, 2);
	root->entries[0].block = le32_of((uint32_t)fresh_lblk);
	root->entries[1] = (struct ext_disk_dx_entry){ le32_of(hash), le32_of((uint32_t)fresh_lblk + 1) };
	info->indirect_levels++;
	fs_dir_block_changed(h, t->dir, root->b);
	fs_dir_block_changed(h, t->dir, fresh[0]);
	fs_dir_block_changed(h, t->dir, fresh[1]);

	memmove(f + 1, f, (t->nr_levels - 1) * sizeof(*f));
	t->nr_levels++;
	*f = (struct fs_htree_frame){ .b = fresh[0], .entries = left, .at = root->at };
	fresh[0] = NULL;
	root->at = f->at >= nr_left;
	frame_follow(f, nr_left, &fresh[1], right);
}

/* Insertion ------------------------------------------------------------------------------------------- */

/* What a new index entry changes: frames from top_full on are full. */
struct growth {
	unsigned top_full;	/* nr_levels: none */
	unsigned nr_blocks;	/* to append, the leaf included */
};

static int growth_plan(const struct fs_htree *t, struct growth *g)
{
	unsigned level = t->nr_levels;

	while (level > 0) {
		const struct fs_htree_frame *f = &t->frame[level - 1];

		if (fs_htree_count(f->entries) < fs_htree_limit(f->entries))
			break;
		level--;
	}
	if (level == 0 && t->nr_levels >= fs_htree_max_levels(t->dir->fs)) {
		log_warn("directory inode %" PRIu32 ": its index is full", t->dir->ino);
		return -ENOSPC;
	}
	g->top_full = level;
	g->nr_blocks = 1 + t->nr_levels - level + (level == 0);
	return 0;
}

/* Write access to the leaf and to every index block that will change. */
static int take_write_access(struct jnl_handle *h, const struct fs_htree *t, const struct growth *g,
			     struct cache_buf *leaf)
{
	int err = jnl_get_write(h, leaf);

	for (unsigned level = g->top_full ? g->top_full - 1 : 0; !err && level < t->nr_levels; level++)
		err = jnl_get_write(h, t->frame[level].b);
	return err;
}

/* Makes room in the lowest index block with the fresh blocks, which lie from lblk on. */
static void make_room(struct jnl_handle *h, struct fs_htree *t, const struct growth *g, struct cache_buf **fresh,
		      lblk_t lblk)
{
	unsigned level = g->top_full, used = 0;

	if (level == 0) {
		root_split(h, t, fresh, lblk);
		used = 2;
		level = 2;
	}
	for (; level < t->nr_levels; level++, used++)
		node_split(h, t, level, &fresh[used], lblk + used);
}

static int leaf_split(struct jnl_handle *h, struct fs_htree *t, struct cache_buf *leaf, struct fs_name name,
		      ino_nr_t ino, unsigned type)
{
	CLEANUP_SPLIT struct split split = { 0 };
	struct fs_inode *dir = t->dir;
	struct cache_buf *fresh[DIR_GROW_MAX];
	lblk_t lblk;
	struct growth g;
	int err = split_plan(&split, t, leaf, name, ino, type);

	if (!err)
		err = growth_plan(t, &g);
	if (!err)
		err = take_write_access(h, t, &g, leaf);
	if (err)
		return err;
	lblk = fs_dir_nr_blocks(dir);
	err = fs_dir_grow(h, dir, g.nr_blocks, fresh);
	if (err)
		return err;
	make_room(h, t, &g, fresh + 1, lblk + 1);
	split_carry_out(h, &split, dir, leaf, fresh[0]);
	frame_insert(&t->frame[t->nr_levels - 1], split_hash(&split), lblk);
	fs_dir_block_changed(h, dir, t->frame[t->nr_levels - 1].b);
	fs_dir_bufs_put(fresh, g.nr_blocks);
	return 0;
}

int fs_htree_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino, unsigned type)
{
	CLEANUP_HTREE struct fs_htree t = { 0 };
	CLEANUP_BUF struct cache_buf *leaf = NULL;
	struct fs_chain chain;
	uint32_t major, minor;
	unsigned gap;
	int err = fs_htree_open(dir, &t);

	if (!err)
		err = fs_htree_hash(dir, t.version, name, &major, &minor);
	if (!err)
		err = fs_htree_walk(&t, major);
	if (!err)
		err = fs_htree_leaf_get(&t, &leaf);
	if (err)
		return err;
	chain = fs_dir_chain(dir, leaf);
	gap = fs_chain_gap(&chain, fs_dirent_bytes(name.len));
	if (gap == NO_OFF)
		return leaf_split(h, &t, leaf, name, ino, type);
	err = jnl_get_write(h, leaf);
	if (err)
		return err;
	fs_chain_put(&chain, gap, name, ino, type);
	fs_dir_block_changed(h, dir, leaf);
	return 0;
}

/* From linear to hashed ------------------------------------------------------------------------------- */

/* "." and ".." at the very beginning, each as long as it must be or longer at the end. */
static bool starts_with_dots(const struct fs_chain *c)
{
	const struct ext_disk_dirent *dot = fs_chain_at(c, 0), *dotdot = fs_chain_at(c, DIR_DOT_BYTES);

	return dot && dotdot && fs_dirent_rec_len(dot) == DIR_DOT_BYTES && dot->inode.raw && dotdot->inode.raw &&
	       fs_name_dots(fs_dirent_name(dot)) == 1 && fs_name_dots(fs_dirent_name(dotdot)) == 2;
}

/* All entries but the first two, one behind the other. */
static void copy_entries(const struct fs_chain *from, const struct fs_chain *to)
{
	struct ext_disk_dirent *de;
	unsigned off, nr = 0, at = 0, last = 0;

	fs_chain_for_each(de, off, from) {
		if (nr++ < 2 || !de->inode.raw)
			continue;
		fs_chain_put(to, last, fs_dirent_name(de), le32_get(de->inode), de->file_type);
		last = at;
		at += fs_dirent_bytes(de->name_len);
	}
}

static void root_init(struct fs_inode *dir, struct cache_buf *b, lblk_t first_leaf)
{
	const struct fs *fs = dir->fs;
	const uint8_t version = fs->hash_version;
	uint8_t *block = b->data;
	struct ext_disk_dirent *dotdot = (void *)(block + DIR_DOT_BYTES);
	struct ext_disk_dx_root_info *info = (void *)(block + 2 * DIR_DOT_BYTES);
	struct ext_disk_dx_entry *entries = (void *)(block + HTREE_ROOT_ENTRIES_OFF);

	memset(info, 0, fs->block_bytes - 2 * DIR_DOT_BYTES);
	dotdot->rec_len = fs_dirent_rec_len_of(fs->block_bytes - DIR_DOT_BYTES);
	info->hash_version = version > EXT_HASH_TEA ? version - EXT_HASH_LEGACY_UNSIGNED : version;
	info->info_length = sizeof(*info);
	fs_htree_set_limit(entries, fs_htree_room(fs, HTREE_ROOT_ENTRIES_OFF));
	fs_htree_set_count(entries, 1);
	entries[0].block = le32_of((uint32_t)first_leaf);
}

int fs_htree_make(struct jnl_handle *h, struct fs_inode *dir)
{
	CLEANUP_BUF struct cache_buf *root = NULL, *leaf = NULL;
	struct fs_chain from, to;
	int err = fs_dir_block_get(dir, 0, &fs_dir_kind_leaf, &root);

	if (err)
		return err;
	from = fs_dir_chain(dir, root);
	if (!starts_with_dots(&from))
		return 0;
	err = jnl_get_write(h, root);
	if (err)
		return err;
	err = fs_dir_grow(h, dir, 1, &leaf);
	if (err) {
		leaf = NULL;
		return err;
	}
	fs_dir_leaf_init(dir, leaf);
	to = fs_dir_chain(dir, leaf);
	copy_entries(&from, &to);
	os_mutex_lock_key(&dir->meta, dir->ino);
	dir->flags |= EXT_FL_INDEX;
	os_mutex_unlock(&dir->meta);
	root_init(dir, root, 1);
	fs_dir_block_changed(h, dir, leaf);
	fs_dir_block_changed(h, dir, root);
	return 1;
}
