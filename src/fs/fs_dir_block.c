/* fs_dir_block.c: blocks of a directory: read and check, seal, append. */
#include <stdarg.h>
#include <stdio.h>

#include "base/crc.h"
#include "fs/fs_dir_int.h"

enum {
	FIND_AHEAD_BLOCKS = 32,		/* of the map, per look-up */
	READAHEAD_BYTES = 256 << 10,
	SCAN_BAD_MAX = 64,		/* bad blocks and holes that a scan passes by */
};

int fs_dir_damaged(struct fs_inode *dir, pblk_t pblk, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	log_error("directory inode %" PRIu32 ": %s", dir->ino, what);
	return fs_damaged(dir->fs, dir->ino, pblk, -EUCLEAN);
}

/* Check ----------------------------------------------------------------------------------- */

static struct ext_disk_dir_tail *leaf_tail(const struct fs *fs, void *block)
{
	return (struct ext_disk_dir_tail *)((uint8_t *)block + fs->block_bytes - DIR_TAIL_BYTES);
}

static uint32_t leaf_csum(const struct fs_inode *dir, const void *block)
{
	return crc32c(dir->csum_seed, block, dir->fs->block_bytes - DIR_TAIL_BYTES);
}

static bool looks_like_index(const struct fs_inode *dir, const void *block)
{
	return fs_dir_is_hashed(dir) && fs_htree_entries_off(dir->fs, block);
}

struct fs_chain fs_dir_chain(const struct fs_inode *dir, const struct cache_buf *b)
{
	const struct fs *fs = dir->fs;
	const bool has_tail = fs_has_csum(fs) && !looks_like_index(dir, b->data);

	return (struct fs_chain){ b->data, fs->block_bytes - (has_tail ? DIR_TAIL_BYTES : 0) };
}

/* Without checksums an unused leaf and an index node look alike: both are fine as chains. */
static const char *leaf_csum_fault(const struct fs_inode *dir, void *block)
{
	const struct ext_disk_dir_tail *tail = leaf_tail(dir->fs, block);

	if (!fs_has_csum(dir->fs))
		return NULL;
	if (looks_like_index(dir, block))
		return fs_htree_csum_ok(dir, block) ? NULL : "index block: bad checksum";
	if (le32_get(tail->zero1) || le16_get(tail->rec_len) != DIR_TAIL_BYTES || tail->zero2 ||
	    tail->fake_type != EXT_FT_DIR_CSUM)
		return "no place for a checksum";
	return le32_get(tail->checksum) == leaf_csum(dir, block) ? NULL : "bad checksum";
}

static int leaf_check(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs_inode *dir = arg;
	const struct fs *fs = owner;
	const struct fs_chain chain = fs_dir_chain(dir, b);
	const char *fault = leaf_csum_fault(dir, b->data);
	unsigned off = 0;

	if (!fault)
		fault = fs_chain_fault(&chain, fs->nr_inodes, &off);
	if (!fault)
		return 0;
	log_error("directory inode %" PRIu32 ", block %" PRIu64 ", offset %u: %s", dir->ino, b->pblk, off, fault);
	return -EUCLEAN;
}

static int index_check(void *owner, const struct cache_buf *b, const void *arg)
{
	struct fs_inode *dir = (struct fs_inode *)arg;

	if (fs_htree_entries_off(owner, b->data))
		return fs_htree_check(dir, b);
	log_error("directory inode %" PRIu32 ", block %" PRIu64 ": not an index block", dir->ino, b->pblk);
	return -EUCLEAN;
}

const struct cache_kind fs_dir_kind_leaf = { .name = "directory", .check = leaf_check };
const struct cache_kind fs_dir_kind_index = { .name = "directory index", .check = index_check };

int fs_dir_block_get(struct fs_inode *dir, lblk_t lblk, const struct cache_kind *kind, struct cache_buf **out)
{
	struct fs_extent ext;
	int err = fs_map_find(dir, lblk, FIND_AHEAD_BLOCKS, &ext);

	*out = NULL;
	if (err)
		return err;
	if (!ext.pblk)
		return fs_dir_damaged(dir, 0, "block %" PRIu64 " of it is a hole", lblk);
	err = cache_get(dir->fs->cache, ext.pblk, kind, dir, out);
	if (err)
		*out = NULL;
	return err == -EUCLEAN ? fs_damaged(dir->fs, dir->ino, ext.pblk, err) : err;
}

bool fs_dir_scan_next(struct fs_dir_scan *s, lblk_t *lblk, struct cache_buf **out)
{
	const lblk_t end = fs_dir_nr_blocks(s->dir);

	while (s->lblk < end && s->nr_bad < SCAN_BAD_MAX) {
		struct fs_extent ext;
		const int err = fs_dir_block_get(s->dir, s->lblk, &fs_dir_kind_leaf, out);

		*lblk = s->lblk++;
		if (!err)
			return true;
		s->bad = err;
		s->nr_bad++;
		if (!fs_map_find(s->dir, *lblk, UINT32_MAX, &ext) && !ext.pblk)
			s->lblk = *lblk + ext.nr;
	}
	return false;
}

void fs_dir_readahead(struct fs_inode *dir, lblk_t lblk)
{
	uint32_t nr = READAHEAD_BYTES >> dir->fs->block_shift;
	const lblk_t end = MIN(fs_dir_nr_blocks(dir), lblk + nr);
	struct fs_extent ext;

	for (; lblk < end; lblk += ext.nr) {
		if (fs_map_find(dir, lblk, (uint32_t)(end - lblk), &ext))
			return;		/* whoever needs the block will meet the error and tell it */
		if (ext.pblk)
			cache_readahead(dir->fs->cache, ext.pblk, ext.nr);
	}
}

/* Change ------------------------------------------------------------------------------------ */

void fs_dir_block_changed(struct jnl_handle *h, struct fs_inode *dir, struct cache_buf *b)
{
	if (!fs_has_csum(dir->fs))
		;
	else if (looks_like_index(dir, b->data))
		fs_htree_seal(dir, b->data);
	else
		leaf_tail(dir->fs, b->data)->checksum = le32_of(leaf_csum(dir, b->data));
	jnl_dirty(h, b);
}

void fs_dir_leaf_init(struct fs_inode *dir, struct cache_buf *b)
{
	struct fs_chain chain = { b->data, dir->fs->block_bytes };

	if (fs_has_csum(dir->fs)) {
		chain.len -= DIR_TAIL_BYTES;
		*leaf_tail(dir->fs, b->data) = (struct ext_disk_dir_tail){
			.rec_len = le16_of(DIR_TAIL_BYTES), .fake_type = EXT_FT_DIR_CSUM };
	}
	fs_chain_clear(&chain);
}

void fs_dir_put_dots(const struct fs_inode *dir, const struct fs_chain *c, ino_nr_t parent)
{
	const unsigned type = fs_dir_type_of(dir->fs, S_IFDIR);

	fs_chain_clear(c);
	fs_chain_put(c, 0, fs_name_of("."), dir->ino, type);
	fs_chain_put(c, 0, fs_name_of(".."), parent, type);
}

/* Fills lblks [from, from + nr); pblks in order. What was filled before an error is left. */
static int fill_blocks(struct jnl_handle *h, struct fs_inode *dir, lblk_t from, unsigned nr, pblk_t *pblks)
{
	for (unsigned i = 0; i < nr;) {
		struct fs_extent ext;
		bool fresh;
		int err = fs_map_fill(h, dir, from + i, nr - i, &ext, &fresh);

		if (err)
			return err;
		for (unsigned k = 0; k < ext.nr && i < nr; k++)
			pblks[i++] = ext.pblk + k;
	}
	return 0;
}

static int take_new_block(struct jnl_handle *h, struct fs *fs, pblk_t pblk, struct cache_buf **out)
{
	int err = cache_get_new(fs->cache, pblk, &fs_dir_kind_leaf, out);

	if (err)
		return err;
	err = jnl_get_create(h, *out);
	if (err)
		cache_put(*out);
	return err;
}

int fs_dir_grow(struct jnl_handle *h, struct fs_inode *dir, unsigned nr, struct cache_buf **bufs)
{
	struct fs *fs = dir->fs;
	const lblk_t from = fs_dir_nr_blocks(dir);
	pblk_t pblks[DIR_GROW_MAX];
	unsigned got = 0;
	int err;

	if (from + nr > (lblk_t)HTREE_BLOCK_MASK + 1 || (from + nr) << fs->block_shift > UINT32_MAX)
		return -ENOSPC;		/* 32 bits of size, where readers of the format expect a directory's */
	err = fill_blocks(h, dir, from, nr, pblks);
	while (!err && got < nr) {
		err = take_new_block(h, fs, pblks[got], &bufs[got]);
		got += !err;
	}
	if (!err) {
		LOCK_GUARD(&dir->meta);

		dir->size_bytes = (from + nr) << fs->block_shift;
		return 0;
	}
	fs_dir_bufs_put(bufs, got);
	if (fs_map_punch(h, dir, from, UINT64_MAX) || fs_dir_touch(h, dir, false))
		log_error("directory inode %" PRIu32 ": blocks past its end could not be given back", dir->ino);
	return err;
}

int fs_dir_touch(struct jnl_handle *h, struct fs_inode *dir, bool mtime)
{
	LOCK_GUARD(&dir->meta);

	fs_inode_touch(dir, mtime);
	return fs_inode_store(h, dir);
}
