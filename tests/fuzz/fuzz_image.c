/* fuzz_image.c: the sound images, and where in them there is something to damage. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "look/look_owner.h"

enum { IMAGES_MAX = 16, FREE_INODES = 4, JOURNAL_BLOCKS = 64 };

struct find {
	struct fuzz_image *img;
	struct look l;
	unsigned cap;
};

static void add(struct find *f, enum fuzz_class class, uint64_t off, uint32_t len, uint32_t nr)
{
	struct fuzz_image *img = f->img;

	if (img->nr_targets == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 256;
		img->targets = realloc(img->targets, f->cap * sizeof(*img->targets));
		if (!img->targets)
			fuzz_fail("no memory");
	}
	img->targets[img->nr_targets++] = (struct fuzz_target){ class, off, len, nr, off >> f->l.block_shift };
}

static void add_block(struct find *f, enum fuzz_class class, pblk_t pblk, uint32_t nr)
{
	add(f, class, pblk << f->l.block_shift, f->l.block_bytes, nr);
}

/* Descriptor, bitmaps and inodes (those in use and a few free ones) of each group. */
static void add_groups(struct find *f)
{
	struct look *l = &f->l;

	for (uint32_t n = 0; n < l->nr_groups; n++) {
		struct look_group g;
		uint32_t off, nr_free = 0;

		if (look_group(l, n, &g))
			fuzz_fail("%s: group %" PRIu32, f->img->name, n);
		ext_group_desc_block(&l->super, n, &off);
		add(f, FUZZ_DESC, (g.desc_block << l->block_shift) + off, l->desc_bytes, n);
		if (!(g.desc.flags & EXT_BG_BLOCK_UNINIT))
			add_block(f, FUZZ_BLOCK_BITMAP, g.desc.block_bitmap, n);
		if (!(g.desc.flags & EXT_BG_INODE_UNINIT))
			add_block(f, FUZZ_INODE_BITMAP, g.desc.inode_bitmap, n);
		for (uint32_t k = 0; k < l->inodes_per_group; k++) {
			const uint64_t at = (g.desc.inode_table << l->block_shift) + (uint64_t)k * l->inode_bytes;
			const struct ext_disk_inode *raw = (const void *)(f->img->bytes + at);

			if (le16_get(raw->i_mode) || (nr_free++ < FREE_INODES && k > EXT_FIRST_INO_DEFAULT))
				add(f, FUZZ_INODE, at, l->inode_bytes, n * l->inodes_per_group + k + 1);
		}
	}
}

static void add_owner(struct find *f, const struct look_owner *o)
{
	const bool journal = o->nr == EXT_JOURNAL_INO;

	for (uint64_t k = 0; k < o->nr_blocks; k++) {
		const pblk_t pblk = o->first + k;

		if (o->kind == LOOK_OWN_MAP)
			add_block(f, o->extents ? FUZZ_EXTENT : FUZZ_MAP, pblk, o->nr);
		else if (o->kind == LOOK_OWN_XATTR)
			add_block(f, FUZZ_XATTR, pblk, o->nr);
		else if (o->kind == LOOK_OWN_DATA && journal && o->lblk + k < JOURNAL_BLOCKS)
			add_block(f, FUZZ_JOURNAL, pblk, o->nr);
		else if (o->kind == LOOK_OWN_DATA && S_ISDIR(o->mode))
			add_block(f, FUZZ_DIR, pblk, o->nr);
	}
}

static int target_compare(const void *a, const void *b)
{
	const struct fuzz_target *x = a, *y = b;

	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

static int read_bytes(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct fuzz_image *img = arg;

	if (off > img->nr_bytes || len > img->nr_bytes - off)
		return -EINVAL;
	memcpy(buf, img->bytes + off, len);
	return 0;
}

static void told(void *arg, const char *what)
{
	fuzz_fail("%s is not sound: %s", ((struct fuzz_image *)arg)->name, what);
}

static void find_targets(struct fuzz_image *img)
{
	struct find f = { .img = img };
	struct look_owners w;

	if (look_open(&f.l, (struct look_source){ read_bytes, img, img->nr_bytes, false }, told, img) || !f.l.usable)
		fuzz_fail("%s: no filesystem", img->name);
	add(&f, FUZZ_SUPER, EXT_SUPER_OFF_BYTES, EXT_SUPER_BYTES, 0);
	add_groups(&f);
	if (look_owners_load(&f.l, NULL, 0, &w))
		fuzz_fail("no memory");
	for (size_t i = 0; i < w.nr; i++)
		add_owner(&f, &w.o[i]);
	look_owners_free(&w);
	look_close(&f.l);
	qsort(img->targets, img->nr_targets, sizeof(*img->targets), target_compare);
	for (unsigned c = 0, at = 0; c <= FUZZ_NR_CLASSES; c++) {
		while (at < img->nr_targets && img->targets[at].class < c)
			at++;
		img->first[c] = at;
	}
}

static bool load(struct fuzz_image *img, const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return false;
	if (fstat(fd, &st))
		fuzz_fail("%s: %s", path, strerror(errno));
	img->nr_bytes = (uint64_t)st.st_size;
	img->bytes = malloc(img->nr_bytes);
	if (!img->bytes || read(fd, img->bytes, img->nr_bytes) != st.st_size)
		fuzz_fail("%s: cannot be read", path);
	close(fd);
	find_targets(img);
	return true;
}

/* NULL: it could not be made here. */
const struct fuzz_image *fuzz_image_find(const char *name)
{
	static struct fuzz_image images[IMAGES_MAX];
	const char *dir = getenv("OSFS_FUZZ_IMAGES");
	char path[4096];
	unsigned i = 0;

	while (i < IMAGES_MAX && images[i].name && strcmp(images[i].name, name))
		i++;
	if (i == IMAGES_MAX)
		fuzz_fail("too many images");
	if (!images[i].name) {
		images[i].name = name;
		snprintf(path, sizeof(path), "%s/%s.img", dir ? dir : ".", name);
		if (!load(&images[i], path)) {
			snprintf(path, sizeof(path), "%s/plain.img", dir ? dir : ".");	/* the one that everybody can make */
			if (access(path, R_OK))
				fuzz_fail("%s: %s (tests/fuzz/images makes it; OSFS_FUZZ_IMAGES says where)", path, strerror(errno));
		}
	}
	return images[i].bytes ? &images[i] : NULL;
}
