/*
 * jbd2_file.h: the journal file: where its blocks lie, what its superblock says, and how the
 * features there shape the blocks of the log (tags, checksums).
 */
#ifndef OSFS_JOURNAL_JBD2_FILE_H
#define OSFS_JOURNAL_JBD2_FILE_H

#include "journal/jbd2.h"
#include "journal/jnl_disk.h"

struct jbd2_file {
	struct blk_dev *dev;
	uint32_t block_bytes;
	struct jbd2_run *runs;		/* owned */
	size_t nr_runs;
	struct jnl_disk_sb sb;		/* as on disk, or about to be */
	uint32_t first, end;		/* the ring is [first, end); a fast-commit area may follow */
	/* from the features: */
	bool v1, v2, v3;		/* checksums, one of them or none */
	bool wide;			/* 64-bit block numbers */
	unsigned tag_bytes, tail_bytes, revoke_bytes;
	uint32_t seed;			/* of CRC-32C: the UUID */
};

/* Reads and checks the superblock. Messages are given here. -EUCLEAN, -EOPNOTSUPP, I/O errors. */
MUST_CHECK int jbd2_file_open(struct jbd2_file *f, const struct jbd2_opts *o);
void jbd2_file_close(struct jbd2_file *f);
/* Fields that follow from sb's features. */
void jbd2_file_settle(struct jbd2_file *f);
static inline bool jbd2_has_incompat(const struct jbd2_file *f, uint32_t bits)
{
	return be32_get(f->sb.s_feature_incompat) & bits;
}

/* One block of the log to read or write. */
struct jbd2_piece {
	uint32_t lblk;
	void *data;
};
/* All at once; neighbours become one request. First error. */
MUST_CHECK int jbd2_file_io(struct jbd2_file *f, enum blk_op op, unsigned flags, const struct jbd2_piece *pieces,
			    size_t nr);
/* Fills the checksum in; flags: BLK_FUA. */
MUST_CHECK int jbd2_file_store_sb(struct jbd2_file *f, unsigned flags);
void jbd2_sb_seal(struct jnl_disk_sb *sb);
/* lblk + n in the ring. */
static inline uint32_t jbd2_wrap(const struct jbd2_file *f, uint64_t lblk)
{
	return lblk >= f->end ? (uint32_t)(lblk - (f->end - f->first)) : (uint32_t)lblk;
}

/* jbd2_csum.c: checksums and tags --------------------------------------------------- */

struct jbd2_tag {
	pblk_t pblk;
	unsigned flags;
	uint32_t checksum;	/* as much of it as the format keeps */
};
struct jbd2_tag jbd2_tag_load(const struct jbd2_file *f, const void *at);
void jbd2_tag_store(const struct jbd2_file *f, void *at, const struct jbd2_tag *t);
/* What belongs into the tag of a block as logged; 0 without checksums. */
uint32_t jbd2_tag_checksum(const struct jbd2_file *f, uint32_t seq, const void *block);
/* Descriptor and revoke blocks. Without v2, v3: nothing, true. */
void jbd2_tail_seal(const struct jbd2_file *f, void *block);
bool jbd2_tail_ok(const struct jbd2_file *f, const void *block);
void jbd2_commit_seal(const struct jbd2_file *f, void *block);
bool jbd2_commit_ok(const struct jbd2_file *f, const void *block);
/* CRC-32 of checksum v1: most significant bit first; starts with ~0, no final inversion. */
uint32_t jbd2_crc32_be(uint32_t crc, const void *buf, size_t len_bytes);

void jbd2_header_store(void *block, enum jnl_blocktype type, uint32_t seq);
/* The type of a block of the log of this transaction, 0: it is none. */
unsigned jbd2_header_type(const void *block, uint32_t seq);

#endif
