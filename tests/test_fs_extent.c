/* test_fs_extent.c: extent trees that grow, split, shrink; unwritten extents; damaged trees. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "base/rng.h"
#include "fs/fs_int.h"
#include "fs_files.h"

enum { BS = 1024 };

static void write_block(struct fsx *x, ino_nr_t ino, unsigned block, uint8_t value)
{
	uint8_t buf[BS];

	memset(buf, value, BS);
	file_write(x, ino, (uint64_t)block * BS, buf, BS);
}

static void punch(struct fsx *x, ino_nr_t ino, unsigned from, unsigned to)
{
	ck_assert_int_eq(fs_fallocate(x->fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (uint64_t)from * BS,
				      (uint64_t)(to - from) * BS), 0);
}

static void check_blocks(struct fsx *x, ino_nr_t ino, const uint8_t *model, unsigned nr, const char *when)
{
	static uint8_t buf[64 * BS];

	for (unsigned at = 0; at < nr; at += 64) {
		const unsigned n = MIN(64u, nr - at);
		const size_t got = file_read(x, ino, (uint64_t)at * BS, buf, (size_t)n * BS);

		/* Not by ck_assert: that costs a system call each. */
		for (size_t i = 0; i < got; i++)
			if (buf[i] != model[at + i / BS])
				ck_abort_msg("%s: block %zu holds %u, not %u", when, at + i / BS, buf[i], model[at + i / BS]);
		for (size_t i = got / BS; i < n; i++)
			if (model[at + i])
				ck_abort_msg("%s: block %zu is behind the end", when, at + i);
	}
}

static unsigned depth_of(struct fsx *x, ino_nr_t ino)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;

	ck_assert_int_eq(fs_iget(x->fs, ino, &inode), 0);
	ck_assert(inode->flags & EXT_FL_EXTENTS);
	return inode->block[1] >> 16;
}

/* 84 records a node: 6000 extents make three levels, from both ends and from the middle. */
START_TEST(a_tree_grows_and_goes_in_any_order)
{
	enum { NR = 12000 };
	CLEANUP_FSX struct fsx *x = fsx_new("64m", FSX_EXTENTS " -b 1024");
	static uint8_t model[NR];
	uint64_t nr_free;
	ino_nr_t ino;

	memset(model, 0, sizeof(model));
	fsx_mount(x);
	ino = file_new(x, "f");
	nr_free = nr_free_blocks(x);
	for (unsigned i = 0; i < NR / 2; i++) {
		/* Every second block: rising, falling, scattered. */
		const unsigned k = _i == 0 ? i : _i == 1 ? NR / 2 - 1 - i : (unsigned)((uint64_t)i * 3571 % (NR / 2));

		model[2 * k] = (uint8_t)(1 + k % 255);
		write_block(x, ino, 2 * k, model[2 * k]);
	}
	ck_assert_uint_ge(depth_of(x, ino), 2);
	check_blocks(x, ino, model, NR, "written");
	fsx_remount(x);
	ino = file_find(x, "f");
	check_blocks(x, ino, model, NR, "read back");
	for (unsigned i = 0; i < NR / 2; i += 2) {
		const unsigned k = _i == 1 ? NR / 2 - 1 - i : i;

		model[2 * k] = 0;
		punch(x, ino, 2 * k, 2 * k + 1);
	}
	check_blocks(x, ino, model, NR, "thinned");
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(file_truncate(x, ino, 100 * BS), 0);
	memset(model + 100, 0, sizeof(model) - 100);
	check_blocks(x, ino, model, NR, "cut");
	ck_assert_int_eq(file_truncate(x, ino, 0), 0);
	ck_assert_uint_eq(depth_of(x, ino), 0);
	ck_assert_uint_eq(nr_free_blocks(x), nr_free);
	fsx_done(x);
}
END_TEST

START_TEST(random_work_is_as_in_a_plain_array)
{
	enum { NR = 4000, NR_STEPS = 4000 };
	const uint64_t seed = 4711 + (uint64_t)_i;
	CLEANUP_FSX struct fsx *x = fsx_new("32m", _i ? FSX_EXTENTS ",^metadata_csum -b 1024" : FSX_EXTENTS " -b 1024");
	struct rng rng = { .state = seed };
	static uint8_t model[NR];
	char when[60];
	ino_nr_t ino;

	memset(model, 0, sizeof(model));
	fsx_mount(x);
	ino = file_new(x, "f");
	for (unsigned step = 0; step < NR_STEPS; step++) {
		const unsigned from = (unsigned)rng_below(&rng, NR);
		const unsigned to = from + 1 + (unsigned)rng_below(&rng, MIN(NR - from, rng_below(&rng, 20) ? 4u : 600u));

		if (rng_below(&rng, 3)) {
			for (unsigned b = from; b < to; b++) {
				model[b] = (uint8_t)(1 + rng_below(&rng, 255));
				write_block(x, ino, b, model[b]);
			}
		} else {
			memset(model + from, 0, to - from);
			punch(x, ino, from, to);
		}
		if (step % 1000 == 999) {
			snprintf(when, sizeof(when), "seed %" PRIu64 " step %u", seed, step);
			check_blocks(x, ino, model, NR, when);
			fsx_unmount(x);
			fsx_fsck(x);
			fsx_mount(x);
			ino = file_find(x, "f");
			check_blocks(x, ino, model, NR, when);
		}
	}
	fsx_done(x);
}
END_TEST

/* debugfs allocates without writing: old bytes of the device lie there and must not be seen. */
START_TEST(unwritten_blocks_read_as_zeroes_until_they_are_written)
{
	enum { NR = 400 };
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXTENTS " -b 1024");
	struct rng rng = { .state = 99 + (uint64_t)_i };
	static uint8_t model[NR];
	uint64_t nr_free;
	ino_nr_t ino;

	memset(model, 0, sizeof(model));
	fsx_mount(x);
	ino = file_new(x, "old");
	for (unsigned i = 0; i < 8000; i++)
		write_block(x, ino, i, 0xee);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("old")), 0);
	fs_forget(x->fs, ino, 1);
	ino = file_new(x, "f");
	ck_assert_int_eq(file_truncate(x, ino, NR * BS), 0);
	fsx_unmount(x);
	fsx_debugfs_write(x, "fallocate f 0 399");
	fsx_fsck(x);
	fsx_mount(x);
	ino = file_find(x, "f");
	check_blocks(x, ino, model, NR, "allocated");
	nr_free = nr_free_blocks(x);
	for (unsigned i = 0; i < 150; i++) {
		/* In sequence from the start, from the end, anywhere; whole blocks and parts. */
		const unsigned b = _i == 0 ? i : _i == 1 ? NR - 1 - i : (unsigned)rng_below(&rng, NR);

		model[b] = (uint8_t)(1 + i);
		write_block(x, ino, b, model[b]);
	}
	ck_assert_uint_ge(nr_free_blocks(x) + 4, nr_free);	/* but for nodes of the tree */
	check_blocks(x, ino, model, NR, "written in part");
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	ino = file_find(x, "f");
	check_blocks(x, ino, model, NR, "read back");
	file_write(x, ino, 333 * BS + 100, "x", 1);	/* a part of an unwritten block, or of a written one */
	fsx_done(x);
}
END_TEST

START_TEST(a_damaged_tree_costs_its_file_only)
{
	CLEANUP_FSX struct fsx *x = fsx_new("32m", FSX_EXTENTS ",^metadata_csum -b 1024");
	struct extent_place {
		uint64_t off;
		uint8_t bytes[2];
	} const places[] = {
		{ 0, { 0, 0 } },		/* magic */
		{ 2, { 0xff, 0xff } },		/* entries */
		{ 6, { 3, 0 } },		/* depth */
		{ 12 + 4, { 0, 0 } },		/* a length */
		{ 12, { 0xff, 0xff } },		/* a first block */
	};
	CLEANUP_INODE struct fs_inode *inode = NULL;
	uint8_t node[12 * 4];
	pblk_t child;
	uint8_t byte;
	ino_nr_t ino;

	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	ino = file_new(x, "f");
	for (unsigned i = 0; i < 20; i++)
		write_block(x, ino, 2 * i, 1);
	write_block(x, file_new(x, "other"), 0, 7);
	ck_assert_uint_eq(depth_of(x, ino), 1);
	ck_assert_int_eq(fs_iget(x->fs, ino, &inode), 0);
	child = inode->block[4];	/* ei_leaf_lo of the first record */
	fs_iput(inode);
	inode = NULL;
	fsx_unmount(x);

	fsx_peek(x, child * BS, node, sizeof(node));
	fsx_poke(x, child * BS + places[_i].off, places[_i].bytes, 2);
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(file_read_err(x, ino, 0, 1), -EUCLEAN);
	ck_assert_uint_eq(file_read(x, file_find(x, "other"), 0, &byte, 1), 1);
	ck_assert_uint_eq(byte, 7);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("other")), 0);
	fsx_unmount(x);
	/* Nothing else was hurt: with the node as it was, only the note of the error is left. */
	fsx_poke(x, child * BS, node, sizeof(node));
	ck_assert_int_le(fsx_fsck_status(x, "-fp", NULL), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_extent");
	TCase *tc = tcase_create("extent");
	SRunner *sr;
	int nr_failed;

	fsx_need_tools();
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, a_tree_grows_and_goes_in_any_order, 0, 3);
	tcase_add_loop_test(tc, random_work_is_as_in_a_plain_array, 0, 2);
	tcase_add_loop_test(tc, unwritten_blocks_read_as_zeroes_until_they_are_written, 0, 3);
	tcase_add_loop_test(tc, a_damaged_tree_costs_its_file_only, 0, 5);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
