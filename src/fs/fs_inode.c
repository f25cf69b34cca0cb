/*
 * fs_inode.c: between the disk inode and the memory inode: one load, one store. All knowledge of
 * split halves, extra time bits and i_extra_isize is here.
 *
 * A store changes the known fields of the disk inode and leaves the rest (attributes behind the
 * fields, what newer systems may have put there) as it is.
 */
#include <sys/sysmacros.h>

#include "fs/fs_int.h"

enum {
	READAHEAD_BLOCKS = 16,	/* of an inode table, aligned, at the first look into it */
	EPOCH_BITS = 2,		/* of the extra time field: bits 32 and 33 of the seconds */
};

/* Flags that change what the contents mean, in ways that osfs does not have. */
static const struct {
	uint32_t flag;
	const char *name;
} foreign_flags[] = {
	{ EXT_FL_ENCRYPT, "encrypted" }, { EXT_FL_VERITY, "verity" }, { EXT_FL_EA_INODE, "ea_inode" },
	{ EXT_FL_CASEFOLD, "casefold" },
};

/* Where ---------------------------------------------------------------------------- */

static pblk_t inode_block(const struct fs *fs, ino_nr_t ino, uint32_t *off_bytes)
{
	const struct fs_group *g = fs_group_of_inode(fs, ino);
	const uint64_t at = (uint64_t)((ino - 1) % fs->inodes_per_group) * fs->inode_bytes;

	*off_bytes = (uint32_t)(at & (fs->block_bytes - 1));
	return g->inode_table + (at >> fs->block_shift);
}

int fs_inode_get_raw(struct fs_inode *inode, struct cache_buf **b, struct ext_disk_inode **raw)
{
	struct fs *fs = inode->fs;
	uint32_t off;
	const pblk_t pblk = inode_block(fs, inode->ino, &off);
	const int err = cache_get(fs->cache, pblk, NULL, NULL, b);

	if (err)
		return err;
	*raw = (struct ext_disk_inode *)((uint8_t *)(*b)->data + off);
	return 0;
}

/* The neighbours are wanted soon, as a rule: a directory's inodes lie together. */
static void table_readahead(struct fs *fs, ino_nr_t ino)
{
	struct fs_group *g = fs_group_of_inode(fs, ino);
	uint32_t off;
	const uint32_t at = (uint32_t)(inode_block(fs, ino, &off) - g->inode_table);
	const uint32_t window = at / READAHEAD_BLOCKS;

	if (atomic_load(&g->readahead) == window + 1)
		return;
	atomic_store(&g->readahead, window + 1);
	cache_readahead(fs->cache, g->inode_table + window * READAHEAD_BLOCKS,
			MIN((uint32_t)READAHEAD_BLOCKS, fs->itable_blocks - window * READAHEAD_BLOCKS));
}

/* Does the disk inode have a field that ends at this offset? */
static bool has_extra(const struct fs_inode *inode, size_t end_off)
{
	return inode->extra_isize + (size_t)EXT_GOOD_OLD_INODE_BYTES >= end_off;
}
#define HAS_EXTRA(inode, field) \
	has_extra(inode, offsetof(struct ext_disk_inode, field) + sizeof(((struct ext_disk_inode *)NULL)->field))

/* Times ------------------------------------------------------------------------------ */

/* *extra is looked at when there is such a field: a small inode may end where its block does. */
static struct timespec time_load(le32 low, const le32 *extra, bool has)
{
	struct timespec t = { .tv_sec = (int32_t)le32_get(low) };

	if (!has)
		return t;
	t.tv_sec += (int64_t)(le32_get(*extra) & ((1u << EPOCH_BITS) - 1)) << 32;
	t.tv_nsec = le32_get(*extra) >> EPOCH_BITS;
	if (t.tv_nsec >= 1000000000)
		t.tv_nsec = 0;
	return t;
}

/* What the disk cannot hold is taken from memory too: a time does not change by being read back. */
static void time_store(struct timespec *t, le32 *low, le32 *extra, bool has)
{
	*low = le32_of((uint32_t)t->tv_sec);
	if (has)
		*extra = le32_of((uint32_t)(((t->tv_sec - (int32_t)t->tv_sec) >> 32) & ((1 << EPOCH_BITS) - 1)) |
				 (uint32_t)t->tv_nsec << EPOCH_BITS);
	else
		t->tv_nsec = 0;
}

void fs_inode_touch(struct fs_inode *inode, bool mtime)
{
	assert_held(&inode->meta);
	inode->ctime = fs_now(inode->fs);
	if (mtime)
		inode->mtime = inode->ctime;
	inode->version++;
}

/* Load --------------------------------------------------------------------------------- */

static int bad(struct fs_inode *inode, const char *what, uint64_t value)
{
	uint32_t off;
	const pblk_t pblk = inode_block(inode->fs, inode->ino, &off);

	log_error("%s: inode %" PRIu32 " (block %" PRIu64 ", offset %" PRIu32 "): %s %#" PRIx64, blk_name(inode->fs->dev),
		  inode->ino, pblk, off, what, value);
	return fs_damaged(inode->fs, inode->ino, pblk, -EUCLEAN);
}

static int check_csum(struct fs_inode *inode, const struct ext_disk_inode *raw)
{
	const struct fs *fs = inode->fs;
	uint32_t want, found;

	if (!fs_has_csum(fs))
		return 0;
	want = ext_inode_csum(inode->csum_seed, raw, fs->inode_bytes);
	found = le16_get(raw->i_checksum_lo);
	if (ext_inode_has_csum_hi(raw, fs->inode_bytes))
		found |= (uint32_t)le16_get(raw->i_checksum_hi) << 16;
	return found == want ? 0 : bad(inode, "checksum does not match:", found);
}

static void load_owner_and_size(struct fs_inode *inode, const struct ext_disk_inode *raw)
{
	const struct fs *fs = inode->fs;

	inode->uid = le16_get(raw->i_uid_lo) | (uint32_t)le16_get(raw->i_uid_hi) << 16;
	inode->gid = le16_get(raw->i_gid_lo) | (uint32_t)le16_get(raw->i_gid_hi) << 16;
	inode->nlink = le16_get(raw->i_links_count);
	inode->flags = le32_get(raw->i_flags);
	inode->dtime = le32_get(raw->i_dtime);
	inode->size_bytes = le32_get(raw->i_size_lo);
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		inode->size_bytes |= (uint64_t)le32_get(raw->i_size_hi) << 32;
	inode->nr_sects = le32_get(raw->i_blocks_lo);
	if (fs_has_ro_compat(fs, EXT_RO_COMPAT_HUGE_FILE))
		inode->nr_sects |= (uint64_t)le16_get(raw->i_blocks_hi) << 32;
	if (inode->flags & EXT_FL_HUGE_FILE)
		inode->nr_sects <<= fs->block_shift - SECT_SHIFT;
	inode->file_acl = le32_get(raw->i_file_acl_lo);
	if (fs_has_incompat(fs, EXT_INCOMPAT_64BIT))
		inode->file_acl |= (uint64_t)le16_get(raw->i_file_acl_hi) << 32;
}

static void load_times(struct fs_inode *inode, const struct ext_disk_inode *raw)
{
	inode->atime = time_load(raw->i_atime, &raw->i_atime_extra, HAS_EXTRA(inode, i_atime_extra));
	inode->mtime = time_load(raw->i_mtime, &raw->i_mtime_extra, HAS_EXTRA(inode, i_mtime_extra));
	inode->ctime = time_load(raw->i_ctime, &raw->i_ctime_extra, HAS_EXTRA(inode, i_ctime_extra));
	inode->crtime = HAS_EXTRA(inode, i_crtime_extra) ? time_load(raw->i_crtime, &raw->i_crtime_extra, true)
							 : (struct timespec){ 0 };
	inode->version = le32_get(raw->i_version_lo);
	if (HAS_EXTRA(inode, i_version_hi))
		inode->version |= (uint64_t)le32_get(raw->i_version_hi) << 32;
	inode->projid = HAS_EXTRA(inode, i_projid) ? le32_get(raw->i_projid) : 0;
}

/* F1: what could lead others astray. */
static int check_fields(struct fs_inode *inode)
{
	const struct fs *fs = inode->fs;

	switch (inode->mode & S_IFMT) {
	case S_IFREG: case S_IFDIR: case S_IFLNK: case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		break;
	default:
		return bad(inode, "unknown type in mode", inode->mode);
	}
	for (unsigned i = 0; i < ARRAY_LEN(foreign_flags); i++)
		if (inode->flags & foreign_flags[i].flag) {
			log_error("%s: inode %" PRIu32 ": %s contents are not supported", blk_name(fs->dev), inode->ino,
				  foreign_flags[i].name);
			return -EOPNOTSUPP;
		}
	if (inode->size_bytes > INT64_MAX)
		return bad(inode, "impossible size", inode->size_bytes);
	if (S_ISDIR(inode->mode) && !fs_inode_has_inline(inode) && inode->size_bytes & (fs->block_bytes - 1))
		return bad(inode, "a directory's size that is no whole number of blocks:", inode->size_bytes);
	/* Whoever goes through all its blocks would not come back. */
	if (S_ISDIR(inode->mode) && !fs_inode_has_inline(inode) && inode->size_bytes >> fs->block_shift > fs->nr_blocks)
		return bad(inode, "a directory larger than the filesystem:", inode->size_bytes);
	if (S_ISLNK(inode->mode) && inode->size_bytes >= fs->block_bytes)
		return bad(inode, "impossible length of a symbolic link", inode->size_bytes);
	if (inode->file_acl && !fs_data_blocks_ok(fs, inode->file_acl, 1))
		return bad(inode, "impossible attribute block", inode->file_acl);
	return 0;
}

static int load_fields(struct fs_inode *inode, const struct ext_disk_inode *raw)
{
	const struct fs *fs = inode->fs;

	inode->generation = le32_get(raw->i_generation);
	inode->csum_seed = ext_inode_csum_seed(fs->csum_seed, inode->ino, inode->generation);
	inode->mode = le16_get(raw->i_mode);
	inode->extra_isize = 0;
	if (fs->inode_bytes > EXT_GOOD_OLD_INODE_BYTES) {
		const unsigned extra = le16_get(raw->i_extra_isize);

		if (extra % 4 || extra > fs->inode_bytes - EXT_GOOD_OLD_INODE_BYTES)
			return bad(inode, "impossible i_extra_isize", extra);
		inode->extra_isize = (uint16_t)extra;
	}
	load_owner_and_size(inode, raw);
	load_times(inode, raw);
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		inode->block[i] = le32_get(raw->i_block[i]);
	return 0;
}

int fs_inode_load(struct fs_inode *inode, bool orphan_too)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct ext_disk_inode *raw;
	int err;

	table_readahead(inode->fs, inode->ino);
	err = fs_inode_get_raw(inode, &b, &raw);
	if (err)
		return err;
	/* A free inode may be all zeroes, with no checksum. */
	if (!le16_get(raw->i_mode) || (!le16_get(raw->i_links_count) && !orphan_too))
		return -ESTALE;
	err = load_fields(inode, raw);
	if (!err)
		err = check_csum(inode, raw);
	if (!err)
		err = check_fields(inode);
	/* What was written when it was in memory before may still not be home: the first fsync looks at all of it. */
	inode->dirty_to = S_ISREG(inode->mode) ? inode->size_bytes : 0;
	return err ? err : fs_map_init(inode);
}

/* Store ----------------------------------------------------------------------------------- */

static void store_size(const struct fs_inode *inode, struct ext_disk_inode *raw)
{
	const struct fs *fs = inode->fs;
	uint64_t blocks = inode->nr_sects;
	uint32_t flags = inode->flags & ~(uint32_t)EXT_FL_HUGE_FILE;

	/* More sectors than 48 bits count: in blocks then. */
	if (blocks >> 48) {
		blocks >>= fs->block_shift - SECT_SHIFT;
		flags |= EXT_FL_HUGE_FILE;
	}
	raw->i_flags = le32_of(flags);
	raw->i_blocks_lo = le32_of((uint32_t)blocks);
	if (fs_has_ro_compat(fs, EXT_RO_COMPAT_HUGE_FILE))
		raw->i_blocks_hi = le16_of((uint16_t)(blocks >> 32));
	raw->i_size_lo = le32_of((uint32_t)inode->size_bytes);
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		raw->i_size_hi = le32_of((uint32_t)(inode->size_bytes >> 32));
	raw->i_file_acl_lo = le32_of((uint32_t)inode->file_acl);
	if (fs_has_incompat(fs, EXT_INCOMPAT_64BIT))
		raw->i_file_acl_hi = le16_of((uint16_t)(inode->file_acl >> 32));
}

static void store_times(struct fs_inode *inode, struct ext_disk_inode *raw)
{
	time_store(&inode->atime, &raw->i_atime, &raw->i_atime_extra, HAS_EXTRA(inode, i_atime_extra));
	time_store(&inode->mtime, &raw->i_mtime, &raw->i_mtime_extra, HAS_EXTRA(inode, i_mtime_extra));
	time_store(&inode->ctime, &raw->i_ctime, &raw->i_ctime_extra, HAS_EXTRA(inode, i_ctime_extra));
	if (HAS_EXTRA(inode, i_crtime_extra))
		time_store(&inode->crtime, &raw->i_crtime, &raw->i_crtime_extra, true);
	raw->i_version_lo = le32_of((uint32_t)inode->version);
	if (HAS_EXTRA(inode, i_version_hi))
		raw->i_version_hi = le32_of((uint32_t)(inode->version >> 32));
	if (HAS_EXTRA(inode, i_projid))
		raw->i_projid = le32_of(inode->projid);
}

static void store_fields(struct fs_inode *inode, struct ext_disk_inode *raw)
{
	raw->i_mode = le16_of(inode->mode);
	raw->i_uid_lo = le16_of((uint16_t)inode->uid);
	raw->i_uid_hi = le16_of((uint16_t)(inode->uid >> 16));
	raw->i_gid_lo = le16_of((uint16_t)inode->gid);
	raw->i_gid_hi = le16_of((uint16_t)(inode->gid >> 16));
	raw->i_links_count = le16_of((uint16_t)inode->nlink);
	raw->i_dtime = le32_of(inode->dtime);
	raw->i_generation = le32_of(inode->generation);
	if (inode->fs->inode_bytes > EXT_GOOD_OLD_INODE_BYTES)
		raw->i_extra_isize = le16_of(inode->extra_isize);
	store_size(inode, raw);
	store_times(inode, raw);
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		raw->i_block[i] = le32_of(inode->block[i]);
}

void fs_inode_seal(const struct fs_inode *inode, struct ext_disk_inode *raw)
{
	uint32_t csum;

	if (!fs_has_csum(inode->fs))
		return;
	csum = ext_inode_csum(inode->csum_seed, raw, inode->fs->inode_bytes);
	raw->i_checksum_lo = le16_of((uint16_t)csum);
	if (ext_inode_has_csum_hi(raw, inode->fs->inode_bytes))
		raw->i_checksum_hi = le16_of((uint16_t)(csum >> 16));
}

/* The part of the disk inode that fdatasync has to care for, in the form of an inode without the rest. */
static void essence_of(const struct ext_disk_inode *raw, struct ext_disk_inode *out)
{
	memcpy(out, raw, EXT_GOOD_OLD_INODE_BYTES);
	out->i_atime = out->i_ctime = out->i_mtime = out->i_version_lo = le32_of(0);
	out->i_checksum_lo = le16_of(0);
}

/* fdatasync passes over a change of times alone; a directory's contents change with its times. */
static void note_sync_tid(struct fs_inode *inode, jnl_tid tid, const struct ext_disk_inode *before,
			  const struct ext_disk_inode *raw)
{
	struct ext_disk_inode after;

	inode->sync_tid = tid;
	essence_of(raw, &after);
	if (S_ISDIR(inode->mode) || memcmp(before, &after, EXT_GOOD_OLD_INODE_BYTES))
		inode->datasync_tid = tid;
}

int fs_inode_store(struct jnl_handle *h, struct fs_inode *inode)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct ext_disk_inode *raw, before;
	int err;

	assert_held(&inode->meta);
	err = fs_inode_get_raw(inode, &b, &raw);
	if (!err)
		err = jnl_get_write(h, b);
	if (err)
		return err;
	essence_of(raw, &before);
	store_fields(inode, raw);
	fs_inode_seal(inode, raw);
	note_sync_tid(inode, h->tid, &before, raw);
	jnl_dirty(h, b);
	inode->atime_dirty = false;
	return 0;
}

/* Other views ---------------------------------------------------------------------------------- */

void fs_inode_block_bytes_get(const struct fs_inode *inode, uint8_t out[static EXT_INLINE_BYTES])
{
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++) {
		const le32 v = le32_of(inode->block[i]);

		memcpy(out + i * sizeof(v), &v, sizeof(v));
	}
}

void fs_inode_block_bytes_set(struct fs_inode *inode, const uint8_t in[static EXT_INLINE_BYTES])
{
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++) {
		le32 v;

		memcpy(&v, in + i * sizeof(v), sizeof(v));
		inode->block[i] = le32_get(v);
	}
}

/* Small numbers are in the first word as 16 bits, others in the second as 32. */
uint64_t fs_inode_rdev(const struct fs_inode *inode)
{
	const uint32_t old = inode->block[0], new = inode->block[1];

	if (!S_ISCHR(inode->mode) && !S_ISBLK(inode->mode))
		return 0;
	if (old)
		return makedev(old >> 8 & 0xff, old & 0xff);
	return makedev((new & 0xfff00) >> 8, (new & 0xff) | (new >> 12 & 0xfff00));
}

void fs_inode_set_rdev(struct fs_inode *inode, uint64_t rdev)
{
	const unsigned maj = major(rdev), min = minor(rdev);
	const bool small = maj < 256 && min < 256;

	inode->block[0] = small ? maj << 8 | min : 0;
	inode->block[1] = small ? 0 : (min & 0xff) | maj << 8 | (min & ~0xffu) << 12;
}

void fs_inode_attr(struct fs_inode *inode, struct fs_attr *out)
{
	LOCK_GUARD(&inode->meta);

	*out = (struct fs_attr){
		.ino = inode->ino,
		.generation = inode->generation,
		.mode = inode->mode,
		.nlink = inode->nlink,
		.uid = inode->uid,
		.gid = inode->gid,
		.flags = inode->flags,
		.rdev = fs_inode_rdev(inode),
		.size_bytes = inode->size_bytes,
		.nr_sects = inode->nr_sects,
		.version = inode->version,
		.atime = inode->atime,
		.mtime = inode->mtime,
		.ctime = inode->ctime,
		.btime = inode->crtime,
	};
}
