/*
 * fsck_undo.c: before-images in the format of e2undo(8), which takes the file to bring the
 * filesystem back to what it was.
 *
 * A header, a superblock, then for each bunch of keys one block of keys and the before-images that
 * these name. The superblock is the one that the run leaves: e2undo compares it with what it
 * finds, so after a run that was cut short it wants to be forced (-f).
 *
 *   U1  The header counts a key only once its image is durable.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/log.h"
#include "fsck_int.h"
#include "journal/jbd2_map.h"

enum {
	UNDO_BLOCK_BYTES = 4096, UNDO_HEADER_BYTES = 512, UNDO_FINISHED = 1,
	KEYS_PER_BLOCK = UNDO_BLOCK_BYTES / 16 - 1,
	SUPER_AT = 1, FIRST_KEYS_AT = 2,	/* in blocks of the file */
};
#define UNDO_KEYS_MAGIC 0xcadecadeu

struct undo_header {
	char magic[8];		/* "E2UNDO02" */
	le64 num_keys, super_offset, key_offset;	/* offsets in blocks of the file */
	le32 block_size, fs_block_size, sb_crc, state, f_compat, f_incompat, f_rocompat, pad32;
	le64 fs_offset;
	uint8_t padding[436];
	le32 header_crc;
};
DISK_SIZE(struct undo_header, UNDO_HEADER_BYTES);

struct undo_key {
	le64 fsblk;
	le32 blk_crc, size;
};
struct undo_keys {
	le32 magic, crc;
	le64 reserved;
	struct undo_key keys[KEYS_PER_BLOCK];
};
DISK_SIZE(struct undo_keys, UNDO_BLOCK_BYTES);

struct fsck_undo {
	int fd;
	const char *path;
	struct undo_header header;
	struct undo_keys keys;
	unsigned nr_keys;	/* in keys */
	uint64_t keys_at, end_at;	/* blocks of the file */
	bool dirty;
	struct jbd2_map saved;	/* blocks of the filesystem */
};

static int put(struct fsck_undo *u, uint64_t at, const void *buf, size_t len)
{
	const ssize_t n = pwrite(u->fd, buf, len, (off_t)(at * UNDO_BLOCK_BYTES));
	int err;

	if (n == (ssize_t)len)
		return 0;
	err = n < 0 ? -errno : -ENOSPC;
	log_error("%s: %s", u->path, strerror(-err));
	return err;
}

/* With the magic number turned round, so that nobody takes the file for a filesystem. */
static int put_super(struct fsck *f, struct fsck_undo *u)
{
	struct ext_disk_super sb;
	const int err = blk_read(f->dev, EXT_SUPER_OFF_BYTES >> SECT_SHIFT, &sb, sizeof(sb));

	if (err)
		return err;
	u->header.sb_crc = le32_of(crc32c(~0u, &sb, sizeof(sb)));
	sb.s_magic = le16_of((uint16_t)~le16_get(sb.s_magic));
	return put(u, SUPER_AT, &sb, sizeof(sb));
}

static int put_header(struct fsck_undo *u)
{
	u->header.header_crc = le32_of(crc32c(~0u, &u->header, offsetof(struct undo_header, header_crc)));
	return put(u, 0, &u->header, sizeof(u->header));
}

static int put_keys(struct fsck_undo *u)
{
	u->keys.magic = le32_of(UNDO_KEYS_MAGIC);
	u->keys.crc = le32_of(0);
	u->keys.crc = le32_of(crc32c(~0u, &u->keys, sizeof(u->keys)));
	return put(u, u->keys_at, &u->keys, sizeof(u->keys));
}

int fsck_undo_open(struct fsck *f, const char *path)
{
	struct fsck_undo *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	u->path = path;
	u->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (u->fd < 0) {
		err = -errno;
		log_error("undo file %s: %s", path, strerror(-err));
		free(u);
		return err;
	}
	f->undo = u;
	u->keys_at = FIRST_KEYS_AT;
	u->end_at = FIRST_KEYS_AT + 1;
	u->header = (struct undo_header){
		.magic = "E2UNDO0", .super_offset = le64_of(SUPER_AT), .key_offset = le64_of(FIRST_KEYS_AT),
		.block_size = le32_of(UNDO_BLOCK_BYTES),
		.fs_block_size = le32_of(f->block_bytes) };
	u->header.magic[7] = '2';
	err = put_super(f, u);
	return err ? err : put_header(u);
}

static int save_block(struct fsck *f, struct fsck_undo *u, pblk_t pblk, uint8_t *buf)
{
	uint32_t len = f->block_bytes;
	int err;

	if (jbd2_map_get(&u->saved, pblk))
		return 0;
	err = blk_read(f->dev, block_sect(f, pblk), buf, len);
	if (err == -EIO) {	/* nothing that could be put back */
		log_warn("%s: block %" PRIu64 " cannot be read: the undo file %s is without it", blk_name(f->dev), pblk, u->path);
		return jbd2_map_put(&u->saved, pblk, 1);
	}
	if (!err)
		err = put(u, u->end_at, buf, len);
	if (!err)
		err = jbd2_map_put(&u->saved, pblk, 1);
	if (err)
		return err;
	u->keys.keys[u->nr_keys++] = (struct undo_key){
		.fsblk = le64_of(pblk), .blk_crc = le32_of(crc32c(~0u, buf, len)), .size = le32_of(len) };
	u->end_at += DIV_UP(len, (uint32_t)UNDO_BLOCK_BYTES);
	u->header.num_keys = le64_of(le64_get(u->header.num_keys) + 1);
	u->dirty = true;
	if (u->nr_keys < KEYS_PER_BLOCK)
		return 0;
	err = put_keys(u);
	u->keys_at = u->end_at++;
	u->nr_keys = 0;
	memset(&u->keys, 0, sizeof(u->keys));
	return err;
}

int fsck_undo_save(struct fsck *f, uint64_t off_bytes, size_t len_bytes)
{
	uint8_t *buf;
	int err = 0;

	if (!f->undo)
		return 0;
	buf = malloc(f->block_bytes);
	if (!buf)
		return -ENOMEM;
	for (pblk_t b = off_bytes >> f->block_shift; !err && b <= (off_bytes + len_bytes - 1) >> f->block_shift; b++)
		err = save_block(f, f->undo, b, buf);
	free(buf);
	return err;
}

int fsck_undo_sync(struct fsck *f)
{
	struct fsck_undo *u = f->undo;
	int err;

	if (!u || !u->dirty)
		return 0;
	u->dirty = false;
	err = put_keys(u);
	if (!err && fdatasync(u->fd))
		err = -errno;
	if (!err)
		err = put_header(u);	/* U1 */
	if (!err && fdatasync(u->fd))
		err = -errno;
	return err;
}

int fsck_undo_close(struct fsck *f)
{
	struct fsck_undo *u = f->undo;
	int err;

	if (!u)
		return 0;
	err = fsck_undo_sync(f);
	if (!err)
		err = put_super(f, u);
	u->header.state = le32_of(UNDO_FINISHED);
	if (!err)
		err = put_header(u);
	if (fsync(u->fd) && !err)
		err = -errno;
	if (close(u->fd) && !err)
		err = -errno;
	jbd2_map_fini(&u->saved);
	free(u);
	f->undo = NULL;
	return err;
}

/* A device over the volume whose writes are saved first: for the replay of the journal --------------- */

struct undo_dev {
	struct blk_dev dev;
	struct fsck *f;
};

static int save_before(struct fsck *f, const struct blk_io *io)
{
	uint64_t nr = io->nr_sects;
	const bool writes = io->op == BLK_WRITE || io->op == BLK_ZERO || io->op == BLK_DISCARD;

	return writes && nr ? fsck_undo_save(f, io->sect << SECT_SHIFT, nr << SECT_SHIFT) : 0;
}

static void undo_run(struct blk_dev *d, struct blk_io **ios, unsigned nr)
{
	struct fsck *f = container_of(d, struct undo_dev, dev)->f;
	struct blk_io *below = calloc(nr, sizeof(*below));
	int err = below ? 0 : -ENOMEM;

	for (unsigned i = 0; !err && i < nr; i++) {
		err = save_before(f, ios[i]);
		below[i] = *ios[i];
		below[i].dev = f->dev;
	}
	if (!err)
		err = fsck_undo_sync(f);	/* K2 */
	if (!err)
		blk_run(below, nr);
	for (unsigned i = 0; i < nr; i++)
		ios[i]->err = err ? err : below[i].err;
	free(below);
}

static void undo_dev_close(struct blk_dev *d)
{
	blk_dev_fini(d);
	free(container_of(d, struct undo_dev, dev));
}

static const struct blk_ops undo_ops = { .name = "undo", .run = undo_run, .close = undo_dev_close };

int fsck_undo_dev(struct fsck *f, struct blk_dev **out)
{
	struct undo_dev *u = calloc(1, sizeof(*u));
	int err = u ? blk_dev_init(&u->dev, &undo_ops, blk_name(f->dev), blk_nr_sects(f->dev), blk_is_read_only(f->dev))
		    : -ENOMEM;

	if (err) {
		free(u);
		return err;
	}
	u->f = f;
	*out = &u->dev;
	return 0;
}
