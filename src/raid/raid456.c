/*
 * raid456.c: RAID 4, 5 and 6 beside plain reads and writes: ranges of zeroes, mending,
 * and the descriptors.
 */
#include "raid/parity.h"
#include "raid/raid_levels.h"
#include "raid/raid_stripe.h"

static bool parities_suffice(const struct raid_geom *g, const bool *missing)
{
	unsigned nr_missing = 0;

	for (unsigned i = 0; i < g->nr_disks; i++)
		nr_missing += missing[i];
	return nr_missing <= g->nr_parity;
}

static uint32_t optimal_bytes(const struct raid_geom *g)
{
	return (g->chunk_sects << SECT_SHIFT) * g->nr_data;
}

/* ---- zero and discard ---------------------------------------------------------------- */

static void zero_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	int err = io->err;

	if (err == -EOPNOTSUPP)
		err = blk_zero(m->dev, io->sect, io->nr_sects);
	if (err)
		raid_write_failed(run->r, m, io->sect, err);
}

/* Zeroes have zero parity: whole stripes become zero on all members. In member sectors. */
static int zero_stripes(struct raid *r, sect_t member_sect, uint64_t nr_sects, unsigned flags)
{
	struct raid_run *run = raid_run_new(r);
	struct raid_lock_set locks = { 0 };

	if (!run)
		return -ENOMEM;
	run->failed = zero_failed;
	while (nr_sects && !atomic_load(&r->failed)) {
		uint64_t nr = ALIGN_DOWN(raid_lock_add(r, &locks, member_sect, nr_sects), r->geom.chunk_sects);

		raid_lock(r, &locks, true);
		for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
			if (raid_can_write(r, slot))
				raid_run_add(run, slot, BLK_ZERO, flags, member_sect, nr, NULL, 0, NULL);
		raid_run_go(run);
		raid_unlock(r, &locks);
		member_sect += nr;
		nr_sects -= nr;
	}
	raid_run_free(run);
	return atomic_load(&r->failed) ? -EIO : 0;
}

/* Zeroes as an ordinary write: parts of stripes. */
static int zero_part(struct raid *r, sect_t sect, uint64_t nr_sects, unsigned flags)
{
	static const uint8_t zeroes[64 << 10];
	enum { ZERO_SECTS = sizeof(zeroes) >> SECT_SHIFT };

	while (nr_sects) {
		struct iovec iov[32];
		struct blk_io io = { .dev = &r->dev, .op = BLK_WRITE, .sect = sect, .iov = iov };
		struct blk_io *ios[1] = { &io };
		struct raid_batch b = { .ios = ios, .nr = 1, .flags = flags };

		while (nr_sects && io.nr_iov < ARRAY_LEN(iov)) {
			uint64_t n = MIN(nr_sects, (uint64_t)ZERO_SECTS);

			iov[io.nr_iov++] = (struct iovec){ (void *)(uintptr_t)zeroes, n << SECT_SHIFT };
			io.nr_sects += n;
			nr_sects -= n;
		}
		raid456_write(r, &b);
		if (io.err)
			return io.err;
		sect += io.nr_sects;
	}
	return 0;
}

/* The whole stripes of a range: first and the one behind the last. */
static void whole_stripes(const struct raid_geom *g, sect_t sect, uint64_t nr_sects, uint64_t *first, uint64_t *end)
{
	uint64_t stripe_sects = (uint64_t)g->chunk_sects * g->nr_data;

	*first = DIV_UP(sect, stripe_sects);
	*end = (sect + nr_sects) / stripe_sects;
}

static int raid456_zero(struct raid *r, sect_t sect, uint64_t nr_sects, unsigned flags)
{
	const struct raid_geom *g = &r->geom;
	uint64_t stripe_sects = (uint64_t)g->chunk_sects * g->nr_data, first, end;
	int err;

	whole_stripes(g, sect, nr_sects, &first, &end);
	if (first >= end)
		return zero_part(r, sect, nr_sects, flags);
	err = zero_part(r, sect, first * stripe_sects - sect, flags);
	if (!err)
		err = zero_stripes(r, first << g->chunk_shift, (end - first) << g->chunk_shift, flags);
	if (!err)
		err = zero_part(r, end * stripe_sects, sect + nr_sects - end * stripe_sects, flags);
	return err;
}

/* Contents after a discard are undefined, but parity is not: whole stripes become zero, the rest stays. */
static int raid456_discard(struct raid *r, sect_t sect, uint64_t nr_sects)
{
	const struct raid_geom *g = &r->geom;
	uint64_t first, end;

	whole_stripes(g, sect, nr_sects, &first, &end);
	if (first >= end)
		return 0;
	return zero_stripes(r, first << g->chunk_shift, (end - first) << g->chunk_shift, 0);
}

/* ---- mending ---------------------------------------------------------------- */

static int mend_from_stripe(struct raid *r, const struct raid_stripe_map *m, unsigned dd, sect_t member_sect,
			    uint32_t nr_sects, void *buf)
{
	struct raid_arena arena;
	void **bufs;
	int err = -ENOMEM;

	raid_arena_init(&arena, r->alloc);
	bufs = raid_stripe_bufs(&arena, &r->geom, nr_sects);
	if (bufs)
		err = raid_stripe_fill(r, m, member_sect, nr_sects, bufs);
	if (!err)
		memcpy(buf, bufs[dd], (size_t)nr_sects << SECT_SHIFT);
	raid_arena_fini(&arena);
	return err;
}

static int raid456_mend(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf)
{
	const struct raid_geom *g = &r->geom;
	uint64_t chunk = sect >> g->chunk_shift;
	sect_t member_sect = (chunk / g->nr_data << g->chunk_shift) + (sect & (g->chunk_sects - 1));
	unsigned dd = (unsigned)(chunk % g->nr_data);
	struct raid_lock_set locks = { 0 };
	struct raid_stripe_map m;
	int err = -EIO;

	raid_map_stripe(g, chunk / g->nr_data, &m);
	raid_lock_add(r, &locks, member_sect, nr_sects);
	raid_lock(r, &locks, true);
	if (raid_can_read(r, m.data[dd], member_sect + nr_sects)) {
		const struct raid_member *member = r->slots[m.data[dd]];

		err = blk_read(member->dev, member->data_offset + member_sect, buf, (size_t)nr_sects << SECT_SHIFT);
	}
	if (err)
		err = mend_from_stripe(r, &m, dd, member_sect, nr_sects, buf);
	raid_unlock(r, &locks);
	return err;
}

#define RAID456_LEVEL(nr, least)								\
const struct raid_level raid_level_##nr = {							\
	.level = RAID_##nr, .name = "raid" #nr, .min_disks = least,				\
	.redundant = true, .drops_last = true,							\
	.can_run = parities_suffice, .optimal_bytes = optimal_bytes,				\
	.read = raid456_read, .write = raid456_write,						\
	.zero = raid456_zero, .discard = raid456_discard, .mend = raid456_mend,			\
	.sync = raid456_sync,									\
}

RAID456_LEVEL(4, 2);
RAID456_LEVEL(5, 2);
RAID456_LEVEL(6, 4);
