/* test_blk_util.c: images, messages, a model and a compound for the block layer's tests. */
#include "test_blk.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static const char *const image_dirs[2] = { "/var/tmp", "/dev/shm" };
char last_message[512];

char *image_path(unsigned where)
{
	char dir[64];
	char *path;

	snprintf(dir, sizeof(dir), "%s/test_blk.XXXXXX", image_dirs[where]);
	if (!mkdtemp(dir)) {
		snprintf(dir, sizeof(dir), "%s/test_blk.XXXXXX", P_tmpdir);
		ck_assert_ptr_nonnull(mkdtemp(dir));
	}
	ck_assert_int_gt(asprintf(&path, "%s/image", dir), 0);
	return path;
}

void image_remove(char *path)
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	free(path);
}

static void keep_message(void *arg, enum log_level level, const char *line)
{
	snprintf(last_message, sizeof(last_message), "%s", line);
}

void capture_log(void)
{
	last_message[0] = '\0';
	log_set_sink(keep_message, NULL);
}

struct blk_dev *must_open(const char *spec, const struct blk_open_opts *opts)
{
	struct blk_dev *d;
	int err = blk_open(spec, opts, &d);

	ck_assert_msg(!err, "%s: %s", spec, strerror(-err));
	return d;
}

void fill(void *buf, size_t len, uint64_t seed)
{
	rng_fill(&(struct rng){ seed }, buf, len);
}

void model_init(struct model *m, struct blk_dev *dev)
{
	m->dev = dev;
	m->ref = calloc(blk_nr_sects(dev), SECT_BYTES);
	ck_assert_ptr_nonnull(m->ref);
}

void model_fini(struct model *m)
{
	free(m->ref);
}

enum { STEP_REQUESTS = 8, STEP_MAX_SECTS = 96, STEP_MAX_IOV = 24 };

struct step {
	struct iovec iov[STEP_MAX_IOV];
	uint8_t *buf;
};

/* Cuts buf into entries of odd lengths, some of them empty, some of them a page apart. */
static unsigned cut(struct rng *r, struct iovec *iov, uint8_t *buf, size_t len)
{
	unsigned nr = 0;

	while (len) {
		size_t n = rng_below(r, 4) ? rng_below(r, len + 1) : MIN(len, (size_t)4096);

		if (nr == STEP_MAX_IOV - 1)
			n = len;
		iov[nr++] = (struct iovec){ buf, n };
		buf += n;
		len -= n;
	}
	return nr;
}

static void plan(struct model *m, struct rng *r, sect_t sect, uint64_t nr_sects, struct blk_io *io, struct step *s)
{
	static const enum blk_op ops[] = { BLK_READ, BLK_READ, BLK_READ, BLK_WRITE, BLK_WRITE, BLK_WRITE, BLK_ZERO,
					   BLK_FLUSH };
	uint64_t n = 1 + rng_below(r, MIN(nr_sects, (uint64_t)STEP_MAX_SECTS));

	*io = (struct blk_io){ .dev = m->dev, .op = ops[rng_below(r, ARRAY_LEN(ops))], .nr_sects = n, .err = 1 };
	io->sect = sect + rng_below(r, nr_sects - n + 1);
	if (rng_below(r, 3) == 0) {	/* pages, as most of the layers above will ask */
		io->sect = ALIGN_DOWN(io->sect, 8);
		io->sect = MAX(io->sect, sect);
	}
	io->flags = io->op == BLK_WRITE && !rng_below(r, 8) ? BLK_FUA : 0;
	if (io->op == BLK_READ || io->op == BLK_WRITE) {
		s->buf = aligned_alloc(4096, STEP_MAX_SECTS * SECT_BYTES + 4096);
		ck_assert_ptr_nonnull(s->buf);
		rng_fill(r, s->buf, n * SECT_BYTES);
		io->iov = s->iov;
		io->nr_iov = rng_below(r, 2) ? cut(r, s->iov, s->buf, n * SECT_BYTES) : 1;
		if (io->nr_iov == 1)
			s->iov[0] = (struct iovec){ s->buf, n * SECT_BYTES };
	}
}

void model_step(struct model *m, struct rng *r, sect_t sect, uint64_t nr_sects, uint64_t seed)
{
	unsigned nr = 1 + (unsigned)rng_below(r, STEP_REQUESTS);
	uint64_t share = nr_sects / nr;		/* each request in its own, since a batch has no order */
	struct step steps[STEP_REQUESTS] = { 0 };
	struct blk_io ios[STEP_REQUESTS];

	for (unsigned i = 0; i < nr; i++)
		plan(m, r, sect + i * share, share, &ios[i], &steps[i]);
	ck_assert_msg(!blk_run(ios, nr), "seed %" PRIu64, seed);
	for (unsigned i = 0; i < nr; i++) {
		uint8_t *ref = m->ref + ios[i].sect * SECT_BYTES;
		size_t len = ios[i].nr_sects * SECT_BYTES;

		ck_assert_int_eq(ios[i].err, 0);
		if (ios[i].op == BLK_WRITE)
			memcpy(ref, steps[i].buf, len);
		else if (ios[i].op == BLK_ZERO)
			memset(ref, 0, len);
		else if (ios[i].op == BLK_READ)
			ck_assert_msg(!memcmp(ref, steps[i].buf, len), "seed %" PRIu64 ": read at %" PRIu64, seed,
				      ios[i].sect);
		free(steps[i].buf);
	}
}

void model_compare(const struct model *m, uint64_t seed)
{
	size_t len = blk_nr_sects(m->dev) * SECT_BYTES;
	uint8_t *buf = malloc(len);

	ck_assert_int_eq(blk_read(m->dev, 0, buf, len), 0);
	ck_assert_msg(!memcmp(buf, m->ref, len), "seed %" PRIu64 ": contents differ", seed);
	free(buf);
}

static void mirror_run(struct blk_dev *d, struct blk_io **ios, unsigned nr)
{
	struct mirror *m = container_of(d, struct mirror, dev);
	struct blk_io *parts = calloc(2 * nr, sizeof(*parts));

	m->nr_runs++;
	m->nr_requests += nr;
	for (unsigned i = 0; i < 2 * nr; i++) {
		parts[i] = *ios[i / 2];
		parts[i].dev = m->members[i % 2 && parts[i].op != BLK_READ];
	}
	blk_run(parts, 2 * nr);
	for (unsigned i = 0; i < nr; i++)
		ios[i]->err = parts[2 * i].err ? parts[2 * i].err : parts[2 * i + 1].err;
	free(parts);
}

static void mirror_close(struct blk_dev *d)
{
	blk_dev_fini(d);
}

static const struct blk_ops mirror_ops = { .name = "mirror", .run = mirror_run, .close = mirror_close };

void mirror_init(struct mirror *m, struct blk_dev *a, struct blk_dev *b)
{
	*m = (struct mirror){ .members = { a, b } };
	ck_assert_int_eq(blk_dev_init(&m->dev, &mirror_ops, "mirror", blk_nr_sects(a), false), 0);
}
