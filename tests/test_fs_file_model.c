/*
 * test_fs_file_model.c: random work on one file against a model.
 *
 * The file is sparse and large; the work happens in windows of it, laid where the map changes
 * its shape: the direct blocks, the first indirect one, the double and the triple ones. Outside
 * of the windows there are only holes.
 */
#include <linux/falloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "fs_files.h"
#include "test_fs_file.h"

enum { NR_WINDOWS = 5, NR_STEPS = 400, STEPS_A_MOUNT = 80 };

struct model {
	struct fsx *x;
	struct rng rng;
	uint64_t seed;
	ino_nr_t ino;
	uint64_t size, max_size;
	size_t window_bytes;
	unsigned nr_windows;
	struct window {
		uint64_t off;
		uint8_t *bytes;
	} win[NR_WINDOWS];
	uint8_t *scratch;	/* twice a window */
};

static const struct model_case {
	const char *mke2fs_opts;
	uint32_t block_bytes;
} cases[] = {
	{ FSX_EXT " -b 1024", 1024 },
	{ FSX_EXT ",^metadata_csum -b 4096", 4096 },
	{ FSX_EXT ",inline_data -b 4096", 4096 },
	{ FSX_EXT ",inline_data -b 1024 -I 512", 1024 },
	{ FSX_EXT " -b 65536 -N 64", 65536 },
	{ FSX_EXTENTS " -b 1024", 1024 },
	{ FSX_EXTENTS ",inline_data -b 4096", 4096 },
};

static void model_init(struct model *m, struct fsx *x, uint32_t bs, uint64_t seed)
{
	const uint64_t per = bs / 4;
	const uint64_t starts[NR_WINDOWS] = { 0, 10, 12 + per - 2, 12 + per + per * 3, 12 + per + per * per - 3 };

	*m = (struct model){ .x = x, .rng = { seed }, .seed = seed, .ino = file_new(x, "f"),
		.window_bytes = 6 * bs + 777 };
	for (unsigned i = 0; i < NR_WINDOWS; i++) {
		if ((starts[i] + 8) * bs > (uint64_t)1 << 41)
			break;
		m->win[i].off = starts[i] * bs + (i ? rng_below(&m->rng, bs) : 0);
		if (i > 0 && m->win[i].off < m->win[i - 1].off + m->window_bytes)
			m->win[i].off = m->win[i - 1].off + m->window_bytes;
		m->win[i].bytes = calloc(1, m->window_bytes);
		m->nr_windows = i + 1;
	}
	m->max_size = m->win[m->nr_windows - 1].off + m->window_bytes;
	m->scratch = malloc(2 * m->window_bytes);
}

static void model_fini(struct model *m)
{
	for (unsigned i = 0; i < m->nr_windows; i++)
		free(m->win[i].bytes);
	free(m->scratch);
}

/* The model's bytes [from, to) become zero. */
static void model_zero(struct model *m, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < m->nr_windows; i++) {
		const uint64_t lo = MAX(from, m->win[i].off), hi = MIN(to, m->win[i].off + m->window_bytes);

		if (lo < hi)
			memset(m->win[i].bytes + (lo - m->win[i].off), 0, (size_t)(hi - lo));
	}
}

/* A random range within one window. */
static struct window *pick(struct model *m, uint64_t *off, size_t *len)
{
	struct window *w = &m->win[rng_below(&m->rng, m->nr_windows)];
	const size_t at = (size_t)rng_below(&m->rng, m->window_bytes);

	*off = w->off + at;
	*len = m->window_bytes - at;
	if (rng_below(&m->rng, 2))
		*len = MIN(*len, (size_t)200);
	*len = 1 + (size_t)rng_below(&m->rng, *len);
	return w;
}

static void step_write(struct model *m)
{
	uint64_t off;
	size_t len;
	struct window *w = pick(m, &off, &len);
	uint8_t *bytes = w->bytes + (off - w->off);

	rng_fill(&m->rng, bytes, len);
	file_write(m->x, m->ino, off, bytes, len);
	m->size = MAX(m->size, off + len);
}

static void step_truncate(struct model *m)
{
	uint64_t size;
	size_t len;

	pick(m, &size, &len);
	if (rng_below(&m->rng, 8) == 0)
		size = 0;
	ck_assert_int_eq(file_truncate(m->x, m->ino, size), 0);
	model_zero(m, size, UINT64_MAX);
	m->size = size;
}

/* From one window to another. */
static void step_punch(struct model *m, bool zero_range)
{
	const int mode = (zero_range ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE;
	uint64_t from, to;
	size_t len;

	pick(m, &from, &len);
	to = from + len;
	if (!zero_range && rng_below(&m->rng, 3) == 0) {
		pick(m, &to, &len);
		if (to < from) {
			const uint64_t t = to;

			to = from;
			from = t;
		}
		to++;
	}
	ck_assert_int_eq(fs_fallocate(m->x->fs, m->ino, mode, from, to - from), 0);
	model_zero(m, from, MIN(to, m->size));
}

static void step_allocate(struct model *m)
{
	uint64_t off;
	size_t len;

	pick(m, &off, &len);
	ck_assert_int_eq(fs_fallocate(m->x->fs, m->ino, 0, off, len), 0);
	m->size = MAX(m->size, off + len);
}

static void step_read(struct model *m)
{
	uint64_t off;
	size_t len, want, got;
	struct window *w = pick(m, &off, &len);

	want = off >= m->size ? 0 : (size_t)MIN((uint64_t)len, m->size - off);
	got = file_read(m->x, m->ino, off, m->scratch, len);
	ck_assert_msg(got == want, "seed %" PRIu64 ": %zu bytes read at %" PRIu64 ", not %zu", m->seed, got, off, want);
	ck_assert_msg(!memcmp(m->scratch, w->bytes + (off - w->off), got),
		      "seed %" PRIu64 ": other bytes at %" PRIu64 "+%zu", m->seed, off, len);
}

static bool in_a_window(const struct model *m, uint64_t from, uint64_t to, uint32_t bs)
{
	for (unsigned i = 0; i < m->nr_windows; i++)
		if (to > ALIGN_DOWN(m->win[i].off, bs) && from < m->win[i].off + m->window_bytes)
			return true;
	return false;
}

static void compare_all(struct model *m, uint32_t bs)
{
	uint64_t at, end;

	ck_assert_msg(file_attr(m->x, m->ino).size_bytes == m->size, "seed %" PRIu64 ": other size", m->seed);
	for (unsigned i = 0; i < m->nr_windows; i++) {
		const uint64_t left = m->size - MIN(m->size, m->win[i].off);
		const size_t want = (size_t)MIN((uint64_t)m->window_bytes, left);

		ck_assert_uint_eq(file_read(m->x, m->ino, m->win[i].off, m->scratch, m->window_bytes), want);
		ck_assert_msg(!memcmp(m->scratch, m->win[i].bytes, want), "seed %" PRIu64 ": window %u differs", m->seed, i);
	}
	for (at = 0; at < m->size; at = end) {
		if (fs_seek(m->x->fs, m->ino, at, SEEK_DATA, &at) == -ENXIO)
			break;
		end = file_seek(m->x, m->ino, at, SEEK_HOLE);
		ck_assert_uint_gt(end, at);
		ck_assert_msg(in_a_window(m, at, end, bs), "seed %" PRIu64 ": data at %" PRIu64, m->seed, at);
	}
}

static void step(struct model *m)
{
	switch (rng_below(&m->rng, 16)) {
	case 0: case 1:
		step_truncate(m);
		break;
	case 2:
		step_punch(m, false);
		break;
	case 3:
		step_punch(m, true);
		break;
	case 4:
		step_allocate(m);
		break;
	case 5:
		ck_assert_int_eq(fs_fsync(m->x->fs, m->ino, rng_below(&m->rng, 2)), 0);
		break;
	case 6: case 7: case 8:
		step_read(m);
		break;
	default:
		step_write(m);
	}
}

START_TEST(random_work_on_a_sparse_file_matches_a_model)
{
	const struct model_case *c = &cases[_i];
	CLEANUP_FSX struct fsx *x = fsx_new("24m", c->mke2fs_opts);
	struct model m;

	fsx_mount(x);
	model_init(&m, x, c->block_bytes, 4711 + (uint64_t)_i);
	for (unsigned i = 1; i <= NR_STEPS; i++) {
		step(&m);
		if (i % STEPS_A_MOUNT)
			continue;
		compare_all(&m, c->block_bytes);
		fsx_unmount(x);
		fsx_fsck(x);
		fsx_mount(x);
		m.ino = file_find(x, "f");
		compare_all(&m, c->block_bytes);
	}
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fs_forget(x->fs, m.ino, 1);
	fsx_done(x);
	model_fini(&m);
}
END_TEST

TCase *file_model_tests(void)
{
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_work_on_a_sparse_file_matches_a_model, 0, ARRAY_LEN(cases));
	return tc;
}
