/* jbd2_layout.c: a transaction as blocks of the log: revoke blocks, then descriptors with their copies. */
#include <stdlib.h>

#include "base/plant.h"
#include "journal/jbd2_int.h"

void *jbd2_block_alloc(struct jbd2 *j)
{
	return j->block_slab ? slab_alloc(j->block_slab) : alloc_pages(j->alloc, j->block_order);
}

void jbd2_block_free(struct jbd2 *j, void *block)
{
	if (j->block_slab)
		slab_put(j->block_slab, block);
	else
		alloc_pages_free(j->alloc, block, j->block_order);
}

static size_t nr_revoke_blocks(const struct jbd2 *j, const struct jbd2_txn *t)
{
	return DIV_UP(t->nr_revoked, (size_t)j->revokes_per_block);
}

static size_t nr_descriptors(const struct jbd2 *j, const struct jbd2_txn *t)
{
	return DIV_UP(t->nr_logged, (size_t)j->tags_per_block);
}

uint32_t jbd2_layout_len(const struct jbd2 *j, const struct jbd2_txn *t)
{
	return (uint32_t)(nr_revoke_blocks(j, t) + nr_descriptors(j, t) + t->nr_logged + 1);
}

static void add_piece(struct jbd2 *j, const struct jbd2_txn *t, struct jbd2_layout *l, void *data)
{
	l->pieces[l->nr] = (struct jbd2_piece){ jbd2_wrap(&j->file, (uint64_t)t->start + l->nr), data };
	l->nr++;
}

/* A zeroed block that the layout owns. */
static char *own_block(struct jbd2 *j, struct jbd2_layout *l)
{
	char *block = jbd2_block_alloc(j);

	if (!block)
		return NULL;
	memset(block, 0, j->file.block_bytes);
	l->own[l->nr_own++] = block;
	return block;
}

static void put_revoke(const struct jbd2 *j, char *at, pblk_t pblk)
{
	const be32 narrow = be32_of((uint32_t)pblk);
	const be64 wide = be64_of(pblk);

	if (j->file.wide)
		memcpy(at, &wide, sizeof(wide));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

static void revoke_seal(const struct jbd2 *j, char *block, size_t used)
{
	const be32 count = be32_of((uint32_t)used);

	memcpy(block + offsetof(struct jnl_disk_revoke, r_count), &count, sizeof(count));
	jbd2_tail_seal(&j->file, block);
}

static int build_revokes(struct jbd2 *j, struct jbd2_txn *t, struct jbd2_layout *l)
{
	const size_t full = sizeof(struct jnl_disk_revoke) + (size_t)j->revokes_per_block * j->file.revoke_bytes;
	size_t used = full;
	char *block = NULL;

	for (size_t i = 0; i < t->nr; i++) {
		if (t->entries[i].state != ENTRY_REVOKED)
			continue;
		if (used == full) {
			if (block)
				revoke_seal(j, block, used);
			block = own_block(j, l);
			if (!block)
				return -ENOMEM;
			jbd2_header_store(block, JNL_REVOKE, (uint32_t)t->tid);
			add_piece(j, t, l, block);
			used = sizeof(struct jnl_disk_revoke);
		}
		put_revoke(j, block + used, PLANTED(PLANT_NO_REVOKE) ? UINT32_MAX : t->entries[i].pblk);
		used += j->file.revoke_bytes;
	}
	if (block)
		revoke_seal(j, block, used);
	return 0;
}

static bool looks_like_log(const void *data)
{
	be32 magic;

	memcpy(&magic, data, sizeof(magic));
	return be32_get(magic) == JNL_MAGIC;
}

/* What goes into the log for e, with its tag's flags and checksum. NULL: no memory. */
static void *entry_data(struct jbd2 *j, const struct jbd2_txn *t, struct jbd2_entry *e, struct jbd2_layout *l,
			struct jbd2_tag *tag)
{
	void *data = e->copy ? e->copy : e->buf->data;

	if (looks_like_log(data)) {
		if (!e->copy) {
			data = own_block(j, l);
			if (!data)
				return NULL;
			memcpy(data, e->buf->data, j->file.block_bytes);
		}
		memset(data, 0, JNL_MAGIC_BYTES);
		tag->flags |= JNL_TAG_ESCAPE;
	}
	tag->checksum = jbd2_tag_checksum(&j->file, (uint32_t)t->tid, data);
	return data;
}

/* A descriptor that is being filled. */
struct descriptor {
	char *block;		/* NULL: none yet */
	size_t used, last;	/* bytes; where its last tag stands */
	unsigned nr_tags;
	struct jbd2_tag last_tag;
};

static int descriptor_begin(struct jbd2 *j, struct jbd2_txn *t, struct jbd2_layout *l, struct descriptor *d)
{
	*d = (struct descriptor){ .block = own_block(j, l), .used = sizeof(struct jnl_disk_header) };
	if (!d->block)
		return -ENOMEM;
	jbd2_header_store(d->block, JNL_DESCRIPTOR, (uint32_t)t->tid);
	add_piece(j, t, l, d->block);
	return 0;
}

static void descriptor_add(struct jbd2 *j, struct descriptor *d, struct jbd2_tag *tag)
{
	if (d->nr_tags > 0)
		tag->flags |= JNL_TAG_SAME_UUID;
	jbd2_tag_store(&j->file, d->block + d->used, tag);
	d->last = d->used;
	d->last_tag = *tag;
	d->used += j->file.tag_bytes;
	if (d->nr_tags++ == 0) {
		memcpy(d->block + d->used, j->file.sb.s_uuid, JNL_UUID_BYTES);
		d->used += JNL_UUID_BYTES;
	}
}

static void descriptor_end(struct jbd2 *j, struct descriptor *d)
{
	if (!d->block)
		return;
	d->last_tag.flags |= JNL_TAG_LAST;
	jbd2_tag_store(&j->file, d->block + d->last, &d->last_tag);
	jbd2_tail_seal(&j->file, d->block);
}

static int build_copies(struct jbd2 *j, struct jbd2_txn *t, struct jbd2_layout *l)
{
	struct descriptor d = { 0 };
	int err;

	for (size_t i = 0; i < t->nr; i++) {
		struct jbd2_entry *e = &t->entries[i];
		struct jbd2_tag tag = { .pblk = e->pblk };
		void *data;

		if (e->state != ENTRY_LOGGED)
			continue;
		if (!d.block || d.nr_tags == j->tags_per_block) {
			descriptor_end(j, &d);
			err = descriptor_begin(j, t, l, &d);
			if (err)
				return err;
		}
		data = entry_data(j, t, e, l, &tag);
		if (!data)
			return -ENOMEM;
		descriptor_add(j, &d, &tag);
		add_piece(j, t, l, data);
	}
	descriptor_end(j, &d);
	return 0;
}

int jbd2_layout_build(struct jbd2 *j, struct jbd2_txn *t, struct jbd2_layout *out)
{
	const uint32_t len = jbd2_layout_len(j, t);
	int err;

	/* Any block may need a copy of its own when it has to be escaped. */
	*out = (struct jbd2_layout){
		.pieces = malloc(len * sizeof(*out->pieces)),
		.own = malloc(len * sizeof(*out->own)),
	};
	err = out->pieces && out->own ? 0 : -ENOMEM;
	if (!err)
		err = build_revokes(j, t, out);
	if (!err)
		err = build_copies(j, t, out);
	if (err)
		jbd2_layout_free(j, out);
	else
		assert(out->nr == len - 1);
	return err;
}

void jbd2_layout_free(struct jbd2 *j, struct jbd2_layout *l)
{
	while (l->nr_own > 0)
		jbd2_block_free(j, l->own[--l->nr_own]);
	free(l->pieces);
	free(l->own);
}
