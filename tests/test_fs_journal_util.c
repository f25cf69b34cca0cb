/* test_fs_journal_util.c: see test_fs_journal.h. */
#include "test_fs_journal.h"

#include <stdlib.h>

#include "base/crc.h"
#include "base/rng.h"

/* Trees ------------------------------------------------------------------------------------ */

static uint32_t contents_crc(struct fsx *x, ino_nr_t ino, uint64_t size)
{
	enum { PART = 64 << 10 };
	uint8_t *buf = malloc(PART);
	uint32_t crc = ~0u;
	size_t n;

	for (uint64_t off = 0; off < size; off += n) {
		n = file_read(x, ino, off, buf, PART);
		ck_assert_uint_gt(n, 0);
		crc = crc32c(crc, buf, n);
	}
	free(buf);
	return crc;
}

static void put_entry(struct fsx *x, FILE *out, const char *path, ino_nr_t ino)
{
	const struct fs_attr a = tree_attr(x, ino);
	char target[4096];

	fprintf(out, "%s ino %u mode %o links %u uid %u mtime %ld.%09ld", path, ino, a.mode, a.nlink, a.uid, (long)a.mtime.tv_sec,
		a.mtime.tv_nsec);
	if (S_ISREG(a.mode)) {
		fprintf(out, " size %" PRIu64 " crc %08x", a.size_bytes, contents_crc(x, ino, a.size_bytes));
	} else if (S_ISLNK(a.mode)) {
		const int len = fs_readlink(x->fs, ino, target, sizeof(target));

		ck_assert_int_ge(len, 0);
		fprintf(out, " -> %.*s", len, target);
	}
	fputc('\n', out);
}

static void put_dir(struct fsx *x, FILE *out, const char *path, ino_nr_t dir)
{
	struct tree_list l = tree_list_all(x, dir, 1000);

	tree_list_sort(&l);
	for (unsigned i = 0; i < l.nr; i++) {
		char *below;

		ck_assert_int_ge(asprintf(&below, "%s/%s", path, l.names[i].name), 0);
		put_entry(x, out, below, l.names[i].ino);
		if (S_ISDIR(tree_attr(x, l.names[i].ino).mode))
			put_dir(x, out, below, l.names[i].ino);
		free(below);
	}
	tree_list_free(&l);
}

char *tree_manifest(struct fsx *x)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	put_dir(x, out, "", EXT_ROOT_INO);
	fclose(out);
	return text;
}

/* Pass headings, the replay and what it leaves to be finished, counts of the superblock (which no kernel keeps up either), the summary. */
static bool line_is_harmless(const char *line)
{
	static const char *const harmless[] = { "Pass ", "e2fsck ", "Free blocks count wrong (", "Free inodes count wrong (",
		"Fix? yes", "\n", "Clearing orphaned inode ", "Truncating orphaned inode " };

	for (unsigned i = 0; i < ARRAY_LEN(harmless); i++)
		if (!strncmp(line, harmless[i], strlen(harmless[i])))
			return true;
	return strstr(line, ": recovering journal") || strstr(line, "FILE SYSTEM WAS MODIFIED") || strstr(line, " blocks\n");
}

static char *manifest_of(struct fsx *x, const char *image)
{
	char *own = x->image, *text;

	x->image = (char *)(uintptr_t)image;
	fsx_mount(x);
	text = tree_manifest(x);
	fsx_unmount(x);
	x->image = own;
	return text;
}

char *manifest_by_e2fsck(struct fsx *x)
{
	char *copy, *out, *line, *rest, *text;
	int status;

	ck_assert_int_ge(asprintf(&copy, "%s.copy", x->image), 0);
	free(fsx_shell(NULL, "cp --sparse=always %s %s", x->image, copy));
	out = fsx_shell(&status, "e2fsck -fy %s", copy);
	ck_assert_msg(status <= 1, "e2fsck -fy: exit status %d:\n%s", status, out);
	rest = out;
	while ((line = strsep(&rest, "\n")))
		if (rest) {
			rest[-1] = '\n';
			char *one = strndup(line, (size_t)(rest - line));

			ck_assert_msg(line_is_harmless(one), "e2fsck -fy after its replay: %s", one);
			free(one);
			rest[-1] = '\0';
		}
	free(out);
	text = manifest_of(x, copy);
	free(fsx_shell(NULL, "rm %s", copy));
	free(copy);
	return text;
}

char *manifest_by_replay(struct fsx *x)
{
	char *text = manifest_of(x, x->image);

	fsx_fsck(x);
	return text;
}

/* Work --------------------------------------------------------------------------------------- */

enum { NR_NAMES = 40, MAX_BYTES = 60000 };

static void write_some(struct fsx *x, struct rng *r, ino_nr_t ino)
{
	static uint8_t buf[MAX_BYTES];
	const size_t len = 1 + rng_next(r) % (rng_next(r) % 2 ? 200 : MAX_BYTES);
	const uint64_t off = rng_next(r) % 3 ? 0 : rng_next(r) % 300000;
	size_t written;
	int err;

	rng_fill(r, buf, len);
	err = fs_write(x->fs, ino, off, buf, len, rng_next(r) % 2 ? FS_WRITE_APPEND : 0, &written);
	ck_assert(err == 0 || err == -ENOSPC);
}

static void step(struct fsx *x, struct rng *r, ino_nr_t dir)
{
	char name[32], other[32];
	int64_t ino;
	int err = 0;

	sprintf(name, "name%u", (unsigned)(rng_next(r) % NR_NAMES));
	sprintf(other, "name%u", (unsigned)(rng_next(r) % NR_NAMES));
	ino = tree_find(x, dir, name);
	switch (rng_next(r) % 12) {
	case 0: case 1: case 2:
		if (ino < 0)
			ino = tree_file(x, dir, name);
		if (ino > 0 && S_ISREG(tree_attr(x, (ino_nr_t)ino).mode))
			write_some(x, r, (ino_nr_t)ino);
		break;
	case 3:
		tree_dir(x, dir, name);
		break;
	case 4:
		tree_symlink(x, dir, name, rng_next(r) % 2 ? "short" : "a target that is far too long for the inode and so needs a block of its own");
		break;
	case 5: case 6:
		err = tree_unlink(x, dir, name);
		break;
	case 7:
		err = tree_rmdir(x, dir, name);
		break;
	case 8:
		err = tree_rename(x, dir, name, dir, other, 0);
		break;
	case 9:
		if (ino > 0 && S_ISREG(tree_attr(x, (ino_nr_t)ino).mode))
			err = file_truncate(x, (ino_nr_t)ino, rng_next(r) % 100000);
		break;
	case 10:
		if (ino > 0)
			err = fs_setxattr(x->fs, (ino_nr_t)ino, "user.a", "some value that is not short", 1 + rng_next(r) % 28, 0);
		break;
	case 11:
		if (ino > 0 && rng_next(r) % 2)
			err = fs_fsync(x->fs, (ino_nr_t)ino, rng_next(r) % 2);
		else if (rng_next(r) % 4 == 0)
			err = fs_sync(x->fs);
		break;
	}
	ck_assert(err != -EUCLEAN && err != -EIO && err != -EROFS);
}

void random_work(struct fsx *x, uint64_t seed, unsigned nr_steps)
{
	struct rng r = { seed };
	int64_t dir = tree_find(x, EXT_ROOT_INO, "work");

	if (dir < 0)
		dir = tree_must_dir(x, EXT_ROOT_INO, "work");
	for (unsigned i = 0; i < nr_steps; i++)
		step(x, &r, (ino_nr_t)dir);
}

/* The superblock on disk ------------------------------------------------------------------------ */

uint16_t super_state(struct fsx *x)
{
	le16 state;

	fsx_peek(x, EXT_SUPER_OFF_BYTES + offsetof(struct ext_disk_super, s_state), &state, sizeof(state));
	return le16_get(state);
}

uint32_t super_incompat(struct fsx *x)
{
	le32 bits;

	fsx_peek(x, EXT_SUPER_OFF_BYTES + offsetof(struct ext_disk_super, s_feature_incompat), &bits, sizeof(bits));
	return le32_get(bits);
}
