/* lab_image.c: see lab_image.h. Pages of 4 KiB; a page that an image does not have is its parent's. */
#include "lab_image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { PAGE_SECTS = PAGE_BYTES >> SECT_SHIFT };
#define STALE_TEXT "stale sector, nobody's: "

struct lab_image {
	const struct lab_image *parent;
	uint64_t nr_sects;
	bool stale;		/* what the oldest ancestor is filled with */
	size_t nr_pages;
	uint8_t **pages;	/* own ones */
};

struct image_dev {
	struct blk_dev dev;
	struct lab_image *im;
};

void lab_stale_fill(void *sector, sect_t sect)
{
	char *p = sector;

	for (unsigned i = 0; i < SECT_BYTES; i += 64) {
		memset(p + i, '.', 64);
		memcpy(p + i, STALE_TEXT, sizeof(STALE_TEXT) - 1);
		memcpy(p + i + 32, &sect, sizeof(sect));
	}
}

bool lab_is_stale(const void *sector)
{
	return !memcmp(sector, STALE_TEXT, sizeof(STALE_TEXT) - 1);
}

int lab_image_new(uint64_t nr_sects, bool stale, struct lab_image **out)
{
	struct lab_image *im = calloc(1, sizeof(*im));

	*out = im;
	if (!im)
		return -ENOMEM;
	im->nr_sects = nr_sects;
	im->stale = stale;
	im->nr_pages = (size_t)DIV_UP(nr_sects, (uint64_t)PAGE_SECTS);
	im->pages = calloc(im->nr_pages + 1, sizeof(*im->pages));
	if (im->pages)
		return 0;
	free(im);
	*out = NULL;
	return -ENOMEM;
}

int lab_image_copy(const struct lab_image *parent, struct lab_image **out)
{
	const int err = lab_image_new(parent->nr_sects, parent->stale, out);

	if (!err)
		(*out)->parent = parent;
	return err;
}

void lab_image_free(struct lab_image *im)
{
	if (!im)
		return;
	for (size_t i = 0; i < im->nr_pages; i++)
		free(im->pages[i]);
	free(im->pages);
	free(im);
}

uint64_t lab_image_nr_sects(const struct lab_image *im)
{
	return im->nr_sects;
}

static const uint8_t *page_of(const struct lab_image *im, size_t nr)
{
	for (; im; im = im->parent)
		if (im->pages[nr])
			return im->pages[nr];
	return NULL;
}

static void fresh_sectors(const struct lab_image *im, sect_t sect, uint8_t *to, uint64_t nr_sects)
{
	for (uint64_t i = 0; i < nr_sects; i++) {
		if (im->stale)
			lab_stale_fill(to + (i << SECT_SHIFT), sect + i);
		else
			memset(to + (i << SECT_SHIFT), 0, SECT_BYTES);
	}
}

static uint8_t *own_page(struct lab_image *im, size_t nr)
{
	const uint8_t *from;

	if (im->pages[nr])
		return im->pages[nr];
	from = page_of(im, nr);
	im->pages[nr] = malloc(PAGE_BYTES);
	if (!im->pages[nr])
		return NULL;
	if (from)
		memcpy(im->pages[nr], from, PAGE_BYTES);
	else
		fresh_sectors(im, (sect_t)nr * PAGE_SECTS, im->pages[nr], PAGE_SECTS);
	return im->pages[nr];
}

int lab_image_write(struct lab_image *im, sect_t sect, const void *data, uint64_t nr_sects)
{
	const uint8_t *from = data;

	while (nr_sects) {
		const uint64_t in = sect % PAGE_SECTS, n = MIN(nr_sects, PAGE_SECTS - in);
		uint8_t *page = own_page(im, (size_t)(sect / PAGE_SECTS));

		if (!page)
			return -ENOMEM;
		if (from) {
			memcpy(page + (in << SECT_SHIFT), from, (size_t)(n << SECT_SHIFT));
			from += n << SECT_SHIFT;
		} else {
			memset(page + (in << SECT_SHIFT), 0, (size_t)(n << SECT_SHIFT));
		}
		sect += n;
		nr_sects -= n;
	}
	return 0;
}

void lab_image_read(const struct lab_image *im, sect_t sect, void *data, uint64_t nr_sects)
{
	uint8_t *to = data;

	while (nr_sects) {
		const uint64_t in = sect % PAGE_SECTS, n = MIN(nr_sects, PAGE_SECTS - in);
		const uint8_t *page = page_of(im, (size_t)(sect / PAGE_SECTS));

		if (page)
			memcpy(to, page + (in << SECT_SHIFT), (size_t)(n << SECT_SHIFT));
		else
			fresh_sectors(im, sect, to, n);
		to += n << SECT_SHIFT;
		sect += n;
		nr_sects -= n;
	}
}

/* Files ------------------------------------------------------------------------------------------ */

static bool all_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

static int save_pages(const struct lab_image *im, int fd)
{
	uint8_t page[PAGE_BYTES];

	for (sect_t sect = 0; sect < im->nr_sects; sect += PAGE_SECTS) {
		const uint64_t n = MIN((uint64_t)PAGE_SECTS, im->nr_sects - sect);
		const size_t len = (size_t)(n << SECT_SHIFT);

		lab_image_read(im, sect, page, n);
		if (!all_zero(page, len) && pwrite(fd, page, len, (off_t)(sect << SECT_SHIFT)) != (ssize_t)len)
			return errno ? -errno : -EIO;
	}
	return ftruncate(fd, (off_t)(im->nr_sects << SECT_SHIFT)) ? -errno : 0;
}

int lab_image_save(const struct lab_image *im, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int err = fd < 0 ? -errno : save_pages(im, fd);

	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (err)
		log_error("%s: %s", path, strerror(-err));
	return err;
}

int lab_image_load(struct lab_image *im, const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t page[PAGE_BYTES];
	int err = fd < 0 ? -errno : 0;

	for (sect_t sect = 0; !err && sect < im->nr_sects; sect += PAGE_SECTS) {
		const uint64_t n = MIN((uint64_t)PAGE_SECTS, im->nr_sects - sect);
		const ssize_t len = pread(fd, page, (size_t)(n << SECT_SHIFT), (off_t)(sect << SECT_SHIFT));

		if (len != (ssize_t)(n << SECT_SHIFT))
			err = len < 0 ? -errno : -EIO;
		else if (!all_zero(page, (size_t)len) || im->stale)
			err = lab_image_write(im, sect, page, n);
	}
	if (fd >= 0)
		close(fd);
	if (err)
		log_error("%s: cannot be read: %s", path, strerror(-err));
	return err;
}

/* As a device -------------------------------------------------------------------------------------- */

/* Whole sectors in each entry: the rule. */
static int transfer_straight(struct lab_image *im, const struct blk_io *io)
{
	sect_t sect = io->sect;
	int err = 0;

	for (unsigned i = 0; !err && i < io->nr_iov; i++) {
		const uint64_t n = io->iov[i].iov_len >> SECT_SHIFT;

		if (io->op == BLK_READ)
			lab_image_read(im, sect, io->iov[i].iov_base, n);
		else
			err = lab_image_write(im, sect, io->iov[i].iov_base, n);
		sect += n;
	}
	return err;
}

static int transfer_bounced(struct lab_image *im, const struct blk_io *io)
{
	uint8_t *buf = malloc((size_t)(io->nr_sects << SECT_SHIFT)), *p = buf;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	if (io->op == BLK_READ)
		lab_image_read(im, io->sect, buf, io->nr_sects);
	for (unsigned i = 0; i < io->nr_iov; i++) {
		if (io->op == BLK_READ)
			memcpy(io->iov[i].iov_base, p, io->iov[i].iov_len);
		else
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
	}
	if (io->op == BLK_WRITE)
		err = lab_image_write(im, io->sect, buf, io->nr_sects);
	free(buf);
	return err;
}

static int transfer(struct lab_image *im, const struct blk_io *io)
{
	for (unsigned i = 0; i < io->nr_iov; i++)
		if (io->iov[i].iov_len % SECT_BYTES)
			return transfer_bounced(im, io);
	return transfer_straight(im, io);
}

static bool image_submit(struct blk_dev *d, struct blk_io *io, bool alone)
{
	struct lab_image *im = container_of(d, struct image_dev, dev)->im;

	switch (io->op) {
	case BLK_READ:
	case BLK_WRITE:
		io->err = transfer(im, io);
		break;
	case BLK_DISCARD:
	case BLK_ZERO:
		io->err = lab_image_write(im, io->sect, NULL, io->nr_sects);
		break;
	default:
		io->err = 0;
		break;
	}
	return true;
}

static void image_close(struct blk_dev *d)
{
	blk_dev_fini(d);
	free(container_of(d, struct image_dev, dev));
}

static const struct blk_ops image_ops = {
	.name = "lab",
	.submit = image_submit,
	.close = image_close,
};

int lab_image_open(struct lab_image *im, const char *name, struct blk_dev **out)
{
	struct image_dev *d = calloc(1, sizeof(*d));
	int err;

	*out = NULL;
	if (!d)
		return -ENOMEM;
	err = blk_dev_init(&d->dev, &image_ops, name, im->nr_sects, false);
	if (err) {
		free(d);
		return err;
	}
	d->im = im;
	*out = &d->dev;
	return 0;
}
