/* fs_chain.c: a chain of directory entries in memory (see fs_dir_int.h, D1). */
#include "fs/fs_dir_int.h"

unsigned fs_chain_find(const struct fs_chain *c, struct fs_name name, unsigned *before)
{
	struct ext_disk_dirent *de;
	unsigned off, last = NO_OFF;

	fs_chain_for_each(de, off, c) {
		if (de->name_len == name.len && de->inode.raw && !memcmp(de->name, name.s, name.len)) {
			*before = last;
			return off;
		}
		last = off;
	}
	return NO_OFF;
}

static unsigned used_bytes(const struct ext_disk_dirent *de)
{
	return de->inode.raw ? fs_dirent_bytes(de->name_len) : 0;
}

unsigned fs_chain_gap(const struct fs_chain *c, unsigned need_bytes)
{
	struct ext_disk_dirent *de;
	unsigned off;

	fs_chain_for_each(de, off, c)
		if (fs_dirent_rec_len(de) >= used_bytes(de) + need_bytes)
			return off;
	return NO_OFF;
}

void fs_chain_put(const struct fs_chain *c, unsigned off, struct fs_name name, ino_nr_t ino, unsigned type)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c->p + off);
	const unsigned used = used_bytes(de), rec_len = fs_dirent_rec_len(de);

	if (used) {
		de->rec_len = fs_dirent_rec_len_of(used);
		de = (struct ext_disk_dirent *)(c->p + off + used);
		de->rec_len = fs_dirent_rec_len_of(rec_len - used);
	}
	de->inode = le32_of(ino);
	de->name_len = (uint8_t)name.len;
	de->file_type = (uint8_t)type;
	memcpy(de->name, name.s, name.len);
}

void fs_chain_remove(const struct fs_chain *c, unsigned off, unsigned before)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c->p + off);
	const unsigned rec_len = fs_dirent_rec_len(de);

	memset(de, 0, (size_t)DIRENT_HEAD_BYTES + de->name_len);
	if (before == NO_OFF) {
		de->rec_len = fs_dirent_rec_len_of(rec_len);
		return;
	}
	de = (struct ext_disk_dirent *)(c->p + before);
	de->rec_len = fs_dirent_rec_len_of(fs_dirent_rec_len(de) + rec_len);
}

void fs_chain_clear(const struct fs_chain *c)
{
	struct ext_disk_dirent *de = (struct ext_disk_dirent *)c->p;

	memset(de, 0, sizeof(*de));
	de->rec_len = fs_dirent_rec_len_of(c->len);
}

void fs_chain_extend(const struct fs_chain *c, unsigned was_len)
{
	const struct fs_chain was = { c->p, was_len };
	struct ext_disk_dirent *de, *last = NULL;
	unsigned off, last_off = 0;

	fs_chain_for_each(de, off, &was) {
		last = de;
		last_off = off;
	}
	if (last)
		last->rec_len = fs_dirent_rec_len_of(c->len - last_off);
	else
		fs_chain_clear(c);
}

const char *fs_chain_fault(const struct fs_chain *c, uint32_t nr_inodes, unsigned *off)
{
	for (*off = 0; *off < c->len;) {
		const struct ext_disk_dirent *de = (const struct ext_disk_dirent *)(c->p + *off);
		unsigned rec_len, rest = c->len - *off;

		if (rest < DIRENT_HEAD_BYTES)
			return "the last entry does not reach the end";
		rec_len = fs_dirent_rec_len(de);
		if (rec_len < DIRENT_MIN_BYTES || rec_len % 4)
			return "bad rec_len";
		if (rec_len > rest)
			return "an entry reaches past the end";
		if (rec_len < fs_dirent_bytes(de->name_len))
			return "rec_len is too small for the name";
		if (le32_get(de->inode) > nr_inodes)
			return "inode number out of range";
		if (le32_get(de->inode) && de->name_len == 0)
			return "an entry has no name";
		*off += rec_len;
	}
	return NULL;
}
