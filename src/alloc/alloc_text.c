/* alloc_text.c: the allocators in words, for osfsctl and for people in a debugger. */
#include <stdlib.h>

#include "alloc/alloc_int.h"

static void buddy_to_text(const struct alloc_stats *st, FILE *out)
{
	fprintf(out, "arenas %" PRIu64 " KiB, used %" PRIu64 " KiB, peak %" PRIu64 " KiB, faults %" PRIu64 "\n",
		st->arena_bytes >> 10, st->used_bytes >> 10, st->peak_bytes >> 10, st->nr_faults);
	fprintf(out, "%10s %10s %12s\n", "run", "free", "free KiB");
	for (unsigned order = 0; order < NR_ORDERS; order++)
		fprintf(out, "%6u KiB %10" PRIu64 " %12" PRIu64 "\n", 4u << order, st->nr_free[order],
			st->nr_free[order] * (4u << order));
}

static void slabs_to_text(const struct slab_stats *st, unsigned nr, FILE *out)
{
	fprintf(out, "%-20s %8s %10s %10s %10s %8s %10s\n", "cache", "bytes", "used", "resting",
		"slots", "slabs", "KiB");
	for (unsigned i = 0; i < nr; i++)
		fprintf(out, "%-20s %8zu %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %10" PRIu64 "\n",
			st[i].name, st[i].object_bytes, st[i].nr_used, st[i].nr_resting, st[i].nr_slots,
			st[i].nr_slabs, st[i].page_bytes >> 10);
}

void alloc_to_text(struct alloc *a, FILE *out)
{
	unsigned max = slab_stats_get(a, NULL, 0);
	struct slab_stats *slabs = calloc(max, sizeof(*slabs));
	struct alloc_stats st;

	alloc_stats_get(a, &st);
	buddy_to_text(&st, out);
	/* A cache made since the count is left out. */
	if (slabs)
		slabs_to_text(slabs, MIN(slab_stats_get(a, slabs, max), max), out);
	free(slabs);
}
