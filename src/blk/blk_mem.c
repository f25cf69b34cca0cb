/*
 * blk_mem.c: a device in memory, sparse: pieces of 64 KiB come with the first
 * write to them and go with a discard, so that mem:1t costs what is written.
 *
 *	top[nr_tops] -> struct table, 4096 pieces each -> piece
 *
 * Threads: transfers hold the lock shared; pieces and tables they find missing are
 * put in with a compare-and-swap. Discard and zero, which free, hold it exclusive.
 * Nothing is volatile here: a write is durable at once.
 */
#include "blk/blk_int.h"

#include <stdlib.h>

#include "base/lock.h"

enum {
	PIECE_SHIFT = 16,
	PIECE_BYTES = 1 << PIECE_SHIFT,
	TABLE_SHIFT = 12,
	TABLE_PIECES = 1 << TABLE_SHIFT,
};

struct table {
	_Atomic(uint8_t *) piece[TABLE_PIECES];		/* NULL: zeroes */
};

struct blk_mem {
	struct blk_dev dev;
	os_rwlock lock;			/* RANK_BLK: against freeing of pieces */
	uint64_t nr_tops;
	_Atomic(struct table *) *top;	/* [const after open], entries [atomic] */
};

static struct blk_mem *blk_mem_of(struct blk_dev *d)
{
	return container_of(d, struct blk_mem, dev);
}

/* Zeroed memory put into *slot, or what another thread put there first. NULL: no memory. */
#define put_once(slot, size)								\
	({										\
		typeof(atomic_load(slot)) there_ = atomic_load(slot), new_;		\
											\
		if (!there_ && (new_ = calloc(1, size))) {				\
			if (atomic_compare_exchange_strong(slot, &there_, new_))	\
				there_ = new_;						\
			else								\
				free(new_);						\
		}									\
		there_;									\
	})

/* The piece at byte pos; NULL where there is none (without create) or no memory (with). */
static uint8_t *piece_at(struct blk_mem *m, uint64_t pos, bool create)
{
	uint64_t nr = pos >> PIECE_SHIFT;
	_Atomic(struct table *) *top = &m->top[nr >> TABLE_SHIFT];
	struct table *t = create ? put_once(top, sizeof(struct table)) : atomic_load(top);

	if (!t)
		return NULL;
	if (create)
		return put_once(&t->piece[nr % TABLE_PIECES], PIECE_BYTES);
	return atomic_load(&t->piece[nr % TABLE_PIECES]);
}

/* Bytes from pos to the end of its piece, at most max. */
static size_t in_piece(uint64_t pos, uint64_t max)
{
	return (size_t)MIN(max, PIECE_BYTES - pos % PIECE_BYTES);
}

static void read_bytes(struct blk_mem *m, uint64_t pos, uint8_t *buf, size_t len)
{
	for (size_t n; len; pos += n, buf += n, len -= n) {
		const uint8_t *piece = piece_at(m, pos, false);

		n = in_piece(pos, len);
		if (piece)
			memcpy(buf, piece + pos % PIECE_BYTES, n);
		else
			memset(buf, 0, n);
	}
}

static int write_bytes(struct blk_mem *m, uint64_t pos, const uint8_t *buf, size_t len)
{
	for (size_t n; len; pos += n, buf += n, len -= n) {
		uint8_t *piece = piece_at(m, pos, true);

		if (!piece)
			return -ENOSPC;
		n = in_piece(pos, len);
		memcpy(piece + pos % PIECE_BYTES, buf, n);
	}
	return 0;
}

static int transfer(struct blk_mem *m, const struct blk_io *io)
{
	uint64_t pos = io->sect << SECT_SHIFT;
	int err = 0;

	os_rwlock_rdlock(&m->lock);
	for (unsigned i = 0; i < io->nr_iov && !err; i++) {
		if (io->op == BLK_READ)
			read_bytes(m, pos, io->iov[i].iov_base, io->iov[i].iov_len);
		else
			err = write_bytes(m, pos, io->iov[i].iov_base, io->iov[i].iov_len);
		pos += io->iov[i].iov_len;
	}
	os_rwlock_unlock(&m->lock);
	return err;
}

static void clear(struct blk_mem *m, uint64_t pos, uint64_t len)
{
	WRLOCK_GUARD(&m->lock);

	for (uint64_t n; len; pos += n, len -= n) {
		struct table *t = atomic_load(&m->top[pos >> (PIECE_SHIFT + TABLE_SHIFT)]);
		_Atomic(uint8_t *) *slot;

		if (!t) {	/* on to the next table */
			n = MIN(len, (1ull << (PIECE_SHIFT + TABLE_SHIFT)) -
				     pos % (1ull << (PIECE_SHIFT + TABLE_SHIFT)));
			continue;
		}
		slot = &t->piece[(pos >> PIECE_SHIFT) % TABLE_PIECES];
		n = in_piece(pos, len);
		if (!atomic_load(slot))
			continue;
		if (n == PIECE_BYTES)
			free(atomic_exchange(slot, NULL));
		else
			memset(atomic_load(slot) + pos % PIECE_BYTES, 0, n);
	}
}

static bool mem_submit(struct blk_dev *d, struct blk_io *io, bool alone)
{
	struct blk_mem *m = blk_mem_of(d);

	io->err = 0;
	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		io->err = transfer(m, io);
		break;
	case BLK_DISCARD:
	case BLK_ZERO:
		clear(m, io->sect << SECT_SHIFT, io->nr_sects << SECT_SHIFT);
		break;
	default:
		break;
	}
	return true;
}

static void mem_close(struct blk_dev *d)
{
	struct blk_mem *m = blk_mem_of(d);

	for (uint64_t i = 0; i < m->nr_tops; i++) {
		struct table *t = atomic_load(&m->top[i]);

		for (unsigned j = 0; t && j < TABLE_PIECES; j++)
			free(atomic_load(&t->piece[j]));
		free(t);
	}
	free(m->top);
	os_rwlock_fini(&m->lock);
	blk_dev_fini(d);
	free(m);
}

static const struct blk_ops mem_ops = {
	.name = "mem",
	.submit = mem_submit,
	.close = mem_close,
};

int blk_mem_open(const char *name, uint64_t nr_sects, bool read_only, struct blk_dev **out)
{
	uint64_t nr_pieces = DIV_UP(nr_sects, (uint64_t)PIECE_BYTES >> SECT_SHIFT);
	struct blk_mem *m;

	*out = NULL;
	if (nr_sects > UINT64_MAX >> SECT_SHIFT)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->nr_tops = DIV_UP(nr_pieces, (uint64_t)TABLE_PIECES);
	m->top = calloc(m->nr_tops + 1, sizeof(*m->top));	/* never of size 0 */
	if (!m->top || blk_dev_init(&m->dev, &mem_ops, name, nr_sects, read_only)) {
		free(m->top);
		free(m);
		return -ENOMEM;
	}
	os_rwlock_init(&m->lock, RANK_BLK);
	*out = &m->dev;
	return 0;
}

int blk_mem_new(uint64_t nr_sects, struct blk_dev **out)
{
	return blk_mem_open("mem", nr_sects, false, out);
}
