/*
 * ops_dir.c: directories read, with and without attributes.
 *
 * The kernel can keep a listing in its page cache: the next ones cost no request, but the first costs
 * twice. So it keeps short ones: there the requests cost more than the entries. Of a long one the next
 * piece is made while the client works on the last, which is nearly as fast as a kept one.
 */
#include <dirent.h>
#include <stdlib.h>

#include "dir_ahead.h"
#include "ops_int.h"

enum {
	MAX_REPLY_BYTES = 64 << 10,	/* more than the kernel asks for in one piece until 6.15 */
	SHORT_DIR_BYTES = 32 << 10,
};

struct dir_reply {
	fuse_req_t req;
	struct daemon *d;
	struct dir_piece *piece;
};

void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	struct fs_attr a;
	const int err = fs_getattr(d->fs, ops_ino(node), &a);

	if (err) {
		ops_reply_err(req, err);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = a.size_bytes <= SHORT_DIR_BYTES;
	fuse_reply_open(req, fi);
}

/* Of what the kernel asks for. */
static size_t cap_of(size_t size)
{
	return MIN(size, (size_t)MAX_REPLY_BYTES);
}

static struct dir_piece *piece_new(ino_nr_t ino, uint64_t cookie, size_t cap)
{
	struct dir_piece *p = malloc(sizeof(*p) + cap);

	if (p)
		*p = (struct dir_piece){ .ino = ino, .cookie = cookie, .cap = cap };
	return p;
}

static bool add_plain(void *arg, const struct fs_dirent *de)
{
	struct dir_piece *p = arg;
	struct fuse_dirent *out = (struct fuse_dirent *)(p->buf + p->used);
	const size_t len_bytes = FUSE_NAME_OFFSET + de->name.len, padded_bytes = FUSE_DIRENT_ALIGN(len_bytes);

	p->is_full = padded_bytes > p->cap - p->used;
	if (p->is_full)
		return false;
	*out = (struct fuse_dirent){ .ino = de->ino, .off = de->next_cookie, .namelen = (uint32_t)de->name.len,
				     .type = de->type };
	memcpy(out->name, de->name.s, de->name.len);
	memset(out->name + de->name.len, 0, padded_bytes - len_bytes);
	p->used += padded_bytes;
	p->next_cookie = de->next_cookie;
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

/* The names go into the reply as strings. */
static void copy_name(char to[static 256], struct fs_name name)
{
	const size_t len = MIN(name.len, (size_t)255);

	memcpy(to, name.s, len);
	to[len] = '\0';
}

static bool add_plus(void *arg, const struct fs_dirent *de)
{
	struct dir_reply *r = arg;
	struct dir_piece *p = r->piece;
	struct fuse_entry_param e;
	char name[256];

	copy_name(name, de->name);
	/* Room first: no reference is taken for an entry that does not go out. */
	p->is_full = fuse_add_direntry_plus(r->req, NULL, 0, name, NULL, 0) > p->cap - p->used;
	if (p->is_full)
		return false;
	fill_plus(r, de, &e);
	p->used += fuse_add_direntry_plus(r->req, p->buf + p->used, p->cap - p->used, name, &e, (off_t)de->next_cookie);
	p->next_cookie = de->next_cookie;
	return true;
}

/* O2: the reply with these entries could not be sent. */
static void forget_entries(struct daemon *d, const struct dir_piece *p)
{
	size_t at = 0;

	while (at < p->used) {
		const struct fuse_direntplus *e = (const struct fuse_direntplus *)(p->buf + at);

		if (e->entry_out.nodeid)
			fs_forget(d->fs, ops_ino(e->entry_out.nodeid), 1);
		at += FUSE_DIRENTPLUS_SIZE(e);
	}
}

/* Ahead ------------------------------------------------------------------------------------- */

/* What the calling worker makes when it finds itself idle. */
static _Thread_local struct {
	ino_nr_t ino;
	uint64_t cookie;
	size_t cap;
} next_piece;

/* What cannot be made is left to who asks for it, to hear of the error. */
static int fill_piece(struct daemon *d, struct dir_piece *p)
{
	struct fs_attr a;
	int err = fs_getattr(d->fs, p->ino, &a);

	if (err)
		return err;
	p->version = a.version;
	p->generation = a.generation;
	return fs_readdir(d->fs, p->ino, p->cookie, add_plain, p);
}

static void make_next_piece(void *arg)
{
	struct daemon *d = arg;
	struct dir_piece *p;

	if (!fs_hold(d->fs, next_piece.ino))
		return;
	p = piece_new(next_piece.ino, next_piece.cookie, next_piece.cap);
	if (p && !fill_piece(d, p))
		dir_ahead_put(d->dir_ahead, p);
	else
		free(p);
	fs_forget(d->fs, next_piece.ino, 1);
}

static struct dir_piece *take_piece(struct daemon *d, ino_nr_t ino, uint64_t cookie, size_t cap)
{
	struct dir_piece *p = dir_ahead_take(d->dir_ahead, ino, cookie, cap);
	struct fs_attr a;

	if (p && (fs_getattr(d->fs, ino, &a) || a.version != p->version || a.generation != p->generation)) {
		free(p);
		p = NULL;
	}
	return p;
}

/* With attributes the kernel asks for the first piece only, or as long as they are used. */
static void plan_next_piece(struct daemon *d, const struct dir_piece *p, bool plus)
{
	if (!p->is_full || (plus && p->cookie))
		return;
	next_piece.ino = p->ino;
	next_piece.cookie = p->next_cookie;
	next_piece.cap = p->cap;
	loop_when_idle(FUSE_READDIR, make_next_piece, d);
}

/* Requests ---------------------------------------------------------------------------------- */

void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	const ino_nr_t ino = ops_ino(node);
	struct dir_piece *p = take_piece(d, ino, (uint64_t)off, cap_of(size));
	int err = 0;

	if (!p) {
		p = piece_new(ino, (uint64_t)off, cap_of(size));
		err = p ? fs_readdir(d->fs, ino, (uint64_t)off, add_plain, p) : -ENOMEM;
	}
	if (err && (!p || !p->used)) {	/* else what there is goes out; the error comes with the next call */
		ops_reply_err(req, err);
	} else {
		fuse_reply_buf(req, p->buf, p->used);
		plan_next_piece(d, p, false);
	}
	free(p);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct daemon *d = ops_daemon(req);
	struct dir_piece *p = piece_new(ops_ino(node), (uint64_t)off, cap_of(size));
	struct dir_reply r = { .req = req, .d = d, .piece = p };
	int err = p ? fs_readdir(d->fs, p->ino, (uint64_t)off, add_plus, &r) : -ENOMEM;

	if (err && (!p || !p->used))
		ops_reply_err(req, err);
	else if (fuse_reply_buf(req, p->buf, p->used))
		forget_entries(d, p);
	else
		plan_next_piece(d, p, true);
	free(p);
}
