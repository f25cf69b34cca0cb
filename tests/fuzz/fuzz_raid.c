/* fuzz_raid.c: members with damaged superblocks and bitmaps are examined, assembled, read, written. */
#include <stdlib.h>

#include "fuzz.h"
#include "raid/raid.h"
#include "raid/raid_int.h"

enum { MEMBERS_MAX = 6, MEMBER_BYTES = 512 << 10, DATA_OFFSET = 256 };

static const struct conf {
	int level;
	const char *layout;
	unsigned nr_disks, nr_spares;
	enum raid_metadata metadata;
	enum raid_bitmap_kind bitmap;
	bool dirty;
} confs[] = {
	{ RAID_5, NULL, 4, 1, RAID_META_12, RAID_BITMAP_INTERNAL, false },
	{ RAID_5, NULL, 3, 0, RAID_META_12, RAID_BITMAP_NONE, true },
	{ RAID_6, NULL, 5, 0, RAID_META_11, RAID_BITMAP_NONE, false },
	{ RAID_1, NULL, 2, 0, RAID_META_10, RAID_BITMAP_INTERNAL, true },
	{ RAID_10, "o2", 3, 0, RAID_META_12, RAID_BITMAP_NONE, false },
	{ RAID_0, NULL, 3, 0, RAID_META_12, RAID_BITMAP_NONE, false },
	{ RAID_LINEAR, NULL, 2, 0, RAID_META_12, RAID_BITMAP_NONE, false },
	{ RAID_1, NULL, 3, 0, RAID_META_090, RAID_BITMAP_NONE, true },
};

struct array {
	const struct conf *conf;
	struct blk_dev *devs[MEMBERS_MAX];
	unsigned nr;
};

static void make(struct array *a)
{
	struct raid_params p = {
		.level = a->conf->level, .chunk_sects = a->conf->level == RAID_1 ? 0 : 16, .nr_disks = a->conf->nr_disks,
		.metadata = a->conf->metadata, .bitmap = a->conf->bitmap, .bitmap_chunk_bytes = a->conf->bitmap == RAID_BITMAP_INTERNAL ? 4096 : 0,
		.data_offset = a->conf->metadata == RAID_META_11 || a->conf->metadata == RAID_META_12 ? DATA_OFFSET : 0,
		.uuid = { 1, 2, 3, 4 } };

	a->nr = a->conf->nr_disks + a->conf->nr_spares;
	for (unsigned i = 0; i < a->nr; i++)
		if (blk_mem_new(MEMBER_BYTES >> SECT_SHIFT, &a->devs[i]))
			fuzz_fail("no memory");
	if (raid_layout_parse(p.level, a->conf->layout, &p.layout) ||
	    raid_create(&p, a->devs, a->devs + a->conf->nr_disks, a->conf->nr_spares, true))
		fuzz_fail("raid_create");
}

/* raw of the sound superblock, damaged and summed up again. */
static void seal(uint8_t *raw, bool v090)
{
	struct md_disk_sb1 *d = (struct md_disk_sb1 *)raw;
	struct md_disk_sb090 *o = (struct md_disk_sb090 *)raw;
	const uint32_t max_dev = MIN(le32_get(d->max_dev), (uint32_t)MD_1_MAX_DEVS);
	const size_t len = v090 ? MD_SB_BYTES : MD_1_FIXED_BYTES + 2 * (size_t)max_dev;
	uint64_t sum = 0;
	le32 word;
	le16 half;

	if (v090)
		o->sb_csum = le32_of(0);
	else
		d->sb_csum = le32_of(0);
	for (size_t at = 0; at + 4 <= len; at += 4) {
		memcpy(&word, raw + at, 4);
		sum += le32_get(word);
	}
	if (len % 4) {
		memcpy(&half, raw + len - 2, 2);
		sum += le16_get(half);
	}
	word = le32_of((uint32_t)((sum & UINT32_MAX) + (sum >> 32)));
	if (v090)
		o->sb_csum = word;
	else
		d->sb_csum = word;
}

/* Byte 0 says which member (or all), byte 1 whether superblock or bitmap; the rest as for filesystems. */
static void damage(struct array *a, const uint8_t *op, bool sealed)
{
	const bool v090 = a->conf->metadata == RAID_META_090;

	for (unsigned i = 0; i < a->nr; i++) {
		_Alignas(8) uint8_t raw[MD_SB_BYTES];
		uint64_t at;
		sect_t sect;

		if (op[0] & 0x80 ? false : op[0] % a->nr != i)
			continue;
		if (!raid_sb_place(a->conf->metadata, blk_nr_sects(a->devs[i]), &sect))
			fuzz_fail("no place for a superblock");
		at = sect;
		if (op[1] % 4 == 3)
			at += 8;	/* where a bitmap lies, or the data */
		if (at + 8 > blk_nr_sects(a->devs[i]) || blk_read(a->devs[i], at, raw, sizeof(raw)))
			continue;
		fuzz_damage_bytes(raw, op[1] % 4 == 3 ? 512 : v090 ? MD_SB_BYTES : 256 + 64, op);
		if (sealed && at == sect)
			seal(raw, v090);
		if (blk_write(a->devs[i], at, raw, sizeof(raw)))
			fuzz_fail("cannot write to memory");
	}
}

static void use(struct raid *r, bool write)
{
	static uint8_t buf[64 << 10];
	struct blk_dev *d = raid_dev(r);
	const uint64_t nr = blk_nr_sects(d);
	const sect_t places[] = { 0, nr / 2, nr > 128 ? nr - 128 : 0 };
	struct raid_status *st = malloc(sizeof(*st));

	if (!st)
		fuzz_fail("no memory");
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		const size_t len = MIN((size_t)sizeof(buf), (size_t)(nr - places[i]) << SECT_SHIFT);

		fuzz_check_err(blk_read(d, places[i], buf, len), "blk_read");
		if (write)
			fuzz_check_err(blk_write(d, places[i], buf, MIN(len, (size_t)5120)), "blk_write");
	}
	if (write) {
		fuzz_check_err(blk_flush(d), "blk_flush");
		fuzz_check_err(raid_idle(r), "raid_idle");
		for (unsigned i = 0; i < 50 && raid_step(r, 0) == 1; i++)
			;
	}
	raid_status_get(r, st);
	free(st);
}

static void assemble(struct array *a, bool read_only, bool force)
{
	struct raid_open_opts o = { .read_only = read_only, .force = force, .work = RAID_WORK_STEPS };
	struct raid *r;
	int err;

	if (alloc_new(&(struct alloc_opts){ 0 }, &o.alloc))
		fuzz_fail("no memory");
	err = raid_assemble(a->devs, a->nr, &o, &r);
	fuzz_check_err(err, "raid_assemble");
	if (!err) {
		use(r, !read_only);
		fuzz_check_err(raid_free(r), "raid_free");
		a->nr = 0;	/* they went with it */
	}
	if (alloc_free(o.alloc))
		fuzz_fail("memory is not given back");
}

void fuzz_assemble(const uint8_t *data, size_t size)
{
	/* An array that came up takes its members with it: each mode has its own. */
	for (unsigned mode = 0; mode < 3 && size >= FUZZ_HEAD_BYTES; mode++) {
		struct array a = { .conf = &confs[data[0] % ARRAY_LEN(confs)] };
		struct raid_info info;

		make(&a);
		for (size_t at = FUZZ_HEAD_BYTES; at + FUZZ_OP_BYTES <= size && at < FUZZ_OPS_MAX * FUZZ_OP_BYTES; at += FUZZ_OP_BYTES)
			damage(&a, data + at, data[1] >> 5);
		for (unsigned i = 0; i < a.nr; i++)
			fuzz_check_err(raid_examine(a.devs[i], &info), "raid_examine");
		assemble(&a, mode == 0, mode == 2);
		for (unsigned i = 0; i < a.nr; i++)
			blk_close(a.devs[i]);
	}
}
