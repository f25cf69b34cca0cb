/* fs_xattr_area.c: entries and values in one area. See fs_xattr.h. */
#include "fs/fs_xattr.h"

enum { LAST_BYTES = 4 };	/* of zeroes, behind the last entry */

static unsigned padded(size_t len_bytes)
{
	return (unsigned)ALIGN_UP(len_bytes, 4);
}

static unsigned value_bytes(const struct ext_disk_xattr_entry *e)
{
	return padded(le32_get(e->e_value_size));
}

static unsigned entry_bytes(const struct ext_disk_xattr_entry *e)
{
	return (unsigned)sizeof(*e) + padded(e->e_name_len);
}

/* Where entries end (the word of zeroes) and values begin, as offsets from base. */
struct gap {
	unsigned last, values;
};

static struct gap gap_of(const struct xattr_area *a)
{
	struct gap g = { .last = (unsigned)(a->first - a->base), .values = (unsigned)(a->end - a->base) };

	xattr_for_each(e, a) {
		g.last += entry_bytes(e);
		if (value_bytes(e) > 0)
			g.values = MIN(g.values, (unsigned)le16_get(e->e_value_offs));
	}
	return g;
}

static const char *value_check(const struct xattr_area *a, const struct ext_disk_xattr_entry *e)
{
	const size_t size = le32_get(e->e_value_size), offs = le16_get(e->e_value_offs);
	const size_t cap = (size_t)(a->end - a->base);

	if (le32_get(e->e_value_inum))
		return "a value in another inode";
	if (size == 0)
		return NULL;
	if (offs % 4 || size > cap || offs > cap - ALIGN_UP(size, 4))
		return "a value outside of its area";
	return NULL;
}

const char *xattr_area_check(const struct xattr_area *a)
{
	const uint8_t *p = a->first;
	size_t sum = 0;
	struct gap g;

	for (;;) {
		const struct ext_disk_xattr_entry *e = (const struct ext_disk_xattr_entry *)p;
		const char *what;

		if ((size_t)(a->end - p) < LAST_BYTES)
			return "entries without end";
		if (xattr_is_last(p))
			break;
		if ((size_t)(a->end - p) < sizeof(*e) + LAST_BYTES ||
		    (size_t)(a->end - p) < entry_bytes(e) + LAST_BYTES)
			return "an entry outside of its area";
		what = value_check(a, e);
		if (what)
			return what;
		sum += value_bytes(e);
		p += entry_bytes(e);
	}
	g = gap_of(a);
	if (g.last + LAST_BYTES > g.values || sum > (size_t)(a->end - a->base) - g.values)
		return "values that overlap";
	return NULL;
}

/* As the entries of a block are sorted. */
static int name_compare(const struct xattr_name *n, const struct ext_disk_xattr_entry *e)
{
	int diff = n->index - e->e_name_index;

	if (!diff)
		diff = n->len - e->e_name_len;
	return diff ? diff : memcmp(n->s, e->e_name, n->len);
}

struct ext_disk_xattr_entry *xattr_find(const struct xattr_area *a, const struct xattr_name *n)
{
	xattr_for_each(e, a)
		if (name_compare(n, e) == 0)
			return e;
	return NULL;
}

unsigned xattr_area_room(const struct xattr_area *a, const struct ext_disk_xattr_entry *old)
{
	const struct gap g = gap_of(a);

	return g.values - g.last - LAST_BYTES + (old ? entry_bytes(old) + value_bytes(old) : 0);
}

unsigned xattr_needs(const struct xattr_name *n, size_t len_bytes)
{
	return (unsigned)sizeof(struct ext_disk_xattr_entry) + padded(n->len) + padded(len_bytes);
}

/* The values below move up over the one that goes. */
static void value_remove(const struct xattr_area *a, const struct ext_disk_xattr_entry *gone, unsigned values)
{
	const unsigned offs = le16_get(gone->e_value_offs), size = value_bytes(gone);

	if (size == 0)
		return;
	memmove(a->base + values + size, a->base + values, offs - values);
	memset(a->base + values, 0, size);
	xattr_for_each(e, a) {
		const unsigned at = le16_get(e->e_value_offs);

		if (value_bytes(e) > 0 && at < offs)
			e->e_value_offs = le16_of((uint16_t)(at + size));
	}
}

void xattr_remove(const struct xattr_area *a, struct ext_disk_xattr_entry *e)
{
	const struct gap g = gap_of(a);
	const unsigned size = entry_bytes(e);
	uint8_t *const at = (uint8_t *)e, *const behind = a->base + g.last + LAST_BYTES;

	value_remove(a, e, g.values);
	memmove(at, at + size, (size_t)(behind - at) - size);
	memset(behind - size, 0, size);
}

/* Over name and value; the name's bytes count as unsigned. */
static uint32_t entry_hash(const struct xattr_name *n, const uint8_t *value, unsigned padded_bytes)
{
	uint32_t hash = 0;
	le32 word;

	for (unsigned i = 0; i < n->len; i++)
		hash = (hash << 5) ^ (hash >> 27) ^ (uint8_t)n->s[i];
	for (unsigned i = 0; i < padded_bytes; i += sizeof(word)) {
		memcpy(&word, value + i, sizeof(word));
		hash = (hash << 16) ^ (hash >> 16) ^ le32_get(word);
	}
	return hash;
}

/* Where the entry goes: at the end, or in order. */
static uint8_t *place_for(const struct xattr_area *a, const struct xattr_name *n, const struct gap *g)
{
	if (a->is_block)
		xattr_for_each(e, a)
			if (name_compare(n, e) < 0)
				return (uint8_t *)e;
	return a->base + g->last;
}

void xattr_add(const struct xattr_area *a, const struct xattr_name *n, const void *value, size_t len_bytes)
{
	const struct gap g = gap_of(a);
	const unsigned size = (unsigned)sizeof(struct ext_disk_xattr_entry) + padded(n->len);
	const unsigned offs = g.values - padded(len_bytes);
	uint8_t *const at = place_for(a, n, &g), *const behind = a->base + g.last + LAST_BYTES;
	struct ext_disk_xattr_entry *e = (struct ext_disk_xattr_entry *)at;

	memmove(at + size, at, (size_t)(behind - at));
	memset(at, 0, size);
	e->e_name_len = n->len;
	e->e_name_index = n->index;
	e->e_value_size = le32_of((uint32_t)len_bytes);
	memcpy(e->e_name, n->s, n->len);
	if (len_bytes > 0) {
		e->e_value_offs = le16_of((uint16_t)offs);
		memset(a->base + offs, 0, padded(len_bytes));
		memcpy(a->base + offs, value, len_bytes);
	}
	/* Like the kernel: entries in the inode have none. */
	e->e_hash = le32_of(a->is_block ? entry_hash(n, a->base + offs, padded(len_bytes)) : 0);
}
