/*
 * fsck_share.c: a pass on several processors. Each thread has a share of its own; who gets which part
 * of the work is the pass's matter, and so is what becomes of the shares' results.
 */
#include <stdlib.h>

#include "fsck_int.h"

static void *share_at(const struct share_ops *ops, void *shares, unsigned i)
{
	return (uint8_t *)shares + i * ops->bytes;
}

/* Those there is memory for. */
static unsigned shares_init(const struct share_ops *ops, void *pass, void *shares, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (!ops->init(share_at(ops, shares, i), pass)) {
			ops->fini(share_at(ops, shares, i));
			return i;
		}
	return nr;
}

unsigned fsck_shares_run(struct fsck *f, const struct share_ops *ops, void *pass, void *shares, unsigned max)
{
	pthread_t threads[FSCK_MAX_THREADS];
	bool started[FSCK_MAX_THREADS] = { false };
	const unsigned nr = shares_init(ops, pass, shares, max);

	if (nr == 0) {
		fsck_failed(f, -ENOMEM);
		return 0;
	}
	for (unsigned i = 1; i < nr; i++)
		started[i] = !pthread_create(&threads[i], NULL, ops->run, share_at(ops, shares, i));
	ops->run(shares);
	for (unsigned i = 1; i < nr; i++)
		if (started[i])
			pthread_join(threads[i], NULL);
	return nr;
}

void fsck_shares_fini(const struct share_ops *ops, void *shares, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		ops->fini(share_at(ops, shares, i));
}

static int number_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void fsck_numbers_sort(uint32_t *v, size_t nr)
{
	if (nr)
		qsort(v, nr, sizeof(*v), number_compare);
}
