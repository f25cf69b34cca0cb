/* blk_tape.c: records in memory. */
#include "blk/blk_tape_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

int blk_tape_new(struct blk_tape **out)
{
	struct blk_tape *t = calloc(1, sizeof(*t));

	*out = t;
	if (!t)
		return -ENOMEM;
	os_mutex_init(&t->lock, RANK_LEAF);
	atomic_store(&t->next_seq, 1);
	return 0;
}

bool blk_tape_owns(const struct blk_tape *t, const struct blk_rec *r)
{
	for (const struct blk_tape_map *m = t->maps; m; m = m->next)
		if (r->data >= (const uint8_t *)m->addr && r->data < (const uint8_t *)m->addr + m->len)
			return false;
	return true;
}

void blk_tape_free(struct blk_tape *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nr; i++)
		if (blk_tape_owns(t, &t->recs[i]))
			free((void *)(uintptr_t)t->recs[i].data);
	free(t->recs);
	while (t->maps) {
		struct blk_tape_map *m = t->maps;

		t->maps = m->next;
		munmap(m->addr, m->len);
		free(m);
	}
	os_mutex_fini(&t->lock);
	free(t);
}

static bool grow(struct blk_tape *t)
{
	struct blk_rec *recs;
	size_t cap;

	assert_held(&t->lock);
	if (t->nr < t->cap)
		return true;
	cap = MAX(t->cap * 2, (size_t)64);
	recs = realloc(t->recs, cap * sizeof(*recs));
	if (!recs)
		return false;
	t->recs = recs;
	t->cap = cap;
	return true;
}

int blk_tape_add(struct blk_tape *t, const struct blk_rec *r)
{
	LOCK_GUARD(&t->lock);

	if (!grow(t)) {
		free((void *)(uintptr_t)r->data);
		return t->err = -ENOMEM;
	}
	t->recs[t->nr] = *r;
	if (!r->seq)
		t->recs[t->nr].seq = atomic_fetch_add(&t->next_seq, 1);
	t->nr++;
	return 0;
}

void blk_tape_mark(struct blk_tape *t, const char *fmt, ...)
{
	struct blk_rec r = { .flags = BLK_LOG_MARK, .began = atomic_load(&t->next_seq) };
	char *text = malloc(BLK_LOG_TEXT_MAX + 1);
	va_list ap;

	if (!text) {
		LOCK_GUARD(&t->lock);

		t->err = -ENOMEM;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, BLK_LOG_TEXT_MAX + 1, fmt, ap);
	va_end(ap);
	r.data = (uint8_t *)text;
	blk_tape_add(t, &r);
}

size_t blk_tape_nr(const struct blk_tape *t)
{
	return t->nr;
}

const struct blk_rec *blk_tape_get(const struct blk_tape *t, size_t i)
{
	return &t->recs[i];
}

int blk_tape_error(const struct blk_tape *t)
{
	return t->err;
}

uint8_t *blk_rec_copy(const struct blk_io *io)
{
	uint8_t *data = malloc((size_t)(io->nr_sects << SECT_SHIFT)), *p = data;

	for (unsigned i = 0; data && i < io->nr_iov; i++) {
		if (io->iov[i].iov_len)
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
	}
	return data;
}

void blk_rec_to_text(const struct blk_rec *r, FILE *out)
{
	if (r->flags & BLK_LOG_MARK) {
		fprintf(out, "%" PRIu64 " mark \"%s\"", r->seq, (const char *)r->data);
		return;
	}
	fprintf(out, "%" PRIu64 " dev %u %s%s", r->seq, r->dev,
		r->flags & BLK_LOG_DISCARD ? "discard" : !r->nr_sects ? "flush" : r->data ? "write" : "zero",
		r->flags & BLK_LOG_FUA ? "+fua" : "");
	if (r->nr_sects)
		fprintf(out, " sect=%" PRIu64 " n=%" PRIu64, r->sect, r->nr_sects);
	if (r->began < r->seq)
		fprintf(out, " began=%" PRIu64, r->began);
}
