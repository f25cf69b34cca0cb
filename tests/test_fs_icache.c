/* test_fs_icache.c: inodes in memory, and what is remembered of those that are not. */
#include <stdlib.h>

#include "base/rng.h"
#include "fs/fs_refs.h"
#include "fs_files.h"

START_TEST(remembered_numbers_are_as_in_a_plain_array)
{
	enum { NR_INOS = 3000, NR_STEPS = 200000 };
	const uint64_t seed = 77;
	struct rng rng = { .state = seed };
	static uint64_t model[NR_INOS];
	struct fs_refs t;
	struct alloc *a;
	uint32_t nr = 0;

	ck_assert_int_eq(alloc_new(&(struct alloc_opts){ 0 }, &a), 0);
	fs_refs_init(&t, a);
	for (unsigned step = 0; step < NR_STEPS; step++) {
		const unsigned i = (unsigned)(rng_next(&rng) % NR_INOS);
		/* Close together and far apart, as inode numbers are. */
		const ino_nr_t ino = i % 2 ? 16 * i + 1 : 4000000000u - i;

		ck_assert_msg(fs_refs_has(&t, ino) == (model[i] > 0), "seed %" PRIu64 " step %u", seed, step);
		if (!model[i]) {
			model[i] = 1 + rng_next(&rng) % 5;
			ck_assert_int_eq(fs_refs_put(&t, ino, model[i]), 0);
			nr++;
		} else if (rng_next(&rng) % 2) {
			ck_assert_uint_eq(fs_refs_take(&t, ino), model[i]);
			model[i] = 0;
			nr--;
		} else {
			const uint64_t less = 1 + rng_next(&rng) % 3;

			ck_assert(fs_refs_drop(&t, ino, less) == (less >= model[i]));
			model[i] -= MIN(less, model[i]);
			nr -= model[i] == 0;
		}
		ck_assert_msg(t.nr_used == nr, "seed %" PRIu64 " step %u: %u, not %u", seed, step, t.nr_used, nr);
	}
	fs_refs_fini(&t);
	ck_assert_uint_eq(alloc_free(a), 0);
}
END_TEST

START_TEST(a_number_that_was_remembered_too_often_is_never_forgotten)
{
	struct fs_refs t;
	struct alloc *a;

	ck_assert_int_eq(alloc_new(&(struct alloc_opts){ 0 }, &a), 0);
	fs_refs_init(&t, a);
	ck_assert_int_eq(fs_refs_put(&t, 12, 1ull << 40), 0);
	ck_assert(!fs_refs_drop(&t, 12, UINT64_MAX));
	ck_assert(fs_refs_has(&t, 12));
	fs_refs_fini(&t);
	ck_assert_uint_eq(alloc_free(a), 0);
}
END_TEST

enum { NR_FILES = 20000, NR_IN_MEMORY = 17000 };

static void name_of(char *name, unsigned i)
{
	snprintf(name, 16, "f%u", i);
}

/* The caller remembers all of them; memory has a part. */
START_TEST(memory_does_not_grow_with_what_is_remembered)
{
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXT " -b 4096 -N 25000");
	struct fs_status st;
	uint64_t nr_free;
	ino_nr_t first;
	uint8_t byte;
	char name[16];

	fsx_mount(x);
	for (unsigned i = 0; i < NR_FILES; i++) {
		name_of(name, i);
		first = file_new(x, name);
		if (i % 100 == 0)
			file_write(x, first, 0, name, 1);
	}
	fs_status_get(x->fs, &st);
	ck_assert_uint_ge(st.nr_referenced_inodes, NR_FILES);
	ck_assert_uint_le(st.nr_cached_inodes, NR_IN_MEMORY);

	/* One that has left memory is unlinked: it stays until it is forgotten, all references counted. */
	first = file_find(x, "f0");
	nr_free = nr_free_blocks(x);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f0")), 0);
	for (unsigned i = 1; i < NR_FILES; i++) {	/* whatever else is looked at meanwhile */
		name_of(name, i);
		fs_forget(x->fs, file_find(x, name), 2);
	}
	fs_forget(x->fs, first, 1);
	ck_assert_uint_eq(file_read(x, first, 0, &byte, 1), 1);
	ck_assert_uint_eq(nr_free_blocks(x), nr_free);
	fs_forget(x->fs, first, 1);
	ck_assert_uint_eq(nr_free_blocks(x), nr_free + 1);
	ck_assert_int_eq(file_read_err(x, first, 0, 1), -ESTALE);
	fs_status_get(x->fs, &st);
	ck_assert_uint_eq(st.nr_referenced_inodes, 0);
	fsx_done(x);
}
END_TEST

/* Work that no request stands behind holds what the caller still remembers, and nothing else. */
START_TEST(only_what_is_remembered_can_be_held)
{
	CLEANUP_FSX struct fsx *x = fsx_new("8m", FSX_EXT " -b 1024");
	struct fs_attr a;
	uint64_t nr_free;
	uint8_t byte;
	ino_nr_t ino;

	fsx_mount(x);
	nr_free = nr_free_blocks(x);
	ino = file_new(x, "f");
	file_write(x, ino, 0, "f", 1);
	ck_assert(fs_hold(x->fs, ino));
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fs_forget(x->fs, ino, 1);	/* the caller's */
	ck_assert_uint_eq(file_read(x, ino, 0, &byte, 1), 1);
	fs_forget(x->fs, ino, 1);
	ck_assert_uint_eq(nr_free_blocks(x), nr_free);
	ck_assert(!fs_hold(x->fs, ino));

	/* The number is somebody else's now; forgotten, it is in memory all the same. */
	ck_assert_uint_eq(file_new(x, "g"), ino);
	fs_forget(x->fs, ino, 1);
	ck_assert_int_eq(fs_getattr(x->fs, ino, &a), 0);
	ck_assert(!fs_hold(x->fs, ino));
	ck_assert(fs_hold(x->fs, EXT_ROOT_INO));	/* always there */
	fs_forget(x->fs, EXT_ROOT_INO, 1);
	fsx_done(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_icache");
	TCase *tc = tcase_create("icache");
	SRunner *sr;
	int nr_failed;

	fsx_need_tools();
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, remembered_numbers_are_as_in_a_plain_array);
	tcase_add_test(tc, a_number_that_was_remembered_too_often_is_never_forgotten);
	tcase_add_test(tc, memory_does_not_grow_with_what_is_remembered);
	tcase_add_test(tc, only_what_is_remembered_can_be_held);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
