/*
 * fs_htree.c: the index of a hashed directory: what it looks like, and the way through it.
 *
 * Block 0 is the root, disguised as a block with "." and ".." only; further index blocks look
 * like one unused entry. Index entries are (hash, block) in rising order; the first has no
 * hash, its place holds the numbers of entries that are and that fit. A name is in the leaf of
 * the last entry whose hash is not above its own, or, when the next entry has the same hash
 * with bit 0 set, in one of those that follow.
 */
#include "fs/fs_dir_int.h"

/* The block ----------------------------------------------------------------------------------- */

unsigned fs_htree_entries_off(const struct fs *fs, const void *block)
{
	return ext_dx_entries_off(block, fs->block_bytes);
}

static struct ext_disk_dx_entry *entries_of(const struct fs *fs, const void *block)
{
	return (struct ext_disk_dx_entry *)((uint8_t *)block + fs_htree_entries_off(fs, block));
}

static const struct ext_disk_dx_root_info *root_info(const struct cache_buf *root)
{
	return (const void *)((const uint8_t *)root->data + 2 * DIR_DOT_BYTES);
}

static uint32_t index_csum(const struct fs_inode *dir, const void *block, const struct ext_disk_dx_tail *tail)
{
	return ext_dx_csum(dir->csum_seed, block, fs_htree_entries_off(dir->fs, block),
			   fs_htree_count(entries_of(dir->fs, block)), tail);
}

/* Behind the last entry that fits; NULL when the numbers are not what they must be. */
static struct ext_disk_dx_tail *index_tail(const struct fs *fs, const void *block)
{
	struct ext_disk_dx_entry *entries = entries_of(fs, block);
	const unsigned limit = fs_htree_limit(entries);

	if (limit != fs_htree_room(fs, fs_htree_entries_off(fs, block)) || fs_htree_count(entries) > limit)
		return NULL;
	return (struct ext_disk_dx_tail *)(entries + limit);
}

bool fs_htree_csum_ok(const struct fs_inode *dir, const void *block)
{
	const struct ext_disk_dx_tail *tail = index_tail(dir->fs, block);

	return tail && le32_get(tail->checksum) == index_csum(dir, block, tail);
}

void fs_htree_seal(const struct fs_inode *dir, void *block)
{
	struct ext_disk_dx_tail *tail = index_tail(dir->fs, block);

	if (tail)
		tail->checksum = le32_of(index_csum(dir, block, tail));
}

static const char *root_fault(const struct fs *fs, const struct ext_disk_dx_root_info *info)
{
	if (info->hash_version > EXT_HASH_TEA)
		return "unknown hash version";
	if (info->unused_flags & 1)
		return "unknown flags";
	if (info->indirect_levels >= fs_htree_max_levels(fs))
		return "too many levels";
	return NULL;
}

static const char *entries_fault(const struct fs_inode *dir, const struct ext_disk_dx_entry *entries, unsigned off,
				 unsigned *at)
{
	const unsigned count = fs_htree_count(entries), limit = fs_htree_limit(entries);
	const lblk_t nr_blocks = fs_dir_nr_blocks(dir);

	if (limit != fs_htree_room(dir->fs, off))
		return "wrong limit";
	if (count == 0 || count > limit)
		return "count out of range";
	for (*at = 0; *at < count; ++*at) {
		const lblk_t lblk = fs_htree_block(&entries[*at]);

		if (lblk == 0 || lblk >= nr_blocks)
			return "block number out of range";
		if (*at > 1 && le32_get(entries[*at].hash) < le32_get(entries[*at - 1].hash))
			return "hashes out of order";
	}
	return NULL;
}

int fs_htree_check(struct fs_inode *dir, const struct cache_buf *b)
{
	const unsigned off = fs_htree_entries_off(dir->fs, b->data);
	const char *fault = NULL;
	unsigned at = 0;

	if (off == HTREE_ROOT_ENTRIES_OFF)
		fault = root_fault(dir->fs, root_info(b));
	if (!fault)
		fault = entries_fault(dir, entries_of(dir->fs, b->data), off, &at);
	if (!fault && fs_has_csum(dir->fs) && !fs_htree_csum_ok(dir, b->data))
		fault = "bad checksum";
	if (!fault)
		return 0;
	log_error("directory inode %" PRIu32 ", index block %" PRIu64 ", entry %u: %s", dir->ino, b->pblk, at, fault);
	return -EUCLEAN;
}

/* Hashes -------------------------------------------------------------------------------------- */

uint8_t fs_htree_version(const struct fs *fs, uint8_t disk_version)
{
	const bool is_unsigned = fs->hash_version > EXT_HASH_TEA && fs->hash_version <= EXT_HASH_TEA_UNSIGNED;

	return is_unsigned ? disk_version + EXT_HASH_LEGACY_UNSIGNED : disk_version;
}

int fs_htree_hash(const struct fs_inode *dir, uint8_t version, struct fs_name name, uint32_t *major, uint32_t *minor)
{
	return fs_hash_name(dir->fs->hash_seed, version, name, major, minor);
}

/* The way --------------------------------------------------------------------------------------- */

void fs_htree_close(struct fs_htree *t)
{
	for (unsigned i = 0; i < HTREE_MAX_LEVELS; i++) {
		cache_put(t->frame[i].b);
		t->frame[i].b = NULL;
	}
}

/* Is the block one that the way has come through? Only in a damaged tree. */
static bool is_on_way(const struct fs_htree *t, unsigned nr_levels, const struct cache_buf *b)
{
	for (unsigned i = 0; i < nr_levels; i++)
		if (t->frame[i].b == b)
			return true;
	return false;
}

/* The node that frame level - 1 points to becomes frame level. */
static int enter_node(struct fs_htree *t, unsigned level)
{
	const struct fs_htree_frame *up = &t->frame[level - 1];
	struct fs_htree_frame *f = &t->frame[level];
	const lblk_t lblk = fs_htree_block(&up->entries[up->at]);
	struct cache_buf *b;
	int err;

	cache_put(f->b);
	f->b = NULL;
	err = fs_dir_block_get(t->dir, lblk, &fs_dir_kind_index, &b);
	if (err)
		return err;
	if (fs_htree_entries_off(t->dir->fs, b->data) != HTREE_NODE_ENTRIES_OFF || is_on_way(t, level, b)) {
		cache_put(b);
		return fs_dir_damaged(t->dir, 0, "its index leads to block %" PRIu64 ", which is no node", lblk);
	}
	*f = (struct fs_htree_frame){ .b = b, .entries = entries_of(t->dir->fs, b->data) };
	return 0;
}

/* The last entry whose hash is not above major. */
static unsigned search(const struct ext_disk_dx_entry *entries, uint32_t major)
{
	unsigned lo = 0, hi = fs_htree_count(entries);

	while (hi - lo > 1) {
		const unsigned mid = lo + (hi - lo) / 2;

		if (le32_get(entries[mid].hash) <= major)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

int fs_htree_walk(struct fs_htree *t, uint32_t major)
{
	for (unsigned level = 0; level < t->nr_levels; level++) {
		int err = level ? enter_node(t, level) : 0;

		if (err)
			return err;
		t->frame[level].at = search(t->frame[level].entries, major);
	}
	return 0;
}

int fs_htree_next(struct fs_htree *t)
{
	unsigned level = t->nr_levels;

	do {
		if (level == 0)
			return 0;
		level--;
	} while (t->frame[level].at + 1 >= fs_htree_count(t->frame[level].entries));
	t->frame[level].at++;
	while (++level < t->nr_levels) {
		int err = enter_node(t, level);

		if (err)
			return err;
	}
	return 1;
}

/*
 * Before it is used for the first time: a damaged tree whose entries lead to the same blocks again
 * and again could keep whoever walks it busy for as long as there are hashes.
 */
static int survey(struct fs_htree *t)
{
	const lblk_t nr_blocks = fs_dir_nr_blocks(t->dir);
	uint64_t nr_led_to = 0;
	int more;

	if (atomic_load_explicit(&t->dir->index_surveyed, memory_order_relaxed))
		return 0;
	more = fs_htree_walk(t, 0);
	for (more = more ? more : 1; more > 0; more = fs_htree_next(t)) {
		struct fs_htree_frame *f = &t->frame[t->nr_levels - 1];

		nr_led_to += fs_htree_count(f->entries);
		if (nr_led_to >= nr_blocks)
			return fs_dir_damaged(t->dir, 0, "its index leads to more blocks than its %" PRIu64, nr_blocks);
		f->at = fs_htree_count(f->entries) - 1;
	}
	if (!more)
		atomic_store_explicit(&t->dir->index_surveyed, true, memory_order_relaxed);
	return more;
}

int fs_htree_open(struct fs_inode *dir, struct fs_htree *t)
{
	struct fs_htree_frame *root = &t->frame[0];
	int err;

	*t = (struct fs_htree){ .dir = dir };
	err = fs_dir_block_get(dir, 0, &fs_dir_kind_index, &root->b);
	if (err)
		return err;
	if (fs_htree_entries_off(dir->fs, root->b->data) != HTREE_ROOT_ENTRIES_OFF) {
		fs_htree_close(t);
		return fs_dir_damaged(dir, 0, "its first block is not the root of an index");
	}
	root->entries = entries_of(dir->fs, root->b->data);
	t->version = fs_htree_version(dir->fs, root_info(root->b)->hash_version);
	t->nr_levels = root_info(root->b)->indirect_levels + 1u;
	err = t->nr_levels > 1 ? survey(t) : 0;
	if (err)
		fs_htree_close(t);
	return err;
}

bool fs_htree_end_hash(const struct fs_htree *t, uint32_t *hash)
{
	for (unsigned level = t->nr_levels; level-- > 0;) {
		const struct fs_htree_frame *f = &t->frame[level];

		if (f->at + 1 < fs_htree_count(f->entries)) {
			*hash = le32_get(f->entries[f->at + 1].hash);
			return true;
		}
	}
	return false;
}

uint32_t fs_htree_start_hash(const struct fs_htree *t)
{
	for (unsigned level = t->nr_levels; level-- > 0;) {
		const struct fs_htree_frame *f = &t->frame[level];

		if (f->at > 0)
			return le32_get(f->entries[f->at].hash);
	}
	return 0;
}

int fs_htree_leaf_get(const struct fs_htree *t, struct cache_buf **out)
{
	const lblk_t lblk = fs_htree_leaf(t);
	int err = fs_dir_block_get(t->dir, lblk, &fs_dir_kind_leaf, out);

	if (err || !is_on_way(t, t->nr_levels, *out))
		return err;
	cache_put(*out);
	*out = NULL;
	return fs_dir_damaged(t->dir, 0, "its index takes block %" PRIu64 " for a leaf", lblk);
}
