/* test_fs_dir_thread.c: several threads in the same directories. */
#include <pthread.h>
#include <stdlib.h>

#include "base/rng.h"
#include "test_fs_dir.h"

enum { NR_THREADS = 4, NR_ROUNDS = 400, NR_DIRS = 3 };

struct worker {
	pthread_t thread;
	struct fsx *x;
	unsigned nr;
	ino_nr_t dirs[NR_DIRS];
	struct rng rng;
};

static void start(struct worker *workers, struct fsx *x, const ino_nr_t *dirs, void *(*fn)(void *))
{
	for (unsigned i = 0; i < NR_THREADS; i++) {
		workers[i] = (struct worker){ .x = x, .nr = i, .rng = { 50 + i } };
		memcpy(workers[i].dirs, dirs, sizeof(workers[i].dirs));
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, fn, &workers[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
}

static bool count_one(void *arg, const struct fs_dirent *de)
{
	(void)de;
	return ++*(unsigned *)arg % 50 != 0;
}

/* Its own names come and go; the others' too, meanwhile. */
static void *create_and_remove(void *arg)
{
	struct worker *w = arg;
	char name[64];

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		unsigned nr = 0;

		snprintf(name, sizeof(name), "file-%u-%u", w->nr, i);
		ck_assert_int_gt(tree_file(w->x, w->dirs[0], name), 0);
		ck_assert_int_gt(tree_find(w->x, w->dirs[0], name), 0);
		if (i % 16 == 0)
			ck_assert_int_eq(fs_readdir(w->x->fs, w->dirs[0], 0, count_one, &nr), 0);
		if (i % 4) {
			snprintf(name, sizeof(name), "file-%u-%u", w->nr, i - i % 4);
			ck_assert_int_eq(tree_find(w->x, w->dirs[0], name) > 0, 1);
			snprintf(name, sizeof(name), "file-%u-%u", w->nr, i);
			ck_assert_int_eq(tree_unlink(w->x, w->dirs[0], name), 0);
		}
	}
	return NULL;
}

START_TEST(threads_create_and_remove_in_one_directory)
{
	CLEANUP_FSX struct fsx *x = fsx_new("24m", FSX_EXT " -b 1024");
	struct worker workers[NR_THREADS];
	ino_nr_t dirs[NR_DIRS] = { 0 };
	struct tree_list l;

	fsx_mount(x);
	dirs[0] = tree_must_dir(x, EXT_ROOT_INO, "d");
	start(workers, x, dirs, create_and_remove);
	l = tree_list_all(x, dirs[0], 100);
	ck_assert_uint_eq(l.nr, NR_THREADS * NR_ROUNDS / 4);
	tree_list_free(&l);
	fsx_done(x);
}
END_TEST

/* The same few names everywhere: every call may fail, but only in the ways that POSIX has. */
static void *meddle(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		const ino_nr_t a = w->dirs[rng_below(&w->rng, NR_DIRS)], b = w->dirs[rng_below(&w->rng, NR_DIRS)];
		char name[8], other[8];
		int64_t got;

		snprintf(name, sizeof(name), "n%u", (unsigned)rng_below(&w->rng, 5));
		snprintf(other, sizeof(other), "n%u", (unsigned)rng_below(&w->rng, 5));
		switch (rng_below(&w->rng, 8)) {
		case 0: got = tree_file(w->x, a, name); break;
		case 1: got = tree_dir(w->x, a, name); break;
		case 2: got = tree_unlink(w->x, a, name); break;
		case 3: got = tree_rmdir(w->x, a, name); break;
		case 4: got = tree_rename(w->x, a, name, b, other, 0); break;
		case 5: got = tree_rename(w->x, a, name, b, other, FS_RENAME_EXCHANGE); break;
		case 6:
			got = tree_find(w->x, a, name);
			got = got > 0 ? tree_link(w->x, (ino_nr_t)got, b, other) : got;
			break;
		default: got = tree_find(w->x, a, name); break;
		}
		ck_assert_msg(got >= 0 || got == -ENOENT || got == -EEXIST || got == -EISDIR || got == -ENOTDIR ||
			      got == -ENOTEMPTY || got == -EPERM || got == -ESTALE || got == -EINVAL,
			      "%s", strerror((int)-got));
	}
	return NULL;
}

START_TEST(threads_rename_and_link_across_directories)
{
	CLEANUP_FSX struct fsx *x = fsx_new("24m", _i ? FSX_EXT ",inline_data" : FSX_EXT " -b 1024");
	struct worker workers[NR_THREADS];
	ino_nr_t dirs[NR_DIRS];
	static const char *const names[NR_DIRS] = { "a", "b", "c" };

	fsx_mount(x);
	for (unsigned i = 0; i < NR_DIRS; i++)
		dirs[i] = tree_must_dir(x, EXT_ROOT_INO, names[i]);
	start(workers, x, dirs, meddle);
	ck_assert_msg(strstr(fsx_log(), "directory inode") == NULL, "%s", fsx_log());
	fsx_done(x);
}
END_TEST

TCase *dir_thread_tests(void)
{
	TCase *tc = tcase_create("threads");

	tcase_set_tags(tc, "threads");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, threads_create_and_remove_in_one_directory);
	tcase_add_loop_test(tc, threads_rename_and_link_across_directories, 0, 2);
	return tc;
}
