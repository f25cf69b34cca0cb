/* test_blk_file.c: images on disk and in memory, buffered and direct, with and without a ring. */
#include "test_blk.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The ways to an image; loop tests go over all of them. */
static const struct way {
	unsigned where;
	bool direct, plain;
} ways[] = {
	{ 0, false, false }, { 0, true, false }, { 0, false, true }, { 0, true, true },
	{ 1, false, false }, { 1, true, false },
};

struct image {
	char *path;
	struct blk_dev *dev;
};

static struct image image_open(const struct way *w, uint64_t bytes)
{
	struct blk_open_opts opts = { .direct = w->direct, .create_bytes = bytes };
	struct image im = { .path = image_path(w->where) };

	if (w->plain)
		setenv("OSFS_IO", "plain", 1);
	im.dev = must_open(im.path, &opts);
	return im;
}

static void image_close(struct image *im)
{
	blk_close(im->dev);
	image_remove(im->path);
}

START_TEST(an_image_agrees_with_a_model)
{
	struct image im = image_open(&ways[_i], 400 * 512);
	uint64_t seed = 300 + (uint64_t)_i;
	struct rng r = { seed };
	struct model m;

	model_init(&m, im.dev);
	for (unsigned n = 0; n < 150; n++)
		model_step(&m, &r, 0, 400, seed);
	model_compare(&m, seed);
	blk_close(im.dev);
	m.dev = im.dev = must_open(im.path, &(struct blk_open_opts){ .read_only = true });
	model_compare(&m, seed);
	model_fini(&m);
	image_close(&im);
}
END_TEST

START_TEST(an_iovec_of_any_length_is_carried_out_whole)
{
	enum { NR = 3 * IOV_MAX + 8, REQUESTS = 2 };
	struct image im = image_open(&ways[_i], REQUESTS * NR * 512ull);
	char *out = malloc(NR * 512), *in = malloc(NR * 512);
	struct iovec *iov = calloc(NR, sizeof(*iov));
	struct blk_io ios[REQUESTS];

	fill(out, NR * 512, 4);
	for (unsigned i = 0; i < NR; i++)
		iov[i] = (struct iovec){ out + i * 512, 512 };
	for (unsigned i = 0; i < REQUESTS; i++)
		ios[i] = (struct blk_io){ .dev = im.dev, .op = BLK_WRITE, .sect = i * NR, .iov = iov, .nr_iov = NR };
	ck_assert_int_eq(blk_run(ios, REQUESTS), 0);
	for (unsigned i = 0; i < NR; i++)
		iov[i].iov_base = in + i * 512;
	for (unsigned i = 0; i < REQUESTS; i++) {
		memset(in, 0, NR * 512);
		ios[i].op = BLK_READ;
		ck_assert_int_eq(blk_run(&ios[i], 1), 0);
		ck_assert_mem_eq(in, out, NR * 512);
	}
	ck_assert_int_eq(blk_run(ios, REQUESTS), 0);		/* and as a batch */
	ck_assert_mem_eq(in, out, NR * 512);
	ck_assert_uint_eq(iov[1].iov_len, 512);
	free(out);
	free(in);
	free(iov);
	image_close(&im);
}
END_TEST

START_TEST(more_requests_than_a_ring_has_slots_all_arrive)
{
	enum { NR = 700 };
	struct image im = image_open(&ways[_i], NR * 4096);
	char *buf = aligned_alloc(4096, NR * 4096), *copy = malloc(NR * 4096);
	struct blk_io *ios = calloc(NR, sizeof(*ios));
	struct iovec *iov = calloc(NR, sizeof(*iov));

	fill(buf, NR * 4096, 5);
	memcpy(copy, buf, NR * 4096);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ buf + i * 4096, 4096 };
		ios[i] = (struct blk_io){ .dev = im.dev, .op = BLK_WRITE, .sect = i * 8, .iov = &iov[i], .nr_iov = 1 };
	}
	ck_assert_int_eq(blk_run(ios, NR), 0);
	memset(buf, 0, NR * 4096);
	for (unsigned i = 0; i < NR; i++)
		ios[i].op = BLK_READ;
	ck_assert_int_eq(blk_run(ios, NR), 0);
	ck_assert_mem_eq(buf, copy, NR * 4096);
	free(buf);
	free(copy);
	free(ios);
	free(iov);
	image_close(&im);
}
END_TEST

START_TEST(a_truncated_image_gives_errors_and_is_not_made_to_grow)
{
	struct image im = image_open(&ways[_i], 64 * 512);
	char buf[16 * 512], x[512] = "x";
	struct stat st;
	struct iovec iov[2] = { { buf, 8 * 512 }, { buf + 8 * 512, 8 * 512 } };
	struct blk_io ios[2] = {
		{ .dev = im.dev, .op = BLK_READ, .sect = 0, .iov = &iov[0], .nr_iov = 1 },
		{ .dev = im.dev, .op = BLK_READ, .sect = 12, .iov = &iov[1], .nr_iov = 1 },
	};

	capture_log();
	ck_assert_int_eq(truncate(im.path, 16 * 512), 0);
	ck_assert_int_eq(blk_run(ios, 2), -EIO);
	ck_assert_int_eq(ios[0].err, 0);
	ck_assert_int_eq(ios[1].err, -EIO);		/* half of it is there: no short read */
	ck_assert_ptr_nonnull(strstr(last_message, "ends at sector 16 of 64"));
	ck_assert_int_eq(blk_read(im.dev, 40, buf, 512), -EIO);
	ck_assert_int_eq(blk_write(im.dev, 40, x, 512), -EIO);
	ck_assert_int_eq(blk_write(im.dev, 0, x, 512), -EIO);
	ck_assert_int_eq(blk_zero(im.dev, 40, 24), -EIO);
	ck_assert_int_eq(blk_discard(im.dev, 40, 24), -EIO);
	ck_assert_int_eq(stat(im.path, &st), 0);
	ck_assert_int_eq(st.st_size, 16 * 512);
	ck_assert_int_eq(truncate(im.path, 64 * 512), 0);	/* by hand */
	ck_assert_int_eq(blk_write(im.dev, 40, x, 512), 0);
	ck_assert_int_eq(blk_read(im.dev, 40, buf, 512), 0);
	ck_assert_int_eq(buf[0], 'x');
	image_close(&im);
}
END_TEST

static uint64_t blocks_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks;
}

START_TEST(images_are_made_sparse_and_discard_makes_holes)
{
	struct image im = image_open(&ways[_i], 1 << 30);
	char *buf = malloc(1 << 20), *zero = calloc(1, 1 << 20);
	uint64_t before;
	int err;

	ck_assert_uint_eq(blk_nr_sects(im.dev), 1 << 21);
	ck_assert_uint_lt(blocks_of(im.path), 2048);
	fill(buf, 1 << 20, 6);
	ck_assert_int_eq(blk_write(im.dev, 4096, buf, 1 << 20), 0);
	ck_assert_int_eq(blk_flush(im.dev), 0);
	before = blocks_of(im.path);
	ck_assert_uint_ge(before, 2048);
	err = blk_discard(im.dev, 4096, 1024);
	ck_assert(err == 0 || err == -EOPNOTSUPP);
	if (!err) {
		ck_assert_uint_lt(blocks_of(im.path), before);
		ck_assert_int_eq(blk_read(im.dev, 4096, buf, 512 << 10), 0);
		ck_assert_mem_eq(buf, zero, 512 << 10);
	}
	ck_assert_int_eq(blk_zero(im.dev, 4096 + 1024, 1024), 0);
	ck_assert_int_eq(blk_read(im.dev, 4096 + 1024, buf, 512 << 10), 0);
	ck_assert_mem_eq(buf, zero, 512 << 10);
	free(buf);
	free(zero);
	image_close(&im);
}
END_TEST

START_TEST(an_existing_image_is_opened_as_it_is)
{
	struct image im = image_open(&ways[0], 64 * 512);
	char buf[512] = "here";

	ck_assert_int_eq(blk_write(im.dev, 3, buf, 512), 0);
	blk_close(im.dev);
	im.dev = must_open(im.path, &(struct blk_open_opts){ .create_bytes = 1 << 20 });
	ck_assert_uint_eq(blk_nr_sects(im.dev), 64);
	memset(buf, 0, 512);
	ck_assert_int_eq(blk_read(im.dev, 3, buf, 512), 0);
	ck_assert_str_eq(buf, "here");
	image_close(&im);
}
END_TEST

START_TEST(an_image_that_cannot_be_made_leaves_nothing_behind)
{
	char *path = image_path(0);
	struct blk_dev *d;

	capture_log();
	ck_assert_int_lt(blk_open(path, &(struct blk_open_opts){ .create_bytes = 1ull << 62 }, &d), 0);
	ck_assert_ptr_nonnull(strstr(last_message, path));
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(blk_open(path, NULL, &d), -ENOENT);
	image_remove(path);
}
END_TEST

/* A process that has the image open until the pipe it leaves behind is closed. */
static pid_t holder_start(const char *path, bool read_only, int *stop_fd)
{
	int stop[2], ready[2];
	char c;
	pid_t pid;

	ck_assert(!pipe(stop) && !pipe(ready));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct blk_dev *d;

		close(stop[1]);
		if (blk_open(path, &(struct blk_open_opts){ .read_only = read_only }, &d))
			_exit(1);
		c = write(ready[1], "", 1) < 0 || read(stop[0], &c, 1) < 0;
		_exit(c);
	}
	close(stop[0]);
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*stop_fd = stop[1];
	return pid;
}

static void holder_stop(pid_t pid, int stop_fd)
{
	close(stop_fd);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(an_image_in_use_says_by_whom)
{
	struct image im = image_open(&ways[_i], 64 * 512);
	struct blk_open_opts look = { .read_only = true }, no_lock = { .read_only = true, .no_lock = true };
	struct blk_dev *d;
	char want[64];
	int stop_fd;
	pid_t pid;

	blk_close(im.dev);
	pid = holder_start(im.path, false, &stop_fd);
	snprintf(want, sizeof(want), "in use by test_blk (process %d)", (int)pid);
	capture_log();
	ck_assert_int_eq(blk_open(im.path, NULL, &d), -EBUSY);
	ck_assert_msg(strstr(last_message, want) && strstr(last_message, im.path), "%s", last_message);
	ck_assert_int_eq(blk_open(im.path, &look, &d), -EBUSY);
	blk_close(must_open(im.path, &no_lock));
	holder_stop(pid, stop_fd);
	im.dev = must_open(im.path, NULL);
	image_close(&im);
}
END_TEST

START_TEST(readers_share_an_image_and_keep_writers_out)
{
	struct image im = image_open(&ways[0], 64 * 512);
	struct blk_dev *d;
	int stop_fd;
	pid_t pid;

	blk_close(im.dev);
	pid = holder_start(im.path, true, &stop_fd);
	im.dev = must_open(im.path, &(struct blk_open_opts){ .read_only = true });
	capture_log();
	ck_assert_int_eq(blk_open(im.path, NULL, &d), -EBUSY);
	holder_stop(pid, stop_fd);
	image_close(&im);
}
END_TEST

START_TEST(the_same_image_twice_in_a_process_is_refused)
{
	struct image im = image_open(&ways[0], 64 * 512);
	struct blk_dev *d;

	capture_log();
	ck_assert_int_eq(blk_open(im.path, NULL, &d), -EBUSY);
	ck_assert_ptr_nonnull(strstr(last_message, "already open in this process"));
	image_close(&im);
}
END_TEST

/* As a daemon does it: open, fork, and the parent ends. */
START_TEST(the_lock_of_a_daemon_whose_parent_is_gone_names_the_daemon)
{
	struct image im = image_open(&ways[_i], 64 * 512);
	int stop[2], told[2];
	struct blk_dev *d;
	pid_t parent, daemon_pid;
	char want[32], c;

	blk_close(im.dev);
	ck_assert(!pipe(stop) && !pipe(told));
	parent = fork();
	if (!parent) {
		if (blk_open(im.path, NULL, &d))
			_exit(1);
		daemon_pid = fork();
		if (!daemon_pid) {
			close(stop[1]);
			_exit(read(stop[0], &c, 1) < 0);
		}
		_exit(write(told[1], &daemon_pid, sizeof(daemon_pid)) < 0);
	}
	ck_assert_int_eq(read(told[0], &daemon_pid, sizeof(daemon_pid)), sizeof(daemon_pid));
	waitpid(parent, NULL, 0);
	capture_log();
	ck_assert_int_eq(blk_open(im.path, NULL, &d), -EBUSY);
	snprintf(want, sizeof(want), "(process %d)", (int)daemon_pid);
	ck_assert_msg(strstr(last_message, want), "%s, wanted %s", last_message, want);
	close(stop[1]);
	image_remove(im.path);
}
END_TEST

START_TEST(a_child_of_fork_has_a_ring_of_its_own)
{
	struct image im = image_open(&ways[_i], 64 * 512);
	uint64_t seed = 400;
	struct rng r = { seed };
	struct model m;
	int status;
	pid_t pid;

	model_init(&m, im.dev);
	for (unsigned n = 0; n < 20; n++)
		model_step(&m, &r, 0, 64, seed);
	pid = fork();
	if (!pid) {
		for (unsigned n = 0; n < 20; n++)
			model_step(&m, &r, 0, 64, seed);
		model_compare(&m, seed);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	free(m.ref);
	image_close(&im);
}
END_TEST

START_TEST(direct_requests_may_be_unaligned_in_memory_and_on_disk)
{
	struct image im = image_open(&ways[_i], 4096 * 512);
	char *mem = aligned_alloc(4096, 3 << 20), *out = mem + 7;
	struct iovec iov[3] = { { out, 100 }, { out + 100, 4096 - 100 }, { out + 4096, (1 << 20) + 4096 } };
	struct blk_io io = { .dev = im.dev, .op = BLK_WRITE, .sect = 8, .iov = iov, .nr_iov = 3 };
	char *in = calloc(1, 2 << 20);

	fill(out, 2 << 20, 7);
	ck_assert_int_eq(blk_run(&io, 1), 0);				/* memory: a bounce of several rounds */
	ck_assert_int_eq(blk_write(im.dev, 3001, out, 512), 0);		/* position */
	ck_assert_int_eq(blk_read(im.dev, 8, in + 1, (1 << 20) + 8192), 0);
	ck_assert_mem_eq(in + 1, out, (1 << 20) + 8192);
	ck_assert_int_eq(blk_read(im.dev, 3000, mem + (2 << 20), 4096), 0);	/* aligned, over the unaligned write */
	ck_assert_mem_eq(mem + (2 << 20) + 512, out, 512);
	free(mem);
	free(in);
	image_close(&im);
}
END_TEST

START_TEST(flushes_and_durable_writes_of_a_batch_succeed)
{
	struct image im = image_open(&ways[_i], 64 * 512);
	char *buf = aligned_alloc(4096, 8192);
	struct iovec iov[2] = { { buf, 4096 }, { buf + 4096, 4096 } };
	struct blk_io ios[4] = {
		{ .dev = im.dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = 0, .iov = &iov[0], .nr_iov = 1, .err = 1 },
		{ .dev = im.dev, .op = BLK_FLUSH, .err = 1 },
		{ .dev = im.dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = 8, .iov = &iov[1], .nr_iov = 1, .err = 1 },
		{ .dev = im.dev, .op = BLK_ZERO, .flags = BLK_FUA, .sect = 16, .nr_sects = 8, .err = 1 },
	};

	fill(buf, 8192, 8);
	ck_assert_int_eq(blk_run(ios, 4), 0);
	ck_assert_int_eq(blk_run(&ios[1], 1), 0);
	ck_assert_int_eq(blk_run(&ios[2], 1), 0);
	free(buf);
	image_close(&im);
}
END_TEST

START_TEST(a_tail_of_less_than_a_sector_is_not_part_of_the_device)
{
	struct image im = image_open(&ways[0], 64 * 512);

	blk_close(im.dev);
	ck_assert_int_eq(truncate(im.path, 10 * 512 + 100), 0);
	im.dev = must_open(im.path, NULL);
	ck_assert_uint_eq(blk_nr_sects(im.dev), 10);
	image_close(&im);
}
END_TEST

void add_file_tests(Suite *s)
{
	TCase *tc = tcase_create("file");
	const int nr_ways = ARRAY_LEN(ways);

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, an_image_agrees_with_a_model, 0, nr_ways);
	tcase_add_loop_test(tc, an_iovec_of_any_length_is_carried_out_whole, 0, nr_ways);
	tcase_add_loop_test(tc, more_requests_than_a_ring_has_slots_all_arrive, 0, nr_ways);
	tcase_add_loop_test(tc, a_truncated_image_gives_errors_and_is_not_made_to_grow, 0, nr_ways);
	tcase_add_loop_test(tc, images_are_made_sparse_and_discard_makes_holes, 0, nr_ways);
	tcase_add_loop_test(tc, direct_requests_may_be_unaligned_in_memory_and_on_disk, 0, nr_ways);
	tcase_add_loop_test(tc, flushes_and_durable_writes_of_a_batch_succeed, 0, nr_ways);
	tcase_add_loop_test(tc, a_child_of_fork_has_a_ring_of_its_own, 0, nr_ways);
	tcase_add_loop_test(tc, an_image_in_use_says_by_whom, 0, nr_ways);
	tcase_add_loop_test(tc, the_lock_of_a_daemon_whose_parent_is_gone_names_the_daemon, 0, nr_ways);
	tcase_add_test(tc, readers_share_an_image_and_keep_writers_out);
	tcase_add_test(tc, the_same_image_twice_in_a_process_is_refused);
	tcase_add_test(tc, an_existing_image_is_opened_as_it_is);
	tcase_add_test(tc, an_image_that_cannot_be_made_leaves_nothing_behind);
	tcase_add_test(tc, a_tail_of_less_than_a_sector_is_not_part_of_the_device);
	suite_add_tcase(s, tc);
}
