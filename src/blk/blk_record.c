/* blk_record.c: the filter that records; to a tape or a log file. */
#include "blk/blk_tape_int.h"

#include <stdlib.h>

struct blk_record {
	struct blk_dev dev;
	struct blk_tape *tape;		/* one of the two */
	struct blk_log *log;
	unsigned dev_nr;
};

static struct blk_record *blk_record_of(struct blk_dev *d)
{
	return container_of(d, struct blk_record, dev);
}

static bool record_before(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct blk_record *f = blk_record_of(d);

	state->u64 = f->tape ? atomic_load(&f->tape->next_seq) : blk_log_now();
	return false;
}

static struct blk_rec rec_of(const struct blk_record *f, const struct blk_io *io, uint64_t began)
{
	struct blk_rec r = { .began = began, .dev = f->dev_nr, .sect = io->sect, .nr_sects = io->nr_sects };

	if (io->op == BLK_FLUSH) {
		r.flags = BLK_LOG_FLUSH;
		r.sect = r.nr_sects = 0;
	} else if (io->op == BLK_DISCARD) {
		r.flags = BLK_LOG_DISCARD;
	} else if (io->flags & BLK_FUA) {
		r.flags = BLK_LOG_FUA;
	}
	return r;
}

static void record_after(struct blk_dev *d, struct blk_io *io, union blk_state *state)
{
	struct blk_record *f = blk_record_of(d);
	struct blk_rec r;

	if (io->err || io->op == BLK_READ)
		return;
	r = rec_of(f, io, state->u64);
	if (f->log) {
		blk_log_add(f->log, &r, io->op == BLK_WRITE ? io : NULL);
		return;
	}
	if (io->op == BLK_WRITE) {
		r.data = blk_rec_copy(io);
		if (!r.data) {
			LOCK_GUARD(&f->tape->lock);

			f->tape->err = -ENOMEM;
			return;
		}
	}
	blk_tape_add(f->tape, &r);
}

static void record_close(struct blk_dev *d)
{
	struct blk_record *f = blk_record_of(d);

	if (f->log)
		blk_log_close(f->log);
	blk_dev_fini(d);
	free(f);
}

static const struct blk_ops record_ops = {
	.name = "record",
	.before = record_before,
	.after = record_after,
	.close = record_close,
};

static int record_new(struct blk_dev *lower, struct blk_record **out)
{
	struct blk_record *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	err = blk_filter_init(&f->dev, &record_ops, lower);
	if (err)
		free(f);
	else
		*out = f;
	return err;
}

int blk_record_new(struct blk_dev *lower, struct blk_tape *t, unsigned dev, struct blk_dev **out)
{
	struct blk_record *f;
	const int err = record_new(lower, &f);

	*out = NULL;
	if (err)
		return err;
	f->tape = t;
	f->dev_nr = dev;
	*out = &f->dev;
	return 0;
}

int blk_record_new_file(struct blk_dev *lower, const char *path, struct blk_dev **out)
{
	struct blk_record *f;
	int err = record_new(lower, &f);

	*out = NULL;
	if (err)
		return err;
	err = blk_log_create(path, &f->log);
	if (err) {
		blk_dev_fini(&f->dev);	/* lower stays the caller's */
		free(f);
		return err;
	}
	*out = &f->dev;
	return 0;
}
