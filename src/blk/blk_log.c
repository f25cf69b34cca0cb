/*
 * blk_log.c: logs in the format of dm-log-writes, written and read.
 *
 * A log that is being written is complete up to what its super block says, at every moment: the
 * number of records goes in last. Zeroes are holes of the file.
 */
#include "blk/blk_tape_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

struct blk_log {
	os_mutex lock;		/* RANK_LEAF */
	char *path;		/* [const] */
	int fd;			/* [const] */
	uint64_t pos;		/* [lock] end of the log */
	uint64_t nr;		/* [lock] */
	uint64_t last_seq;	/* [lock] */
	int err;		/* [lock] first error; nothing more is recorded */
};

/* Writing ------------------------------------------------------------------------------------ */

uint64_t blk_log_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int write_at(struct blk_log *l, const void *buf, size_t len, uint64_t pos)
{
	const char *p = buf;

	while (len) {
		const ssize_t n = pwrite(l->fd, p, len, (off_t)pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		pos += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int store_super(struct blk_log *l)
{
	const struct blk_log_disk_super s = {
		.magic = le64_of(BLK_LOG_MAGIC), .version = le64_of(BLK_LOG_VERSION),
		.nr_entries = le64_of(l->nr), .sectorsize = le32_of(SECT_BYTES) };

	return write_at(l, &s, sizeof(s), 0);
}

int blk_log_create(const char *path, struct blk_log **out)
{
	struct blk_log *l = calloc(1, sizeof(*l));
	int err;

	*out = NULL;
	if (!l)
		return -ENOMEM;
	l->path = strdup(path);
	l->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	err = l->fd < 0 ? -errno : l->path ? 0 : -ENOMEM;
	os_mutex_init(&l->lock, RANK_LEAF);
	l->pos = SECT_BYTES;
	if (!err)
		err = store_super(l);
	if (!err && ftruncate(l->fd, SECT_BYTES))
		err = -errno;
	if (err) {
		log_error("%s: log cannot be made: %s", path, strerror(-err));
		l->err = err;
		blk_log_close(l);
		return err;
	}
	*out = l;
	return 0;
}

static int write_head(struct blk_log *l, const struct blk_rec *r, size_t text_len)
{
	struct blk_log_disk_entry e = {
		.sector = le64_of(r->sect), .nr_sectors = le64_of(r->nr_sects), .flags = le64_of(r->flags),
		.data_len = le64_of(text_len) };
	struct blk_log_disk_order o = { .seq = le64_of(r->seq), .began = le64_of(r->began) };
	char sector[SECT_BYTES] = { 0 };

	memcpy(o.magic, BLK_LOG_ORDER_MAGIC, sizeof(o.magic));
	memcpy(sector, &e, sizeof(e));
	if (text_len)
		memcpy(sector + sizeof(e), r->data, text_len);
	memcpy(sector + BLK_LOG_ORDER_OFF, &o, sizeof(o));
	return write_at(l, sector, sizeof(sector), l->pos);
}

static int write_data(struct blk_log *l, const struct blk_rec *r, const struct blk_io *io)
{
	uint64_t pos = l->pos + SECT_BYTES;
	int err = 0;

	if (!io)
		return r->data ? write_at(l, r->data, (size_t)(r->nr_sects << SECT_SHIFT), pos) : 0;
	for (unsigned i = 0; !err && i < io->nr_iov; i++) {
		err = write_at(l, io->iov[i].iov_base, io->iov[i].iov_len, pos);
		pos += io->iov[i].iov_len;
	}
	return err;
}

static int add_record(struct blk_log *l, struct blk_rec *r, const struct blk_io *io)
{
	const bool mark = r->flags & BLK_LOG_MARK;
	const size_t text_len = mark ? strnlen((const char *)r->data, BLK_LOG_TEXT_MAX) : 0;
	const bool has_data = !mark && !(r->flags & BLK_LOG_DISCARD);
	const uint64_t end = l->pos + SECT_BYTES + (has_data ? r->nr_sects << SECT_SHIFT : 0);
	int err;

	if (!r->seq)
		r->seq = MAX(blk_log_now(), l->last_seq + 1);
	err = write_head(l, r, text_len);
	if (!err && has_data)
		err = write_data(l, r, io);
	if (!err && ftruncate(l->fd, (off_t)end))
		err = -errno;
	if (err)
		return err;
	l->last_seq = r->seq;
	l->pos = end;
	l->nr++;
	return store_super(l);
}

void blk_log_add(struct blk_log *l, const struct blk_rec *rec, const struct blk_io *io)
{
	struct blk_rec r = *rec;
	LOCK_GUARD(&l->lock);

	if (l->err)
		return;
	l->err = add_record(l, &r, io);
	if (l->err)
		log_error("%s: cannot be written after record %" PRIu64 ": %s; nothing more is recorded", l->path, l->nr,
			  strerror(-l->err));
}

int blk_log_close(struct blk_log *l)
{
	int err = l->err;

	if (l->fd >= 0 && close(l->fd) && !err)
		err = -errno;
	os_mutex_fini(&l->lock);
	free(l->path);
	free(l);
	return err;
}

int blk_tape_save(const struct blk_tape *t, unsigned dev, const char *path)
{
	struct blk_log *l;
	const int err = blk_log_create(path, &l);

	if (err)
		return err;
	for (size_t i = 0; i < t->nr; i++)
		if (t->recs[i].dev == dev || t->recs[i].flags & BLK_LOG_MARK)
			blk_log_add(l, &t->recs[i], NULL);
	return blk_log_close(l);
}

/* Reading -------------------------------------------------------------------------------------- */

struct reader {
	const char *path;
	const uint8_t *bytes;
	uint64_t len, pos;
	uint32_t unit;		/* bytes of a sector of this log */
};

static int bad(const struct reader *rd, uint64_t nr, const char *what)
{
	log_error("%s: byte %" PRIu64 ", record %" PRIu64 ": %s", rd->path, rd->pos, nr, what);
	return -EUCLEAN;
}

static int map_file(struct blk_tape *t, const char *path, struct reader *rd)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct blk_tape_map *m = calloc(1, sizeof(*m));
	struct stat st;
	int err = 0;

	if (fd < 0 || fstat(fd, &st))
		err = -errno;
	else if (!m)
		err = -ENOMEM;
	else if (st.st_size < SECT_BYTES)
		err = -EUCLEAN;
	if (!err) {
		m->len = (size_t)st.st_size;
		m->addr = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (m->addr == MAP_FAILED)
			err = -errno;
	}
	if (fd >= 0)
		close(fd);
	if (err) {
		log_error("%s: %s", path, err == -EUCLEAN ? "too short for a log of dm-log-writes" : strerror(-err));
		free(m);
		return err;
	}
	m->next = t->maps;
	t->maps = m;
	*rd = (struct reader){ .path = path, .bytes = m->addr, .len = m->len };
	return 0;
}

static int read_super(struct reader *rd, uint64_t *nr)
{
	struct blk_log_disk_super s;

	memcpy(&s, rd->bytes, sizeof(s));
	rd->unit = le32_get(s.sectorsize);
	*nr = le64_get(s.nr_entries);
	if (le64_get(s.magic) != BLK_LOG_MAGIC)
		return bad(rd, 0, "no log of dm-log-writes (magic)");
	if (le64_get(s.version) != BLK_LOG_VERSION)
		return bad(rd, 0, "a version of the log that is not known");
	if (!is_pow2(rd->unit) || rd->unit < SECT_BYTES || rd->unit > 65536)
		return bad(rd, 0, "impossible size of a sector");
	rd->pos = rd->unit;
	return 0;
}

/* The text of a mark, or NULL. */
static uint8_t *mark_text(const struct reader *rd, const struct blk_log_disk_entry *e)
{
	const uint64_t len = MIN(le64_get(e->data_len), rd->unit - (uint64_t)sizeof(*e));
	char *text = calloc(1, (size_t)len + 1);

	if (text)
		memcpy(text, rd->bytes + rd->pos + sizeof(*e), (size_t)len);
	return (uint8_t *)text;
}

static void order_of(const struct reader *rd, struct blk_rec *r, uint64_t nr)
{
	struct blk_log_disk_order o;

	memcpy(&o, rd->bytes + rd->pos + BLK_LOG_ORDER_OFF, sizeof(o));
	if (memcmp(o.magic, BLK_LOG_ORDER_MAGIC, sizeof(o.magic))) {
		r->seq = r->began = nr + 1;
		return;
	}
	r->seq = le64_get(o.seq);
	r->began = le64_get(o.began);
}

/* A mark is in the log of every device of a run. */
static bool has_mark(const struct blk_tape *t, const struct blk_rec *r)
{
	for (size_t i = 0; i < t->nr; i++)
		if (t->recs[i].flags & BLK_LOG_MARK && t->recs[i].seq == r->seq &&
		    !strcmp((const char *)t->recs[i].data, (const char *)r->data))
			return true;
	return false;
}

static int add_mark(struct blk_tape *t, struct reader *rd, struct blk_rec *r, const struct blk_log_disk_entry *e)
{
	uint8_t *text = mark_text(rd, e);

	if (!text)
		return -ENOMEM;
	r->data = text;
	r->sect = r->nr_sects = 0;
	if (has_mark(t, r)) {
		free(text);
		return 0;
	}
	return blk_tape_add(t, r);
}

static int read_record(struct blk_tape *t, struct reader *rd, unsigned dev, uint64_t nr)
{
	struct blk_log_disk_entry e;
	struct blk_rec r = { .dev = dev };
	uint64_t bytes;
	int err;

	if (rd->len - rd->pos < rd->unit)
		return bad(rd, nr, "the log ends too early");
	memcpy(&e, rd->bytes + rd->pos, sizeof(e));
	order_of(rd, &r, nr);
	r.flags = (unsigned)le64_get(e.flags) & (BLK_LOG_FLUSH | BLK_LOG_FUA | BLK_LOG_DISCARD | BLK_LOG_MARK);
	if (r.flags & BLK_LOG_MARK) {
		r.flags = BLK_LOG_MARK;
		err = add_mark(t, rd, &r, &e);
		rd->pos += rd->unit;
		return err;
	}
	if (__builtin_mul_overflow(le64_get(e.nr_sectors), rd->unit, &bytes) ||
	    __builtin_mul_overflow(le64_get(e.sector), rd->unit >> SECT_SHIFT, &r.sect))
		return bad(rd, nr, "impossible number of sectors");
	r.nr_sects = bytes >> SECT_SHIFT;
	rd->pos += rd->unit;
	if (r.flags & BLK_LOG_FLUSH && r.nr_sects) {	/* the flush by itself */
		const struct blk_rec flush = { r.seq, r.began, dev, BLK_LOG_FLUSH, 0, 0, NULL };

		err = blk_tape_add(t, &flush);
		if (err)
			return err;
		r.flags &= ~(unsigned)BLK_LOG_FLUSH;
	}
	if (!(r.flags & BLK_LOG_DISCARD) && bytes) {
		if (rd->len - rd->pos < bytes)
			return bad(rd, nr, "the log ends within the data");
		r.data = rd->bytes + rd->pos;
		rd->pos += bytes;
	}
	return blk_tape_add(t, &r);
}

static int compare_recs(const void *a, const void *b)
{
	const struct blk_rec *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return !!x->nr_sects - !!y->nr_sects;	/* a flush before its write */
}

int blk_tape_load(struct blk_tape *t, unsigned dev, const char *path)
{
	struct reader rd;
	uint64_t nr = 0;
	int err;

	err = map_file(t, path, &rd);
	if (!err)
		err = read_super(&rd, &nr);
	for (uint64_t i = 0; !err && i < nr; i++)
		err = read_record(t, &rd, dev, i);
	if (!err && t->nr)
		qsort(t->recs, t->nr, sizeof(*t->recs), compare_recs);
	return err;
}
