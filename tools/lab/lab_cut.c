/* lab_cut.c: see lab_cut.h. */
#include "lab_cut.h"

#include <stdlib.h>

#include "base/rng.h"

static const char *const mode_names[LAB_CUT_NR_MODES] = {
	[LAB_CUT_ALL] = "all", [LAB_CUT_CERTAIN] = "certain", [LAB_CUT_UNDER_WAY] = "underway",
	[LAB_CUT_SOME] = "some", [LAB_CUT_TORN] = "torn",
};

const char *lab_cut_mode_name(enum lab_cut_mode mode)
{
	return mode_names[mode];
}

int lab_cut_mode_parse(const char *text, enum lab_cut_mode *out)
{
	for (unsigned i = 0; i < LAB_CUT_NR_MODES; i++) {
		if (!strcmp(text, mode_names[i])) {
			*out = (enum lab_cut_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* The first flush behind record i that covers it. */
static size_t covered_at(const struct blk_tape *t, size_t i)
{
	const struct blk_rec *r = blk_tape_get(t, i);

	if (r->flags & BLK_LOG_FUA)
		return i;
	for (size_t j = i + 1; j < blk_tape_nr(t); j++) {
		const struct blk_rec *f = blk_tape_get(t, j);

		if (f->flags & BLK_LOG_FLUSH && f->dev == r->dev && f->began > r->seq)
			return j;
	}
	return SIZE_MAX;
}

int lab_tape_init(struct lab_tape *lt, struct blk_tape *t)
{
	*lt = (struct lab_tape){ .tape = t, .nr = blk_tape_nr(t) };
	lt->safe_at = calloc(lt->nr + 1, sizeof(*lt->safe_at));
	if (!lt->safe_at)
		return -ENOMEM;
	for (size_t i = 0; i < lt->nr; i++)
		lt->safe_at[i] = blk_rec_is_write(blk_tape_get(t, i)) ? covered_at(t, i) : SIZE_MAX;
	return 0;
}

void lab_tape_fini(struct lab_tape *lt)
{
	free(lt->safe_at);
	lt->safe_at = NULL;
}

static int put(struct lab_image *im, const struct blk_rec *r)
{
	return lab_image_write(im, r->sect, r->data, r->nr_sects);
}

/* Some of its sectors: a beginning, an end, or any. */
static int put_torn(struct lab_image *im, const struct blk_rec *r, struct rng *rng)
{
	const unsigned shape = (unsigned)rng_below(rng, 3);
	const uint64_t edge = rng_below(rng, r->nr_sects + 1);
	int err = 0;

	for (uint64_t i = 0; !err && i < r->nr_sects; i++) {
		const bool there = shape == 0 ? i < edge : shape == 1 ? i >= edge : rng_next(rng) & 1;

		if (there)
			err = lab_image_write(im, r->sect + i, r->data ? r->data + (i << SECT_SHIFT) : NULL, 1);
	}
	return err;
}

/* One that may or may not be there. */
static int put_perhaps(struct lab_image *im, const struct blk_rec *r, const struct lab_cut *c, bool complete,
		       unsigned share, struct rng *rng)
{
	switch (c->mode) {
	case LAB_CUT_ALL:
		return complete ? put(im, r) : 0;
	case LAB_CUT_UNDER_WAY:
		return put(im, r);
	case LAB_CUT_SOME:
		return rng_below(rng, 4) < share ? put(im, r) : 0;
	case LAB_CUT_TORN:
		if (rng_below(rng, 4) >= share)
			return 0;
		return rng_next(rng) & 1 ? put(im, r) : put_torn(im, r, rng);
	default:
		return 0;
	}
}

int lab_cut_apply(const struct lab_tape *lt, const struct lab_cut *c, struct lab_image **images, unsigned nr)
{
	struct rng rng = { .state = c->seed };
	/* How much of what is in the cache got out: few, half, most. */
	const unsigned share = 1 + (unsigned)rng_below(&rng, 3);
	/* The last moment before the next record completes. */
	const uint64_t now = c->at < lt->nr ? blk_tape_get(lt->tape, c->at)->seq : UINT64_MAX;
	int err = 0;

	for (size_t i = 0; !err && i < lt->nr; i++) {
		const struct blk_rec *r = blk_tape_get(lt->tape, i);
		const bool complete = i < c->at;

		if (!blk_rec_is_write(r) || r->dev >= nr)
			continue;
		if (!complete && r->began > now)
			continue;	/* had not begun */
		if (lt->safe_at[i] < c->at)
			err = put(images[r->dev], r);
		else
			err = put_perhaps(images[r->dev], r, c, complete, share, &rng);
	}
	return err;
}
