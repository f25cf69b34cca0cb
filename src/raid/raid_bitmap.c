/*
 * raid_bitmap.c: md's internal write-intent bitmap, kept coarsely: all bits are set
 * when the array goes active and cleared when it is clean and complete, so that
 * whoever assembles it after a crash resynchronises at least what is needed.
 */
#include "base/log.h"
#include "raid/raid_int.h"

enum { BITMAP_BLOCK = 4096 };

struct bitmap {
	struct md_disk_bitmap disk;
	sect_t sect;
	uint64_t nr_bits;
};

static uint64_t bitmap_bytes(uint64_t nr_bits)
{
	return ALIGN_UP(sizeof(struct md_disk_bitmap) + DIV_UP(nr_bits, 8), SECT_BYTES);
}

/* The bitmap must lie between the superblock and the data, or behind both. */
static bool bitmap_fits(const struct raid_info *info, uint64_t dev_sects, const struct bitmap *b)
{
	uint64_t end = b->sect + (bitmap_bytes(b->nr_bits) >> SECT_SHIFT);
	sect_t data_end = info->data_offset + MAX(info->size_sects, (uint64_t)1);

	if (b->sect < info->super_offset + MD_SB_BYTES / SECT_BYTES && end > info->super_offset)
		return false;
	if (b->sect < data_end && end > info->data_offset)
		return false;
	return end <= dev_sects;
}

static int bitmap_load(const struct raid_member *m, struct bitmap *b)
{
	const struct raid_info *info = &m->sb.info;
	uint8_t block[SECT_BYTES];
	uint32_t chunk_bytes;
	int err;

	b->sect = info->super_offset + (sect_t)(int64_t)m->sb.bitmap_offset;
	if (b->sect >= blk_nr_sects(m->dev)) {
		log_error("%s: bitmap at sector %" PRIu64 " of %" PRIu64, blk_name(m->dev), b->sect, blk_nr_sects(m->dev));
		return -EUCLEAN;
	}
	err = blk_read(m->dev, b->sect, block, sizeof(block));
	if (err)
		return err;
	memcpy(&b->disk, block, sizeof(b->disk));
	if (le32_get(b->disk.magic) != MD_BITMAP_MAGIC_U32) {
		log_error("%s: no bitmap at sector %" PRIu64, blk_name(m->dev), b->sect);
		return -EUCLEAN;
	}
	if (le32_get(b->disk.version) != MD_BITMAP_VERSION) {
		log_error("%s: bitmap of version %" PRIu32 " is not supported", blk_name(m->dev),
			  le32_get(b->disk.version));
		return -EOPNOTSUPP;
	}
	chunk_bytes = le32_get(b->disk.chunksize);
	if (!is_pow2(chunk_bytes) || chunk_bytes < SECT_BYTES) {
		log_error("%s: bitmap with %" PRIu32 " bytes a bit", blk_name(m->dev), chunk_bytes);
		return -EUCLEAN;
	}
	b->nr_bits = DIV_UP(le64_get(b->disk.sync_size), (uint64_t)(chunk_bytes >> SECT_SHIFT));
	if (le64_get(b->disk.sync_size) > UINT64_MAX >> SECT_SHIFT || !bitmap_fits(info, blk_nr_sects(m->dev), b)) {
		log_error("%s: bitmap of %" PRIu64 " bits at sector %" PRIu64 " does not fit", blk_name(m->dev), b->nr_bits,
			  b->sect);
		return -EUCLEAN;
	}
	return 0;
}

int raid_bitmap_check(const struct raid_member *m)
{
	struct bitmap b;

	return bitmap_load(m, &b);
}

/* nr bits from the first of p on; the rest of the bytes is zero. */
static void bits_set(uint8_t *p, uint64_t nr)
{
	memset(p, 0xff, nr / 8);
	if (nr % 8)
		p[nr / 8] = (uint8_t)((1 << nr % 8) - 1);
}

int raid_bitmap_mark(const struct raid_member *m, bool dirty, uint64_t events)
{
	struct bitmap b;
	uint64_t len, bit = 0;
	int err = bitmap_load(m, &b);

	if (err)
		return err;
	b.disk.events = le64_of(events);
	if (!dirty)
		b.disk.events_cleared = le64_of(events);
	len = bitmap_bytes(b.nr_bits);
	for (uint64_t at = 0; at < len && !err; at += BITMAP_BLOCK) {
		uint8_t block[BITMAP_BLOCK] = { 0 };
		size_t head = at ? 0 : sizeof(b.disk), n = MIN(len - at, (uint64_t)BITMAP_BLOCK);
		uint64_t nr = MIN(b.nr_bits - bit, (uint64_t)(n - head) * 8);
		struct iovec iov = { block, n };
		struct blk_io io = {
			.dev = m->dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = b.sect + (at >> SECT_SHIFT),
			.iov = &iov, .nr_iov = 1 };

		if (!at)
			memcpy(block, &b.disk, sizeof(b.disk));
		if (dirty)
			bits_set(block + head, nr);
		bit += nr;
		err = blk_run(&io, 1);
	}
	return err;
}
