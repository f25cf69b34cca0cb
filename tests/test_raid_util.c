/* test_raid_util.c: see test_raid.h. */
#include "test_raid.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/lock.h"
#include "raid/raid_int.h"

const struct tconf tconfs[] = {
	{ .level = RAID_LINEAR, .nr_disks = 3, .rows = 9, .uneven = true },
	{ .level = RAID_0, .nr_disks = 1, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_0, .nr_disks = 4, .chunk_sects = 16, .rows = 9 },
	{ .level = RAID_0, .nr_disks = 5, .chunk_sects = 8, .rows = 9, .uneven = true },
	{ .level = RAID_0, .layout = "alternate", .nr_disks = 5, .chunk_sects = 8, .rows = 9, .uneven = true },
	{ .level = RAID_1, .nr_disks = 2, .rows = 100 },
	{ .level = RAID_1, .nr_disks = 3, .rows = 100 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 3, .chunk_sects = 8, .rows = 11 },
	{ .level = RAID_10, .layout = "n2", .nr_disks = 4, .chunk_sects = 16, .rows = 11 },
	{ .level = RAID_10, .layout = "n3", .nr_disks = 5, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 3, .chunk_sects = 8, .rows = 11 },
	{ .level = RAID_10, .layout = "f2", .nr_disks = 4, .chunk_sects = 32, .rows = 12 },
	{ .level = RAID_10, .layout = "f3", .nr_disks = 5, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_10, .layout = "o2", .nr_disks = 3, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_10, .layout = "o2", .nr_disks = 6, .chunk_sects = 16, .rows = 12 },
	{ .level = RAID_10, .layout = "o3", .nr_disks = 4, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_4, .nr_disks = 3, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_4, .nr_disks = 5, .chunk_sects = 64, .rows = 5 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 2, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 3, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 4, .chunk_sects = 256, .rows = 5 },
	{ .level = RAID_5, .layout = "ls", .nr_disks = 8, .chunk_sects = 16, .rows = 9 },
	{ .level = RAID_5, .layout = "la", .nr_disks = 5, .chunk_sects = 8, .rows = 12 },
	{ .level = RAID_5, .layout = "ra", .nr_disks = 4, .chunk_sects = 16, .rows = 9 },
	{ .level = RAID_5, .layout = "rs", .nr_disks = 6, .chunk_sects = 8, .rows = 13 },
	{ .level = RAID_5, .layout = "parity-first", .nr_disks = 3, .chunk_sects = 8, .rows = 5 },
	{ .level = RAID_5, .layout = "parity-last", .nr_disks = 7, .chunk_sects = 8, .rows = 5 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 4, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 5, .chunk_sects = 16, .rows = 11 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 6, .chunk_sects = 128, .rows = 7 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 7, .chunk_sects = 8, .rows = 15 },
	{ .level = RAID_6, .layout = "ls", .nr_disks = 8, .chunk_sects = 8, .rows = 17 },
	{ .level = RAID_6, .layout = "la", .nr_disks = 5, .chunk_sects = 8, .rows = 11 },
	{ .level = RAID_6, .layout = "ra", .nr_disks = 6, .chunk_sects = 8, .rows = 13 },
	{ .level = RAID_6, .layout = "rs", .nr_disks = 4, .chunk_sects = 16, .rows = 9 },
	{ .level = RAID_6, .layout = "parity-first", .nr_disks = 5, .chunk_sects = 8, .rows = 4 },
	{ .level = RAID_6, .layout = "parity-last", .nr_disks = 5, .chunk_sects = 8, .rows = 4 },
	{ .level = RAID_6, .layout = "left-symmetric-6", .nr_disks = 5, .chunk_sects = 8, .rows = 9 },
	{ .level = RAID_6, .layout = "right-asymmetric-6", .nr_disks = 6, .chunk_sects = 8, .rows = 9 },
};
const unsigned nr_tconfs = ARRAY_LEN(tconfs);

const char *tconf_text(const struct tconf *c)
{
	static char text[80];

	snprintf(text, sizeof(text), "%s %s of %u, chunk %u", raid_level_name(c->level), c->layout ? c->layout : "-",
		 c->nr_disks, c->chunk_sects);
	return text;
}

/* ---- messages ------------------------------------------------------------------------ */

static struct {
	os_mutex lock;
	bool ready;
	char text[16384];
	size_t len;
} tlog;

static void tlog_sink(void *arg, enum log_level level, const char *line)
{
	os_mutex_lock(&tlog.lock);
	tlog.len += (size_t)snprintf(tlog.text + tlog.len, sizeof(tlog.text) - tlog.len, "%s\n", line);
	tlog.len = MIN(tlog.len, sizeof(tlog.text) - 1);
	os_mutex_unlock(&tlog.lock);
}

void tlog_quiet(void)
{
	if (!tlog.ready)
		os_mutex_init(&tlog.lock, RANK_LEAF);
	tlog.ready = true;
	tlog.len = 0;
	tlog.text[0] = '\0';
	if (!getenv("TEST_VERBOSE"))
		log_set_sink(tlog_sink, NULL);
}

bool tlog_saw(const char *text)
{
	return getenv("TEST_VERBOSE") || strstr(tlog.text, text);
}

/* ---- disks --------------------------------------------------------------------------- */

struct tdev {
	struct blk_dev dev;
	struct tdisk *disk;
};

/* Whether a write is one that does not arrive. */
static bool is_cut(struct tcut *cut)
{
	if (!cut || !cut->is_armed)
		return false;
	if (cut->left)
		cut->left--;
	else
		cut->is_done = true;
	return cut->is_done;
}

static int tdisk_run(struct tdisk *d, struct blk_io *io)
{
	uint8_t *at = d->mem + (io->sect << SECT_SHIFT);
	bool hits_bad = d->bad_sect < d->bad_end && io->sect < d->bad_end && io->sect + io->nr_sects > d->bad_sect;

	if (d->delay_msec)
		nanosleep(&(struct timespec){ .tv_nsec = d->delay_msec * 1000000L }, NULL);
	if (d->dead)
		return -EIO;
	if (io->op != BLK_READ && io->op != BLK_FLUSH && is_cut(d->cut))
		return 0;
	switch (io->op) {
	case BLK_READ:
		if (hits_bad)
			return -EIO;
		for (unsigned i = 0; i < io->nr_iov; at += io->iov[i++].iov_len)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		__atomic_fetch_add(&d->nr_reads, 1, __ATOMIC_RELAXED);
		return 0;
	case BLK_WRITE:
		if (d->fail_writes || (hits_bad && d->bad_is_hard))
			return -EIO;
		for (unsigned i = 0; i < io->nr_iov; at += io->iov[i++].iov_len)
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		__atomic_fetch_add(&d->nr_writes, 1, __ATOMIC_RELAXED);
		if (io->sect >= d->data_offset)
			__atomic_fetch_add(&d->nr_data_sects, io->nr_sects, __ATOMIC_RELAXED);
		if (hits_bad && io->sect <= d->bad_sect && io->sect + io->nr_sects >= d->bad_end)
			d->bad_end = d->bad_sect;
		return 0;
	case BLK_FLUSH:
		__atomic_fetch_add(&d->nr_flushes, 1, __ATOMIC_RELAXED);
		return d->fail_writes ? -EIO : 0;
	case BLK_DISCARD:
		/* As bad as it is allowed to be. */
		memset(at, 0xdd, io->nr_sects << SECT_SHIFT);
		return 0;
	default:
		if (d->fail_writes)
			return -EIO;
		memset(at, 0, io->nr_sects << SECT_SHIFT);
		return 0;
	}
}

static bool tdev_submit(struct blk_dev *dev, struct blk_io *io, bool alone)
{
	io->err = tdisk_run(container_of(dev, struct tdev, dev)->disk, io);
	return true;
}

static void tdev_close(struct blk_dev *dev)
{
	blk_dev_fini(dev);
	free(container_of(dev, struct tdev, dev));
}

static const struct blk_ops tdev_ops = { .name = "tdisk", .submit = tdev_submit, .close = tdev_close };

void tdisk_init(struct tdisk *d, uint64_t nr_sects)
{
	*d = (struct tdisk){ .mem = calloc(nr_sects, SECT_BYTES), .nr_sects = nr_sects };
	ck_assert_ptr_nonnull(d->mem);
}

void tdisk_fini(struct tdisk *d)
{
	free(d->mem);
}

struct blk_dev *tdisk_open(struct tdisk *d, const char *name)
{
	struct tdev *t = calloc(1, sizeof(*t));

	must(t);
	must(blk_dev_init(&t->dev, &tdev_ops, name, d->nr_sects, false) == 0);
	t->disk = d;
	return &t->dev;
}

/* ---- arrays --------------------------------------------------------------------------- */

static struct blk_dev *open_disk(struct tarray *t, unsigned i)
{
	char name[16];

	snprintf(name, sizeof(name), "disk%u", i);
	return tdisk_open(&t->disks[i], name);
}

static void create(struct tarray *t)
{
	const struct tconf *c = &t->conf;
	struct raid_params p = {
		.level = c->level, .chunk_sects = c->chunk_sects, .nr_disks = c->nr_disks, .metadata = c->metadata,
		.name = "test", .data_offset = c->metadata >= RAID_META_11 ? 16 + (t->seed % 3) * 8 : 0,
		.bitmap = c->bitmap_bytes ? RAID_BITMAP_INTERNAL : RAID_BITMAP_NONE,
		.bitmap_chunk_bytes = c->bitmap_bytes };
	struct blk_dev *devs[TDISKS_MAX];

	if (c->bitmap_bytes && c->metadata >= RAID_META_11)
		p.data_offset += 16;
	rng_fill(&t->rng, p.uuid, sizeof(p.uuid));
	ck_assert_int_eq(raid_layout_parse(c->level, c->layout, &p.layout), 0);
	t->layout = p.layout;
	for (unsigned i = 0; i < t->nr_devs; i++)
		devs[i] = open_disk(t, i);
	ck_assert_int_eq(raid_create(&p, devs, devs + c->nr_disks, c->nr_spares, true), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		blk_close(devs[i]);
}

struct tarray *tarray_new(const struct tconf *conf, uint64_t seed)
{
	struct tarray *t = calloc(1, sizeof(*t));
	uint32_t unit = conf->chunk_sects ? conf->chunk_sects : 8;

	ck_assert_ptr_nonnull(t);
	tlog_quiet();
	t->conf = *conf;
	if (!conf->has_metadata)
		t->conf.metadata = RAID_META_12;
	t->seed = seed;
	t->rng.state = seed;
	t->nr_devs = conf->nr_disks + conf->nr_spares;
	ck_assert_int_eq(alloc_new(&(struct alloc_opts){ .poison = true, .redzone = true }, &t->alloc), 0);
	for (unsigned i = 0; i < t->nr_devs; i++) {
		uint64_t extra = conf->uneven ? (i * 7 % 5) * 3 * unit : 0;

		tdisk_init(&t->disks[i], 300 + (uint64_t)conf->rows * unit + extra);
		t->disks[i].cut = &t->cut;
		t->largest_sects = MAX(t->largest_sects, t->disks[i].nr_sects);
	}
	create(t);
	ck_assert_int_eq(tarray_assemble(t, NULL), 0);
	t->nr_sects = blk_nr_sects(raid_dev(t->r));
	t->flat = calloc(t->nr_sects, SECT_BYTES);
	ck_assert_ptr_nonnull(t->flat);
	return t;
}

int tarray_assemble(struct tarray *t, const struct raid_open_opts *opts)
{
	struct raid_open_opts o = opts ? *opts : t->opts;
	struct blk_dev *devs[TDISKS_MAX];
	unsigned nr = 0, turn = (unsigned)rng_below(&t->rng, t->nr_devs);
	int err;

	o.alloc = t->alloc;
	for (unsigned i = 0; i < t->nr_devs; i++) {
		unsigned disk = (i + turn) % t->nr_devs;

		if (!t->absent[disk])
			devs[nr++] = open_disk(t, disk);
	}
	err = raid_assemble(devs, nr, &o, &t->r);
	if (err)
		for (unsigned i = 0; i < nr; i++)
			blk_close(devs[i]);
	return err;
}

void tarray_stop(struct tarray *t)
{
	if (t->r)
		ck_assert_int_eq(raid_free(t->r), 0);
	t->r = NULL;
}

static struct tdisk *disk_of_dev(struct blk_dev *dev)
{
	return container_of(dev, struct tdev, dev)->disk;
}

unsigned tarray_disk_add(struct tarray *t)
{
	ck_assert_uint_lt(t->nr_devs, TDISKS_MAX);
	tdisk_init(&t->disks[t->nr_devs], t->largest_sects);
	t->disks[t->nr_devs].cut = &t->cut;
	t->absent[t->nr_devs] = true;
	return t->nr_devs++;
}

int tarray_join(struct tarray *t, unsigned disk, enum raid_add how)
{
	struct blk_dev *d = open_disk(t, disk);
	int dev_nr, err = raid_member_add(t->r, d, how, &dev_nr);

	if (err)
		blk_close(d);
	t->absent[disk] = err;
	return err;
}

static struct raid_member *member_of(struct tarray *t, unsigned disk)
{
	for (unsigned i = 0; i < t->r->nr_members; i++)
		if (disk_of_dev(t->r->members[i]->dev) == &t->disks[disk])
			return t->r->members[i];
	return NULL;
}

int tarray_disk_of(struct tarray *t, unsigned slot)
{
	struct raid_member *m = t->r->slots[slot];

	return m ? (int)(disk_of_dev(m->dev) - t->disks) : -1;
}

int tarray_nr_of(struct tarray *t, unsigned disk)
{
	struct raid_member *m = member_of(t, disk);

	return m ? m->sb.info.dev_nr : -1;
}

enum raid_member_state tarray_state_of(struct tarray *t, unsigned disk)
{
	struct raid_member *m = member_of(t, disk);

	return m ? atomic_load(&m->state) : RAID_MISSING;
}

int tarray_finish(struct tarray *t)
{
	int rc;

	do
		rc = raid_step(t->r, 1 + rng_below(&t->rng, 64));
	while (rc == 1);
	return rc;
}

void tarray_remove(struct tarray *t, unsigned disk)
{
	struct blk_dev *d;

	must_msg(raid_member_remove(t->r, tarray_nr_of(t, disk), &d) == 0, "seed %ju: disk %u", (uintmax_t)t->seed, disk);
	blk_close(d);
	t->absent[disk] = true;
}

void tarray_reassemble(struct tarray *t)
{
	tarray_stop(t);
	must_msg(tarray_assemble(t, NULL) == 0, "%s seed %ju", tconf_text(&t->conf), (uintmax_t)t->seed);
}

void tarray_crash(struct tarray *t)
{
	uint8_t *copies[TDISKS_MAX];

	for (unsigned i = 0; i < t->nr_devs; i++) {
		size_t len = t->disks[i].nr_sects << SECT_SHIFT;

		copies[i] = malloc(len);
		memcpy(copies[i], t->disks[i].mem, len);
	}
	raid_free(t->r);
	t->r = NULL;
	t->cut = (struct tcut){ 0 };
	for (unsigned i = 0; i < t->nr_devs; i++) {
		free(t->disks[i].mem);
		t->disks[i].mem = copies[i];
	}
}

void tarray_free(struct tarray *t)
{
	if (t->r)
		raid_free(t->r);
	ck_assert_int_eq(alloc_check(t->alloc), 0);
	ck_assert_uint_eq(alloc_free(t->alloc), 0);
	for (unsigned i = 0; i < t->nr_devs; i++)
		tdisk_fini(&t->disks[i]);
	free(t->flat);
	free(t);
}

struct raid_info tarray_info(struct tarray *t, unsigned disk)
{
	struct blk_dev *d = open_disk(t, disk);
	struct raid_info info;

	must(raid_examine(d, &info) == 0);
	blk_close(d);
	return info;
}

/* ---- requests -------------------------------------------------------------------------- */

enum { REQS_MAX = 24, IOVS_MAX = 8 };

struct request {
	struct iovec iov[IOVS_MAX];
	void *bufs[IOVS_MAX];
};

/* Memory in pieces of random sizes and alignments. */
static void request_scatter(struct tarray *t, struct blk_io *io, struct request *rq, uint32_t nr_sects)
{
	io->iov = rq->iov;
	io->nr_iov = 0;
	while (nr_sects) {
		uint32_t n = io->nr_iov == IOVS_MAX - 1 ? nr_sects : 1 + (uint32_t)rng_below(&t->rng, nr_sects);
		size_t shift = rng_below(&t->rng, 4) ? 0 : rng_below(&t->rng, 60);
		char *buf = NULL;

		must(posix_memalign((void **)&buf, 64, ((size_t)n << SECT_SHIFT) + 64) == 0);
		rq->bufs[io->nr_iov] = buf;
		rq->iov[io->nr_iov++] = (struct iovec){ buf + shift, (size_t)n << SECT_SHIFT };
		nr_sects -= n;
	}
}

static void request_free(struct blk_io *io, struct request *rq)
{
	for (unsigned i = 0; i < io->nr_iov; i++)
		free(rq->bufs[i]);
}

static void request_fill(struct tarray *t, struct blk_io *io)
{
	uint8_t *flat = t->flat + (io->sect << SECT_SHIFT);

	for (unsigned i = 0; i < io->nr_iov; flat += io->iov[i++].iov_len) {
		rng_fill(&t->rng, io->iov[i].iov_base, io->iov[i].iov_len);
		memcpy(flat, io->iov[i].iov_base, io->iov[i].iov_len);
	}
}

static bool request_same(struct tarray *t, const struct blk_io *io)
{
	const uint8_t *flat = t->flat + (io->sect << SECT_SHIFT);

	for (unsigned i = 0; i < io->nr_iov; flat += io->iov[i++].iov_len)
		if (memcmp(flat, io->iov[i].iov_base, io->iov[i].iov_len))
			return false;
	return true;
}

int tarray_write(struct tarray *t, sect_t sect, uint32_t nr_sects)
{
	struct request rq;
	struct blk_io io = { .dev = raid_dev(t->r), .op = BLK_WRITE, .sect = sect };
	int err;

	request_scatter(t, &io, &rq, nr_sects);
	request_fill(t, &io);
	err = blk_run(&io, 1);
	request_free(&io, &rq);
	return err;
}

/* Ranges that follow each other, with gaps now and then, in shuffled order. */
void tarray_write_random(struct tarray *t, unsigned nr)
{
	struct blk_io ios[REQS_MAX];
	struct request rqs[REQS_MAX];

	while (nr--) {
		unsigned n = 0, max = 1 + (unsigned)rng_below(&t->rng, REQS_MAX);
		sect_t at = rng_below(&t->rng, t->nr_sects);
		uint32_t longest = 1u << rng_below(&t->rng, 10);

		for (; n < max && at < t->nr_sects; n++) {
			uint32_t len = 1 + (uint32_t)rng_below(&t->rng, MIN((uint64_t)longest, t->nr_sects - at));

			ios[n] = (struct blk_io){ .dev = raid_dev(t->r), .op = BLK_WRITE, .sect = at };
			request_scatter(t, &ios[n], &rqs[n], len);
			request_fill(t, &ios[n]);
			at += len + (rng_below(&t->rng, 3) ? 0 : rng_below(&t->rng, 20));
		}
		for (unsigned i = n; i-- > 1 && n % 2;) {
			unsigned j = (unsigned)rng_below(&t->rng, i + 1);
			struct blk_io swap = ios[i];

			ios[i] = ios[j];
			ios[j] = swap;
		}
		must_msg(blk_run(ios, n) == 0, "%s seed %ju", tconf_text(&t->conf), (uintmax_t)t->seed);
		for (unsigned i = 0; i < n; i++)
			for (unsigned k = 0; k < n; k++)
				if (ios[i].iov == rqs[k].iov)
					request_free(&ios[i], &rqs[k]);
	}
}

void tarray_compare(struct tarray *t)
{
	uint8_t *all = malloc(t->nr_sects << SECT_SHIFT);

	ck_assert_int_eq(blk_read(raid_dev(t->r), 0, all, t->nr_sects << SECT_SHIFT), 0);
	for (uint64_t i = 0; i < t->nr_sects; i++)
		must_msg(!memcmp(all + i * SECT_BYTES, t->flat + i * SECT_BYTES, SECT_BYTES),
			      "%s seed %ju: sector %ju differs", tconf_text(&t->conf), (uintmax_t)t->seed, (uintmax_t)i);
	free(all);
	for (unsigned n = 0; n < 10; n++) {
		struct request rq;
		struct blk_io io = { .dev = raid_dev(t->r), .op = BLK_READ, .sect = rng_below(&t->rng, t->nr_sects) };

		request_scatter(t, &io, &rq, 1 + (uint32_t)rng_below(&t->rng, t->nr_sects - io.sect));
		must(blk_run(&io, 1) == 0);
		must_msg(request_same(t, &io), "%s seed %ju: read at %ju differs", tconf_text(&t->conf),
			      (uintmax_t)t->seed, (uintmax_t)io.sect);
		request_free(&io, &rq);
	}
}

/* ---- the disks, byte by byte -------------------------------------------------------------- */

static uint8_t gf_times_two(uint8_t v)
{
	return (uint8_t)(v << 1 ^ (v & 0x80 ? 0x1d : 0));
}

uint8_t *tarray_at(struct tarray *t, unsigned slot, sect_t sect)
{
	struct raid_member *m = t->r->slots[slot];

	if (!m || atomic_load(&m->state) != RAID_IN_SYNC)
		return NULL;
	return disk_of_dev(m->dev)->mem + ((m->data_offset + sect) << SECT_SHIFT);
}

/* P is the sum of the data, Q by Horner's rule from the data chunk before P (or Q) back to the one behind Q. */
static void check_stripe(struct tarray *t, const struct raid_geom *g, uint64_t stripe)
{
	size_t len = (size_t)g->chunk_sects << SECT_SHIFT;
	struct raid_stripe_map m;
	const uint8_t *at[TDISKS_MAX];

	raid_map_stripe(g, stripe, &m);
	for (unsigned slot = 0; slot < g->nr_disks; slot++)
		at[slot] = tarray_at(t, slot, stripe << g->chunk_shift);
	for (size_t i = 0; i < len; i++) {
		uint8_t p = 0, q = 0, d[TDISKS_MAX] = { 0 };

		for (unsigned dd = 0; dd < g->nr_data; dd++)
			d[m.data[dd]] = t->flat[(stripe * g->nr_data + dd) * len + i];
		/* From the slot before Q backwards: the last data chunk has the highest power. */
		for (unsigned back = 1; back < g->nr_disks; back++) {
			unsigned slot = (m.q + g->nr_disks - back) % g->nr_disks;

			if (g->nr_parity < 2 || slot == m.p)
				continue;
			q = (uint8_t)(gf_times_two(q) ^ d[slot]);
		}
		for (unsigned slot = 0; slot < g->nr_disks; slot++)
			p ^= d[slot];
		for (unsigned slot = 0; slot < g->nr_disks; slot++) {
			uint8_t want = slot == m.p ? p : g->nr_parity == 2 && slot == m.q ? q : d[slot];

			must_msg(!at[slot] || at[slot][i] == want, "%s seed %ju: stripe %ju slot %u byte %zu",
				      tconf_text(&t->conf), (uintmax_t)t->seed, (uintmax_t)stripe, slot, i);
		}
	}
}

static void check_copies(struct tarray *t, const struct raid_geom *g)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	for (sect_t sect = 0; sect < g->array_sects; sect++) {
		raid_map(g, sect, places, &nr);
		for (unsigned i = 0; i < g->nr_copies; i++)
			must_msg(!tarray_at(t, places[i].slot, places[i].sect) ||
				      !memcmp(tarray_at(t, places[i].slot, places[i].sect), t->flat + sect * SECT_BYTES,
					      SECT_BYTES),
				      "%s seed %ju: sector %ju copy %u", tconf_text(&t->conf), (uintmax_t)t->seed,
				      (uintmax_t)sect, i);
	}
}

void tarray_check_disks(struct tarray *t)
{
	const struct raid_geom *g = &t->r->geom;

	if (!g->nr_parity) {
		check_copies(t, g);
		return;
	}
	for (uint64_t stripe = 0; stripe < g->member_sects >> g->chunk_shift; stripe++)
		check_stripe(t, g, stripe);
}
