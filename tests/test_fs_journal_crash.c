/*
 * test_fs_journal_crash.c: power cuts in the middle of random work. The tree that our replay gives is the
 * one that e2fsck's replay gives, and neither finds anything else to mend.
 */
#include "test_fs_journal.h"

#include <stdlib.h>

static const char *const kinds[] = {
	FSX_JOURNAL " -b 1024",
	FSX_JOURNAL " -b 4096",
	FSX_JOURNAL ",^metadata_csum -b 1024",
	FSX_JOURNAL ",^metadata_csum,uninit_bg -b 2048",
	FSX_JOURNAL ",inline_data -b 1024 -I 256",
	"-O ^extent,^64bit,has_journal,^orphan_file,^flex_bg,^resize_inode -b 1024 -I 128",
};

static void same_tree(struct fsx *x, int seed)
{
	char *theirs = manifest_by_e2fsck(x), *ours = manifest_by_replay(x);

	ck_assert_msg(!strcmp(theirs, ours), "seed %d: trees differ: e2fsck:\n%s\nosfs:\n%s", seed, theirs, ours);
	free(theirs);
	free(ours);
}

static void crash_and_compare(const char *kind, enum fs_data data, uint64_t seed)
{
	CLEANUP_FSX struct fsx *x = fsx_new("24m", kind);
	char *before, *after;

	x->opts.data = data;
	for (unsigned cut = 0; cut < 3; cut++) {
		fsx_mount(x);
		random_work(x, seed * 10 + cut, 150);
		if (cut == 1)	/* all of it durable: nothing may be missing */
			ck_assert_int_eq(fs_sync(x->fs), 0);
		before = cut == 1 ? tree_manifest(x) : NULL;
		fsx_crash(x);
		same_tree(x, (int)seed);
		if (!before)
			continue;
		fsx_mount(x);
		after = tree_manifest(x);
		ck_assert_msg(!strcmp(before, after), "seed %" PRIu64 ": synced:\n%s\nfound:\n%s", seed, before, after);
		fsx_unmount(x);
		free(before);
		free(after);
	}
}

START_TEST(both_replays_give_one_tree)
{
	crash_and_compare(kinds[_i % (int)ARRAY_LEN(kinds)], FS_DATA_ORDERED, 100 + (uint64_t)_i);
}
END_TEST

START_TEST(both_replays_give_one_tree_with_logged_data)
{
	crash_and_compare(kinds[_i % (int)ARRAY_LEN(kinds)], FS_DATA_JOURNAL, 200 + (uint64_t)_i);
}
END_TEST

START_TEST(both_replays_give_one_tree_without_order)
{
	crash_and_compare(kinds[_i % (int)ARRAY_LEN(kinds)], FS_DATA_WRITEBACK, 300 + (uint64_t)_i);
}
END_TEST

Suite *journal_crash_tests(void)
{
	Suite *s = suite_create("fs journal crash");
	TCase *t = tcase_create("crash");
	const char *tier = getenv("OSFS_TEST_TIER");
#ifdef __SANITIZE_THREAD__
	const int rounds = 1, nr = 1;	/* one thread: little to be found, slowly */
	(void)tier;
#else
	const int rounds = tier && !strcmp(tier, "night") ? 20 : 1, nr = rounds * (int)ARRAY_LEN(kinds);
#endif

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, both_replays_give_one_tree, 0, nr);
	tcase_add_loop_test(t, both_replays_give_one_tree_with_logged_data, 0, MIN(nr, rounds > 1 ? nr : 3));
	tcase_add_loop_test(t, both_replays_give_one_tree_without_order, 0, MIN(nr, rounds > 1 ? nr : 2));
	suite_add_tcase(s, t);
	return s;
}
