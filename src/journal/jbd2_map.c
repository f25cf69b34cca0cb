/* jbd2_map.c: see jbd2_map.h. Deletion moves later entries up, so there are no tombstones. */
#include "journal/jbd2_map.h"

#include <stdlib.h>

enum { MAP_MIN = 64, MAP_KEEP = 1024 };

static size_t slot_home(const struct jbd2_map *m, pblk_t key)
{
	return (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (m->cap - 1);
}

static struct jbd2_slot *slot_find(const struct jbd2_map *m, pblk_t key)
{
	size_t i = slot_home(m, key);

	while (m->slots[i].key != JBD2_MAP_NONE && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

static void slots_wipe(struct jbd2_slot *slots, size_t cap)
{
	for (size_t i = 0; i < cap; i++)
		slots[i].key = JBD2_MAP_NONE;
}

static int map_grow(struct jbd2_map *m, size_t cap)
{
	struct jbd2_map grown = { .slots = malloc(cap * sizeof(*grown.slots)), .nr = m->nr, .cap = cap };

	if (!grown.slots)
		return -ENOMEM;
	slots_wipe(grown.slots, cap);
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key != JBD2_MAP_NONE)
			*slot_find(&grown, m->slots[i].key) = m->slots[i];
	free(m->slots);
	*m = grown;
	return 0;
}

int jbd2_map_reserve(struct jbd2_map *m, size_t more)
{
	size_t cap = MAX(m->cap, (size_t)MAP_MIN);

	while ((m->nr + more) * 4 > cap * 3)
		cap *= 2;
	return cap == m->cap ? 0 : map_grow(m, cap);
}

uint64_t *jbd2_map_get(const struct jbd2_map *m, pblk_t key)
{
	struct jbd2_slot *slot;

	if (m->nr == 0)
		return NULL;
	slot = slot_find(m, key);
	return slot->key == key ? &slot->value : NULL;
}

int jbd2_map_put(struct jbd2_map *m, pblk_t key, uint64_t value)
{
	const int err = jbd2_map_reserve(m, 1);
	struct jbd2_slot *slot;

	if (err)
		return err;
	slot = slot_find(m, key);
	m->nr += slot->key != key;
	*slot = (struct jbd2_slot){ key, value };
	return 0;
}

void jbd2_map_del(struct jbd2_map *m, pblk_t key)
{
	const size_t mask = m->cap - 1;
	struct jbd2_slot *slot;
	size_t hole, i;

	if (m->nr == 0)
		return;
	slot = slot_find(m, key);
	if (slot->key != key)
		return;
	m->nr--;
	hole = (size_t)(slot - m->slots);
	for (i = (hole + 1) & mask; m->slots[i].key != JBD2_MAP_NONE; i = (i + 1) & mask) {
		/* It may move up when its home is not behind the hole. */
		if (((i - slot_home(m, m->slots[i].key)) & mask) < ((i - hole) & mask))
			continue;
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole].key = JBD2_MAP_NONE;
}

void jbd2_map_clear(struct jbd2_map *m)
{
	if (m->cap > MAP_KEEP)
		jbd2_map_fini(m);
	else if (m->nr > 0)
		slots_wipe(m->slots, m->cap);
	m->nr = 0;
}

void jbd2_map_fini(struct jbd2_map *m)
{
	free(m->slots);
	*m = (struct jbd2_map){ 0 };
}
