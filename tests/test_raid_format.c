/* test_raid_format.c: superblocks and bitmaps as mdadm sees them, on image files. */
#include "test_raid.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "raid/raid_int.h"

static const enum raid_metadata metadatas[] = { RAID_META_12, RAID_META_11, RAID_META_10, RAID_META_090 };
static const char *const metadata_names[] = { "1.2", "1.1", "1.0", "0.90.00" };

/* All that a command prints. */
static char *output_of(const char *command)
{
	static char text[16384];
	FILE *p = popen(command, "r");
	size_t n;

	ck_assert_ptr_nonnull(p);
	n = fread(text, 1, sizeof(text) - 1, p);
	text[n] = '\0';
	pclose(p);
	return text;
}

static bool have_mdadm(void)
{
	return strstr(output_of("PATH=$PATH:/sbin:/usr/sbin mdadm --version 2>&1"), "mdadm - v");
}

struct images {
	char dir[64];
	unsigned nr;
	struct blk_dev *devs[6];
};

static void images_make(struct images *im, unsigned nr)
{
	snprintf(im->dir, sizeof(im->dir), "test-raid-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(im->dir));
	im->nr = nr;
}

static void images_open(struct images *im, uint64_t create_bytes)
{
	for (unsigned i = 0; i < im->nr; i++) {
		char path[80];

		snprintf(path, sizeof(path), "%s/%u.img", im->dir, i);
		ck_assert_int_eq(blk_open(path, &(struct blk_open_opts){ .create_bytes = create_bytes }, &im->devs[i]), 0);
	}
}

static void images_close(struct images *im)
{
	for (unsigned i = 0; i < im->nr; i++)
		blk_close(im->devs[i]);
}

static void images_remove(struct images *im)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -r %s", im->dir);
	ck_assert_int_eq(system(command), 0);
}

static const char *examine(struct images *im, unsigned i)
{
	char command[160];

	snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin mdadm --examine %s/%u.img 2>&1", im->dir, i);
	return output_of(command);
}

/* Expected text, blanks squeezed as mdadm aligns its columns. */
static void must_say(const char *text, const char *want)
{
	char name[64], value[64];
	const char *at;

	ck_assert_int_eq(sscanf(want, "%63[^:] : %63[^\n]", name, value), 2);
	name[strcspn(name, ":")] = '\0';
	while (name[0] && name[strlen(name) - 1] == ' ')
		name[strlen(name) - 1] = '\0';
	at = strstr(text, name);
	must_msg(at && strstr(at, value) && strstr(at, value) < strchr(at, '\n'), "no \"%s\" in:\n%s", want, text);
}

START_TEST(mdadm_accepts_superblocks_made_here)
{
	struct images im;
	struct raid_info info;
	uint32_t layout;
	char uuid[48] = "UUID : ";

	tlog_quiet();
	if (!have_mdadm())
		return;
	images_make(&im, 5);
	images_open(&im, 8 << 20);
	ck_assert_int_eq(raid_layout_parse(RAID_5, NULL, &layout), 0);
	ck_assert_int_eq(raid_create(&(struct raid_params){
		.level = RAID_5, .layout = layout, .nr_disks = 4, .metadata = metadatas[_i], .name = "box:vol" },
		im.devs, im.devs + 4, 1, false), 0);
	ck_assert_int_eq(raid_examine(im.devs[0], &info), 0);
	raid_uuid_text(info.uuid, uuid + strlen(uuid));
	images_close(&im);
	for (unsigned i = 0; i < im.nr; i++) {
		const char *text = examine(&im, i);
		char version[32], state[40];

		snprintf(version, sizeof(version), "Version : %s", metadata_names[_i]);
		must_say(text, version);
		must_say(text, uuid);
		must_say(text, "Raid Level : raid5");
		must_say(text, "Raid Devices : 4");
		must_say(text, "Layout : left-symmetric");
		must_say(text, "Chunk Size : 128K");
		must_say(text, "State : clean");
		must_msg(strstr(text, "- correct"), "%s", text);
		if (metadatas[_i] == RAID_META_090) {
			must_say(text, "Spare Devices : 1");
			must_say(text, "Active Devices : 4");
			continue;
		}
		snprintf(state, sizeof(state), "Device Role : %s", i == 4 ? "spare" : "Active device");
		must_say(text, state);
		must_say(text, "Array State : AAAA");
		must_say(text, "Name : box:vol");
	}
	images_remove(&im);
}
END_TEST

START_TEST(mdadm_sees_what_happens_to_members)
{
	struct images im;
	struct alloc *alloc;
	struct raid *r;
	char buf[4096] = { 1 };
	const char *text;

	tlog_quiet();
	if (!have_mdadm())
		return;
	images_make(&im, 3);
	images_open(&im, 8 << 20);
	ck_assert_int_eq(alloc_new(&(struct alloc_opts){ 0 }, &alloc), 0);
	ck_assert_int_eq(raid_create(&(struct raid_params){
		.level = RAID_1, .nr_disks = 3, .metadata = metadatas[_i] }, im.devs, NULL, 0, true), 0);
	blk_close(im.devs[1]);
	im.devs[1] = im.devs[2];
	ck_assert_int_eq(raid_assemble(im.devs, 2, &(struct raid_open_opts){ .alloc = alloc }, &r), 0);
	ck_assert_int_eq(blk_write(raid_dev(r), 0, buf, sizeof(buf)), 0);
	text = examine(&im, 0);
	must_say(text, "State : active");
	must_msg(strstr(text, "- correct"), "%s", text);
	ck_assert_int_eq(raid_free(r), 0);
	text = examine(&im, 2);
	must_say(text, "State : clean");
	must_msg(strstr(text, "- correct"), "%s", text);
	if (metadatas[_i] == RAID_META_090)
		must_say(text, "Active Devices : 2");
	else
		must_say(text, "Array State : A.A");
	ck_assert_uint_eq(alloc_free(alloc), 0);
	images_remove(&im);
}
END_TEST

START_TEST(every_metadata_version_keeps_data_and_reassembles)
{
	struct tconf conf = { .level = RAID_5, .nr_disks = 4, .chunk_sects = 16, .rows = 12, .has_metadata = true,
			      .metadata = metadatas[_i], .nr_spares = 1 };
	struct tarray *t = tarray_new(&conf, 6000 + (uint64_t)_i);

	tarray_write_random(t, 10);
	tarray_reassemble(t);
	tarray_compare(t);
	t->absent[2] = true;
	tarray_reassemble(t);
	tarray_write_random(t, 10);
	tarray_stop(t);
	t->absent[2] = false;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	must(raid_is_degraded(t->r));
	tarray_compare(t);
	ck_assert_int_eq(tarray_info(t, 4).role, RAID_ROLE_SPARE);
	ck_assert_int_eq(tarray_info(t, 3).role, 3);
	tarray_free(t);
}
END_TEST

/* A bitmap as mdadm puts one behind the superblock. */
static void bitmap_put(struct tarray *t, unsigned disk, uint32_t version)
{
	struct raid_info info = tarray_info(t, disk);
	uint8_t *sb_at = t->disks[disk].mem + (info.super_offset << SECT_SHIFT);
	struct md_disk_sb1 *sb = (struct md_disk_sb1 *)sb_at;
	struct md_disk_bitmap *b = (struct md_disk_bitmap *)(sb_at + 8 * SECT_BYTES);
	uint32_t *words = (uint32_t *)sb_at;
	uint64_t sum = 0;

	*b = (struct md_disk_bitmap){
		.magic = le32_of(MD_BITMAP_MAGIC_U32), .version = le32_of(version), .events = le64_of(info.events),
		.events_cleared = le64_of(info.events), .sync_size = le64_of(info.size_sects), .chunksize = le32_of(4096) };
	memcpy(b->uuid, info.uuid, sizeof(b->uuid));
	sb->feature_map = le32_of(MD_FEATURE_BITMAP_OFFSET);
	sb->bitmap_offset = le32_of(8);
	sb->sb_csum = le32_of(0);
	for (unsigned i = 0; i < (256 + 2 * le32_get(sb->max_dev)) / 4; i++)
		sum += le32toh(words[i]);
	sb->sb_csum = le32_of((uint32_t)((sum & UINT32_MAX) + (sum >> 32)));
}

static const struct tconf with_room = { .level = RAID_5, .nr_disks = 3, .chunk_sects = 16, .rows = 12 };

START_TEST(bits_of_a_bitmap_are_set_where_writes_go_and_cleared_after)
{
	struct tarray *t = tarray_new(&with_room, 2);	/* data_offset 32: room for 16 sectors of bitmap */
	struct md_disk_bitmap *b = (struct md_disk_bitmap *)(t->disks[1].mem + 16 * SECT_BYTES);
	uint8_t *bits = (uint8_t *)(b + 1);
	unsigned nr_bits;

	tarray_stop(t);
	for (unsigned i = 0; i < 3; i++)
		bitmap_put(t, i, MD_BITMAP_VERSION);
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	nr_bits = (unsigned)(tarray_info(t, 1).size_sects / 8);
	/* A stripe is 16 sectors of each member, two bits. */
	ck_assert_int_eq(tarray_write(t, 0, 8), 0);
	ck_assert_int_eq(tarray_write(t, 3 * 32, 1), 0);
	for (unsigned i = 0; i < nr_bits; i++)
		must((bits[i / 8] >> i % 8 & 1) == (i / 2 == 0 || i / 2 == 3));
	ck_assert_uint_eq(bits[nr_bits / 8] >> nr_bits % 8, 0);
	ck_assert_uint_eq(le64_get(b->events), tarray_info(t, 1).events);
	ck_assert_uint_lt(le64_get(b->events_cleared), le64_get(b->events));
	tarray_stop(t);
	for (unsigned i = 0; i < nr_bits; i++)
		ck_assert_uint_eq(bits[i / 8], 0);
	/* Cleared first, then the superblocks say clean. */
	ck_assert_uint_eq(le64_get(b->events), tarray_info(t, 1).events);
	ck_assert_uint_eq(le64_get(b->events_cleared), le64_get(b->events) - 1);

	/* Degraded: what the missing member has missed stays marked. */
	t->absent[0] = true;
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	ck_assert_int_eq(tarray_write(t, 0, 8), 0);
	tarray_stop(t);
	ck_assert_uint_eq(bits[0], 0x03);
	ck_assert_uint_lt(le64_get(b->events_cleared), le64_get(b->events));
	tarray_free(t);
}
END_TEST

START_TEST(a_bitmap_of_another_version_is_refused_by_name)
{
	struct tarray *t = tarray_new(&with_room, 2);

	tarray_stop(t);
	for (unsigned i = 0; i < 3; i++)
		bitmap_put(t, i, 5);
	ck_assert_int_eq(tarray_assemble(t, NULL), -EOPNOTSUPP);
	must(tlog_saw("bitmap of version 5"));
	ck_assert_int_eq(tarray_assemble(t, &(struct raid_open_opts){ .read_only = true }), 0);
	tarray_free(t);
}
END_TEST

/* A superblock of random bytes behind a right checksum must not do harm, whatever it says. */
START_TEST(random_damage_with_a_right_checksum_never_crashes)
{
	for (unsigned seed = 0; seed < 300; seed++) {
		struct tarray *t = tarray_new(&with_room, 2);
		uint8_t *sb = t->disks[0].mem + 4096;
		struct rng rng = { seed };
		uint64_t sum = 0;
		le32 word;

		tarray_stop(t);
		for (unsigned i = 0; i < 1 + seed % 4; i++)
			sb[8 + rng_below(&rng, 256 + 6 - 8)] = (uint8_t)rng_next(&rng);
		memcpy(&word, sb + 0xdc, 4);
		if (le32_get(word) > 64)
			memset(sb + 0xdc, 0, 4);
		memset(sb + 0xd8, 0, 4);
		memcpy(&word, sb + 0xdc, 4);
		for (unsigned i = 0; i < (256 + 2 * le32_get(word)) / 4; i++) {
			le32 w;

			memcpy(&w, sb + i * 4, 4);
			sum += le32_get(w);
		}
		if (le32_get(word) % 2)
			sum += sb[256 + 2 * le32_get(word) - 2] | sb[256 + 2 * le32_get(word) - 1] << 8;
		word = le32_of((uint32_t)((sum & UINT32_MAX) + (sum >> 32)));
		memcpy(sb + 0xd8, &word, 4);
		if (!tarray_assemble(t, NULL)) {
			uint8_t buf[4096];
			int ignored = blk_read(raid_dev(t->r), 0, buf, sizeof(buf));

			(void)ignored;
		}
		tarray_free(t);
	}
}
END_TEST

Suite *raid_format_suite(void)
{
	Suite *s = suite_create("raid_format");
	TCase *tc = tcase_create("format");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, mdadm_accepts_superblocks_made_here, 0, ARRAY_LEN(metadatas));
	tcase_add_loop_test(tc, mdadm_sees_what_happens_to_members, 0, ARRAY_LEN(metadatas));
	tcase_add_loop_test(tc, every_metadata_version_keeps_data_and_reassembles, 0, ARRAY_LEN(metadatas));
	tcase_add_test(tc, bits_of_a_bitmap_are_set_where_writes_go_and_cleared_after);
	tcase_add_test(tc, a_bitmap_of_another_version_is_refused_by_name);
	tcase_add_test(tc, random_damage_with_a_right_checksum_never_crashes);
	suite_add_tcase(s, tc);
	return s;
}
