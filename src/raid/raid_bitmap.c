/*
 * raid_bitmap.c: md's internal write-intent bitmap, version 4: a header and a bit for each
 * region of the array, on every member, in the units of a resync.
 *
 * S12  A region's bit is set on all members, durably, before the first write into it.
 * S13  It is cleared only when no write is under way in the region, what was written is
 *      durable on every member, and the array is whole: no slot empty, nothing to resync.
 *
 * So after a crash only regions whose bit is set can differ; and a member that left when
 * the array had as many events as when bits were last cleared (events_cleared), or more,
 * lacks only regions whose bit is set.
 *
 * Writers count themselves in one of two epochs. recent[e] has the bits of regions that
 * writers of epoch e have come to; one load tells a writer that its bit is set already.
 * A sweep clears what the current epoch has not touched once the other is empty, and
 * makes that the current one: bits stay for one to two sweeps after the last write.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/plant.h"
#include "raid/raid_int.h"

enum { PAGE = 4096, HEAD_BYTES = sizeof(struct md_disk_bitmap), MIN_CHUNK_BYTES = 4096 };

struct raid_bitmap {
	unsigned shift;			/* [const] sectors of a region, log2 */
	uint64_t nr_bits;		/* [const] */
	size_t len;			/* [const] of image, whole sectors */
	uint8_t *image;			/* [lock] as on the members: header, then bits from the lowest */
	bool is_unsaved;		/* [lock] bits could not be written: not known to be on disk */
	uint64_t events_cleared;	/* [lock] */
	atomic_uint_fast64_t *recent[2];	/* bits are set under [lock], looked at without */
};

static struct md_disk_bitmap *head_of(const struct raid_bitmap *b)
{
	return (struct md_disk_bitmap *)b->image;
}

static bool bit_get(const struct raid_bitmap *b, uint64_t bit)
{
	return b->image[HEAD_BYTES + bit / 8] >> bit % 8 & 1;
}

static size_t image_bytes(uint64_t nr_bits)
{
	return ALIGN_UP(HEAD_BYTES + DIV_UP(nr_bits, 8), (size_t)SECT_BYTES);
}

/* ---- on one member ------------------------------------------------------------------------ */

static sect_t sect_of(const struct raid_member *m)
{
	return m->sb.info.super_offset + (sect_t)(int64_t)m->sb.bitmap_offset;
}

/* The bitmap must lie between the superblock and the data, or behind both. */
bool raid_bitmap_fits(const struct raid_sb *sb, uint64_t dev_sects, size_t len_bytes)
{
	const struct raid_info *info = &sb->info;
	sect_t sect = info->super_offset + (sect_t)(int64_t)sb->bitmap_offset;
	sect_t end = sect + DIV_UP(len_bytes, (size_t)SECT_BYTES);
	sect_t data_end = info->data_offset + MAX(info->size_sects, (uint64_t)1);

	if (sect > dev_sects || end > dev_sects)
		return false;
	if (sect < info->super_offset + MD_SB_BYTES / SECT_BYTES && end > info->super_offset)
		return false;
	return sect >= data_end || end <= info->data_offset;
}

static int head_read(const struct raid_member *m, struct md_disk_bitmap *head)
{
	uint8_t block[SECT_BYTES];
	const char *name = blk_name(m->dev);
	sect_t sect = sect_of(m);
	int err;

	if (sect >= blk_nr_sects(m->dev)) {
		log_error("%s: bitmap at sector %" PRIu64 " of %" PRIu64, name, sect, blk_nr_sects(m->dev));
		return -EUCLEAN;
	}
	err = blk_read(m->dev, sect, block, sizeof(block));
	if (err)
		return err;
	memcpy(head, block, sizeof(*head));
	if (le32_get(head->magic) != MD_BITMAP_MAGIC_U32) {
		log_error("%s: no bitmap at sector %" PRIu64, name, sect);
		return -EUCLEAN;
	}
	if (le32_get(head->version) != MD_BITMAP_VERSION) {
		log_error("%s: bitmap of version %" PRIu32 "%s is not supported", name, le32_get(head->version),
			  le32_get(head->version) == 5 ? " (clustered)" : le32_get(head->version) == 6 ? " (lockless)" : "");
		return -EOPNOTSUPP;
	}
	if (!is_pow2(le32_get(head->chunksize)) || le32_get(head->chunksize) < SECT_BYTES) {
		log_error("%s: bitmap with %" PRIu32 " bytes a bit", name, le32_get(head->chunksize));
		return -EUCLEAN;
	}
	return 0;
}

/* Ors the member's bits into the image. Its bitmap is not older than the array. */
static int bits_read(const struct raid_member *m, struct raid_bitmap *b)
{
	uint8_t *buf = malloc(b->len);
	int err = buf ? blk_read(m->dev, sect_of(m), buf, b->len) : -ENOMEM;

	for (size_t i = HEAD_BYTES; !err && i < b->len; i++)
		b->image[i] |= buf[i];
	free(buf);
	return err;
}

/* ---- loading --------------------------------------------------------------------------------- */

static int bitmap_alloc(struct raid *r, const struct md_disk_bitmap *head)
{
	struct raid_bitmap *b = calloc(1, sizeof(*b));
	uint64_t sync_sects = raid_sync_end(r, RAID_RESYNC);

	if (!b)
		return -ENOMEM;
	r->bitmap = b;
	b->shift = log2_floor(le32_get(head->chunksize)) - SECT_SHIFT;
	b->nr_bits = DIV_UP(sync_sects, UINT64_C(1) << b->shift);
	b->len = image_bytes(b->nr_bits);
	b->image = calloc(1, b->len);
	for (unsigned e = 0; e < 2; e++)
		b->recent[e] = calloc(DIV_UP(b->nr_bits, 64), sizeof(*b->recent[e]));
	if (!b->image || !b->recent[0] || !b->recent[1])
		return -ENOMEM;
	memcpy(b->image, head, sizeof(*head));
	head_of(b)->sync_size = le64_of(sync_sects);
	b->events_cleared = le64_get(head->events_cleared);
	return 0;
}

static void set_all(struct raid_bitmap *b)
{
	memset(b->image + HEAD_BYTES, 0xff, b->nr_bits / 8);
	if (b->nr_bits % 8)
		b->image[HEAD_BYTES + b->nr_bits / 8] |= (uint8_t)((1 << b->nr_bits % 8) - 1);
}

int raid_bitmap_load(struct raid *r)
{
	unsigned nr_good = 0;

	for (unsigned i = 0; i < r->nr_members; i++) {
		const struct raid_member *m = r->members[i];
		struct md_disk_bitmap head;
		int err;

		if (!m->sb.bitmap_offset || atomic_load(&m->state) == RAID_FAULTY || atomic_load(&m->state) == RAID_SPARE)
			continue;
		err = head_read(m, &head);
		/* Who only reads can do without. */
		if (err == -EOPNOTSUPP && r->read_only)
			continue;
		if (!err && !r->bitmap)
			err = bitmap_alloc(r, &head);
		if (err)
			return err;
		if (le32_get(head.chunksize) != UINT32_C(1) << (r->bitmap->shift + SECT_SHIFT) ||
		    !raid_bitmap_fits(&m->sb, blk_nr_sects(m->dev), r->bitmap->len)) {
			log_error("%s: bitmap of %" PRIu64 " bits of %" PRIu32 " bytes at sector %" PRIu64 " does not fit",
				  blk_name(m->dev), r->bitmap->nr_bits, le32_get(head.chunksize), sect_of(m));
			return -EUCLEAN;
		}
		/* One that was not kept when the array was last changed knows nothing. */
		if (le64_get(head.events) < r->events || atomic_load(&m->state) != RAID_IN_SYNC)
			continue;
		err = bits_read(m, r->bitmap);
		if (err)
			return err;
		r->bitmap->events_cleared = MIN(r->bitmap->events_cleared, le64_get(head.events_cleared));
		nr_good++;
	}
	if (!r->bitmap || nr_good)
		return 0;
	log_warn("array %s: its bitmap is older than the array: all regions count as written", blk_name(&r->dev));
	set_all(r->bitmap);
	r->bitmap->events_cleared = r->events;
	return 0;
}

void raid_bitmap_free(struct raid_bitmap *b)
{
	if (!b)
		return;
	free(b->image);
	free(b->recent[0]);
	free(b->recent[1]);
	free(b);
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Bytes [from, end) of the image, whole sectors, to every member that keeps it. [lock] */
static int image_write(struct raid *r, size_t from, size_t end)
{
	struct raid_bitmap *b = r->bitmap;
	struct raid_member *written[RAID_MAX_MEMBERS], *failed[RAID_MAX_MEMBERS];
	unsigned nr = 0, nr_failed = 0;

	assert_held(&r->lock);
	end = MIN(end, b->len);
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];

		if (!m->sb.bitmap_offset || !raid_member_takes_writes(m))
			continue;
		r->sb_iovs[nr] = (struct iovec){ b->image + from, end - from };
		r->sb_ios[nr] = (struct blk_io){
			.dev = m->dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = sect_of(m) + (from >> SECT_SHIFT),
			.iov = &r->sb_iovs[nr], .nr_iov = 1 };
		written[nr++] = m;
	}
	blk_run(r->sb_ios, nr);
	for (unsigned i = 0; i < nr; i++)
		if (r->sb_ios[i].err)
			failed[nr_failed++] = written[i];
	for (unsigned i = 0; i < nr_failed; i++) {
		atomic_fetch_add(&failed[i]->nr_write_errors, 1);
		if (!raid_member_fail_locked(r, failed[i], "its bitmap cannot be written", "its bitmap could not be written"))
			return -EIO;
	}
	return 0;
}

void raid_bitmap_head_write(struct raid *r)
{
	struct raid_bitmap *b = r->bitmap;
	unsigned nr = 0;

	if (!b)
		return;
	head_of(b)->events = le64_of(r->events);
	head_of(b)->events_cleared = le64_of(MIN(b->events_cleared, r->events));
	head_of(b)->state = le32_of(0);
	for (unsigned i = 0; i < r->nr_members; i++) {
		const struct raid_member *m = r->members[i];

		if (!m->sb.bitmap_offset || !raid_member_takes_writes(m))
			continue;
		r->sb_iovs[nr] = (struct iovec){ b->image, SECT_BYTES };
		r->sb_ios[nr] = (struct blk_io){
			.dev = m->dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = sect_of(m), .iov = &r->sb_iovs[nr],
			.nr_iov = 1 };
		nr++;
	}
	/* Who fails here fails again at its superblock, at once, and that is told. */
	blk_run(r->sb_ios, nr);
}

void raid_bitmap_copy(struct raid *r, const struct raid_member *m)
{
	int err;

	if (!r->bitmap || !m->sb.bitmap_offset)
		return;
	err = blk_write(m->dev, sect_of(m), r->bitmap->image, r->bitmap->len);
	if (err)
		log_warn("%s: bitmap of array %s cannot be written: %s", blk_name(m->dev), blk_name(&r->dev), strerror(-err));
}

/* ---- writers ---------------------------------------------------------------------------------- */

static bool is_recent(const struct raid_bitmap *b, unsigned epoch, uint64_t bit)
{
	return atomic_load_explicit(&b->recent[epoch][bit / 64], memory_order_acquire) >> bit % 64 & 1;
}

static int bits_set(struct raid *r, unsigned epoch, uint64_t first, uint64_t last)
{
	struct raid_bitmap *b = r->bitmap;
	size_t from = SIZE_MAX, end = 0;
	int err = 0;

	LOCK_GUARD(&r->lock);
	if (b->is_unsaved) {
		from = 0;
		end = b->len;
	}
	for (uint64_t bit = first; bit <= last; bit++) {
		size_t at = HEAD_BYTES + bit / 8;

		if (bit_get(b, bit))
			continue;
		b->image[at] |= (uint8_t)(1 << bit % 8);
		from = MIN(from, at);
		end = MAX(end, at + 1);
	}
	if (end && !PLANTED(PLANT_NO_BITMAP))
		err = image_write(r, ALIGN_DOWN(from, PAGE), ALIGN_UP(end, PAGE));
	b->is_unsaved = err;
	for (uint64_t bit = first; !err && bit <= last; bit++)
		atomic_fetch_or(&b->recent[epoch][bit / 64], UINT64_C(1) << bit % 64);
	return err;
}

int raid_bitmap_begin(struct raid *r, unsigned epoch, sect_t sect, uint64_t nr_sects)
{
	const struct raid_geom *g = &r->geom;
	const struct raid_bitmap *b = r->bitmap;
	uint64_t first = sect, last = sect + nr_sects - 1;

	if (!nr_sects)
		return 0;
	if (g->nr_parity) {
		uint64_t stripe_sects = (uint64_t)g->chunk_sects * g->nr_data;

		first = first / stripe_sects << g->chunk_shift;
		last = ((last / stripe_sects + 1) << g->chunk_shift) - 1;
	}
	first >>= b->shift;
	last >>= b->shift;
	for (uint64_t bit = first; bit <= last; bit++)
		if (unlikely(!is_recent(b, epoch, bit)))
			return bits_set(r, epoch, bit, last);
	return 0;
}

/* ---- sweeping ----------------------------------------------------------------------------------- */

static bool has_bits(const struct raid_bitmap *b)
{
	for (size_t i = HEAD_BYTES; i < b->len; i++)
		if (b->image[i])
			return true;
	return false;
}

static void recent_reset(struct raid_bitmap *b, unsigned epoch)
{
	for (uint64_t w = 0; w < DIV_UP(b->nr_bits, UINT64_C(64)); w++)
		atomic_store_explicit(&b->recent[epoch][w], 0, memory_order_release);
}

/* Clears what the epoch has not touched. All of it is durable on all members. */
static int bits_clear(struct raid *r, unsigned epoch)
{
	struct raid_bitmap *b = r->bitmap;
	size_t end = 0;

	for (uint64_t bit = 0; bit < b->nr_bits; bit++) {
		if (!bit_get(b, bit) || is_recent(b, epoch, bit))
			continue;
		b->image[HEAD_BYTES + bit / 8] &= (uint8_t)~(1 << bit % 8);
		end = HEAD_BYTES + bit / 8 + 1;
	}
	if (!end)
		return 0;
	/* With the header: events_cleared goes along, and must not be behind. */
	b->events_cleared = r->events;
	head_of(b)->events_cleared = le64_of(r->events);
	return image_write(r, 0, ALIGN_UP(end, PAGE));
}

static bool is_whole(const struct raid *r)
{
	return !raid_is_degraded(r) && atomic_load(&r->resync_pos) == MD_SECT_MAX && !atomic_load(&r->failed) &&
	       r->resync_sect == MD_SECT_MAX;
}

int raid_bitmap_sweep(struct raid *r)
{
	unsigned epoch, other;
	int err;

	if (!r->bitmap || r->read_only)
		return 0;
	LOCK_GUARD(&r->lock);
	epoch = atomic_load(&r->epoch);
	other = 1 - epoch;
	if (!is_whole(r) || atomic_load(&r->nr_writers[other]) || !has_bits(r->bitmap))
		return 0;
	err = raid_flush_locked(r);
	if (!err && is_whole(r))
		err = bits_clear(r, epoch);
	if (err)
		return err;
	recent_reset(r->bitmap, other);
	atomic_store(&r->epoch, other);
	return 0;
}

int raid_bitmap_clean(struct raid *r)
{
	assert_held(&r->lock);
	if (!r->bitmap || !is_whole(r))
		return 0;
	recent_reset(r->bitmap, 0);
	recent_reset(r->bitmap, 1);
	return bits_clear(r, 0);
}

/* ---- questions -------------------------------------------------------------------------------------- */

uint64_t raid_bitmap_stretch(struct raid *r, sect_t sect, uint64_t end, bool *dirty)
{
	const struct raid_bitmap *b = r->bitmap;
	uint64_t bit;

	*dirty = true;
	if (!b || sect >= end)
		return end;
	LOCK_GUARD(&r->lock);
	bit = sect >> b->shift;
	*dirty = bit_get(b, bit);
	while (++bit < b->nr_bits && bit << b->shift < end && bit_get(b, bit) == *dirty)
		;
	return MIN(bit << b->shift, end);
}

uint64_t raid_bitmap_events_cleared(struct raid *r)
{
	LOCK_GUARD(&r->lock);
	return r->bitmap->events_cleared;
}

uint64_t raid_bitmap_nr_dirty(const struct raid *r)
{
	const struct raid_bitmap *b = r->bitmap;
	uint64_t nr = 0;

	for (size_t i = HEAD_BYTES; b && i < b->len; i++)
		nr += (unsigned)__builtin_popcount(b->image[i]);
	return nr;
}

void raid_bitmap_status(const struct raid *r, struct raid_status *out)
{
	const struct raid_bitmap *b = r->bitmap;

	out->has_bitmap = b;
	if (!b)
		return;
	out->bitmap_chunk_bytes = UINT32_C(1) << (b->shift + SECT_SHIFT);
	out->bitmap_bits = b->nr_bits;
	out->bitmap_dirty = raid_bitmap_nr_dirty(r);
}

/* ---- new ones --------------------------------------------------------------------------------------- */

/* As mdadm: 64 MiB a bit, or as many as there is room for. */
static int chunk_choose(uint64_t sync_sects, size_t room_bytes, uint32_t want, uint32_t *chunk_bytes)
{
	uint64_t chunk = want ? want : UINT64_C(64) << 20;

	while (!want && image_bytes(DIV_UP(sync_sects, chunk >> SECT_SHIFT)) > room_bytes && chunk < UINT64_C(1) << 31)
		chunk <<= 1;
	if (!is_pow2(chunk) || chunk < MIN_CHUNK_BYTES || chunk > UINT64_C(1) << 31 ||
	    image_bytes(DIV_UP(sync_sects, chunk >> SECT_SHIFT)) > room_bytes)
		return -ENOSPC;
	*chunk_bytes = (uint32_t)chunk;
	return 0;
}

int raid_bitmap_create(struct blk_dev *d, const struct raid_sb *sb, uint64_t sync_sects, size_t room_bytes,
		       uint32_t chunk_bytes)
{
	sect_t sect = sb->info.super_offset + (sect_t)(int64_t)sb->bitmap_offset;
	struct md_disk_bitmap *head;
	uint8_t *image;
	size_t len;
	int err = chunk_choose(sync_sects, room_bytes, chunk_bytes, &chunk_bytes);

	if (err) {
		log_error("%s: no room for a bitmap: %zu bytes for %" PRIu64 " sectors, %" PRIu32 " bytes a bit", blk_name(d),
			  room_bytes, sync_sects, chunk_bytes);
		return err;
	}
	len = image_bytes(DIV_UP(sync_sects, (uint64_t)(chunk_bytes >> SECT_SHIFT)));
	if (!raid_bitmap_fits(sb, blk_nr_sects(d), len)) {
		log_error("%s: a bitmap of %zu bytes at sector %" PRIu64 " does not fit", blk_name(d), len, sect);
		return -ENOSPC;
	}
	image = calloc(1, len);
	if (!image)
		return -ENOMEM;
	head = (struct md_disk_bitmap *)image;
	head->magic = le32_of(MD_BITMAP_MAGIC_U32);
	head->version = le32_of(MD_BITMAP_VERSION);
	raid_sb_uuid_raw(sb, head->uuid);
	head->events = head->events_cleared = le64_of(sb->info.events);
	head->sync_size = le64_of(sync_sects);
	head->chunksize = le32_of(chunk_bytes);
	head->daemon_sleep = le32_of(5);
	head->sectors_reserved = le32_of((uint32_t)(room_bytes >> SECT_SHIFT));
	err = blk_write(d, sect, image, len);
	free(image);
	return err;
}
