/*
 * blk.c: the dispatcher. The only caller of struct blk_ops, so that range, write
 * protection, counters and trace exist once, for every device at every depth.
 *
 * A batch goes through five phases:
 *
 *	down	each request passes the before() of its filters, to a leaf or a compound
 *	start	leaves: submit()
 *	members	compounds: run(), once a device with all of its requests; their own
 *		blk_run() calls are nested here, on the same thread and queue
 *	wait	leaves: reap()
 *	up	after() of the filters in reverse, counters, the first error
 *
 * Each level of filters has a copy of the request, so that a filter may change
 * what runs below it and everybody sees again what they sent.
 */
#include "blk/blk_int.h"

#include <assert.h>
#include <stdlib.h>

#include "base/trace.h"

enum {
	FLIGHTS_ON_STACK = 32,	/* a batch of more takes memory, or goes in slices of this many */
};

/* The way of a request through filters: level[i] is as filter i was given it, the last as it runs. */
struct descent {
	unsigned nr_passed;	/* filters whose after() is due */
	struct level {
		struct blk_io io;
		union blk_state state;
	} level[];
};

/* One request on its way. */
struct flight {
	struct blk_io *io;	/* what runs at the bottom: the caller's, or the last of the descent */
	struct descent *way;	/* NULL: no filters */
	bool done;		/* err is set, nothing to start */
	bool handed;		/* given to its compound */
};

/* The length of a read or write; false when it is no number of sectors. */
static bool iov_nr_sects(const struct blk_io *io, uint64_t *nr_sects)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < io->nr_iov; i++)
		if (__builtin_add_overflow(len, io->iov[i].iov_len, &len))
			return false;
	*nr_sects = len >> SECT_SHIFT;
	return len % SECT_BYTES == 0;
}

static int check_request(const struct blk_dev *d, struct blk_io *io)
{
	switch (io->op) {
	case BLK_FLUSH:
		return 0;
	case BLK_READ:
	case BLK_WRITE:
		if (!iov_nr_sects(io, &io->nr_sects))
			return -EINVAL;
		break;
	case BLK_DISCARD:
	case BLK_ZERO:
		break;
	default:
		return -EINVAL;
	}
	if (io->op != BLK_READ && d->read_only)
		return -EROFS;
	if (io->sect > d->nr_sects || io->nr_sects > d->nr_sects - io->sect)
		return -EINVAL;
	return 0;
}

/* True when io goes to the backend; else its err is set. */
static bool admit(const struct blk_dev *d, struct blk_io *io)
{
	io->err = check_request(d, io);
	if (io->err) {
		TRACE(blk, "%s refused: op=%d sect=%" PRIu64 " n=%" PRIu64 " err=%d", d->name, (int)io->op,
		      io->sect, io->nr_sects, io->err);
		return false;
	}
	return io->op == BLK_FLUSH || io->nr_sects;
}

/* After a request that admit() let through. */
static void account(struct blk_dev *d, const struct blk_io *io)
{
	assert(io->err <= 0);
	TRACE(blk, "%s %s %s sect=%" PRIu64 " n=%" PRIu64 " err=%d", d->ops->name, d->name, blk_op_name(io->op),
	      io->sect, io->op == BLK_FLUSH ? 0 : io->nr_sects, io->err);
	atomic_fetch_add_explicit(&d->stats.ios[io->op], 1, memory_order_relaxed);
	if (!io->err && io->op != BLK_FLUSH)
		atomic_fetch_add_explicit(&d->stats.bytes[io->op], io->nr_sects << SECT_SHIFT,
					  memory_order_relaxed);
	else if (io->err && io->err != -EOPNOTSUPP)
		atomic_fetch_add_explicit(&d->stats.errors, 1, memory_order_relaxed);
}

static struct descent *descent_new(const struct blk_io *io)
{
	struct descent *w;
	unsigned nr = 1;

	for (const struct blk_dev *d = io->dev; blk_is_filter(d); d = d->lower)
		nr++;
	w = malloc(sizeof(*w) + nr * sizeof(w->level[0]));
	if (!w)
		return NULL;
	w->nr_passed = 0;
	w->level[0].io = *io;
	return w;
}

/* One filter further down; true when that ended the request, with err in the last level. */
static bool descend(struct descent *w, struct blk_dev *d)
{
	struct level *at = &w->level[w->nr_passed];
	struct blk_io *below = &at[1].io;

	*below = at->io;
	at->state = (union blk_state){ .u64 = 0 };
	if (d->ops->before && d->ops->before(d, below, &at->state)) {
		at->io.err = below->err;
		account(d, &at->io);
		return true;
	}
	w->nr_passed++;
	below->dev = d->lower;
	return !admit(d->lower, below);
}

/* Through the filters; afterwards f->io is at its leaf or compound, or done. */
static void flight_down(struct flight *f, struct blk_io *io)
{
	f->io = io;
	f->way = NULL;
	f->handed = false;
	f->done = !admit(io->dev, io);
	if (f->done || !blk_is_filter(io->dev))
		return;

	f->way = descent_new(io);
	if (!f->way) {
		io->err = -ENOMEM;
		f->done = true;
		return;
	}
	for (struct blk_dev *d = io->dev; !f->done && blk_is_filter(d); d = d->lower)
		f->done = descend(f->way, d);
	f->io = &f->way->level[f->way->nr_passed].io;
}

/* Back through the filters it passed; sets the err of the caller's request. */
static void flight_up(struct flight *f, struct blk_io *io)
{
	struct descent *w = f->way;

	if (!f->done)
		account(f->io->dev, f->io);
	if (!w)
		return;
	for (unsigned i = w->nr_passed; i-- > 0; ) {
		struct level *at = &w->level[i];
		struct blk_dev *d = at->io.dev;

		at->io.err = at[1].io.err;
		if (d->ops->after)
			d->ops->after(d, &at->io, &at->state);
		account(d, &at->io);
	}
	io->err = w->level[0].io.err;
	free(w);
}

/* Leaves; returns how many requests are left for compounds. */
static unsigned start_leaves(struct flight *fl, unsigned nr)
{
	unsigned nr_compound = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct blk_dev *d = fl[i].io->dev;

		if (fl[i].done)
			continue;
		if (d->ops->submit)
			d->ops->submit(d, fl[i].io, nr == 1);
		else
			nr_compound++;
	}
	return nr_compound;
}

/* list has room for every request of the batch. */
static void run_compounds(struct flight *fl, unsigned nr, struct blk_io **list)
{
	for (unsigned i = 0; i < nr; i++) {
		struct blk_dev *d = fl[i].io->dev;
		unsigned nr_list = 0;

		if (fl[i].done || fl[i].handed || d->ops->submit)
			continue;
		for (unsigned j = i; j < nr; j++) {
			if (fl[j].done || fl[j].io->dev != d)
				continue;
			fl[j].handed = true;
			list[nr_list++] = fl[j].io;
		}
		d->ops->run(d, list, nr_list);
	}
}

static void wait_leaves(struct flight *fl, unsigned nr)
{
	const struct blk_ops *reaped = NULL;

	for (unsigned i = 0; i < nr; i++) {
		const struct blk_ops *ops = fl[i].io->dev->ops;

		if (fl[i].done || ops == reaped || !ops->reap)
			continue;
		ops->reap();	/* of all its devices; a second call finds nothing to wait for */
		reaped = ops;
	}
}

static void run_flights(struct blk_io *ios, unsigned nr, struct flight *fl, struct blk_io **list)
{
	for (unsigned i = 0; i < nr; i++)
		flight_down(&fl[i], &ios[i]);
	if (start_leaves(fl, nr))
		run_compounds(fl, nr, list);
	wait_leaves(fl, nr);
	for (unsigned i = 0; i < nr; i++)
		flight_up(&fl[i], &ios[i]);
}

static void run_slices(struct blk_io *ios, unsigned nr)
{
	struct flight fl[FLIGHTS_ON_STACK];
	struct blk_io *list[FLIGHTS_ON_STACK];

	for (unsigned i = 0; i < nr; i += FLIGHTS_ON_STACK)
		run_flights(ios + i, MIN(nr - i, (unsigned)FLIGHTS_ON_STACK), fl, list);
}

static void run_batch(struct blk_io *ios, unsigned nr)
{
	struct blk_io **list;
	struct flight *fl;

	if (nr <= FLIGHTS_ON_STACK) {
		run_slices(ios, nr);
		return;
	}
	fl = malloc(nr * (sizeof(*fl) + sizeof(*list)));
	if (!fl) {
		run_slices(ios, nr);	/* less at a time, but no failure */
		return;
	}
	list = (struct blk_io **)(fl + nr);
	run_flights(ios, nr, fl, list);
	free(fl);
}

/* One request straight to a leaf: what most calls are. */
static void run_one_leaf(struct blk_dev *d, struct blk_io *io)
{
	if (!admit(d, io))
		return;
	if (!d->ops->submit(d, io, true))
		d->ops->reap();
	account(d, io);
}

int blk_run(struct blk_io *ios, unsigned nr)
{
	if (nr == 1 && ios->dev->ops->submit) {
		run_one_leaf(ios->dev, ios);
		return ios->err;
	}
	run_batch(ios, nr);
	for (unsigned i = 0; i < nr; i++)
		if (ios[i].err)
			return ios[i].err;
	return 0;
}

bool blk_can_check(struct blk_dev *d)
{
	while (blk_is_filter(d))
		d = d->lower;
	return d->ops->check;
}

int blk_check(struct blk_dev *d, bool thorough)
{
	while (blk_is_filter(d))
		d = d->lower;
	return d->ops->check ? d->ops->check(d, thorough) : 0;
}
