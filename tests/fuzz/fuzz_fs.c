/*
 * fuzz_fs.c: a damaged filesystem is mounted, walked through, read, changed. Every call may fail;
 * none may crash, hang, or read what it has no business with.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fs/fs.h"
#include "fuzz.h"

enum {
	CACHE_BYTES = 2 << 20,
	MEMORY_MAX = 256 << 20,		/* of the allocator, an input */
	NAMES_MAX = 300,		/* visited a walk */
	DEPTH_MAX = 12,
	ENTRIES_MAX = 100000,		/* a directory of an image of a few MiB has fewer */
	PIECE = 64 << 10,
};

struct walk {
	struct fs *fs;
	unsigned nr_names;		/* left */
	ino_nr_t files[16], dirs[16];	/* some of each, to be changed */
	unsigned nr_files, nr_dirs;
};

static struct timespec tick(void *arg)
{
	uint64_t *now = arg;

	*now += 1000;
	return (struct timespec){ (time_t)(1700000000 + *now / 1000000), (long)(*now % 1000000) * 1000 };
}

/* Reading ------------------------------------------------------------------------------------ */

static void read_at(struct fs *fs, ino_nr_t ino, uint64_t off, size_t len)
{
	struct fs_read_result r;
	volatile uint8_t touched;
	const int err = fs_read(fs, ino, off, len, &r);

	fuzz_check_err(err, "fs_read");
	if (err)
		return;
	for (unsigned i = 0; i < r.nr_iov; i++)
		for (size_t k = 0; k < r.iov[i].iov_len; k += 251)
			touched = ((const uint8_t *)r.iov[i].iov_base)[k];
	(void)touched;
	fs_read_done(fs, &r);
}

static void read_file(struct fs *fs, const struct fs_attr *a)
{
	static const uint64_t places[] = { 0, 5000, 60000, 70000000, 5000000000 };
	uint64_t at;

	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		if (places[i] < a->size_bytes)
			read_at(fs, a->ino, places[i], PIECE);
	if (a->size_bytes > PIECE)
		read_at(fs, a->ino, a->size_bytes - PIECE + 3, PIECE);
	fuzz_check_err(fs_seek(fs, a->ino, 0, SEEK_HOLE, &at), "fs_seek");
	fuzz_check_err(fs_seek(fs, a->ino, a->size_bytes / 2, SEEK_DATA, &at), "fs_seek");
}

static void read_xattrs(struct fs *fs, ino_nr_t ino)
{
	static char names[PIECE];
	static uint8_t value[PIECE];
	const int len = fs_listxattr(fs, ino, names, sizeof(names));

	for (int at = 0; at < len; at += (int)strlen(names + at) + 1)
		if (fs_getxattr(fs, ino, names + at, value, sizeof(value)) > (int)sizeof(value))
			fuzz_fail("an attribute longer than its buffer");
	if (fs_getxattr(fs, ino, "user.long", value, 1) > 1 ||
	    fs_getxattr(fs, ino, "system.posix_acl_access", value, sizeof(value)) > (int)sizeof(value))
		fuzz_fail("an attribute longer than its buffer");
}

struct names {
	struct fs_name name[NAMES_MAX];
	char text[NAMES_MAX][256];
	unsigned type[NAMES_MAX], nr, nr_seen;
	uint64_t cookie;
};

static bool take_name(void *arg, const struct fs_dirent *de)
{
	struct names *n = arg;

	if (++n->nr_seen > ENTRIES_MAX)
		fuzz_fail("a listing of more than %d entries", ENTRIES_MAX);
	if (de->name.len == 0 || de->name.len > EXT_NAME_MAX || memchr(de->name.s, '/', de->name.len))
		fuzz_fail("an impossible name is listed");
	if (de->next_cookie < n->cookie)	/* equal: names that collide in all bits */
		fuzz_fail("a cookie that falls");
	n->cookie = de->next_cookie;
	if (n->nr == NAMES_MAX || (de->name.s[0] == '.' && de->name.len <= 2))
		return true;
	memcpy(n->text[n->nr], de->name.s, de->name.len);
	n->name[n->nr] = (struct fs_name){ n->text[n->nr], de->name.len };
	n->nr++;
	return true;
}

static void visit(struct walk *w, ino_nr_t ino, unsigned depth);

static void visit_dir(struct walk *w, ino_nr_t ino, unsigned depth)
{
	struct names *n = calloc(1, sizeof(*n));
	uint64_t middle;

	if (!n)
		fuzz_fail("no memory");
	fuzz_check_err(fs_readdir(w->fs, ino, 0, take_name, n), "fs_readdir");
	middle = n->cookie / 2;
	n->cookie = middle;	/* and from the middle */
	if (middle) {
		struct names *again = calloc(1, sizeof(*again));

		if (!again)
			fuzz_fail("no memory");
		again->cookie = middle - 1;
		fuzz_check_err(fs_readdir(w->fs, ino, middle, take_name, again), "fs_readdir");
		free(again);
	}
	for (unsigned i = 0; i < n->nr && w->nr_names > 0; i++) {
		struct fs_attr a;
		const int err = fs_lookup(w->fs, ino, n->name[i], &a);

		fuzz_check_err(err, "fs_lookup");
		w->nr_names--;
		if (err)
			continue;
		visit(w, a.ino, depth + 1);
		fs_forget(w->fs, a.ino, 1);
	}
	free(n);
}

static void visit(struct walk *w, ino_nr_t ino, unsigned depth)
{
	struct fs_attr a;
	char target[PIECE];

	if (fs_getattr(w->fs, ino, &a))
		return;
	read_xattrs(w->fs, ino);
	if (S_ISDIR(a.mode)) {
		if (w->nr_dirs < ARRAY_LEN(w->dirs))
			w->dirs[w->nr_dirs++] = ino;
		if (depth < DEPTH_MAX)
			visit_dir(w, ino, depth);
	} else if (S_ISLNK(a.mode)) {
		if (fs_readlink(w->fs, ino, target, sizeof(target)) > (int)sizeof(target))
			fuzz_fail("a target longer than its buffer");
	} else if (S_ISREG(a.mode)) {
		if (w->nr_files < ARRAY_LEN(w->files))
			w->files[w->nr_files++] = ino;
		read_file(w->fs, &a);
	}
}

/* Changing ------------------------------------------------------------------------------------- */

static void change_file(struct fs *fs, ino_nr_t ino, unsigned i)
{
	static const uint64_t sizes[] = { 0, 30, 1000, 20000, 300000 };
	struct fs_attr set = { .size_bytes = sizes[i % ARRAY_LEN(sizes)], .mode = 0640 };
	static const char text[3000] = "some text";
	size_t done;

	fuzz_check_err(fs_write(fs, ino, i * 700, text, sizeof(text), 0, &done), "fs_write");
	fuzz_check_err(fs_write(fs, ino, 0, text, 90, FS_WRITE_APPEND, &done), "fs_write");
	fuzz_check_err(fs_setxattr(fs, ino, "user.new", text, i * 40 % 400, 0), "fs_setxattr");
	fuzz_check_err(fs_fallocate(fs, ino, 0, 40000, 5000), "fs_fallocate");
	fuzz_check_err(fs_setattr(fs, ino, FS_SET_SIZE | FS_SET_MODE, &set, NULL), "fs_setattr");
	fuzz_check_err(fs_removexattr(fs, ino, "user.long"), "fs_removexattr");
	fuzz_check_err(fs_fsync(fs, ino, false), "fs_fsync");
}

static void change_dir(struct fs *fs, ino_nr_t dir, unsigned i)
{
	const struct fs_cred root = { 0 };
	struct fs_attr a;
	char name[64];

	for (unsigned k = 0; k < 12; k++) {
		snprintf(name, sizeof(name), "a new name of some length, number %u", k);
		if (fs_mknod(fs, &root, dir, fs_name_of(name), S_IFREG | 0644, 0, &a) == 0)
			fs_forget(fs, a.ino, 1);
	}
	if (fs_mkdir(fs, &root, dir, fs_name_of("newdir"), 0755, &a) == 0)
		fs_forget(fs, a.ino, 1);
	if (fs_symlink(fs, &root, dir, fs_name_of("newlink"), fs_name_of("somewhere"), &a) == 0)
		fs_forget(fs, a.ino, 1);
	fuzz_check_err(fs_rename(fs, dir, fs_name_of("newlink"), dir, fs_name_of("renamed"), 0), "fs_rename");
	fuzz_check_err(fs_rename(fs, dir, fs_name_of("newdir"), EXT_ROOT_INO, fs_name_of("moved"), 0), "fs_rename");
	fuzz_check_err(fs_unlink(fs, dir, fs_name_of(i % 2 ? "a new name of some length, number 3" : "renamed")), "fs_unlink");
}

/* What a listing of the directory shows, is taken away. */
static void empty_dir(struct fs *fs, ino_nr_t dir)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		fuzz_fail("no memory");
	fuzz_check_err(fs_readdir(fs, dir, 0, take_name, n), "fs_readdir");
	for (unsigned i = 0; i < n->nr; i++) {
		const int err = fs_unlink(fs, dir, n->name[i]);

		fuzz_check_err(err, "fs_unlink");
		if (err == -EISDIR)
			fuzz_check_err(fs_rmdir(fs, dir, n->name[i]), "fs_rmdir");
	}
	free(n);
}

static void change(struct walk *w)
{
	for (unsigned i = 0; i < w->nr_dirs && i < 6; i++)
		change_dir(w->fs, w->dirs[i], i);
	for (unsigned i = 0; i < w->nr_files && i < 8; i++)
		change_file(w->fs, w->files[i], i);
	for (unsigned i = w->nr_dirs; i-- > 0;)
		empty_dir(w->fs, w->dirs[i]);
	fuzz_check_err(fs_sync(w->fs), "fs_sync");
}

/* All together ----------------------------------------------------------------------------------- */

static void mount_once(struct blk_dev *dev, bool read_only)
{
	struct walk w = { .nr_names = NAMES_MAX };
	struct alloc_stats st;
	uint64_t now = 0;
	struct fs_opts o = {
		.cache_bytes = CACHE_BYTES, .read_only = read_only, .errors = FS_ERRORS_CONTINUE, .now = tick, .now_arg = &now, .seed = 1,
		.use_reserved = true };
	int err;

	if (alloc_new(&(struct alloc_opts){ 0 }, &o.alloc))
		fuzz_fail("no memory");
	err = fs_open(dev, &o, &w.fs);
	fuzz_check_err(err, "fs_open");
	if (!err) {
		visit(&w, EXT_ROOT_INO, 0);
		if (!read_only)
			change(&w);
		fuzz_check_err(fs_close(w.fs), "fs_close");
	}
	alloc_stats_get(o.alloc, &st);
	if (st.peak_bytes > MEMORY_MAX)
		fuzz_fail("%" PRIu64 " bytes of memory", st.peak_bytes);
	if (alloc_free(o.alloc))
		fuzz_fail("memory is not given back");
}

static void run(const char *const *images, unsigned nr, unsigned classes, const uint8_t *data, size_t size)
{
	const struct fuzz_image *img;
	struct blk_dev *dev;

	if (size < FUZZ_HEAD_BYTES)
		return;
	img = fuzz_image_find(images[data[0] % nr]);
	dev = img ? fuzz_damaged(img, data, size, classes) : NULL;
	if (!dev)
		return;
	mount_once(dev, true);
	mount_once(dev, false);
	mount_once(dev, true);	/* what the writer left */
	blk_close(dev);
}

static const unsigned all = (1u << FUZZ_NR_CLASSES) - 1;

void fuzz_mount(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "plain", "nocsum", "inline", "ext4", "ext2", "orphan" };

	run(images, ARRAY_LEN(images), all, data, size);
}

void fuzz_journal(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "journal", "jcsum" };

	run(images, ARRAY_LEN(images), 1u << FUZZ_JOURNAL | 1u << FUZZ_INODE | 1u << FUZZ_SUPER, data, size);
}

void fuzz_dir(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "plain", "nocsum", "inline", "ext2" };

	run(images, ARRAY_LEN(images), 1u << FUZZ_DIR | 1u << FUZZ_INODE | 1u << FUZZ_XATTR | 1u << FUZZ_MAP, data, size);
}

void fuzz_extent(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "ext4", "jcsum" };

	run(images, ARRAY_LEN(images), 1u << FUZZ_EXTENT | 1u << FUZZ_INODE | 1u << FUZZ_BLOCK_BITMAP, data, size);
}
