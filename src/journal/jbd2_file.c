/* jbd2_file.c: the journal's blocks and its superblock. */
#include "journal/jbd2_file.h"

#include <stdlib.h>

#include "base/crc.h"
#include "base/log.h"

/* Where the blocks lie ------------------------------------------------------------------ */

static int runs_take(struct jbd2_file *f, const struct jbd2_opts *o)
{
	lblk_t next = 0;

	for (size_t i = 0; i < o->nr_runs; i++) {
		if (o->runs[i].lblk != next || o->runs[i].nr == 0) {
			log_error("%s: journal file: block %" PRIu64 " is not mapped", blk_name(o->dev), next);
			return -EUCLEAN;
		}
		next += o->runs[i].nr;
	}
	if (next == 0) {
		log_error("%s: the journal file is empty", blk_name(o->dev));
		return -EUCLEAN;
	}
	f->runs = malloc(o->nr_runs * sizeof(*f->runs));
	if (!f->runs)
		return -ENOMEM;
	memcpy(f->runs, o->runs, o->nr_runs * sizeof(*f->runs));
	f->nr_runs = o->nr_runs;
	return 0;
}

static uint64_t nr_mapped(const struct jbd2_file *f)
{
	return f->runs[f->nr_runs - 1].lblk + f->runs[f->nr_runs - 1].nr;
}

static pblk_t pblk_of(const struct jbd2_file *f, uint32_t lblk)
{
	size_t low = 0, high = f->nr_runs;

	while (high - low > 1) {
		const size_t mid = (low + high) / 2;

		if (f->runs[mid].lblk <= lblk)
			low = mid;
		else
			high = mid;
	}
	return f->runs[low].pblk + (lblk - f->runs[low].lblk);
}

int jbd2_file_io(struct jbd2_file *f, enum blk_op op, unsigned flags, const struct jbd2_piece *pieces, size_t nr)
{
	enum { SMALL = 16 };
	struct iovec iov_small[SMALL], *iov = iov_small;
	struct blk_io ios_small[SMALL], *ios = ios_small;
	pblk_t next = 0;
	unsigned nr_ios = 0;
	int err = -ENOMEM;

	if (nr > SMALL) {
		iov = malloc(nr * sizeof(*iov));
		ios = malloc(nr * sizeof(*ios));
	}
	for (size_t i = 0; iov && ios && i < nr; i++) {
		const pblk_t pblk = pblk_of(f, pieces[i].lblk);

		iov[i] = (struct iovec){ pieces[i].data, f->block_bytes };
		if (i == 0 || pblk != next)
			ios[nr_ios++] = (struct blk_io){ .dev = f->dev, .op = op, .flags = flags,
				.sect = pblk * (f->block_bytes / SECT_BYTES), .iov = &iov[i] };
		ios[nr_ios - 1].nr_iov++;
		next = pblk + 1;
	}
	if (iov && ios)
		err = nr_ios ? blk_run(ios, nr_ios) : 0;
	if (iov != iov_small)
		free(iov);
	if (ios != ios_small)
		free(ios);
	return err;
}

/* The superblock ---------------------------------------------------------------------------- */

static uint32_t sb_checksum(const struct jnl_disk_sb *sb)
{
	struct jnl_disk_sb copy = *sb;

	copy.s_checksum = be32_of(0);
	return crc32c(~0u, &copy, sizeof(copy));
}

static bool sb_has_checksum(const struct jnl_disk_sb *sb)
{
	return be32_get(sb->s_feature_incompat) & (JNL_INCOMPAT_CSUM_V2 | JNL_INCOMPAT_CSUM_V3);
}

void jbd2_sb_seal(struct jnl_disk_sb *sb)
{
	if (sb_has_checksum(sb))
		sb->s_checksum = be32_of(sb_checksum(sb));
}

int jbd2_file_store_sb(struct jbd2_file *f, unsigned flags)
{
	struct iovec iov = { &f->sb, sizeof(f->sb) };
	struct blk_io io = { .dev = f->dev, .op = BLK_WRITE, .flags = flags,
		.sect = pblk_of(f, 0) * (f->block_bytes / SECT_BYTES), .iov = &iov, .nr_iov = 1 };

	jbd2_sb_seal(&f->sb);
	return blk_run(&io, 1);
}

static int damaged(const struct jbd2_file *f, const char *field, uint64_t expected, uint64_t found)
{
	log_error("%s: journal superblock: %s is %" PRIu64 ", expected %s%" PRIu64, blk_name(f->dev), field, found,
		  strcmp(field, "s_maxlen") == 0 ? "1024 to " : "", expected);
	return -EUCLEAN;
}

static int check_features(const struct jbd2_file *f, const struct jbd2_opts *o)
{
	const uint32_t incompat = be32_get(f->sb.s_feature_incompat), ro_compat = be32_get(f->sb.s_feature_ro_compat);

	if (incompat & ~(uint32_t)JNL_INCOMPAT_ALL || (ro_compat && !o->read_only)) {
		log_error("%s: journal with unknown features (incompat %#x, ro_compat %#x)", blk_name(f->dev),
			  incompat & ~(uint32_t)JNL_INCOMPAT_ALL, ro_compat);
		return -EOPNOTSUPP;
	}
	if (f->v1 + f->v2 + f->v3 > 1) {
		log_error("%s: journal superblock: checksums v1, v2 and v3 exclude each other", blk_name(f->dev));
		return -EUCLEAN;
	}
	if ((f->v2 || f->v3) && f->sb.s_checksum_type != JNL_CRC32C)
		return damaged(f, "s_checksum_type", JNL_CRC32C, f->sb.s_checksum_type);
	if ((f->v2 || f->v3) && be32_get(f->sb.s_checksum) != sb_checksum(&f->sb))
		return damaged(f, "s_checksum", sb_checksum(&f->sb), be32_get(f->sb.s_checksum));
	return 0;
}

/* first, end and what they bound. */
static int check_ring(struct jbd2_file *f)
{
	const uint32_t maxlen = be32_get(f->sb.s_maxlen), start = be32_get(f->sb.s_start);
	uint32_t nr_fc = 0;

	if (be32_get(f->sb.s_blocksize) != f->block_bytes)
		return damaged(f, "s_blocksize", f->block_bytes, be32_get(f->sb.s_blocksize));
	if (maxlen > nr_mapped(f) || maxlen < JNL_MIN_BLOCKS)
		return damaged(f, "s_maxlen", nr_mapped(f), maxlen);
	if (jbd2_has_incompat(f, JNL_INCOMPAT_FAST_COMMIT)) {
		nr_fc = be32_get(f->sb.s_num_fc_blks);
		nr_fc = nr_fc ? nr_fc : JNL_DEFAULT_FC_BLOCKS;
	}
	if (nr_fc > maxlen || maxlen - nr_fc < JNL_MIN_BLOCKS)
		return damaged(f, "s_num_fc_blks", maxlen - JNL_MIN_BLOCKS, nr_fc);
	f->first = be32_get(f->sb.s_first);
	f->end = maxlen - nr_fc;
	if (f->first == 0 || f->first >= f->end / 2)
		return damaged(f, "s_first", 1, f->first);
	if (start && (start < f->first || start >= f->end))
		return damaged(f, "s_start", f->first, start);
	return 0;
}

static int sb_load(struct jbd2_file *f, const struct jbd2_opts *o)
{
	const int err = blk_read(f->dev, pblk_of(f, 0) * (f->block_bytes / SECT_BYTES), &f->sb, sizeof(f->sb));
	uint32_t type;

	if (err)
		return err;
	if (be32_get(f->sb.s_header.h_magic) != JNL_MAGIC) {
		log_error("%s: journal superblock: magic is %#x, expected %#x", blk_name(f->dev),
			  be32_get(f->sb.s_header.h_magic), JNL_MAGIC);
		return -EUCLEAN;
	}
	type = be32_get(f->sb.s_header.h_blocktype);
	if (type != JNL_SB_V1 && type != JNL_SB_V2)
		return damaged(f, "h_blocktype", JNL_SB_V2, type);
	/* Version 1 ends before the features. */
	if (type == JNL_SB_V1)
		memset((char *)&f->sb + offsetof(struct jnl_disk_sb, s_feature_compat), 0,
		       sizeof(f->sb) - offsetof(struct jnl_disk_sb, s_feature_compat));
	jbd2_file_settle(f);
	return check_features(f, o);
}

int jbd2_file_open(struct jbd2_file *f, const struct jbd2_opts *o)
{
	int err;

	*f = (struct jbd2_file){ .dev = o->dev, .block_bytes = cache_block_bytes(o->cache) };
	err = runs_take(f, o);
	if (!err)
		err = sb_load(f, o);
	if (!err)
		err = check_ring(f);
	if (err)
		jbd2_file_close(f);
	return err;
}

void jbd2_file_close(struct jbd2_file *f)
{
	free(f->runs);
	f->runs = NULL;
}

int jbd2_needs_recovery(const struct jbd2_opts *o)
{
	struct jbd2_file f;
	int err = jbd2_file_open(&f, o);

	if (err)
		return err;
	err = be32_get(f.sb.s_start) != 0;
	jbd2_file_close(&f);
	return err;
}

int jbd2_format(void *sb, uint32_t block_bytes, uint32_t nr_blocks, const uint8_t uuid[16])
{
	struct jnl_disk_sb *s = sb;

	if (nr_blocks < JNL_MIN_BLOCKS)
		return -EINVAL;
	memset(s, 0, sizeof(*s));
	jbd2_header_store(s, JNL_SB_V2, 0);
	s->s_blocksize = be32_of(block_bytes);
	s->s_maxlen = be32_of(nr_blocks);
	s->s_first = be32_of(1);
	s->s_sequence = be32_of(1);
	s->s_nr_users = be32_of(1);
	memcpy(s->s_uuid, uuid, sizeof(s->s_uuid));
	return 0;
}
