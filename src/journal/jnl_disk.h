/*
 * jnl_disk.h: JBD2 on disk. Everything is big-endian, unlike the ext4 blocks around it.
 *
 * The log is a file of blocks: block 0 holds the superblock, the rest from s_first on is a
 * ring. A transaction is any number of revoke blocks and of descriptor blocks, each followed by
 * the blocks its tags name, and at its end a commit block. Every block that is not a copy of a
 * filesystem block begins with a header; a copy that would look like one is escaped.
 */
#ifndef OSFS_JOURNAL_JNL_DISK_H
#define OSFS_JOURNAL_JNL_DISK_H

#include "base/types.h"

enum {
	JNL_MAGIC_BYTES = 4,
	JNL_SB_BYTES = 1024,
	JNL_MIN_BLOCKS = 1024,		/* smallest log that Linux takes */
	JNL_DEFAULT_FC_BLOCKS = 256,	/* fast-commit area when s_num_fc_blks is 0 */
	JNL_CRC32C = 4,			/* s_checksum_type */
	JNL_CRC32 = 1,			/* h_chksum_type of checksum v1 */
	JNL_CRC32_BYTES = 4,
};
#define JNL_MAGIC 0xc03b3998u

enum jnl_blocktype {
	JNL_DESCRIPTOR = 1,
	JNL_COMMIT = 2,
	JNL_SB_V1 = 3,
	JNL_SB_V2 = 4,
	JNL_REVOKE = 5,
};

enum {	/* s_feature_compat */
	JNL_COMPAT_CHECKSUM = 0x1,	/* v1: one CRC-32 a transaction, in its commit block */
};
enum {	/* s_feature_incompat */
	JNL_INCOMPAT_REVOKE = 0x1,
	JNL_INCOMPAT_64BIT = 0x2,
	JNL_INCOMPAT_ASYNC_COMMIT = 0x4,
	JNL_INCOMPAT_CSUM_V2 = 0x8,	/* CRC-32C a block; 16 bits of it in tags */
	JNL_INCOMPAT_CSUM_V3 = 0x10,	/* the same with 32 bits in tags */
	JNL_INCOMPAT_FAST_COMMIT = 0x20,
	JNL_INCOMPAT_ALL = 0x3f,
};

struct jnl_disk_header {
/*00*/	be32	h_magic;
/*04*/	be32	h_blocktype;
/*08*/	be32	h_sequence;	/* transaction; wraps, compare with seq_before() */
};
DISK_SIZE(struct jnl_disk_header, 12);

struct jnl_disk_sb {
/*00*/	struct jnl_disk_header s_header;
/*0c*/	be32	s_blocksize;
/*10*/	be32	s_maxlen;	/* blocks of the log, this one and the fast-commit area included */
/*14*/	be32	s_first;	/* first block of the ring */
/*18*/	be32	s_sequence;	/* first transaction expected at s_start */
/*1c*/	be32	s_start;	/* where it is; 0: the log is empty */
/*20*/	be32	s_errno;
/*24*/	be32	s_feature_compat;	/* from here on: V2 */
/*28*/	be32	s_feature_incompat;
/*2c*/	be32	s_feature_ro_compat;
/*30*/	uint8_t	s_uuid[16];
/*40*/	be32	s_nr_users;
/*44*/	be32	s_dynsuper;
/*48*/	be32	s_max_transaction;
/*4c*/	be32	s_max_trans_data;
/*50*/	uint8_t	s_checksum_type;
/*51*/	uint8_t	s_padding2[3];
/*54*/	be32	s_num_fc_blks;
/*58*/	be32	s_head;		/* where an empty log goes on; 0: at s_first */
/*5c*/	uint8_t	s_padding[160];
/*fc*/	be32	s_checksum;	/* CRC-32C of these 1024 bytes with 0 here */
/*100*/	uint8_t	s_users[768];
};
DISK_SIZE(struct jnl_disk_sb, JNL_SB_BYTES);
DISK_OFFSET(struct jnl_disk_sb, s_uuid, 0x30);
DISK_OFFSET(struct jnl_disk_sb, s_checksum_type, 0x50);
DISK_OFFSET(struct jnl_disk_sb, s_checksum, 0xfc);

enum {	/* t_flags */
	JNL_TAG_ESCAPE = 1,	/* the block's first four bytes are the magic; in the log they are 0 */
	JNL_TAG_SAME_UUID = 2,	/* no UUID follows the tag */
	JNL_TAG_DELETED = 4,
	JNL_TAG_LAST = 8,
	JNL_UUID_BYTES = 16,
};

/* Without checksum v3. The last field is there with 64BIT only; with checksum v2 the tag is 2 bytes longer. */
struct jnl_disk_tag {
/*0*/	be32	t_blocknr;
/*4*/	be16	t_checksum;	/* low half of crc32c(uuid, sequence, block as logged) */
/*6*/	be16	t_flags;
/*8*/	be32	t_blocknr_high;
};
DISK_SIZE(struct jnl_disk_tag, 12);

struct jnl_disk_tag3 {
/*0*/	be32	t_blocknr;
/*4*/	be32	t_flags;
/*8*/	be32	t_blocknr_high;
/*c*/	be32	t_checksum;
};
DISK_SIZE(struct jnl_disk_tag3, 16);

/* At the end of descriptor and revoke blocks with checksums v2 and v3. */
struct jnl_disk_tail {
	be32	t_checksum;	/* crc32c(uuid, whole block with 0 here) */
};
DISK_SIZE(struct jnl_disk_tail, 4);

struct jnl_disk_revoke {
/*0*/	struct jnl_disk_header r_header;
/*c*/	be32	r_count;	/* bytes in use, this header included; then 4 or 8 bytes a block number */
};
DISK_SIZE(struct jnl_disk_revoke, 16);

struct jnl_disk_commit {
/*00*/	struct jnl_disk_header h_header;
/*0c*/	uint8_t	h_chksum_type;
/*0d*/	uint8_t	h_chksum_size;
/*0e*/	uint8_t	h_padding[2];
/*10*/	be32	h_chksum[8];	/* [0]; v2, v3: crc32c(uuid, whole block with 0 here) */
/*30*/	be64	h_commit_sec;
/*38*/	be32	h_commit_nsec;
/*3c*/	uint8_t	h_end[4];
};
DISK_SIZE(struct jnl_disk_commit, 64);

/* The fast-commit area begins with this when it holds anything; little-endian. */
struct jnl_disk_fc_head {
/*0*/	le16	tag;		/* JNL_FC_TAG_HEAD */
/*2*/	le16	len;		/* 8 */
/*4*/	le32	features;
/*8*/	le32	tid;		/* the transaction that it is a part of */
};
DISK_SIZE(struct jnl_disk_fc_head, 12);
enum { JNL_FC_TAG_HEAD = 9 };

static inline bool seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

#endif
