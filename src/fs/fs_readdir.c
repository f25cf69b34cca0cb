/*
 * fs_readdir.c: listing a directory.
 *
 *   RD1  A cookie says where an entry belongs, not where it lies now: its hash in a directory
 *        that is hashed or may become so (fs_readdir_hash.c), its byte offset in any other, whose
 *        entries do not move.
 *   RD2  Cookies only rise along a listing, so that it ends whatever the directory is.
 */
#include <dirent.h>

#include "fs/fs_file.h"
#include "fs/fs_readdir_int.h"

enum { READAHEAD_EVERY = 16 /* blocks */ };

static unsigned type_of(const struct fs *fs, const struct ext_disk_dirent *de)
{
	static const unsigned char types[] = {
		[EXT_FT_UNKNOWN] = DT_UNKNOWN, [EXT_FT_REG] = DT_REG, [EXT_FT_DIR] = DT_DIR, [EXT_FT_CHR] = DT_CHR,
		[EXT_FT_BLK] = DT_BLK, [EXT_FT_FIFO] = DT_FIFO, [EXT_FT_SOCK] = DT_SOCK, [EXT_FT_SYMLINK] = DT_LNK,
	};

	return fs_has_filetype(fs) && de->file_type < ARRAY_LEN(types) ? types[de->file_type] : DT_UNKNOWN;
}

static bool give(struct fs_reader *r, const struct fs_dirent *de)
{
	if (r->fn(r->arg, de))
		r->nr_given++;
	else
		r->is_full = true;
	return !r->is_full;
}

bool fs_reader_give(struct fs_reader *r, const struct ext_disk_dirent *de, uint64_t next_cookie)
{
	const struct fs_dirent out = {
		.ino = le32_get(de->inode), .name = fs_dirent_name(de), .type = type_of(r->dir->fs, de),
		.next_cookie = next_cookie,
	};

	if (!de->name_len || memchr(de->name, '/', de->name_len) || memchr(de->name, '\0', de->name_len)) {
		r->bad = fs_dir_damaged(r->dir, 0, "an entry of inode %" PRIu32 " has an impossible name", out.ino);
		return true;
	}
	return give(r, &out);
}

/* "." and "..", which are in the first block or nowhere, always come first. */
static bool give_dots(struct fs_reader *r, uint64_t cookie)
{
	struct fs_dirent de = { .ino = r->dir->ino, .name = fs_name_of("."), .type = DT_DIR,
				.next_cookie = COOKIE_DOTDOT };
	int err;

	if (cookie == COOKIE_START && !give(r, &de))
		return false;
	if (cookie > COOKIE_DOTDOT)
		return true;
	err = fs_dir_parent(r->dir, &de.ino);
	if (err)
		r->bad = err;
	de.name = fs_name_of("..");
	de.next_cookie = COOKIE_ENTRIES;
	return give(r, &de);
}

/* By offset ---------------------------------------------------------------------------------- */

/* The entries of a chain that lie at from or behind it; base is the offset of the chain's begin. */
static bool give_chain(struct fs_reader *r, const struct fs_chain *c, uint64_t base, uint64_t from, uint64_t end)
{
	struct ext_disk_dirent *de;
	unsigned off;

	fs_chain_for_each(de, off, c) {
		const unsigned behind = off + fs_dirent_rec_len(de);

		if (base + off < from || !de->inode.raw || fs_name_dots(fs_dirent_name(de)))
			continue;
		if (!fs_reader_give(r, de, behind < c->len ? base + behind : end))
			return false;
	}
	return true;
}

static int inline_by_offset(struct fs_reader *r, uint64_t cookie)
{
	CLEANUP_DIR_INLINE struct fs_dir_inline in;
	int err = fs_dir_inline_load(r->dir, &in);

	for (unsigned i = 0; !err && i < in.nr_parts && !r->is_full; i++) {
		const uint64_t base = fs_dir_inline_block_off(&in, i);

		give_chain(r, &in.part[i], base, cookie, base + in.part[i].len);
	}
	return err;
}

static int blocks_by_offset(struct fs_reader *r, uint64_t cookie)
{
	const unsigned shift = r->dir->fs->block_shift;
	struct fs_dir_scan scan = { .dir = r->dir, .lblk = cookie >> shift };
	struct cache_buf *b;
	lblk_t lblk;

	fs_dir_readahead(r->dir, scan.lblk);
	while (!r->is_full && fs_dir_scan_next(&scan, &lblk, &b)) {
		const struct fs_chain chain = fs_dir_chain(r->dir, b);

		if (lblk % READAHEAD_EVERY == 0)
			fs_dir_readahead(r->dir, lblk);
		give_chain(r, &chain, lblk << shift, cookie, (lblk + 1) << shift);
		cache_put(b);
	}
	if (scan.bad)
		r->bad = scan.bad;
	return 0;
}

/* The call ------------------------------------------------------------------------------------- */

static int read_locked(struct fs_reader *r, uint64_t cookie)
{
	int err;

	if (!give_dots(r, cookie))
		return 0;
	cookie = MAX(cookie, (uint64_t)COOKIE_ENTRIES);
	if (fs_readdir_is_by_hash(r->dir))
		err = fs_readdir_by_hash(r, cookie);
	else if (fs_inode_has_inline(r->dir))
		err = inline_by_offset(r, cookie);
	else
		err = blocks_by_offset(r, cookie);
	/* What could be read is given first; an error would hide it. */
	return r->nr_given ? 0 : err ? err : r->bad;
}

int fs_readdir(struct fs *fs, ino_nr_t ino, uint64_t cookie, fs_dirent_fn *fn, void *arg)
{
	CLEANUP_INODE struct fs_inode *dir = NULL;
	struct fs_reader r = { .fn = fn, .arg = arg };
	int err = fs_get_dir(fs, ino, &dir);

	if (err)
		return err;
	r.dir = dir;
	os_rwlock_rdlock_key(&dir->lock, ino);
	err = read_locked(&r, cookie);
	os_rwlock_unlock(&dir->lock);
	fs_inode_accessed(dir);
	return err;
}
