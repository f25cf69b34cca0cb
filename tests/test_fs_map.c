/* test_fs_map.c: maps of file blocks: damaged ones, foreign ones, runs. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "fs/fs_int.h"
#include "fs_files.h"

enum { BS = 1024 };

/* A file of 400 blocks, block i filled with the byte i: direct, indirect and double indirect blocks. */
static struct fsx *one_file(void)
{
	struct fsx *x = fsx_new("16m", FSX_EXT ",^metadata_csum -b 1024");
	uint8_t buf[BS];
	ino_nr_t ino;

	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	ino = file_new(x, "f");
	for (unsigned i = 0; i < 400; i++) {
		memset(buf, (int)i, BS);
		file_write(x, ino, (uint64_t)i * BS, buf, BS);
	}
	file_write(x, file_new(x, "other"), 0, "other", 5);
	fsx_unmount(x);
	return x;
}

/* What i_block[index] holds. */
static uint32_t root_pointer(struct fsx *x, const char *name, unsigned index)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	uint32_t ptr;

	fsx_mount(x);
	ck_assert_int_eq(fs_iget(x->fs, file_find(x, name), &inode), 0);
	ptr = inode->block[index];
	fs_iput(inode);
	inode = NULL;
	fsx_unmount(x);
	return ptr;
}

static void set_root_pointer(struct fsx *x, unsigned index, uint32_t value)
{
	static const char *const last[] = { "IND", "DIND", "TIND" };
	char request[80], number[12];

	snprintf(number, sizeof(number), "%u", index);
	snprintf(request, sizeof(request), "sif f block[%s] %" PRIu32, index < 12 ? number : last[index - 12], value);
	fsx_debugfs_write(x, request);
}

static void check_byte(struct fsx *x, ino_nr_t ino, unsigned block)
{
	uint8_t b;

	ck_assert_uint_eq(file_read(x, ino, (uint64_t)block * BS + 5, &b, 1), 1);
	ck_assert_uint_eq(b, (uint8_t)block);
}

/* The file can be removed, other files and the filesystem live on. */
static void remove_damaged(struct fsx *x, ino_nr_t ino)
{
	uint8_t buf[5];

	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fs_forget(x->fs, ino, 1);
	ck_assert_uint_eq(file_read(x, file_find(x, "other"), 0, buf, 5), 5);
	ck_assert_mem_eq(buf, "other", 5);
	file_write(x, file_new(x, "new"), 0, "new", 3);
	(void)fsx_try_unmount(x);
}

static bool done_or_damaged(int err)
{
	return err == 0 || err == -EUCLEAN;
}

/* Damaged maps ------------------------------------------------------------------------- */

static const struct bad_pointer {
	unsigned index;
	uint32_t value;
	unsigned bad_block, good_block;	/* of the file */
} bad_pointers[] = {
	{ 3, 0xfffffff0, 3, 4 },	/* behind the device */
	{ 3, 16384, 3, 2 },
	{ 3, 1, 3, 4 },			/* the superblock */
	{ 0, 2, 0, 1 },			/* descriptors */
	{ 12, 0x7fffffff, 12, 300 },	/* a map block */
	{ 12, 2, 267, 268 },
	{ 13, 16385, 268, 267 },
};

START_TEST(a_pointer_to_nowhere_costs_only_what_it_leads_to)
{
	const struct bad_pointer *bad = &bad_pointers[_i];
	CLEANUP_FSX struct fsx *x = one_file();
	size_t written;
	ino_nr_t ino;
	char text[32];

	set_root_pointer(x, bad->index, bad->value);
	fsx_mount(x);
	ino = file_find(x, "f");
	fsx_log_clear();
	ck_assert_int_eq(file_read_err(x, ino, (uint64_t)bad->bad_block * BS, 10), -EUCLEAN);
	snprintf(text, sizeof(text), "inode %" PRIu32, ino);
	ck_assert_ptr_nonnull(strstr(fsx_log(), text));
	snprintf(text, sizeof(text), "%" PRIu32 " is no data block", bad->value);
	ck_assert_ptr_nonnull(strstr(fsx_log(), text));
	check_byte(x, ino, bad->good_block);
	ck_assert_int_eq(fs_write(x->fs, ino, (uint64_t)bad->bad_block * BS, "x", 1, 0, &written), -EUCLEAN);
	remove_damaged(x, ino);
}
END_TEST

START_TEST(a_map_block_of_nonsense_is_survived)
{
	CLEANUP_FSX struct fsx *x = one_file();
	const uint64_t at = (uint64_t)root_pointer(x, "f", _i ? 13 : 12) * BS;
	struct rng rng = { 99 };
	uint8_t buf[BS];
	ino_nr_t ino;

	rng_fill(&rng, buf, BS);
	fsx_poke(x, at, buf, BS);
	fsx_mount(x);
	ino = file_find(x, "f");
	for (unsigned i = 0; i < 400; i++)
		ck_assert(done_or_damaged(file_read_err(x, ino, (uint64_t)i * BS, BS)));
	check_byte(x, ino, 5);
	remove_damaged(x, ino);
}
END_TEST

/* Every pointer of the map block leads to the block itself. */
START_TEST(a_map_that_points_to_itself_comes_to_an_end)
{
	CLEANUP_FSX struct fsx *x = one_file();
	const uint32_t ptr = root_pointer(x, "f", 13);
	le32 slots[BS / 4];
	uint64_t at;
	size_t written;
	ino_nr_t ino;

	for (unsigned i = 0; i < ARRAY_LEN(slots); i++)
		slots[i] = le32_of(ptr);
	fsx_poke(x, (uint64_t)ptr * BS, slots, sizeof(slots));
	set_root_pointer(x, 14, ptr);
	fsx_debugfs_write(x, "sif f size 0x400000000");
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(fs_seek(x->fs, ino, 300 * BS, SEEK_HOLE, &at), -EUCLEAN);
	ck_assert(done_or_damaged(fs_write(x->fs, ino, 300 * BS, slots, sizeof(slots), 0, &written)));
	ck_assert(done_or_damaged(fs_write(x->fs, ino, 70000 * BS, "x", 1, 0, &written)));
	ck_assert(done_or_damaged(file_read_err(x, ino, 80000 * BS, 100000)));
	ck_assert(done_or_damaged(file_truncate(x, ino, 20 * BS)));
	remove_damaged(x, ino);
}
END_TEST

/* Three levels, each full of pointers to the next: a thousand millions of blocks out of four. */
START_TEST(a_map_of_many_ways_to_one_block_comes_to_an_end)
{
	CLEANUP_FSX struct fsx *x = one_file();
	const uint32_t first = root_pointer(x, "f", 0);
	le32 slots[BS / 4];
	ino_nr_t ino;

	for (unsigned level = 0; level < 3; level++) {
		for (unsigned i = 0; i < ARRAY_LEN(slots); i++)
			slots[i] = le32_of(first + level + 1);
		fsx_poke(x, (uint64_t)(first + level) * BS, slots, sizeof(slots));
	}
	set_root_pointer(x, 14, first);
	fsx_debugfs_write(x, "sif f size 0x400000000");
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(fs_fallocate(x->fs, ino, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 70000 * BS, 1ull << 33),
			 -EUCLEAN);
	remove_damaged(x, ino);
}
END_TEST

START_TEST(blocks_of_two_files_are_freed_once)
{
	CLEANUP_FSX struct fsx *x = one_file();
	const uint32_t others = root_pointer(x, "other", 0);
	ino_nr_t ino;

	set_root_pointer(x, 3, others);
	fsx_mount(x);
	ino = file_find(x, "f");
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("other")), 0);
	fsx_log_clear();
	ck_assert_int_eq(file_truncate(x, ino, 0), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "free already"));
	ck_assert_uint_eq(file_attr(x, ino).size_bytes, 0);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fsx_unmount(x);
}
END_TEST

/* Map blocks ------------------------------------------------------------------------------- */

START_TEST(map_blocks_go_with_the_last_block_below_them)
{
	static const uint64_t at[] = { 0, 11, 12, 267, 268, 65803, 65804, 65804 + 65536 * 3 + 256 * 7 + 1 };
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT " -b 1024");
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	uint64_t before;
	ino_nr_t ino;

	fsx_mount(x);
	before = nr_free_blocks(x);
	ino = file_new(x, "f");
	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		file_write(x, ino, at[i] * BS, "data", 4);
		ck_assert_uint_eq(file_attr(x, ino).nr_sects, 2 * (before - nr_free_blocks(x)));
	}
	ck_assert_uint_eq(before - nr_free_blocks(x), 8 + 1 + 3 + 5);	/* data; single; double; triple */
	for (unsigned i = 0; i < ARRAY_LEN(at); i++)
		ck_assert_int_eq(fs_fallocate(x->fs, ino, mode, at[ARRAY_LEN(at) - 1 - i] * BS, BS), 0);
	ck_assert_uint_eq(nr_free_blocks(x), before);
	ck_assert_uint_eq(file_attr(x, ino).nr_sects, 0);
	fsx_done(x);
}
END_TEST

START_TEST(a_fragmented_disk_fills_files_in_many_pieces)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT " -b 1024");
	enum { LEN = 3 << 20 };
	uint8_t *buf = malloc(LEN), *back = malloc(LEN);
	struct rng rng = { 8 };
	size_t written;
	ino_nr_t a, b;

	rng_fill(&rng, buf, LEN);
	x->opts.use_reserved = true;
	fsx_mount(x);
	a = file_new(x, "a");
	for (uint64_t at = 0; fs_write(x->fs, a, at, buf, LEN, 0, &written) == 0 && written == LEN; at += LEN)
		;
	for (uint64_t at = 0; at < 8 << 20; at += 2 * BS)
		ck_assert_int_eq(fs_fallocate(x->fs, a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, BS), 0);
	b = file_new(x, "b");
	file_write(x, b, 0, buf, LEN);
	fsx_remount(x);
	b = file_find(x, "b");
	ck_assert_uint_eq(file_read(x, b, 0, back, LEN), LEN);
	ck_assert_mem_eq(back, buf, LEN);
	fsx_done(x);
	free(buf);
	free(back);
}
END_TEST

/* Extents that mke2fs made ------------------------------------------------------------------------ */

static void make_holes(const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT, 0644);
	char text[16];

	ck_assert_int_ge(fd, 0);
	for (unsigned i = 0; i < 1000; i += 2) {
		snprintf(text, sizeof(text), "block %04u", i);
		ck_assert_int_eq(pwrite(fd, text, 10, (off_t)i * BS), 10);
	}
	ck_assert_int_eq(close(fd), 0);
}

/* A directory with sparse files, on a filesystem with extents; block i of "holes" has data for even i. */
static struct fsx *with_extents(bool csum)
{
	char *dir = fsx_shell(NULL, "mktemp -d"), opts[512];
	struct fsx *x;

	dir[strcspn(dir, "\n")] = '\0';
	free(fsx_shell(NULL, "seq 100000 > %s/long", dir));
	snprintf(opts, sizeof(opts), "%s/holes", dir);
	make_holes(opts);
	snprintf(opts, sizeof(opts), "-O extent,^64bit,^has_journal,^orphan_file,%smetadata_csum -b 1024 -d %s",
		 csum ? "" : "^", dir);
	x = fsx_new("16m", opts);
	free(fsx_shell(NULL, "rm -r %s", dir));
	free(dir);
	return x;
}

START_TEST(files_with_extents_are_read_and_written)
{
	CLEANUP_FSX struct fsx *x = with_extents(_i);
	char buf[2 * BS], want[16], *text;
	size_t len = 0, got;
	uint64_t at;
	ino_nr_t ino;

	fsx_mount(x);
	ino = file_find(x, "holes");
	for (unsigned i = 0; i < 998; i += 2) {
		ck_assert_uint_eq(file_read(x, ino, i * BS, buf, sizeof(buf)), sizeof(buf));
		snprintf(want, sizeof(want), "block %04u", i);
		ck_assert_mem_eq(buf, want, 10);
		for (unsigned k = 10; k < sizeof(buf); k++)
			ck_assert_int_eq(buf[k], 0);
		ck_assert_uint_eq(file_seek(x, ino, i * BS + 1, SEEK_HOLE), (i + 1) * BS);
		ck_assert_uint_eq(file_seek(x, ino, (i + 1) * BS, SEEK_DATA), (i + 2) * BS);
	}
	ck_assert_int_eq(fs_seek(x->fs, ino, 999 * BS, SEEK_DATA, &at), -ENXIO);
	ino = file_find(x, "long");
	text = malloc(1 << 20);
	while ((got = file_read(x, ino, len, text + len, 100000)))
		len += got;
	ck_assert_uint_eq(len, file_attr(x, ino).size_bytes);
	ck_assert_mem_eq(text, "1\n2\n3\n", 6);
	ck_assert_mem_eq(text + len - 13, "99999\n100000\n", 13);
	file_write(x, ino, len - 1, "!more", 5);
	ck_assert_uint_eq(file_read(x, ino, len - 7, text, 100), 11);
	ck_assert_mem_eq(text, "100000!more", 11);
	free(text);
	fsx_done(x);
}
END_TEST

START_TEST(unwritten_extents_read_as_holes)
{
	CLEANUP_FSX struct fsx *x = with_extents(true);
	char buf[8 * BS];
	ino_nr_t ino;

	fsx_debugfs_write(x, "fallocate holes 2000 2099");
	fsx_debugfs_write(x, "sif holes size 2200000");
	fsx_mount(x);
	ino = file_find(x, "holes");
	ck_assert_uint_eq(file_read(x, ino, 2010 * BS, buf, sizeof(buf)), sizeof(buf));
	for (unsigned i = 0; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0);
	ck_assert_uint_eq(file_seek(x, ino, 2000 * BS, SEEK_HOLE), 2000 * BS);
	fsx_unmount(x);
}
END_TEST

/* The tree is one of depth 2: root, an index node, leaves. */
static const struct extent_damage {
	bool in_root, csum;
	unsigned off;
	uint16_t value;
} extent_damages[] = {
	{ true, false, 0, 0xf30b },	/* magic */
	{ true, false, 2, 500 },	/* entries */
	{ true, false, 4, 500 },	/* room for entries */
	{ true, false, 6, 9 },		/* depth */
	{ true, false, 6, 1 },
	{ true, false, 16, 7 },		/* a node in the inode table */
	{ false, false, 0, 0 },
	{ false, false, 2, 1000 },
	{ false, false, 6, 3 },
	{ false, false, 24, 0 },	/* order */
	{ false, false, 16, 0xffff },
	{ false, true, 1000, 0x5555 },	/* behind the entries: the checksum tells */
};

static uint64_t root_at(struct fsx *x)
{
	char *text = fsx_debugfs(x, "imap holes");
	unsigned long block, off;

	ck_assert_int_eq(sscanf(strstr(text, "located"), "located at block %lu, offset %lx", &block, &off), 2);
	free(text);
	return (uint64_t)block * BS + off + offsetof(struct ext_disk_inode, i_block);
}

static uint64_t node_at(struct fsx *x)
{
	char *text = fsx_debugfs(x, "extents holes"), *p = strstr(text, " 0/");
	unsigned long block;

	ck_assert_int_eq(sscanf(p, " 0/ %*u 1/ %*u %*u - %*u %lu", &block), 1);
	free(text);
	return (uint64_t)block * BS;
}

START_TEST(damaged_extent_trees_are_told)
{
	const struct extent_damage *d = &extent_damages[_i];
	CLEANUP_FSX struct fsx *x = with_extents(d->csum);
	const le16 value = le16_of(d->value);
	struct fs_attr a;
	int err;

	fsx_poke(x, (d->in_root ? root_at(x) : node_at(x)) + d->off, &value, sizeof(value));
	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	fsx_log_clear();
	err = fs_lookup(x->fs, EXT_ROOT_INO, fs_name_of("holes"), &a);
	if (!err)
		err = file_read_err(x, a.ino, 0, 100);
	ck_assert_int_eq(err, -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "extent node"));
	ck_assert_int_eq(file_read_err(x, file_find(x, "long"), 0, 100), 0);
	fsx_unmount(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_map");
	TCase *tc = tcase_create("map");
	SRunner *r;
	int nr_failed;

	fsx_need_tools();
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_pointer_to_nowhere_costs_only_what_it_leads_to, 0, ARRAY_LEN(bad_pointers));
	tcase_add_loop_test(tc, a_map_block_of_nonsense_is_survived, 0, 2);
	tcase_add_test(tc, a_map_that_points_to_itself_comes_to_an_end);
	tcase_add_test(tc, a_map_of_many_ways_to_one_block_comes_to_an_end);
	tcase_add_test(tc, blocks_of_two_files_are_freed_once);
	tcase_add_test(tc, map_blocks_go_with_the_last_block_below_them);
	tcase_add_test(tc, a_fragmented_disk_fills_files_in_many_pieces);
	tcase_add_loop_test(tc, files_with_extents_are_read_and_written, 0, 2);
	tcase_add_test(tc, unwritten_extents_read_as_holes);
	tcase_add_loop_test(tc, damaged_extent_trees_are_told, 0, ARRAY_LEN(extent_damages));
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
