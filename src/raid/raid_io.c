/* raid_io.c: see raid_io.h. */
#include "raid/raid_io.h"

#include <assert.h>
#include <time.h>

/* Volume sector behind the last request that adjoins the one before it, from io on. */
static sect_t stretch_end(const struct raid_batch *b, unsigned io)
{
	sect_t end = b->ios[io]->sect + b->ios[io]->nr_sects;

	while (++io < b->nr && b->ios[io]->sect == end)
		end += b->ios[io]->nr_sects;
	return end;
}

/* To the next byte there is: over ended and empty iovecs and requests. */
static void cur_settle(struct raid_cur *cur, const struct raid_batch *b)
{
	while (cur->io < b->nr) {
		const struct blk_io *io = b->ios[cur->io];

		while (cur->iov < io->nr_iov && cur->off_bytes == io->iov[cur->iov].iov_len) {
			cur->iov++;
			cur->off_bytes = 0;
		}
		if (cur->iov < io->nr_iov)
			return;
		cur->io++;
		cur->iov = 0;
		if (cur->io < b->nr && cur->sect == cur->end) {
			cur->sect = b->ios[cur->io]->sect;
			cur->end = stretch_end(b, cur->io);
		}
	}
}

void raid_cur_init(struct raid_cur *cur, const struct raid_batch *b)
{
	*cur = (struct raid_cur){ 0 };
	if (!b->nr)
		return;
	cur->sect = b->ios[0]->sect;
	cur->end = stretch_end(b, 0);
	cur_settle(cur, b);
}

/* The piece is whole iovecs of one request: take them where they are. */
static bool piece_take_direct(const struct raid_batch *b, struct raid_cur *cur, struct raid_piece *p, size_t want)
{
	const struct blk_io *io = b->ios[cur->io];
	unsigned i = cur->iov;
	size_t have = 0;

	if (cur->off_bytes)
		return false;
	while (i < io->nr_iov && have < want && i - cur->iov < RAID_RUN_IOVS)
		have += io->iov[i++].iov_len;
	if (have != want)
		return false;
	p->iov = &io->iov[cur->iov];
	p->nr_iov = i - cur->iov;
	cur->iov = i;
	return true;
}

/* Returns the bytes for which there was room. */
static size_t piece_take_pooled(struct raid_run *run, const struct raid_batch *b, struct raid_cur *cur,
				struct raid_piece *p, size_t want)
{
	struct iovec *last = NULL;
	size_t have = 0;

	p->iov = &run->pool[run->nr_iovs];
	while (have < want) {
		const struct iovec *from = &b->ios[cur->io]->iov[cur->iov];
		char *at = (char *)from->iov_base + cur->off_bytes;
		size_t n = MIN(want - have, from->iov_len - cur->off_bytes);

		if (last && (char *)last->iov_base + last->iov_len == at) {
			last->iov_len += n;
		} else {
			if (run->nr_iovs == run->max_iovs || &run->pool[run->nr_iovs] - p->iov == RAID_RUN_IOVS)
				break;
			last = &run->pool[run->nr_iovs++];
			*last = (struct iovec){ .iov_base = at, .iov_len = n };
		}
		have += n;
		cur->off_bytes += n;
		cur->sect += n >> SECT_SHIFT;
		cur_settle(cur, b);
	}
	p->nr_iov = (unsigned)(&run->pool[run->nr_iovs] - p->iov);
	return have;
}

bool raid_piece_take(struct raid_run *run, const struct raid_batch *b, struct raid_cur *cur, uint64_t max_sects)
{
	struct raid_piece *p = &run->pieces[run->nr_pieces];
	size_t want = MIN(max_sects, cur->end - cur->sect);

	want = MIN(want, (size_t)UINT32_MAX >> SECT_SHIFT) << SECT_SHIFT;
	if (run->nr_pieces == RAID_RUN_PIECES)
		return false;
	*p = (struct raid_piece){ .sect = cur->sect, .io = cur->io };
	if (piece_take_direct(b, cur, p, want)) {
		cur->sect += want >> SECT_SHIFT;
		cur_settle(cur, b);
	} else {
		want = piece_take_pooled(run, b, cur, p, want);
	}
	p->nr_sects = (uint32_t)(want >> SECT_SHIFT);
	if (!want)
		return false;
	run->nr_pieces++;
	return true;
}

void raid_batch_fail(const struct raid_batch *b, unsigned first_io, sect_t sect, uint64_t nr_sects, int err)
{
	for (unsigned i = first_io; i < b->nr && b->ios[i]->sect < sect + nr_sects; i++)
		if (b->ios[i]->sect + b->ios[i]->nr_sects > sect && !b->ios[i]->err)
			b->ios[i]->err = err;
}

void raid_batch_set(const struct raid_batch *b, int err)
{
	for (unsigned i = 0; i < b->nr; i++)
		b->ios[i]->err = err;
}

struct raid_run *raid_run_new(struct raid *r)
{
	struct raid_run *run = slab_alloc(r->runs);

	if (run) {
		run->r = r;
		run->failed = NULL;
		run->pool = run->iovs;
		run->max_iovs = RAID_RUN_IOVS;
		raid_run_reset(run);
	}
	return run;
}

void raid_run_free(struct raid_run *run)
{
	slab_put(run->r->runs, run);
}

void raid_run_reset(struct raid_run *run)
{
	run->nr_ios = 0;
	run->nr_iovs = 0;
	run->nr_pieces = 0;
}

void raid_run_add_member(struct raid_run *run, struct raid_member *m, enum blk_op op, unsigned flags,
			 sect_t member_sect, uint64_t nr_sects, struct iovec *iov, unsigned nr_iov, void *tag)
{
	if (run->nr_ios == RAID_RUN_IOS)
		raid_run_go(run);
	run->tags[run->nr_ios] = tag;
	run->members[run->nr_ios] = m;
	run->ios[run->nr_ios++] = (struct blk_io){
		.dev = m->dev, .op = op, .flags = flags, .sect = m->data_offset + member_sect,
		.nr_sects = nr_sects, .iov = iov, .nr_iov = nr_iov };
}

void raid_run_add(struct raid_run *run, unsigned slot, enum blk_op op, unsigned flags, sect_t member_sect,
		  uint64_t nr_sects, struct iovec *iov, unsigned nr_iov, void *tag)
{
	/* In this order (S10). */
	struct raid_member *repl = op == BLK_READ ? NULL : run->r->repls[slot];
	struct raid_member *m = run->r->slots[slot];

	raid_run_add_member(run, m, op, flags, member_sect, nr_sects, iov, nr_iov, tag);
	if (unlikely(repl && repl != m && raid_member_takes_writes(repl)))
		raid_run_add_member(run, repl, op, flags, member_sect, nr_sects, iov, nr_iov, tag);
}

void raid_run_add_buf(struct raid_run *run, unsigned slot, enum blk_op op, unsigned flags, sect_t member_sect,
		      uint32_t nr_sects, void *buf, void *tag)
{
	struct iovec *iov;

	/* Two may use the iovec. */
	if (run->nr_ios >= RAID_RUN_IOS - 1)
		raid_run_go(run);
	iov = &run->one[run->nr_ios];
	*iov = (struct iovec){ .iov_base = buf, .iov_len = (size_t)nr_sects << SECT_SHIFT };
	raid_run_add(run, slot, op, flags, member_sect, nr_sects, iov, 1, tag);
}

static void run_timed(struct raid_run *run, unsigned nr)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	blk_run(run->ios, nr);
	clock_gettime(CLOCK_MONOTONIC, &to);
	if ((uint64_t)(to.tv_sec - from.tv_sec) * 1000 + (uint64_t)((to.tv_nsec - from.tv_nsec) / 1000000) >
	    run->r->opts.slow_msec)
		atomic_store(&run->r->is_slow, true);
}

void raid_run_go(struct raid_run *run)
{
	unsigned nr = run->nr_ios;

	run->nr_ios = 0;
	if (!nr)
		return;
	if (unlikely(run->r->opts.slow_msec))
		run_timed(run, nr);
	else
		blk_run(run->ios, nr);
	for (unsigned i = 0; i < nr; i++) {
		struct blk_io *io = &run->ios[i];

		if (unlikely(io->err))
			run->failed(run, run->members[i], io, run->tags[i]);
	}
}

void raid_iov_put(const struct iovec *iov, size_t off_bytes, const void *buf, size_t len_bytes)
{
	const char *from = buf;

	for (; len_bytes; iov++) {
		size_t n;

		if (off_bytes >= iov->iov_len) {
			off_bytes -= iov->iov_len;
			continue;
		}
		n = MIN(len_bytes, iov->iov_len - off_bytes);
		memcpy((char *)iov->iov_base + off_bytes, from, n);
		from += n;
		len_bytes -= n;
		off_bytes = 0;
	}
}

/* Blocks grow: a random 4 KiB write takes one small one, a row of stripes a few large ones. */
enum { ARENA_FIRST_ORDER = 3, ARENA_ORDER = 7 };

void raid_arena_init(struct raid_arena *a, struct alloc *alloc)
{
	a->alloc = alloc;
	a->nr = 0;
	a->left_bytes = 0;
	a->at = NULL;
}

void *raid_arena_get(struct raid_arena *a, size_t len_bytes)
{
	size_t align = len_bytes >= PAGE_BYTES ? PAGE_BYTES : 64;
	size_t pad = (size_t)(-(uintptr_t)a->at & (align - 1));
	unsigned order = a->nr ? ARENA_ORDER : ARENA_FIRST_ORDER;
	void *p;

	if (a->left_bytes < pad + len_bytes) {
		if (a->nr == ARRAY_LEN(a->blocks) || len_bytes > (size_t)ALLOC_PAGE_BYTES << ALLOC_MAX_ORDER)
			return NULL;
		while ((size_t)ALLOC_PAGE_BYTES << order < len_bytes)
			order++;
		a->at = alloc_pages(a->alloc, order);
		if (!a->at) {
			a->left_bytes = 0;
			return NULL;
		}
		a->blocks[a->nr].pages = a->at;
		a->blocks[a->nr++].order = order;
		a->left_bytes = (size_t)ALLOC_PAGE_BYTES << order;
		pad = 0;
	}
	p = a->at + pad;
	a->at += pad + len_bytes;
	a->left_bytes -= pad + len_bytes;
	return p;
}

void raid_arena_fini(struct raid_arena *a)
{
	while (a->nr) {
		a->nr--;
		alloc_pages_free(a->alloc, a->blocks[a->nr].pages, a->blocks[a->nr].order);
	}
	a->left_bytes = 0;
	a->at = NULL;
}
