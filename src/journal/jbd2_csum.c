/* jbd2_csum.c: headers, tags and checksums of blocks of the log. */
#include "base/crc.h"
#include "journal/jbd2_file.h"

/* With checksums v2 without v3 a tag is two bytes longer than its fields. */
enum { TAG_V2_EXTRA = 2, TAG_HIGH_BYTES = 4 };

void jbd2_file_settle(struct jbd2_file *f)
{
	f->v1 = be32_get(f->sb.s_feature_compat) & JNL_COMPAT_CHECKSUM;
	f->v2 = jbd2_has_incompat(f, JNL_INCOMPAT_CSUM_V2);
	f->v3 = jbd2_has_incompat(f, JNL_INCOMPAT_CSUM_V3);
	f->wide = jbd2_has_incompat(f, JNL_INCOMPAT_64BIT);
	if (f->v3)
		f->tag_bytes = sizeof(struct jnl_disk_tag3);
	else
		f->tag_bytes = sizeof(struct jnl_disk_tag) + (f->v2 ? TAG_V2_EXTRA : 0) - (f->wide ? 0 : TAG_HIGH_BYTES);
	f->tail_bytes = f->v2 || f->v3 ? sizeof(struct jnl_disk_tail) : 0;
	f->revoke_bytes = f->wide ? sizeof(be64) : sizeof(be32);
	f->seed = crc32c(~0u, f->sb.s_uuid, sizeof(f->sb.s_uuid));
}

struct jbd2_tag jbd2_tag_load(const struct jbd2_file *f, const void *at)
{
	struct jnl_disk_tag3 t3 = { 0 };
	struct jnl_disk_tag t = { 0 };

	if (f->v3) {
		memcpy(&t3, at, sizeof(t3));
		return (struct jbd2_tag){
			.pblk = be32_get(t3.t_blocknr) | (f->wide ? (uint64_t)be32_get(t3.t_blocknr_high) << 32 : 0),
			.flags = be32_get(t3.t_flags),
			.checksum = be32_get(t3.t_checksum),
		};
	}
	memcpy(&t, at, f->wide ? sizeof(t) : sizeof(t) - TAG_HIGH_BYTES);
	return (struct jbd2_tag){
		.pblk = be32_get(t.t_blocknr) | (uint64_t)be32_get(t.t_blocknr_high) << 32,
		.flags = be16_get(t.t_flags),
		.checksum = f->v2 ? be16_get(t.t_checksum) : 0,
	};
}

void jbd2_tag_store(const struct jbd2_file *f, void *at, const struct jbd2_tag *tag)
{
	const be32 low = be32_of((uint32_t)tag->pblk), high = be32_of((uint32_t)(tag->pblk >> 32));

	memset(at, 0, f->tag_bytes);
	if (f->v3) {
		const struct jnl_disk_tag3 t3 = { .t_blocknr = low, .t_flags = be32_of(tag->flags),
			.t_blocknr_high = f->wide ? high : be32_of(0), .t_checksum = be32_of(tag->checksum) };

		memcpy(at, &t3, sizeof(t3));
	} else {
		const struct jnl_disk_tag t = { .t_blocknr = low, .t_flags = be16_of((uint16_t)tag->flags),
			.t_blocknr_high = high, .t_checksum = be16_of((uint16_t)tag->checksum) };

		memcpy(at, &t, f->wide ? sizeof(t) : sizeof(t) - TAG_HIGH_BYTES);
	}
}

uint32_t jbd2_tag_checksum(const struct jbd2_file *f, uint32_t seq, const void *block)
{
	const be32 disk_seq = be32_of(seq);
	uint32_t crc;

	if (!f->v2 && !f->v3)
		return 0;
	crc = crc32c(f->seed, &disk_seq, sizeof(disk_seq));
	crc = crc32c(crc, block, f->block_bytes);
	return f->v3 ? crc : crc & 0xffff;
}

/* CRC-32C of a block as if the be32 at off were zero. */
static uint32_t crc_without(const struct jbd2_file *f, const void *block, size_t off)
{
	const be32 zero = { 0 };
	const char *p = block;
	uint32_t crc = crc32c(f->seed, p, off);

	crc = crc32c(crc, &zero, sizeof(zero));
	off += sizeof(zero);
	return crc32c(crc, p + off, f->block_bytes - off);
}

static void seal_at(const struct jbd2_file *f, void *block, size_t off)
{
	const be32 crc = be32_of(crc_without(f, block, off));

	memcpy((char *)block + off, &crc, sizeof(crc));
}

static bool is_sealed_at(const struct jbd2_file *f, const void *block, size_t off)
{
	be32 found;

	memcpy(&found, (const char *)block + off, sizeof(found));
	return be32_get(found) == crc_without(f, block, off);
}

void jbd2_tail_seal(const struct jbd2_file *f, void *block)
{
	if (f->tail_bytes)
		seal_at(f, block, f->block_bytes - f->tail_bytes);
}

bool jbd2_tail_ok(const struct jbd2_file *f, const void *block)
{
	return !f->tail_bytes || is_sealed_at(f, block, f->block_bytes - f->tail_bytes);
}

void jbd2_commit_seal(const struct jbd2_file *f, void *block)
{
	if (f->v2 || f->v3)
		seal_at(f, block, offsetof(struct jnl_disk_commit, h_chksum));
}

bool jbd2_commit_ok(const struct jbd2_file *f, const void *block)
{
	return (!f->v2 && !f->v3) || is_sealed_at(f, block, offsetof(struct jnl_disk_commit, h_chksum));
}

/* Only for logs of old kernels, at recovery: bit by bit is fast enough. */
uint32_t jbd2_crc32_be(uint32_t crc, const void *buf, size_t len_bytes)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= (uint32_t)p[i] << 24;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc & 0x80000000u ? 0x04c11db7u : 0);
	}
	return crc;
}

void jbd2_header_store(void *block, enum jnl_blocktype type, uint32_t seq)
{
	const struct jnl_disk_header h = { be32_of(JNL_MAGIC), be32_of(type), be32_of(seq) };

	memcpy(block, &h, sizeof(h));
}

unsigned jbd2_header_type(const void *block, uint32_t seq)
{
	struct jnl_disk_header h;

	memcpy(&h, block, sizeof(h));
	if (be32_get(h.h_magic) != JNL_MAGIC || be32_get(h.h_sequence) != seq)
		return 0;
	return be32_get(h.h_blocktype);
}
