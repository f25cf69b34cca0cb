/* blk_trace.c: a filter that puts each request, its result and its time into the trace ring. */
#include "blk/blk_int.h"

#include <stdlib.h>
#include <time.h>

#include "base/trace.h"

static uint64_t now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool trace_before(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	state->u64 = now_usec();
	return false;
}

/* Regardless of the mask of TRACE(): who puts this filter in wants to see. */
static void trace_after(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	const char *name = strrchr(d->name, '/');

	name = name ? name + 1 : d->name;
	trace_add(TRACE_blk, "%.40s %s%s sect=%" PRIu64 " n=%" PRIu64 " err=%d usec=%" PRIu64, name,
		  blk_op_name(io->op), io->flags & BLK_FUA ? "+fua" : "", io->sect,
		  io->op == BLK_FLUSH ? 0 : io->nr_sects, io->err, now_usec() - state->u64);
}

static void trace_close(struct blk_dev *d)
{
	blk_dev_fini(d);
	free(d);
}

static const struct blk_ops trace_ops = {
	.name = "trace",
	.before = trace_before,
	.after = trace_after,
	.close = trace_close,
};

int blk_trace_new(struct blk_dev *lower, struct blk_dev **out)
{
	struct blk_dev *d;
	int err;

	d = malloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	err = blk_filter_init(d, &trace_ops, lower);
	if (err) {
		free(d);
		return err;
	}
	*out = d;
	return 0;
}
