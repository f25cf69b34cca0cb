/*
 * fsck_io.c: blocks of the volume. Reading goes straight to the device; what has been changed is
 * kept until there is much of it, and is what readers get. Workers only read, while the main
 * thread waits for them: no lock is needed.
 */
#include <stdlib.h>

#include "base/log.h"
#include "fsck_int.h"
#include "journal/jbd2_map.h"

enum { MAX_RUN_BLOCKS = 256, MAX_BATCH = 64 };

struct fsck_io {
	struct jbd2_map dirty;	/* block: its contents */
};

int fsck_io_new(struct fsck *f)
{
	f->io = calloc(1, sizeof(*f->io));
	return f->io ? 0 : -ENOMEM;
}

static void drop_dirty(struct fsck_io *io)
{
	for (size_t i = 0; i < io->dirty.cap; i++)
		if (io->dirty.slots[i].key != JBD2_MAP_NONE)
			free((void *)(uintptr_t)io->dirty.slots[i].value);
	jbd2_map_clear(&io->dirty);
}

void fsck_io_free(struct fsck *f)
{
	if (!f->io)
		return;
	drop_dirty(f->io);
	jbd2_map_fini(&f->io->dirty);
	free(f->io);
	f->io = NULL;
}

static const void *dirty_find(const struct fsck *f, pblk_t pblk)
{
	const uint64_t *v = f->io->dirty.nr ? jbd2_map_get(&f->io->dirty, pblk) : NULL;

	return v ? (const void *)(uintptr_t)*v : NULL;
}

int fsck_block_read(struct fsck *f, pblk_t pblk, void *buf)
{
	const void *dirty = dirty_find(f, pblk);

	if (!dirty)
		return blk_read(f->dev, block_sect(f, pblk), buf, f->block_bytes);
	memcpy(buf, dirty, f->block_bytes);
	return 0;
}

static void over(const struct fsck *f, pblk_t pblk, void *buf)
{
	const void *dirty = dirty_find(f, pblk);

	if (dirty)
		memcpy(buf, dirty, f->block_bytes);
}

int fsck_blocks_read(struct fsck *f, pblk_t pblk, uint32_t nr, void *buf)
{
	const int err = blk_read(f->dev, block_sect(f, pblk), buf, (size_t)nr << f->block_shift);

	for (uint32_t i = 0; !err && f->io->dirty.nr && i < nr; i++)
		over(f, pblk + i, (uint8_t *)buf + ((size_t)i << f->block_shift));
	return err;
}

/* Many at once ------------------------------------------------------------------------- */

static int want_compare(const void *a, const void *b)
{
	const struct fsck_want *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

struct batch {
	struct blk_io ios[MAX_BATCH];
	struct iovec iov[MAX_BATCH * 16];
	unsigned nr_ios, nr_iov;
};

/* Adds a block to the batch; false: it is full. */
static bool batch_add(struct fsck *f, struct batch *b, enum blk_op op, pblk_t pblk, void *buf)
{
	struct blk_io *last = b->nr_ios ? &b->ios[b->nr_ios - 1] : NULL;

	if (b->nr_iov == ARRAY_LEN(b->iov))
		return false;
	if (last && last->sect + ((sect_t)last->nr_iov << (f->block_shift - SECT_SHIFT)) == block_sect(f, pblk) &&
	    last->nr_iov < MAX_RUN_BLOCKS) {
		last->nr_iov++;
	} else {
		if (b->nr_ios == MAX_BATCH)
			return false;
		b->ios[b->nr_ios++] = (struct blk_io){
			.dev = f->dev, .op = op, .sect = block_sect(f, pblk), .iov = &b->iov[b->nr_iov], .nr_iov = 1 };
	}
	b->iov[b->nr_iov++] = (struct iovec){ buf, f->block_bytes };
	return true;
}

/* A request for several blocks that failed: one by one, so that only the bad ones are lost. */
static void read_again(struct fsck *f, struct fsck_want *wants, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		wants[i].err = fsck_block_read(f, wants[i].pblk, wants[i].buf);
}

static void batch_read(struct fsck *f, struct batch *b, struct fsck_want *wants)
{
	blk_run(b->ios, b->nr_ios);
	for (unsigned i = 0; i < b->nr_ios; i++) {
		if (b->ios[i].err)
			read_again(f, wants, b->ios[i].nr_iov);
		wants += b->ios[i].nr_iov;
	}
}

void fsck_blocks_want(struct fsck *f, struct fsck_want *wants, size_t nr)
{
	struct batch *b = calloc(1, sizeof(*b));

	qsort(wants, nr, sizeof(*wants), want_compare);
	if (!b) {
		read_again(f, wants, nr);
		return;
	}
	for (size_t i = 0, from = 0; i < nr;) {
		wants[i].err = 0;
		if (batch_add(f, b, BLK_READ, wants[i].pblk, wants[i].buf) && ++i < nr)
			continue;
		batch_read(f, b, wants + from);
		b->nr_ios = b->nr_iov = 0;
		from = i;
	}
	for (size_t i = 0; f->io->dirty.nr && i < nr; i++)
		over(f, wants[i].pblk, wants[i].buf);
	free(b);
}

/* Writing -------------------------------------------------------------------------------- */

void fsck_block_write(struct fsck *f, pblk_t pblk, const void *buf)
{
	void *copy = (void *)(uintptr_t)dirty_find(f, pblk);

	if (f->opts.mode == FSCK_NO || f->err)	/* K1 */
		return;
	if (!copy) {
		copy = malloc(f->block_bytes);
		if (!copy || jbd2_map_put(&f->io->dirty, pblk, (uintptr_t)copy)) {
			free(copy);
			fsck_failed(f, -ENOMEM);
			return;
		}
	}
	memmove(copy, buf, f->block_bytes);
	if (f->io->dirty.nr << f->block_shift >= FSCK_DIRTY_BYTES) {
		const int err = fsck_io_flush(f);

		if (err)
			fsck_failed(f, err);
	}
}

static int slot_compare(const void *a, const void *b)
{
	const struct jbd2_slot *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* A batch that failed: block by block, so that only those are left out that the device does not take. */
static int write_again(struct fsck *f, const struct batch *b)
{
	enum { MAX_TOLD = 8 };
	unsigned nr_failed = 0;
	int first_err = 0;

	for (unsigned i = 0; i < b->nr_ios; i++)
		for (unsigned k = 0; k < b->ios[i].nr_iov; k++) {
			const sect_t sect = b->ios[i].sect + ((sect_t)k << (f->block_shift - SECT_SHIFT));
			const int err = blk_write(f->dev, sect, b->ios[i].iov[k].iov_base, f->block_bytes);

			if (!err)
				continue;
			if (nr_failed++ < MAX_TOLD)
				log_error("%s: block %" PRIu64 " cannot be written: %s", blk_name(f->dev),
					  sect >> (f->block_shift - SECT_SHIFT), strerror(-err));
			first_err = first_err ? first_err : err;
		}
	if (nr_failed > MAX_TOLD)
		log_error("%s: and %u blocks more", blk_name(f->dev), nr_failed - MAX_TOLD);
	return first_err;
}

static int write_sorted(struct fsck *f, const struct jbd2_slot *slots, size_t nr)
{
	struct batch *b = calloc(1, sizeof(*b));
	int err = b ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < nr; i++)
		err = fsck_undo_save(f, slots[i].key << f->block_shift, f->block_bytes);	/* K2 */
	if (!err)
		err = fsck_undo_sync(f);
	if (err) {
		free(b);
		return err;
	}
	for (size_t i = 0; i < nr;) {
		int batch_err;

		if (batch_add(f, b, BLK_WRITE, slots[i].key, (void *)(uintptr_t)slots[i].value) && ++i < nr)
			continue;
		batch_err = blk_run(b->ios, b->nr_ios) ? write_again(f, b) : 0;
		err = err ? err : batch_err;
		b->nr_ios = b->nr_iov = 0;
	}
	free(b);
	return err;
}

int fsck_io_flush(struct fsck *f)
{
	struct jbd2_map *m = &f->io->dirty;
	struct jbd2_slot *slots;
	size_t nr = 0;
	int err;

	if (!m->nr)
		return f->wrote ? blk_flush(f->dev) : 0;
	slots = malloc(m->nr * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key != JBD2_MAP_NONE)
			slots[nr++] = m->slots[i];
	qsort(slots, nr, sizeof(*slots), slot_compare);
	f->wrote = true;
	err = write_sorted(f, slots, nr);
	if (err)
		log_error("%s: repairs could not be written: %s", blk_name(f->dev), strerror(-err));
	free(slots);
	drop_dirty(f->io);
	return err ? err : blk_flush(f->dev);
}

int fsck_bytes_write(struct fsck *f, uint64_t off_bytes, const void *buf, size_t len_bytes)
{
	int err;

	if (f->opts.mode == FSCK_NO)	/* K1 */
		return 0;
	f->wrote = true;
	err = fsck_undo_save(f, off_bytes, len_bytes);
	if (!err)
		err = fsck_undo_sync(f);
	return err ? err : blk_write(f->dev, off_bytes >> SECT_SHIFT, buf, len_bytes);
}
