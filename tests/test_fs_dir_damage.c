/* test_fs_dir_damage.c: damaged directories: what can be read is read, nothing crashes, the log says where. */
#include <stdlib.h>

#include "base/rng.h"
#include "test_fs_dir.h"

enum { NR_FILES = 400 };

struct victim {
	struct fsx *x;
	ino_nr_t dir;
	uint32_t block_bytes;
	unsigned nr_blocks;
	pblk_t blocks[64];
};

static void name_of(char name[static 32], unsigned i)
{
	snprintf(name, 32, "name-%05u", i);
}

/* A directory of some blocks, unmounted, and where its blocks lie. */
static struct victim make_victim(const char *mke2fs, uint32_t block_bytes)
{
	struct victim v = { .x = fsx_new("16m", mke2fs), .block_bytes = block_bytes };
	char name[32], *text, *at;

	fsx_mount(v.x);
	v.dir = tree_must_dir(v.x, EXT_ROOT_INO, "d");
	for (unsigned i = 0; i < NR_FILES; i++) {
		name_of(name, i);
		tree_must_file(v.x, v.dir, name);
	}
	fsx_done(v.x);
	text = at = fsx_debugfs(v.x, "blocks /d");
	for (;;) {
		const unsigned long n = strtoul(at, &at, 10);

		if (!n)
			break;
		ck_assert_uint_lt(v.nr_blocks, ARRAY_LEN(v.blocks));
		v.blocks[v.nr_blocks++] = n;
	}
	free(text);
	ck_assert_uint_gt(v.nr_blocks, 2);
	v.x->opts.errors = FS_ERRORS_CONTINUE;
	return v;
}

static unsigned count_found(struct victim *v, unsigned *nr_bad)
{
	unsigned nr = 0;

	*nr_bad = 0;
	for (unsigned i = 0; i < NR_FILES; i++) {
		char name[32];
		int64_t ino;

		name_of(name, i);
		ino = tree_find(v->x, v->dir, name);
		ck_assert_msg(ino > 0 || ino == -ENOENT || ino == -EUCLEAN, "%s: %jd", name, (intmax_t)ino);
		nr += ino > 0;
		*nr_bad += ino == -EUCLEAN;
	}
	return nr;
}

struct counter {
	unsigned nr;
	uint64_t cookie;
};

static bool count_one(void *arg, const struct fs_dirent *de)
{
	struct counter *c = arg;

	c->nr++;
	c->cookie = de->next_cookie;
	return true;
}

static unsigned count_listed(struct victim *v)
{
	struct counter c = { 0 };
	const int err = fs_readdir(v->x->fs, v->dir, 0, count_one, &c);

	ck_assert_msg(err == 0 || err == -EUCLEAN, "%s", strerror(-err));
	return c.nr;
}

START_TEST(a_bad_leaf_does_not_hide_the_others)
{
	static const char *const mke2fs[] = {
		FSX_EXT ",^metadata_csum,^dir_index -b 1024", FSX_EXT ",metadata_csum,^dir_index -b 1024",
		FSX_EXT ",^metadata_csum,dir_index -b 1024", FSX_EXT ",metadata_csum,dir_index -b 1024",
	};
	struct victim v = make_victim(mke2fs[_i], 1024);
	CLEANUP_FSX struct fsx *x = v.x;
	const le16 bad_len = le16_of(2);
	unsigned nr, nr_bad, nr_listed;

	fsx_poke(x, v.blocks[1] * 1024 + 4, &bad_len, sizeof(bad_len));
	fsx_mount(x);
	nr = count_found(&v, &nr_bad);
	ck_assert_uint_gt(nr, NR_FILES / 2);
	ck_assert_uint_lt(nr, NR_FILES);
	ck_assert_uint_eq(nr + nr_bad, NR_FILES);
	nr_listed = count_listed(&v);
	ck_assert_uint_eq(nr_listed, nr + 2);
	ck_assert_msg(strstr(fsx_log(), "directory inode") != NULL, "%s", fsx_log());
	fsx_unmount(x);
}
END_TEST

START_TEST(a_bad_index_is_gone_round)
{
	/* Of the root: hash version, levels, limit, count, a block number, order of the hashes. */
	static const struct {
		unsigned off;
		uint32_t value;
		unsigned len;
	} damages[] = {
		{ 28, 9, 1 }, { 30, 7, 1 }, { 32, 5, 2 }, { 34, 9999, 2 }, { 34, 0, 2 }, { 36, 0, 4 }, { 36, 5000, 4 },
		{ 40, 0xfffffff0, 4 }, { 29, 3, 1 },
	};
	const bool csum = (unsigned)_i >= ARRAY_LEN(damages);
	const unsigned which = (unsigned)_i % ARRAY_LEN(damages);
	struct victim v = make_victim(csum ? FSX_EXT ",metadata_csum -b 1024" : FSX_EXT ",^metadata_csum -b 1024", 1024);
	CLEANUP_FSX struct fsx *x = v.x;
	const le32 value = le32_of(damages[which].value);
	char name[32];
	unsigned nr_bad;

	fsx_poke(x, v.blocks[0] * 1024 + damages[which].off, &value, damages[which].len);
	fsx_mount(x);
	if (csum) {	/* its first block is bad, which might have been a leaf */
		ck_assert_uint_eq(count_found(&v, &nr_bad), NR_FILES);
	} else {
		ck_assert_uint_eq(count_found(&v, &nr_bad), NR_FILES);
		ck_assert_uint_eq(count_listed(&v), NR_FILES + 2);
	}
	ck_assert_int_eq(tree_file(x, v.dir, "new"), -EUCLEAN);
	name_of(name, 7);
	ck_assert_int_eq(tree_unlink(x, v.dir, name), 0);
	fsx_unmount(x);
}
END_TEST

/* Whoever walks it would meet the same names for as long as there are hashes. */
START_TEST(an_index_that_leads_to_the_same_blocks_again_is_damage)
{
	enum { NR = 900, COUNT = 34, FIRST_NODE = 36, NR_ENTRIES = 100 };	/* places in the root */
	const le16 count = le16_of(NR_ENTRIES);
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",^metadata_csum,dir_index -b 1024");
	struct victim v = { .x = x };
	char name[256], *text;
	struct counter all = { 0 };
	pblk_t root;
	le32 first;
	FILE *f;

	fsx_mount(x);
	v.dir = tree_must_dir(x, EXT_ROOT_INO, "d");
	for (unsigned i = 0; i < NR; i++) {	/* long ones: two levels of index soon */
		snprintf(name, sizeof(name), "%0200u", i);
		tree_must_file(x, v.dir, name);
	}
	fsx_done(x);
	text = fsx_debugfs(x, "blocks /d");
	root = strtoul(text, NULL, 10);
	free(text);
	text = fsx_debugfs(x, "htree /d");
	ck_assert_ptr_nonnull(strstr(text, "Indirect levels: 1"));
	free(text);
	x->opts.errors = FS_ERRORS_CONTINUE;
	f = fopen(x->image, "r");
	ck_assert(f && !fseek(f, (long)root * 1024 + FIRST_NODE, SEEK_SET) && fread(&first, 4, 1, f) == 1 && !fclose(f));
	fsx_poke(x, root * 1024 + COUNT, &count, sizeof(count));
	for (unsigned i = 1; i < NR_ENTRIES; i++) {	/* hash and node */
		const le32 entry[2] = { le32_of(i << 20), first };

		fsx_poke(x, root * 1024 + FIRST_NODE + 4 + 8 * (i - 1), entry, sizeof(entry));
	}
	fsx_mount(x);
	ck_assert_int_eq(fs_readdir(x->fs, v.dir, 0, count_one, &all), 0);
	ck_assert_uint_eq(all.nr, NR + 2);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "its index leads to more blocks than its"));
	snprintf(name, sizeof(name), "%0200u", 7);
	ck_assert_int_gt(tree_find(x, v.dir, name), 0);
	fsx_unmount(x);
}
END_TEST

/* Any bytes anywhere in any block: errors, but no crash, no endless listing, nothing invented. */
START_TEST(random_damage_gives_errors_only)
{
	static const char *const mke2fs[] = {
		FSX_EXT ",^metadata_csum,^dir_index -b 1024", FSX_EXT ",^metadata_csum,dir_index -b 1024",
		FSX_EXT ",^metadata_csum,dir_index,large_dir -b 1024",
	};
	struct victim v = make_victim(mke2fs[_i], 1024);
	CLEANUP_FSX struct fsx *x = v.x;
	struct rng rng = { 1000 + (uint64_t)_i };
	uint8_t saved[64][1024];

	for (unsigned b = 0; b < v.nr_blocks; b++)
		fsx_peek(x, v.blocks[b] * 1024, saved[b], 1024);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned n = 1 + (unsigned)rng_below(&rng, 6); n > 0; n--) {
			const unsigned b = rng_below(&rng, 2) ? 0 : (unsigned)rng_below(&rng, v.nr_blocks);
			const uint64_t off = rng_below(&rng, 3) ? rng_below(&rng, 64) : rng_below(&rng, 1020);
			const uint32_t bytes = (uint32_t)(rng_next(&rng) >> rng_below(&rng, 32));

			fsx_poke(x, v.blocks[b] * 1024 + off, &bytes, 1 + rng_below(&rng, 4));
		}
		fsx_mount(x);
		for (unsigned i = 0; i < 60; i++) {
			char name[32];
			const ino_nr_t f = EXT_FIRST_INO_DEFAULT + 5;

			name_of(name, (unsigned)rng_below(&rng, NR_FILES));
			(void)tree_find(x, v.dir, name);
			if (i % 3 == 0)
				(void)tree_unlink(x, v.dir, name);
			snprintf(name, sizeof(name), "new-%u-%u", round, i);
			(void)tree_link(x, f, v.dir, name);
		}
		ck_assert_uint_lt(count_listed(&v), 3 * NR_FILES);
		(void)tree_rmdir(x, EXT_ROOT_INO, "d");
		fsx_unmount(x);
		for (unsigned b = 0; b < v.nr_blocks; b++)
			fsx_poke(x, v.blocks[b] * 1024, saved[b], 1024);
	}
}
END_TEST

START_TEST(an_entry_of_a_free_inode_is_damage)
{
	CLEANUP_FSX struct fsx *x = fsx_new("8m", FSX_EXT " -b 1024");

	fsx_mount(x);
	tree_must_file(x, EXT_ROOT_INO, "f");
	fsx_unmount(x);
	fsx_debugfs_write(x, "clri f");
	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "f"), -EUCLEAN);
	ck_assert_msg(strstr(fsx_log(), "'f'") != NULL, "%s", fsx_log());
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "f"), -EUCLEAN);
	fsx_unmount(x);
}
END_TEST

START_TEST(a_damaged_inline_directory_is_an_error)
{
	CLEANUP_FSX struct fsx *x = fsx_new("8m", FSX_EXT ",inline_data,^metadata_csum -b 1024");
	char request[64];
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	tree_must_file(x, d, "f");
	fsx_unmount(x);
	snprintf(request, sizeof(request), "sif /d block[2] 0x%x", 3 + _i);	/* the first entry's rec_len */
	fsx_debugfs_write(x, request);
	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	ck_assert_int_eq(tree_find(x, d, "f"), -EUCLEAN);
	ck_assert_int_eq(tree_file(x, d, "g"), -EUCLEAN);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), -EUCLEAN);
	fsx_unmount(x);
}
END_TEST

TCase *dir_damage_tests(void)
{
	TCase *tc = tcase_create("damage");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_bad_leaf_does_not_hide_the_others, 0, 4);
	tcase_add_loop_test(tc, a_bad_index_is_gone_round, 0, 18);
	tcase_add_test(tc, an_index_that_leads_to_the_same_blocks_again_is_damage);
	tcase_add_loop_test(tc, random_damage_gives_errors_only, 0, 3);
	tcase_add_test(tc, an_entry_of_a_free_inode_is_damage);
	tcase_add_loop_test(tc, a_damaged_inline_directory_is_an_error, 0, 3);
	return tc;
}
