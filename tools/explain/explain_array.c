/* explain_array.c: where what lies on the members of an array. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "explain/explain.h"
#include "raid/raid_int.h"

enum { SUPER_SECTS_MAX = MD_SB_BYTES / SECT_BYTES };

static uint64_t bitmap_sects(struct blk_dev *d, sect_t at)
{
	uint8_t block[SECT_BYTES];
	struct md_disk_bitmap b;
	uint64_t nr_bits, nr_bytes;

	if (at >= blk_nr_sects(d) || blk_read(d, at, block, sizeof(block)))
		return 0;
	memcpy(&b, block, sizeof(b));
	if (le32_get(b.magic) != MD_BITMAP_MAGIC_U32 || le32_get(b.chunksize) < SECT_BYTES)
		return 0;
	nr_bits = DIV_UP(le64_get(b.sync_size), (uint64_t)le32_get(b.chunksize) / SECT_BYTES);
	nr_bytes = ALIGN_UP(sizeof(b) + DIV_UP(nr_bits, 8), SECT_BYTES);
	return MIN(nr_bytes >> SECT_SHIFT, blk_nr_sects(d) - at);
}

/* What the superblock of the member says of its device. */
static int member_load(struct explain_member *m, struct blk_dev *d)
{
	struct raid_sb *sb = malloc(sizeof(*sb));
	const struct md_disk_sb1 *v1;
	int err = sb ? raid_sb_load(d, sb) : -ENOMEM;

	m->nr_sects = blk_nr_sects(d);
	if (!err) {
		m->super_sect = sb->info.super_offset;
		m->nr_super = SUPER_SECTS_MAX;
		if (sb->bitmap_offset) {
			m->bitmap_sect = m->super_sect + (sect_t)(int64_t)sb->bitmap_offset;
			m->nr_bitmap = bitmap_sects(d, m->bitmap_sect);
		}
		v1 = (const struct md_disk_sb1 *)sb->raw;
		if (sb->info.metadata != RAID_META_090 && le16_get(v1->bblog_size)) {
			m->bblog_sect = m->super_sect + (sect_t)(int64_t)(int32_t)le32_get(v1->bblog_offset);
			m->nr_bblog = le16_get(v1->bblog_size);
		}
	}
	free(sb);
	return err;
}

/* Looked at through a device of its own: members may come and go meanwhile. */
static int member_open(struct explain_member *m, const struct raid_member_status *st)
{
	static const struct blk_open_opts look = { .read_only = true, .no_lock = true };
	struct blk_dev *d;
	int err;

	m->slot = st->slot;
	m->is_missing = !st->name;
	m->data_offset = st->data_offset;
	m->name = strdup(st->name ? st->name : "missing");
	if (!m->name)
		return -ENOMEM;
	/* A relative name of a daemon that has gone to the background leads nowhere; data can be reckoned with all the same. */
	if (!st->name || (!strchr(st->name, ':') && access(st->name, R_OK)) || blk_open(st->name, &look, &d))
		return 0;
	err = member_load(m, d);
	blk_close(d);
	return err == -ENOMEM ? err : 0;
}

int explain_array_load(struct raid *r, struct blk_dev *volume, struct explain_array *out)
{
	struct raid_status *st;
	int err = 0;

	*out = (struct explain_array){ .volume_name = strdup(blk_name(volume)) };
	if (!out->volume_name)
		return -ENOMEM;
	if (!r)
		return 0;
	out->geom = raid_geometry(r);
	st = malloc(sizeof(*st));
	if (!st)
		return -ENOMEM;
	raid_status_get(r, st);
	out->members = calloc(st->nr_members, sizeof(*out->members));
	err = out->members ? 0 : -ENOMEM;
	for (; !err && out->nr < st->nr_members; out->nr++)
		err = member_open(&out->members[out->nr], &st->members[out->nr]);
	free(st);
	return err;
}

void explain_array_free(struct explain_array *a)
{
	for (unsigned i = 0; a->members && i < a->nr; i++)
		free(a->members[i].name);
	free(a->members);
	free(a->volume_name);
	*a = (struct explain_array){ 0 };
}
