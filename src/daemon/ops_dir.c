/* ops_dir.c: directories read, with and without attributes. */
#include <dirent.h>
#include <stdlib.h>

#include "ops_int.h"

enum { MAX_REPLY_BYTES = 64 << 10 };	/* more than the kernel asks for in one piece until 6.15 */

struct dir_reply {
	fuse_req_t req;
	struct daemon *d;
	char *buf;
	size_t cap, used;
	bool plus;
};

void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	if (ops_daemon(req)->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/* The names go into the reply as strings. */
static void copy_name(char to[static 256], struct fs_name name)
{
	const size_t len = MIN(name.len, (size_t)255);

	memcpy(to, name.s, len);
	to[len] = '\0';
}

static bool add_plain(void *arg, const struct fs_dirent *de)
{
	struct dir_reply *r = arg;
	const struct stat st = { .st_ino = de->ino, .st_mode = DTTOIF(de->type) };
	char name[256];
	size_t need;

	copy_name(name, de->name);
	need = fuse_add_direntry(r->req, r->buf + r->used, r->cap - r->used, name, &st, (off_t)de->next_cookie);
	if (need > r->cap - r->used)
		return false;
	r->used += need;
	return true;
}

static bool is_dot(struct fs_name n)
{
	return n.s[0] == '.' && (n.len == 1 || (n.len == 2 && n.s[1] == '.'));
}

/* An entry with node 0 carries a name and no attributes: ".", "..", and inodes that cannot be read. */
static void fill_plus(struct dir_reply *r, const struct fs_dirent *de, struct fuse_entry_param *e)
{
	struct fs_attr a;

	*e = (struct fuse_entry_param){ .attr = { .st_ino = de->ino, .st_mode = DTTOIF(de->type) } };
	if (is_dot(de->name) || de->ino == EXT_BAD_INO || fs_getattr_ref(r->d->fs, de->ino, &a))
		return;
	ops_fill_entry(r->d, &a, e);
}

static bool add_plus(void *arg, const struct fs_dirent *de)
{
	struct dir_reply *r = arg;
	struct fuse_entry_param e;
	char name[256];

	copy_name(name, de->name);
	/* Room first: no reference is taken for an entry that does not go out. */
	if (fuse_add_direntry_plus(r->req, NULL, 0, name, NULL, 0) > r->cap - r->used)
		return false;
	fill_plus(r, de, &e);
	r->used += fuse_add_direntry_plus(r->req, r->buf + r->used, r->cap - r->used, name, &e,
					  (off_t)de->next_cookie);
	return true;
}

/* O2: the reply with these entries could not be sent. */
static void forget_entries(struct dir_reply *r)
{
	size_t at = 0;

	while (at < r->used) {
		const struct fuse_direntplus *p = (const struct fuse_direntplus *)(r->buf + at);

		if (p->entry_out.nodeid)
			fs_forget(r->d->fs, ops_ino(p->entry_out.nodeid), 1);
		at += FUSE_DIRENTPLUS_SIZE(p);
	}
}

static void read_entries(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, bool plus)
{
	struct dir_reply r = { .req = req, .d = ops_daemon(req), .cap = MIN(size, (size_t)MAX_REPLY_BYTES),
			       .plus = plus };
	int err;

	r.buf = malloc(r.cap);
	if (!r.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	err = fs_readdir(r.d->fs, ops_ino(node), (uint64_t)off, plus ? add_plus : add_plain, &r);
	if (err && !r.used)	/* else what there is goes out; the error comes with the next call */
		ops_reply_err(req, err);
	else if (fuse_reply_buf(req, r.buf, r.used) && plus)
		forget_entries(&r);
	free(r.buf);
}

void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_entries(req, node, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_entries(req, node, size, off, true);
}
