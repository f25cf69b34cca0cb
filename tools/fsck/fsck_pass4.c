/* fsck_pass4.c: link counts: what the inode says, and what pass 2 has found. */
#include <stdlib.h>

#include "fsck_int.h"

/* A directory: itself, the entry for it, and ".." of each directory in it. */
static uint32_t *count_subdirs(const struct fsck *f)
{
	uint32_t *nr = calloc(f->dirs.nr + 1, sizeof(*nr));

	for (size_t i = 0; nr && i < f->dirs.nr; i++) {
		const struct fsck_dir *d = &f->dirs.v[i];
		const struct fsck_dir *up = d->ino == EXT_ROOT_INO ? NULL : fsck_dir_find(f, atomic_load(&d->parent));

		if (up)
			nr[up - f->dirs.v]++;
	}
	return nr;
}

static void set_links(struct fsck *f, ino_nr_t ino, uint32_t found, uint32_t should, struct ext_disk_inode *raw)
{
	if (found == should || !fsck_fix(&f->main, P4_LINKS, .ino = ino, .num = found, .num2 = should))
		return;
	if (fsck_inode_read(f, ino, raw)) {
		fsck_failed(f, -EIO);
		return;
	}
	raw->i_links_count = le16_of((uint16_t)should);
	f->ilinks[ino] = (uint16_t)should;
	fsck_inode_write(f, ino, raw);
}

static void clear_empty(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	if (fsck_inode_read(f, ino, raw))
		fsck_failed(f, -EIO);
	else
		fsck_inode_clear(f, ino, raw);
}

static void check_file(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	if (!f->icount[ino]) {
		const unsigned ft = f->itype[ino];

		if (ft == EXT_FT_REG && fsck_fix(&f->main, P4_ZERO_LEN, .ino = ino)) {
			clear_empty(f, ino, raw);
			return;
		}
		if (!fsck_fix(&f->main, P4_UNATTACHED, .ino = ino))
			return;
		fsck_reconnect(f, ino);
		if (!f->icount[ino])
			return;
	}
	set_links(f, ino, f->ilinks[ino], f->icount[ino], raw);
}

void fsck_pass4(struct fsck *f)
{
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	uint32_t *subdirs;

	fsck_fix(&f->main, P4_PASS, .ino = 0);
	for (ino_nr_t ino = f->first_ino; raw && ino <= f->nr_inodes && !is_stopped(f); ino++)
		if (f->itype[ino] && (f->itype[ino] & FSCK_FT_MASK) != EXT_FT_DIR && !fsck_is_system_ino(f, ino) &&
		    f->icount[ino] != f->ilinks[ino])
			check_file(f, ino, raw);
		else if ((f->itype[ino] & FSCK_FT_MASK) && (f->itype[ino] & FSCK_FT_MASK) != EXT_FT_DIR && !f->icount[ino] &&
			 !fsck_is_system_ino(f, ino))
			check_file(f, ino, raw);
	/* After the files: connecting them may have made lost+found. */
	subdirs = count_subdirs(f);
	if (!raw || !subdirs)
		fsck_failed(f, -ENOMEM);
	for (size_t i = 0; raw && subdirs && i < f->dirs.nr && !is_stopped(f); i++) {
		const struct fsck_dir *d = &f->dirs.v[i];
		const uint32_t nr = 2 + subdirs[i];

		if (d->ino == EXT_ROOT_INO || atomic_load(&d->parent))
			set_links(f, d->ino, f->ilinks[d->ino], nr > EXT_LINK_MAX ? 1 : nr, raw);
	}
	free(subdirs);
	free(raw);
}
