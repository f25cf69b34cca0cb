/*
 * bench_parity.c: whole stripes written through the RAID layer, beside ISA-L alone on the
 * same buffers. Data comes as 4 KiB frames in a shuffled order of memory, one request each,
 * as the cache's write-back hands it over.
 *
 *	write	all of it, on members that drop what is written: the RAID layer beside the parity
 *	hot	the same from 4 MiB that stay in the processor's cache, where ISA-L is quickest
 *	mem	the same on members in memory: with the copying that any device does
 *	small	one 4 KiB in each stripe, read-modify-write
 *	lost	reads of everything with one member (RAID 5) or two (RAID 6) missing
 *
 * Medians of rounds in which ours and ISA-L's take turns; GB/s of data, and the ratio.
 *
 * Usage: bench_parity [MiB written in a round]
 */
#include <isa-l/raid.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/rng.h"
#include "raid/raid.h"

enum { FRAME_BYTES = 4096, FRAME_SECTS = 8, NR_ROUNDS = 9, CHUNK_SECTS = 256, NR_FRAMES = 1024 };

static void must(int err)
{
	if (err) {
		fprintf(stderr, "bench_parity: %s\n", strerror(-err));
		exit(EXIT_FAILURE);
	}
}

static double now_sec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- members that keep only their superblock ------------------------------------------ */

struct null_dev {
	struct blk_dev dev;
	char head[64 << 10];
};

static bool null_submit(struct blk_dev *d, struct blk_io *io, bool alone)
{
	struct null_dev *n = container_of(d, struct null_dev, dev);
	size_t at = io->sect << SECT_SHIFT;

	for (unsigned i = 0; at < sizeof(n->head) && io->op <= BLK_WRITE && i < io->nr_iov; at += io->iov[i++].iov_len) {
		if (io->op == BLK_READ)
			memcpy(io->iov[i].iov_base, n->head + at, io->iov[i].iov_len);
		else
			memcpy(n->head + at, io->iov[i].iov_base, io->iov[i].iov_len);
	}
	io->err = 0;
	return true;
}

static void null_close(struct blk_dev *d)
{
	blk_dev_fini(d);
	free(container_of(d, struct null_dev, dev));
}

static const struct blk_ops null_ops = { .name = "null", .submit = null_submit, .close = null_close };

static struct blk_dev *null_new(uint64_t nr_sects)
{
	struct null_dev *n = calloc(1, sizeof(*n));

	must(n ? blk_dev_init(&n->dev, &null_ops, "null", nr_sects, false) : -ENOMEM);
	return &n->dev;
}

/* ---- an array and its requests ---------------------------------------------------------- */

struct bench {
	int level;
	unsigned nr_disks, nr_data;
	struct alloc *alloc;
	struct raid *r;
	unsigned nr_frames;		/* of a batch: whole stripes, up to NR_FRAMES */
	unsigned nr_batches;		/* of nr_frames each, in a round */
	char *frames;
	unsigned *order;		/* frame of the n-th request of the round */
	char *parity[2];
};

static void bench_open(struct bench *b, bool null_members, unsigned nr_missing)
{
	struct raid_params p = {
		.level = b->level, .nr_disks = b->nr_disks, .chunk_sects = CHUNK_SECTS, .metadata = RAID_META_12,
		.data_offset = 256 };
	struct blk_dev *devs[RAID_MAX_MEMBERS];
	uint64_t nr_sects = 256 + (uint64_t)b->nr_frames * b->nr_batches * FRAME_SECTS / b->nr_data;

	must(raid_layout_parse(b->level, NULL, &p.layout));
	for (unsigned i = 0; i < b->nr_disks; i++) {
		if (null_members)
			devs[i] = null_new(nr_sects);
		else
			must(blk_mem_new(nr_sects, &devs[i]));
	}
	must(raid_create(&p, devs, NULL, 0, true));
	for (unsigned i = 0; i < nr_missing; i++)
		blk_close(devs[i]);
	must(raid_assemble(devs + nr_missing, b->nr_disks - nr_missing,
			   &(struct raid_open_opts){ .alloc = b->alloc, .quiet = true }, &b->r));
}

static void bench_init(struct bench *b, int level, unsigned nr_disks, unsigned mib)
{
	struct rng rng = { 1 };
	unsigned nr;

	*b = (struct bench){ .level = level, .nr_disks = nr_disks, .nr_data = nr_disks - (level == RAID_6 ? 2 : 1) };
	b->nr_frames = NR_FRAMES / (b->nr_data * CHUNK_SECTS / FRAME_SECTS) * (b->nr_data * CHUNK_SECTS / FRAME_SECTS);
	b->nr_batches = MAX((mib << 20) / (b->nr_frames * FRAME_BYTES), 1u);
	must(alloc_new(&(struct alloc_opts){ 0 }, &b->alloc));
	nr = b->nr_frames * b->nr_batches;
	b->frames = aligned_alloc(FRAME_BYTES, (size_t)nr * FRAME_BYTES);
	b->order = calloc(nr, sizeof(*b->order));
	for (unsigned i = 0; i < 2; i++)
		b->parity[i] = aligned_alloc(FRAME_BYTES, (size_t)NR_FRAMES * FRAME_BYTES);
	must(b->frames && b->order && b->parity[0] && b->parity[1] ? 0 : -ENOMEM);
	rng_fill(&rng, b->frames, (size_t)nr * FRAME_BYTES);
	for (unsigned i = 0; i < nr; i++)
		b->order[i] = i;
	for (unsigned i = nr; i-- > 1;) {
		unsigned j = (unsigned)rng_below(&rng, i + 1), swap = b->order[i];

		b->order[i] = b->order[j];
		b->order[j] = swap;
	}
}

static void *frame(const struct bench *b, unsigned batch, unsigned i, bool hot)
{
	unsigned nr = hot ? b->order[i] % NR_FRAMES : b->order[batch * b->nr_frames + i];

	return b->frames + (size_t)nr * FRAME_BYTES;
}

static void bench_fini(struct bench *b)
{
	alloc_free(b->alloc);
	free(b->frames);
	free(b->order);
	free(b->parity[0]);
	free(b->parity[1]);
}

/* One pass over the array; step: every step-th frame only. Seconds. */
static double ours(const struct bench *b, enum blk_op op, unsigned step, bool hot)
{
	static struct blk_io ios[NR_FRAMES];
	static struct iovec iov[NR_FRAMES];
	double start = now_sec();

	for (unsigned batch = 0; batch < b->nr_batches; batch++) {
		unsigned n = 0;

		for (unsigned i = 0; i < b->nr_frames; i += step, n++) {
			iov[n] = (struct iovec){ frame(b, batch, i, hot), FRAME_BYTES };
			ios[n] = (struct blk_io){
				.dev = raid_dev(b->r), .op = op, .iov = &iov[n], .nr_iov = 1,
				.sect = ((sect_t)batch * b->nr_frames + i) * FRAME_SECTS };
		}
		must(blk_run(ios, n));
	}
	return now_sec() - start;
}

/* The parity of the same frames in the same places, by ISA-L and nothing else. */
static double isal(const struct bench *b, bool hot)
{
	unsigned chunk_frames = CHUNK_SECTS / FRAME_SECTS, stripe_frames = b->nr_data * chunk_frames;
	double start = now_sec();

	for (unsigned batch = 0; batch < b->nr_batches; batch++)
		for (unsigned row = 0; row < b->nr_frames / b->nr_data; row++) {
			unsigned first = row / chunk_frames * stripe_frames + row % chunk_frames;
			void *vects[RAID_MAX_DATA_DISKS + 2];

			for (unsigned dd = 0; dd < b->nr_data; dd++)
				vects[dd] = frame(b, batch, first + dd * chunk_frames, hot);
			vects[b->nr_data] = b->parity[0] + (size_t)row * FRAME_BYTES;
			vects[b->nr_data + 1] = b->parity[1] + (size_t)row * FRAME_BYTES;
			if (b->level == RAID_6)
				pq_gen((int)b->nr_disks, FRAME_BYTES, vects);
			else
				xor_gen((int)b->nr_disks, FRAME_BYTES, vects);
		}
	return now_sec() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, NR_ROUNDS, sizeof(*v), compare);
	return v[NR_ROUNDS / 2];
}

static void row(const char *what, struct bench *b, bool null_members, unsigned nr_missing, enum blk_op op,
		unsigned step, bool hot)
{
	double mine[NR_ROUNDS], theirs[NR_ROUNDS], ratio[NR_ROUNDS];
	double gb = (double)b->nr_batches * b->nr_frames * FRAME_BYTES / 1e9;

	bench_open(b, null_members, nr_missing);
	ours(b, BLK_WRITE, 1, hot);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		theirs[i] = isal(b, hot);
		mine[i] = ours(b, op, step, hot);
		ratio[i] = theirs[i] / mine[i] / step;
	}
	printf("raid%d of %2u  %-5s %7.2f GB/s   isa-l %7.2f GB/s   ratio %.2f\n", b->level, b->nr_disks, what,
	       gb / step / median(mine), gb / median(theirs), median(ratio));
	must(raid_free(b->r));
}

int main(int argc, char **argv)
{
	static const struct {
		int level;
		unsigned nr_disks;
	} arrays[] = { { RAID_5, 4 }, { RAID_5, 5 }, { RAID_5, 9 }, { RAID_6, 5 }, { RAID_6, 6 }, { RAID_6, 10 } };
	unsigned mib = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 64;

	log_set_level(LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < ARRAY_LEN(arrays); i++) {
		struct bench b;

		bench_init(&b, arrays[i].level, arrays[i].nr_disks, mib);
		row("write", &b, true, 0, BLK_WRITE, 1, false);
		row("hot", &b, true, 0, BLK_WRITE, 1, true);
		row("mem", &b, false, 0, BLK_WRITE, 1, false);
		row("small", &b, true, 0, BLK_WRITE, b.nr_data * CHUNK_SECTS / FRAME_SECTS, false);
		row("lost", &b, true, arrays[i].level == RAID_6 ? 2 : 1, BLK_READ, 1, false);
		bench_fini(&b);
	}
	return 0;
}
