/* blk_dev.c: requests of one buffer, what a device says of itself, its beginning and end. */
#include "blk/blk_int.h"

#include <assert.h>
#include <stdlib.h>

const char *blk_op_name(enum blk_op op)
{
	static const char *const names[BLK_NR_OPS] = {
		[BLK_READ] = "read", [BLK_WRITE] = "write", [BLK_FLUSH] = "flush",
		[BLK_DISCARD] = "discard", [BLK_ZERO] = "zero",
	};

	return names[op];
}

static int run_buffer(struct blk_dev *d, enum blk_op op, sect_t sect, void *buf, size_t len_bytes)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len_bytes };
	struct blk_io io = { .dev = d, .op = op, .sect = sect, .iov = &iov, .nr_iov = 1 };

	return blk_run(&io, 1);
}

int blk_read(struct blk_dev *d, sect_t sect, void *buf, size_t len_bytes)
{
	return run_buffer(d, BLK_READ, sect, buf, len_bytes);
}

int blk_write(struct blk_dev *d, sect_t sect, const void *buf, size_t len_bytes)
{
	return run_buffer(d, BLK_WRITE, sect, (void *)(uintptr_t)buf, len_bytes);
}

int blk_flush(struct blk_dev *d)
{
	struct blk_io io = { .dev = d, .op = BLK_FLUSH };

	return blk_run(&io, 1);
}

int blk_discard(struct blk_dev *d, sect_t sect, uint64_t nr_sects)
{
	struct blk_io io = { .dev = d, .op = BLK_DISCARD, .sect = sect, .nr_sects = nr_sects };

	return blk_run(&io, 1);
}

static int write_zeroes(struct blk_dev *d, sect_t sect, uint64_t nr_sects)
{
	static const uint8_t zeroes[16384];

	while (nr_sects) {
		struct iovec iov[64];
		struct blk_io io = { .dev = d, .op = BLK_WRITE, .sect = sect, .iov = iov };
		int err;

		while (nr_sects && io.nr_iov < ARRAY_LEN(iov)) {
			uint64_t n = MIN(nr_sects, (uint64_t)sizeof(zeroes) >> SECT_SHIFT);

			iov[io.nr_iov++] = (struct iovec){ (void *)(uintptr_t)zeroes, n << SECT_SHIFT };
			nr_sects -= n;
			sect += n;
		}
		err = blk_run(&io, 1);
		if (err)
			return err;
	}
	return 0;
}

int blk_zero(struct blk_dev *d, sect_t sect, uint64_t nr_sects)
{
	struct blk_io io = { .dev = d, .op = BLK_ZERO, .sect = sect, .nr_sects = nr_sects };
	int err = blk_run(&io, 1);

	return err == -EOPNOTSUPP ? write_zeroes(d, sect, nr_sects) : err;
}

uint64_t blk_nr_sects(const struct blk_dev *d)
{
	return d->nr_sects;
}

const char *blk_name(const struct blk_dev *d)
{
	return d->name;
}

bool blk_is_read_only(const struct blk_dev *d)
{
	return d->read_only;
}

uint32_t blk_optimal_bytes(const struct blk_dev *d)
{
	return d->optimal_bytes;
}

void blk_set_optimal_bytes(struct blk_dev *d, uint32_t bytes)
{
	d->optimal_bytes = bytes;
}

void blk_stats_get(const struct blk_dev *d, struct blk_stats *out)
{
	for (unsigned op = 0; op < BLK_NR_OPS; op++) {
		out->nr_ios[op] = atomic_load_explicit(&d->stats.ios[op], memory_order_relaxed);
		out->nr_bytes[op] = atomic_load_explicit(&d->stats.bytes[op], memory_order_relaxed);
	}
	out->nr_errors = atomic_load_explicit(&d->stats.errors, memory_order_relaxed);
}

int blk_dev_init(struct blk_dev *d, const struct blk_ops *ops, const char *name, uint64_t nr_sects,
		 bool read_only)
{
	assert(!!ops->submit + blk_is_filter(&(struct blk_dev){ .ops = ops }) + !!ops->run == 1);
	*d = (struct blk_dev){ .ops = ops, .nr_sects = nr_sects, .read_only = read_only };
	d->name = strdup(name);
	return d->name ? 0 : -ENOMEM;
}

void blk_dev_fini(struct blk_dev *d)
{
	free(d->name);
	d->name = NULL;
}

static unsigned nr_filters(const struct blk_dev *d)
{
	unsigned nr = 0;

	for (; d; d = d->lower)
		nr += blk_is_filter(d);
	return nr;
}

int blk_filter_init(struct blk_dev *d, const struct blk_ops *ops, struct blk_dev *lower)
{
	int err;

	if (nr_filters(lower) >= BLK_MAX_FILTERS)
		return -EINVAL;
	err = blk_dev_init(d, ops, lower->name, lower->nr_sects, lower->read_only);
	if (err)
		return err;
	d->optimal_bytes = lower->optimal_bytes;
	d->lower = lower;
	return 0;
}

void blk_close(struct blk_dev *d)
{
	while (d) {
		struct blk_dev *lower = d->lower;

		d->ops->close(d);
		d = lower;
	}
}
