/* fs_refs.c: see fs_refs.h. */
#include "fs/fs_refs.h"

static uint32_t nr_slots(const struct fs_refs *t)
{
	return t->slots ? (uint32_t)(((size_t)ALLOC_PAGE_BYTES << t->order) / sizeof(struct fs_ref)) : 0;
}

static uint32_t home_of(const struct fs_refs *t, ino_nr_t ino)
{
	return (ino * 0x9e3779b1u) >> 7 & (nr_slots(t) - 1);
}

/* Where the inode is, or the free slot where it would be. The table has slots. */
static uint32_t slot_of(const struct fs_refs *t, ino_nr_t ino)
{
	uint32_t i = home_of(t, ino);

	while (t->slots[i].ino && t->slots[i].ino != ino)
		i = (i + 1) & (nr_slots(t) - 1);
	return i;
}

static struct fs_ref *find(const struct fs_refs *t, ino_nr_t ino)
{
	struct fs_ref *r = t->slots ? &t->slots[slot_of(t, ino)] : NULL;

	return r && r->ino ? r : NULL;
}

/* Twice the pages; the first one when there are none. */
static int grow(struct fs_refs *t)
{
	const struct fs_refs old = *t;
	const unsigned order = old.slots ? old.order + 1 : 0;
	struct fs_ref *slots = order <= ALLOC_MAX_ORDER ? alloc_pages(t->alloc, order) : NULL;

	if (!slots)
		return -ENOMEM;
	memset(slots, 0, (size_t)ALLOC_PAGE_BYTES << order);
	t->slots = slots;
	t->order = order;
	for (uint32_t i = 0; i < nr_slots(&old); i++)
		if (old.slots[i].ino)
			t->slots[slot_of(t, old.slots[i].ino)] = old.slots[i];
	if (old.slots)
		alloc_pages_free(t->alloc, old.slots, old.order);
	return 0;
}

void fs_refs_init(struct fs_refs *t, struct alloc *a)
{
	*t = (struct fs_refs){ .alloc = a };
}

void fs_refs_fini(struct fs_refs *t)
{
	if (t->slots)
		alloc_pages_free(t->alloc, t->slots, t->order);
	*t = (struct fs_refs){ .alloc = t->alloc };
}

int fs_refs_put(struct fs_refs *t, ino_nr_t ino, uint64_t nr)
{
	if (t->nr_used + 1 > nr_slots(t) / 4 * 3) {
		const int err = grow(t);

		if (err)
			return err;
	}
	t->slots[slot_of(t, ino)] = (struct fs_ref){ ino, (uint32_t)MIN(nr, (uint64_t)UINT32_MAX) };
	t->nr_used++;
	return 0;
}

/* Those behind that would be looked for across the gap move up. */
static void slot_free(struct fs_refs *t, uint32_t gap)
{
	const uint32_t mask = nr_slots(t) - 1;

	for (uint32_t i = (gap + 1) & mask; t->slots[i].ino; i = (i + 1) & mask) {
		const uint32_t home = home_of(t, t->slots[i].ino);

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		t->slots[gap] = t->slots[i];
		gap = i;
	}
	t->slots[gap].ino = 0;
	t->nr_used--;
}

uint64_t fs_refs_take(struct fs_refs *t, ino_nr_t ino)
{
	struct fs_ref *r = find(t, ino);
	uint64_t nr;

	if (!r)
		return 0;
	nr = r->nr == UINT32_MAX ? UINT64_MAX / 2 : r->nr;
	slot_free(t, (uint32_t)(r - t->slots));
	return nr;
}

bool fs_refs_drop(struct fs_refs *t, ino_nr_t ino, uint64_t nr)
{
	struct fs_ref *r = find(t, ino);

	if (!r || r->nr == UINT32_MAX)
		return false;
	if (r->nr > nr) {
		r->nr -= (uint32_t)nr;
		return false;
	}
	slot_free(t, (uint32_t)(r - t->slots));
	return true;
}

bool fs_refs_has(const struct fs_refs *t, ino_nr_t ino)
{
	return find(t, ino);
}
