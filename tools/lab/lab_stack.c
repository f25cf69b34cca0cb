/* lab_stack.c: see lab_stack.h. */
#include "lab_stack.h"

#include <stdlib.h>

#include "base/log.h"
#include "blk/blk_fault.h"
#include "mkfs/mkfs_int.h"

enum {
	VOLUME_BLOCKS = 2560, JOURNAL_BLOCKS = 1024, BLOCK_BYTES = 1024, CHUNK_SECTS = 8, DATA_OFFSET_SECTS = 64,
	BITMAP_CHUNK_BYTES = 64 << 10, CACHE_BYTES = 2 << 20,
	START_SEC = 1700000000, TICK_NSEC = 1000000,
};

/* Configurations --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int level;
	unsigned nr_members, nr_data;
} levels[] = {
	{ "single", LAB_SINGLE, 1, 1 },
	{ "0", RAID_0, 2, 2 },
	{ "1", RAID_1, 2, 1 },
	{ "4", RAID_4, 3, 2 },
	{ "5", RAID_5, 3, 2 },
	{ "6", RAID_6, 4, 2 },
	{ "10", RAID_10, 4, 2 },
};

static unsigned nr_data_of(const struct lab_config *c)
{
	for (unsigned i = 0; i < ARRAY_LEN(levels); i++)
		if (levels[i].level == c->level)
			return levels[i].nr_data;
	return 1;
}

int lab_config_init(struct lab_config *c, const char *level)
{
	for (unsigned i = 0; i < ARRAY_LEN(levels); i++) {
		if (strcmp(levels[i].name, level))
			continue;
		*c = (struct lab_config){
			.level = levels[i].level, .nr_members = levels[i].nr_members,
			.volume_bytes = (uint64_t)VOLUME_BLOCKS * BLOCK_BYTES, .block_bytes = BLOCK_BYTES, .journal = true,
			.data_mode = JNL_DATA_ORDERED, .seed = 1 };
		return 0;
	}
	log_error("the lab knows single, 0, 1, 4, 5, 6 and 10, not '%s'", level);
	return -EINVAL;
}

int lab_config_set_block(struct lab_config *c, uint64_t block_bytes)
{
	if (!is_pow2(block_bytes) || block_bytes < BLOCK_BYTES || block_bytes > PAGE_BYTES) {
		log_error("the lab knows blocks of 1024, 2048 and 4096 bytes");
		return -EINVAL;
	}
	c->block_bytes = (uint32_t)block_bytes;
	c->volume_bytes = VOLUME_BLOCKS * block_bytes;
	return 0;
}

static const char *data_name(enum jnl_data_mode mode)
{
	static const char *const names[] = { "ordered", "journal", "writeback" };

	return names[mode];
}

const char *lab_config_name(const struct lab_config *c, char buf[static 64])
{
	const char *level = "?";

	for (unsigned i = 0; i < ARRAY_LEN(levels); i++)
		if (levels[i].level == c->level)
			level = levels[i].name;
	snprintf(buf, 64, "%s data=%s%s%s%s%.20s", level, c->journal ? data_name(c->data_mode) : "none",
		 c->bitmap ? " bitmap" : "", c->failing_member ? " failing member" : "", c->features ? " " : "", c->features ? c->features : "");
	return buf;
}

/* Opening ------------------------------------------------------------------------------------------- */

static struct timespec look_at_clock(void *arg)
{
	struct lab_stack *s = arg;
	const uint64_t now = s->now_nsec += TICK_NSEC;

	return (struct timespec){ START_SEC + (time_t)(now / 1000000000), (long)(now % 1000000000) };
}

typedef int make_filter(struct blk_dev *lower, const void *arg, unsigned nr, struct blk_dev **out);

static int put_filter(struct blk_dev **d, make_filter *make, const void *arg, unsigned nr)
{
	struct blk_dev *above;
	const int err = make(*d, arg, nr, &above);

	if (!err)
		*d = above;
	return err;
}

static int make_record(struct blk_dev *lower, const void *tape, unsigned nr, struct blk_dev **out)
{
	return blk_record_new(lower, (struct blk_tape *)(uintptr_t)tape, nr, out);
}

static int make_fault(struct blk_dev *lower, const void *rules, unsigned nr, struct blk_dev **out)
{
	return blk_fault_new_rules(lower, rules, out);
}

/* image <- record <- fault */
static int open_member(struct lab_image *im, unsigned nr, const struct lab_stack_opts *o, struct blk_dev **out)
{
	char name[16];
	int err;

	snprintf(name, sizeof(name), "disk%u", nr);
	err = lab_image_open(im, name, out);
	if (!err && o->tape)
		err = put_filter(out, make_record, o->tape, nr);
	if (!err && o->fault_rules && o->fault_member == nr)
		err = put_filter(out, make_fault, o->fault_rules, nr);
	if (err && *out) {
		blk_close(*out);
		*out = NULL;
	}
	return err;
}

static int open_members(const struct lab_config *cfg, struct lab_image *const *images, const struct lab_stack_opts *o,
			struct blk_dev **devs, unsigned *nr)
{
	*nr = 0;
	for (unsigned i = 0; i < cfg->nr_members; i++) {
		int err;

		if (o->missing & 1u << i)
			continue;
		err = open_member(images[i], i, o, &devs[*nr]);
		if (err) {
			while (*nr)
				blk_close(devs[--*nr]);
			return err;
		}
		++*nr;
	}
	return 0;
}

static int open_volume(struct lab_stack *s, struct lab_image *const *images, const struct lab_stack_opts *o)
{
	const struct raid_open_opts ro = { .alloc = s->alloc, .force = true, .quiet = true };
	struct blk_dev *devs[LAB_MAX_MEMBERS];
	unsigned nr;
	int err;

	err = open_members(s->cfg, images, o, devs, &nr);
	if (err)
		return err;
	if (s->cfg->level == LAB_SINGLE) {
		s->volume = devs[0];
		return 0;
	}
	err = raid_assemble(devs, nr, &ro, &s->raid);
	if (err) {
		while (nr)
			blk_close(devs[--nr]);
		return err;
	}
	s->volume = raid_dev(s->raid);
	return 0;
}

static int mount(struct lab_stack *s)
{
	const struct fs_opts fo = {
		.alloc = s->alloc, .cache_bytes = CACHE_BYTES, .atime = FS_NOATIME, .errors = FS_ERRORS_CONTINUE,
		.now = look_at_clock, .now_arg = s, .seed = s->cfg->seed,
		.data = s->cfg->journal ? FS_DATA_ORDERED + s->cfg->data_mode : FS_DATA_DEFAULT,
	};

	return fs_open(s->volume, &fo, &s->fs);
}

int lab_stack_open(const struct lab_config *cfg, struct alloc *alloc, struct lab_image *const *images,
		   const struct lab_stack_opts *o, struct lab_stack *s, const char **what)
{
	int err;

	*s = (struct lab_stack){ .cfg = cfg, .alloc = alloc };
	*what = "assemble";
	err = open_volume(s, images, o);
	if (!err && !o->volume_only) {
		*what = "mount";
		err = mount(s);
	}
	if (err)
		lab_stack_close(s);
	return err;
}

int lab_stack_unmount(struct lab_stack *s)
{
	const int err = s->fs ? fs_close(s->fs) : 0;

	s->fs = NULL;
	return err;
}

int lab_stack_close(struct lab_stack *s)
{
	int err = lab_stack_unmount(s), end = 0;

	if (s->raid)
		end = raid_free(s->raid);
	else if (s->volume)
		blk_close(s->volume);
	s->raid = NULL;
	s->volume = NULL;
	return err ? err : end;
}

/* Making ------------------------------------------------------------------------------------------- */

static int fill_stale(struct blk_dev *volume)
{
	enum { SECTS = 128 };
	uint8_t *buf = malloc(SECTS << SECT_SHIFT);
	int err = buf ? 0 : -ENOMEM;

	for (sect_t sect = 0; !err && sect < blk_nr_sects(volume); sect += SECTS) {
		const uint64_t n = MIN((uint64_t)SECTS, blk_nr_sects(volume) - sect);

		for (uint64_t i = 0; i < n; i++)
			lab_stale_fill(buf + (i << SECT_SHIFT), sect + i);
		err = blk_write(volume, sect, buf, (size_t)(n << SECT_SHIFT));
	}
	free(buf);
	return err;
}

static int make_fs(const struct lab_config *cfg, struct lab_stack *s)
{
	char block[16], journal[16], features[128];
	char *argv[] = { "mkfs", "-q", "-b", block, "-N", "128", "-m", "0", "-U", "6f736673-0000-4000-8000-000000000004",
			 "-O", features, cfg->journal ? "-J" : "-q", journal, "lab", NULL };
	const int argc = (int)ARRAY_LEN(argv) - 1;
	struct raid_status status;
	struct mkfs_layout l;
	struct mkfs_opts o;
	int err;

	snprintf(block, sizeof(block), "%" PRIu32, cfg->block_bytes);
	snprintf(features, sizeof(features), "%shas_journal%s%s", cfg->journal ? "" : "^", cfg->features ? "," : "",
		 cfg->features ? cfg->features : "");
	snprintf(journal, sizeof(journal), cfg->journal ? "size=%u" : "-q", JOURNAL_BLOCKS * cfg->block_bytes >> 20);
	if (mkfs_opts_parse(argc, argv, &o))
		return -EINVAL;
	if (s->raid)
		raid_status_get(s->raid, &status);
	err = mkfs_layout_make(&o, s->raid ? &status.array : NULL, blk_optimal_bytes(s->volume),
			       blk_nr_sects(s->volume) << SECT_SHIFT, &l);
	if (!err)
		err = mkfs_write(&l, s->volume, false, false);
	mkfs_layout_free(&l);
	return err;
}

static int make_array(const struct lab_config *cfg, struct lab_image *const *images)
{
	struct raid_params p = { .level = cfg->level, .chunk_sects = CHUNK_SECTS, .nr_disks = cfg->nr_members,
				 .metadata = RAID_META_12, .uuid = "osfs-lab-array", .data_offset = DATA_OFFSET_SECTS,
				 .bitmap = cfg->bitmap ? RAID_BITMAP_INTERNAL : RAID_BITMAP_NONE,
				 .bitmap_chunk_bytes = cfg->bitmap ? BITMAP_CHUNK_BYTES : 0 };
	const struct lab_stack_opts none = { .volume_only = true };
	struct blk_dev *devs[LAB_MAX_MEMBERS];
	unsigned nr;
	int err;

	err = raid_layout_parse(cfg->level, NULL, &p.layout);
	if (!err)
		err = open_members(cfg, images, &none, devs, &nr);
	if (err)
		return err;
	err = raid_create(&p, devs, NULL, 0, true);
	while (nr)
		blk_close(devs[--nr]);
	return err;
}

int lab_stack_make(const struct lab_config *cfg, struct alloc *alloc, struct lab_image **images)
{
	const uint64_t sects = cfg->level == LAB_SINGLE ? cfg->volume_bytes >> SECT_SHIFT :
		ALIGN_UP((cfg->volume_bytes >> SECT_SHIFT) / nr_data_of(cfg), (uint64_t)CHUNK_SECTS) + DATA_OFFSET_SECTS;
	const struct lab_stack_opts volume_only = { .volume_only = true };
	struct lab_stack s = { 0 };
	const char *what;
	int err = 0, end;

	for (unsigned i = 0; !err && i < cfg->nr_members; i++)
		err = lab_image_new(sects, cfg->level == LAB_SINGLE, &images[i]);
	if (!err && cfg->level != LAB_SINGLE)
		err = make_array(cfg, images);
	if (!err)
		err = lab_stack_open(cfg, alloc, images, &volume_only, &s, &what);
	if (err)
		return err;
	err = fill_stale(s.volume);
	if (!err)
		err = make_fs(cfg, &s);
	end = lab_stack_close(&s);
	return err ? err : end;
}
