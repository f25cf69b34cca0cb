/* test_fs_dir_big.c: directories with many names: trees of every depth, listings while they grow, full disks. */
#include <stdlib.h>

#include "base/rng.h"
#include "test_fs_dir.h"

static void name_of(char name[static 64], unsigned i)
{
	snprintf(name, 64, "file-%06u-of-many", i);
}

/* Four of them fill a leaf of 1 KiB. */
static void long_name(char name[static EXT_NAME_MAX + 1], unsigned i)
{
	const int len = snprintf(name, EXT_NAME_MAX + 1, "%07u", i);

	memset(name + len, 'l', EXT_NAME_MAX - (size_t)len);
	name[EXT_NAME_MAX] = '\0';
}

static void add_names(struct fsx *x, ino_nr_t ino, ino_nr_t dir, unsigned from, unsigned to)
{
	char name[64];

	for (unsigned i = from; i < to; i++) {
		int err;

		name_of(name, i);
		err = tree_link(x, ino, dir, name);
		ck_assert_msg(!err, "%s: %s\n%s", name, strerror(-err), fsx_log());
	}
}

/* Many names of few inodes: an inode has at most 65,000. */
static void fill_dir(struct fsx *x, ino_nr_t dir, unsigned nr)
{
	enum { PER_INODE = 50000 };
	char name[64];

	for (unsigned i = 0; i < nr; i += PER_INODE) {
		ino_nr_t ino;

		name_of(name, i);
		ino = tree_must_file(x, dir, name);
		add_names(x, ino, dir, i + 1, MIN(nr, i + PER_INODE));
	}
}

static void check_names(struct fsx *x, ino_nr_t dir, unsigned nr, unsigned step)
{
	struct tree_list l = tree_list_all(x, dir, 1000);
	char name[64];

	ck_assert_uint_eq(l.nr, nr);
	tree_list_free(&l);
	for (unsigned i = 0; i < nr; i += step) {
		name_of(name, i);
		ck_assert_int_gt(tree_find(x, dir, name), 0);
	}
	ck_assert_int_eq(tree_find(x, dir, "file-none"), -ENOENT);
}

static void remove_names(struct fsx *x, ino_nr_t dir, unsigned nr)
{
	char name[64];

	for (unsigned i = 0; i < nr; i++) {
		name_of(name, i);
		ck_assert_int_eq(tree_unlink(x, dir, name), 0);
	}
}

static unsigned indirect_levels(struct fsx *x, const char *dir)
{
	char request[64], *text, *at;
	unsigned levels;

	snprintf(request, sizeof(request), "htree_dump %s", dir);
	text = fsx_debugfs(x, request);
	at = strstr(text, "Indirect levels: ");
	ck_assert_msg(at != NULL, "%s", text);
	levels = (unsigned)strtoul(at + strlen("Indirect levels: "), NULL, 10);
	free(text);
	return levels;
}

START_TEST(a_hundred_thousand_names_come_and_go)
{
	enum { NR = 100000 };
	CLEANUP_FSX struct fsx *x = fsx_new("32m", _i ? FSX_EXT ",metadata_csum,large_dir -b 1024"
						      : FSX_EXT ",^metadata_csum -b 1024");
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	fill_dir(x, d, NR);
	check_names(x, d, NR, 7);
	fsx_done(x);
	ck_assert_uint_eq(indirect_levels(x, "/d"), 1);
	fsx_mount(x);
	check_names(x, d, NR, 11);
	remove_names(x, d, NR);
	check_names(x, d, 0, 1);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), 0);
	fsx_done(x);
}
END_TEST

START_TEST(a_tree_of_three_levels_holds_its_names)
{
	enum { NR = 70000 };
	CLEANUP_FSX struct fsx *x = fsx_new("200m", FSX_EXT ",metadata_csum,large_dir -b 1024");
	char name[EXT_NAME_MAX + 1];
	unsigned nr = 0;
	ino_nr_t d, f = 0;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	for (; nr < NR; nr++) {
		long_name(name, nr);
		if (nr % 60000 == 0)
			f = tree_must_file(x, d, name);
		else
			ck_assert_int_eq(tree_link(x, f, d, name), 0);
	}
	for (unsigned i = 0; i < nr; i += 13) {
		long_name(name, i);
		ck_assert_int_gt(tree_find(x, d, name), 0);
	}
	fsx_done(x);
	ck_assert_uint_eq(indirect_levels(x, "/d"), 2);
}
END_TEST

START_TEST(an_index_that_cannot_grow_says_so_and_stays_whole)
{
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXT ",^large_dir -b 1024");
	char name[EXT_NAME_MAX + 1];
	struct tree_list l;
	unsigned nr = 0;
	int err = 0;
	ino_nr_t d, f;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	f = tree_must_file(x, d, "f");
	for (; !err && nr < 64000; nr++) {
		long_name(name, nr);
		err = tree_link(x, f, d, name);
	}
	ck_assert_int_eq(err, -ENOSPC);
	l = tree_list_all(x, d, 1000);
	ck_assert_uint_eq(l.nr, nr);	/* f, and all but the last */
	tree_list_free(&l);
	fsx_done(x);
}
END_TEST

START_TEST(debugfs_lists_the_same_names)
{
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	struct tree_list ours, theirs;
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	fill_dir(x, d, 900);
	ours = tree_list_all(x, d, 50);
	fsx_done(x);
	theirs = tree_debugfs_ls(x, "/d");
	tree_lists_equal(&ours, &theirs);
	tree_list_free(&ours);
	tree_list_free(&theirs);
}
END_TEST

/* The index that e2fsck -D makes is packed full, so that insertions split everywhere. */
START_TEST(a_tree_made_by_e2fsck_is_read_and_extended)
{
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	fill_dir(x, d, 8000);
	fsx_done(x);
	ck_assert_int_le(fsx_fsck_status(x, "-fyD", NULL), 1);
	fsx_mount(x);
	check_names(x, d, 8000, 1);
	add_names(x, (ino_nr_t)tree_find(x, d, "file-000001-of-many"), d, 8000, 16000);
	check_names(x, d, 16000, 1);
	fsx_done(x);
}
END_TEST

START_TEST(every_hash_version_makes_a_tree_that_e2fsck_accepts)
{
	static const char *const versions[] = { "legacy", "half_md4", "tea" };
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",metadata_csum -b 1024");
	char request[64], *text, name[64];
	ino_nr_t d, f;

	snprintf(request, sizeof(request), "ssv def_hash_version %s", versions[_i % 3]);
	fsx_debugfs_write(x, request);
	fsx_debugfs_write(x, _i < 3 ? "ssv flags 1" : "ssv flags 2");
	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	f = tree_must_file(x, d, "\xc3\xa4-first");
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "\xc3\xa4\xf0\x9f-%u", i);
		ck_assert_int_eq(tree_link(x, f, d, name), 0);
	}
	fsx_done(x);
	text = fsx_debugfs(x, "htree_dump /d");
	ck_assert_msg(strstr(text, "Indirect levels") != NULL, "%s", text);
	free(text);
	fsx_mount(x);
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "\xc3\xa4\xf0\x9f-%u", i);
		ck_assert_int_eq(tree_find(x, d, name), f);
	}
	fsx_done(x);
}
END_TEST

/* Behind 245 times 'c' these endings give one legacy hash, 0x3d26d9f6. */
static const char *const one_hash[] = {
	"L77Pf", "MwSWd", "P^)Q6", "aVGk2", "cCR^t", "cCRt^", "cC]##", "cC]&&", "cC],,", "cC]--", "cC]11", "cC]77", "cC]88", "cC]>>",
	"cC]BB", "cC]II", "cC]LL", "cC]MM", "cC]SS", "cC]WW", "cC]^^", "cC]bb", "cC]hh", "cC]ii", "cC]mm", "cC]ss", "cC]tt", "fF>CB",
};
enum { ONE_HASH_PREFIX = 245, NR_ONE_HASH = ARRAY_LEN(one_hash) };

static void one_hash_name(char name[static 256], unsigned i)
{
	memset(name, 'c', ONE_HASH_PREFIX);
	strcpy(name + ONE_HASH_PREFIX, one_hash[i]);
}

/* Three such names fill a leaf. Others come between, so that they are not alone at a split. */
START_TEST(names_of_one_hash_go_on_over_many_blocks)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",metadata_csum -b 1024");
	char name[256], *text;
	ino_nr_t d, f;

	fsx_debugfs_write(x, "ssv def_hash_version legacy");
	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	f = tree_must_file(x, EXT_ROOT_INO, "f");
	for (unsigned i = 0; i < NR_ONE_HASH; i++) {
		one_hash_name(name, i);
		ck_assert_int_eq(tree_link(x, f, d, name), 0);
		add_names(x, f, d, i * 20, i * 20 + 20);
	}
	fsx_done(x);
	text = fsx_debugfs(x, "htree_dump /d");
	ck_assert_msg(strstr(text, "3d26d9f7") != NULL, "no leaf goes on: %s", text);
	free(text);
	fsx_mount(x);
	for (unsigned per_call = 1; per_call < 40; per_call += 5) {
		struct tree_list l = tree_list_all(x, d, per_call);

		ck_assert_uint_eq(l.nr, 21 * NR_ONE_HASH);
		tree_list_free(&l);
	}
	for (unsigned i = 0; i < NR_ONE_HASH; i++) {
		one_hash_name(name, i);
		ck_assert_int_eq(tree_find(x, d, name), f);
		if (i % 2)
			ck_assert_int_eq(tree_unlink(x, d, name), 0);
	}
	for (unsigned i = 0; i < NR_ONE_HASH; i++) {
		one_hash_name(name, i);
		ck_assert_int_eq(tree_find(x, d, name), i % 2 ? -ENOENT : (int64_t)f);
	}
	fsx_done(x);
}
END_TEST

/* Listings while the directory changes ---------------------------------------------------------- */

/* Names that are there all the time come exactly once, whatever else comes and goes. */
START_TEST(a_listing_while_the_directory_splits_has_each_name_once)
{
	enum { NR_OLD = 300, NR_NEW = 4000 };
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	static const unsigned starts[] = { 2, 12, 60, NR_OLD };
	char name[64];

	fsx_mount(x);
	for (unsigned round = 0; round < ARRAY_LEN(starts); round++) {
		struct tree_list l = { 0 };
		unsigned next = 10000;
		ino_nr_t d, f;

		snprintf(name, sizeof(name), "d%u", round);
		d = tree_must_dir(x, EXT_ROOT_INO, name);
		f = tree_must_file(x, EXT_ROOT_INO, "f");
		add_names(x, f, d, 0, starts[round]);
		while (!l.at_end) {
			tree_list_more(x, d, &l, 7);
			if (next < 10000 + NR_NEW)
				add_names(x, f, d, next, next + 60);
			for (unsigned i = next; i < next + 60 && next < 10000 + NR_NEW; i += 3) {
				name_of(name, i);
				ck_assert_int_eq(tree_unlink(x, d, name), 0);
			}
			next += 60;
		}
		for (unsigned i = 0; i < starts[round]; i++) {
			name_of(name, i);
			ck_assert_msg(tree_list_count(&l, name) == 1, "round %u: %s came %u times", round, name,
				      tree_list_count(&l, name));
		}
		tree_list_free(&l);
		ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "f"), 0);
	}
	fsx_done(x);
}
END_TEST

START_TEST(a_listing_that_removes_what_it_has_seen_sees_all)
{
	enum { NR = 1500 };
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	struct tree_list l = { 0 };
	unsigned done = 0;
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	fill_dir(x, d, NR);
	while (!l.at_end) {
		tree_list_more(x, d, &l, 24);
		for (; done < l.nr; done++)
			ck_assert_int_eq(tree_unlink(x, d, l.names[done].name), 0);
	}
	ck_assert_uint_eq(l.nr, NR);
	tree_list_free(&l);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), 0);
	fsx_done(x);
}
END_TEST

START_TEST(any_cookie_leads_to_an_end)
{
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	struct rng rng = { 77 + (uint64_t)_i };
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	fill_dir(x, d, 500);
	for (unsigned i = 0; i < 200; i++) {
		struct tree_list l = { .cookie = rng_next(&rng) >> rng_below(&rng, 64) };

		while (!l.at_end)
			tree_list_more(x, d, &l, 100);
		ck_assert_uint_le(l.nr, 500);
		tree_list_free(&l);
	}
	fsx_done(x);
}
END_TEST

/* Limits ---------------------------------------------------------------------------------------------- */

START_TEST(more_subdirectories_than_a_link_count_holds)
{
	enum { NR = EXT_LINK_MAX + 10 };
	CLEANUP_FSX struct fsx *x = fsx_new("48m", FSX_EXT ",inline_data,dir_nlink -b 1024 -N 66000");
	char name[64];
	ino_nr_t d;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	for (unsigned i = 0; i < NR; i++) {
		name_of(name, i);
		tree_must_dir(x, d, name);
	}
	ck_assert_uint_eq(tree_attr(x, d).nlink, 1);
	fsx_done(x);
	fsx_mount(x);
	for (unsigned i = 0; i < NR; i++) {
		name_of(name, i);
		ck_assert_int_eq(tree_rmdir(x, d, name), 0);
	}
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), 0);
	fsx_done(x);
}
END_TEST

/* Directories that fill the disk in the middle of every kind of growth: nothing leaks. */
START_TEST(a_full_disk_loses_nothing)
{
	static const char *const sizes[] = { "1500k", "1600k", "1700k" };
	static const char *const opts[] = {
		FSX_EXT ",metadata_csum -b 1024 -N 400", FSX_EXT ",inline_data -b 1024 -N 400", FSX_EXT ",^dir_index -b 1024 -N 400",
	};
	CLEANUP_FSX struct fsx *x = fsx_new(sizes[_i / 3], opts[_i % 3]);
	char name[EXT_NAME_MAX + 1];
	struct statvfs before, after;
	ino_nr_t d, f;
	unsigned nr = 0;
	int err = 0;

	fsx_mount(x);
	d = tree_must_dir(x, EXT_ROOT_INO, "d");
	f = tree_must_file(x, EXT_ROOT_INO, "f");
	fs_statfs(x->fs, &before);
	for (; !err; nr++) {
		long_name(name, nr);
		err = tree_link(x, f, d, name);
	}
	ck_assert_int_eq(err, -ENOSPC);
	for (unsigned i = 0; i < 40; i++) {
		char target[200], dir_name[16];

		memset(target, 't', sizeof(target));
		target[199] = '\0';
		snprintf(dir_name, sizeof(dir_name), "%u", i);
		ck_assert(tree_symlink(x, EXT_ROOT_INO, dir_name, target) == -ENOSPC || i < 20);
		ck_assert_int_lt(tree_file(x, d, name), 0);
	}
	fsx_done(x);
	fsx_mount(x);
	for (unsigned i = 0; i + 1 < nr; i++) {
		long_name(name, i);
		ck_assert_int_eq(tree_unlink(x, d, name), 0);
	}
	for (unsigned i = 0; i < 40; i++) {
		char dir_name[16];

		snprintf(dir_name, sizeof(dir_name), "%u", i);
		if (tree_find(x, EXT_ROOT_INO, dir_name) > 0)
			ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, dir_name), 0);
	}
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), 0);
	ck_assert_int_gt(tree_dir(x, EXT_ROOT_INO, "d"), 0);
	fs_statfs(x->fs, &after);
	ck_assert_uint_eq(before.f_bfree, after.f_bfree);
	ck_assert_uint_eq(before.f_ffree, after.f_ffree);
	fsx_done(x);
}
END_TEST

TCase *dir_big_tests(void)
{
	TCase *tc = tcase_create("big");

	tcase_set_timeout(tc, 240);
	tcase_add_loop_test(tc, a_hundred_thousand_names_come_and_go, 0, 2);
	tcase_add_test(tc, a_tree_of_three_levels_holds_its_names);
	tcase_add_test(tc, an_index_that_cannot_grow_says_so_and_stays_whole);
	tcase_add_loop_test(tc, debugfs_lists_the_same_names, 0, NR_DIR_FORMATS);
	tcase_add_loop_test(tc, a_tree_made_by_e2fsck_is_read_and_extended, 3, 7);
	tcase_add_loop_test(tc, every_hash_version_makes_a_tree_that_e2fsck_accepts, 0, 6);
	tcase_add_test(tc, names_of_one_hash_go_on_over_many_blocks);
	tcase_add_loop_test(tc, a_listing_while_the_directory_splits_has_each_name_once, 0, NR_DIR_FORMATS);
	tcase_add_loop_test(tc, a_listing_that_removes_what_it_has_seen_sees_all, 0, NR_DIR_FORMATS);
	tcase_add_loop_test(tc, any_cookie_leads_to_an_end, 0, NR_DIR_FORMATS);
	tcase_add_test(tc, more_subdirectories_than_a_link_count_holds);
	tcase_add_loop_test(tc, a_full_disk_loses_nothing, 0, 9);
	return tc;
}
