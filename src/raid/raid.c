/*
 * raid.c: an array as a block device. A batch of requests is taken apart by kind and
 * handed to the level in volume order; reads, writes, ranges and flushes of one
 * batch have no order among each other (blk.h), so each kind is run in turn.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/trace.h"
#include "raid/raid_io.h"

enum { LIST_ON_STACK = 64 };

static int compare_sects(const void *a, const void *b)
{
	const struct blk_io *x = *(struct blk_io *const *)a, *y = *(struct blk_io *const *)b;

	return x->sect < y->sect ? -1 : x->sect > y->sect;
}

static void run_sorted(struct raid *r, enum blk_op op, struct blk_io **ios, unsigned nr)
{
	struct raid_batch b = { .ios = ios, .nr = nr };
	unsigned epoch;
	int err, end_err;

	for (unsigned i = 1; i < nr; i++)
		if (ios[i - 1]->sect > ios[i]->sect) {
			qsort(ios, nr, sizeof(*ios), compare_sects);
			break;
		}
	if (op == BLK_READ) {
		r->level->read(r, &b);
		return;
	}
	for (unsigned i = 0; i < nr; i++)
		b.flags |= ios[i]->flags & BLK_FUA;
	err = raid_write_begin(r, &epoch);
	if (err) {
		raid_batch_set(&b, err);
		return;
	}
	for (unsigned i = 0; unlikely(r->bitmap) && !err && i < nr; i++)
		err = raid_bitmap_begin(r, epoch, ios[i]->sect, ios[i]->nr_sects);
	if (!err)
		r->level->write(r, &b);
	end_err = raid_write_end(r, epoch);
	if (err || end_err)
		raid_batch_set(&b, err ? err : end_err);
}

/* The levels work in whole sectors of each iovec. */
static bool has_odd_iov(const struct blk_io *io)
{
	for (unsigned i = 0; i < io->nr_iov; i++)
		if (io->iov[i].iov_len % SECT_BYTES)
			return true;
	return false;
}

static void iov_get(const struct iovec *iov, unsigned nr_iov, char *to)
{
	for (unsigned i = 0; i < nr_iov; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

/* A request whose iovecs end within sectors goes through a buffer. */
static void run_bounced(struct raid *r, struct blk_io *io)
{
	size_t len = io->nr_sects << SECT_SHIFT;
	char *buf = malloc(len);
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct blk_io whole = *io, *ios[1] = { &whole };

	if (!buf) {
		io->err = -ENOMEM;
		return;
	}
	whole.iov = &iov;
	whole.nr_iov = 1;
	if (io->op == BLK_WRITE)
		iov_get(io->iov, io->nr_iov, buf);
	run_sorted(r, io->op, ios, 1);
	if (io->op == BLK_READ && !whole.err)
		raid_iov_put(io->iov, 0, buf, len);
	io->err = whole.err;
	free(buf);
}

/* The requests of one kind; those with odd iovecs are run here. Returns how many are in list. */
static unsigned list_kind(struct raid *r, enum blk_op op, struct blk_io **ios, unsigned nr, struct blk_io **list)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (ios[i]->op != op)
			continue;
		if (unlikely(has_odd_iov(ios[i])))
			run_bounced(r, ios[i]);
		else
			list[n++] = ios[i];
	}
	return n;
}

/* All reads, or all writes, of the batch in one go, so that stripes come together. */
static void run_kind(struct raid *r, enum blk_op op, struct blk_io **ios, unsigned nr)
{
	struct blk_io *on_stack[LIST_ON_STACK], **list = on_stack;
	unsigned order = 0, n;

	if (nr > LIST_ON_STACK) {
		while ((size_t)ALLOC_PAGE_BYTES << order < nr * sizeof(*list))
			order++;
		list = order <= ALLOC_MAX_ORDER ? alloc_pages(r->alloc, order) : NULL;
	}
	if (list) {
		n = list_kind(r, op, ios, nr, list);
		if (n)
			run_sorted(r, op, list, n);
		if (list != on_stack)
			alloc_pages_free(r->alloc, list, order);
		return;
	}
	for (unsigned i = 0; i < nr; i += LIST_ON_STACK) {
		n = list_kind(r, op, ios + i, MIN(nr - i, (unsigned)LIST_ON_STACK), on_stack);
		if (n)
			run_sorted(r, op, on_stack, n);
	}
}

static int run_range(struct raid *r, const struct blk_io *io)
{
	unsigned epoch;
	int err = raid_write_begin(r, &epoch), end_err;

	if (err)
		return err;
	if (r->bitmap)
		err = raid_bitmap_begin(r, epoch, io->sect, io->nr_sects);
	if (!err)
		err = io->op == BLK_ZERO ? r->level->zero(r, io->sect, io->nr_sects, io->flags)
					 : r->level->discard(r, io->sect, io->nr_sects);
	end_err = raid_write_end(r, epoch);
	return err ? err : end_err;
}

struct flush_arg {
	int err;
};

static void flush_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct flush_arg *arg = tag;

	raid_write_failed(run->r, m, m->data_offset, io->err);
	if (raid_member_takes_writes(m))
		arg->err = io->err;
}

static int run_flush(struct raid *r)
{
	struct raid_run *run = raid_run_new(r);
	struct flush_arg arg = { 0 };

	if (!run)
		return -ENOMEM;
	run->failed = flush_failed;
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		if (raid_can_write(r, slot))
			raid_run_add(run, slot, BLK_FLUSH, 0, 0, 0, NULL, 0, &arg);
	raid_run_go(run);
	raid_run_free(run);
	return !arg.err && atomic_load(&r->failed) ? -EIO : arg.err;
}

static void raid_dev_run(struct blk_dev *d, struct blk_io **ios, unsigned nr)
{
	struct raid *r = container_of(d, struct raid, dev);
	unsigned nr_of[BLK_NR_OPS] = { 0 }, lane = raid_gate_enter(&r->gate);
	int err = 0;

	for (unsigned i = 0; i < nr; i++)
		nr_of[ios[i]->op]++;
	if (nr_of[BLK_READ])
		run_kind(r, BLK_READ, ios, nr);
	if (nr_of[BLK_WRITE])
		run_kind(r, BLK_WRITE, ios, nr);
	for (unsigned i = 0; (nr_of[BLK_ZERO] || nr_of[BLK_DISCARD]) && i < nr; i++)
		if (ios[i]->op == BLK_ZERO || ios[i]->op == BLK_DISCARD)
			ios[i]->err = run_range(r, ios[i]);
	if (nr_of[BLK_FLUSH])
		err = r->read_only ? 0 : run_flush(r);
	for (unsigned i = 0; nr_of[BLK_FLUSH] && i < nr; i++)
		if (ios[i]->op == BLK_FLUSH)
			ios[i]->err = err;
	raid_gate_leave(&r->gate, lane);
}

/* The array's device belongs to the array: raid_free() ends it. */
static void raid_dev_close(struct blk_dev *d)
{
}

const struct blk_ops raid_dev_ops = {
	.name = "raid",
	.run = raid_dev_run,
	.close = raid_dev_close,
};

struct blk_dev *raid_dev(struct raid *r)
{
	return &r->dev;
}

int raid_free(struct raid *r)
{
	int err = 0;

	raid_thread_stop(r);
	raid_events_tell(r);
	if (!r->read_only) {
		if (r->level->redundant) {
			os_mutex_lock(&r->admin);
			if (raid_sync_is_unsaved(r))
				raid_sync_save(r);
			os_mutex_unlock(&r->admin);
		}
		err = run_flush(r);
		if (!err)
			err = raid_mark_clean(r);
	}
	for (unsigned i = 0; i < r->nr_members; i++)
		blk_close(r->members[i]->dev);
	raid_release(r);
	return err;
}

void raid_release(struct raid *r)
{
	raid_regions_fini(r);
	raid_gate_fini(&r->gate);
	os_mutex_fini(&r->admin);
	os_mutex_fini(&r->lock);
	slab_free(r->runs);
	raid_geom_fini(&r->geom);
	blk_dev_fini(&r->dev);
	raid_events_fini(r);
	raid_sync_fini(r);
	raid_bitmap_free(r->bitmap);
	for (unsigned i = 0; r->members && i < r->nr_members; i++)
		free(r->members[i]);
	free(r->members);
	free(r->slots);
	free(r->repls);
	free(r->sb_ios);
	free(r->sb_iovs);
	free(r->roles);
	free(r->present);
	free(r);
}
