/*
 * fsck_pass3.c: every directory hangs below the root, by the entry for it and by its ".."; what
 * hangs nowhere goes to lost+found. Then directories that pass 2 wants to have rebuilt are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fsck_int.h"

static void make_root(struct fsck *f)
{
	int err;

	if (!fsck_fix(&f->main, P3_NO_ROOT, .ino = EXT_ROOT_INO))
		return;
	err = fsck_dir_make(f, EXT_ROOT_INO, EXT_ROOT_INO, 0755);
	if (err)
		fsck_failed(f, err);
	else
		fsck_fate(f, "the root directory was made anew; what was in it is in lost+found");
}

static bool is_dir(const struct fsck *f, ino_nr_t ino)
{
	return (f->itype[ino] & FSCK_FT_MASK) == EXT_FT_DIR;
}

/* The inode of the root's entry lost+found; 0: there is none. */
static ino_nr_t lpf_find(struct fsck *f)
{
	struct fsck_dir *root = fsck_dir_find(f, EXT_ROOT_INO);
	struct dir_view v;
	ino_nr_t ino = 0;

	if (!root)
		return 0;
	if (!fsck_view_open(f, root, &v))
		for (uint32_t i = 0; !ino && i < fsck_view_nr_chains(&v); i++) {
			const struct dir_chain c = fsck_view_chain(f, &v, i);
			uint32_t rec_len;

			for (uint32_t off = 0; c.p && off < c.len; off += rec_len) {
				const struct ext_disk_dirent *de = (const void *)(c.p + off);

				rec_len = fsck_rec_len(de, c.len - off);
				if (!rec_len)
					break;
				if (de->name_len == 10 && !memcmp(de->name, "lost+found", 10) && le32_get(de->inode) <= f->nr_inodes)
					ino = le32_get(de->inode);
			}
		}
	fsck_view_close(f, &v);
	return ino;
}

/* A directory that was lost+found before the root was lost, or a new one. */
static ino_nr_t lpf_make(struct fsck *f)
{
	const ino_nr_t old = f->first_ino;
	struct fsck_dir *d = fsck_dir_find(f, old);
	ino_nr_t ino = d && !atomic_load(&d->parent) && d->dotdot == EXT_ROOT_INO ? old : 0;
	int err = 0;

	if (!ino) {
		ino = fsck_inode_alloc(f);
		err = ino ? fsck_dir_make(f, ino, EXT_ROOT_INO, 0700) : -ENOSPC;
	}
	if (!err)
		err = fsck_dir_link(f, EXT_ROOT_INO, "lost+found", ino, EXT_FT_DIR);
	d = err ? NULL : fsck_dir_find(f, ino);
	if (!d) {
		fsck_failed(f, err ? err : -ENOENT);
		return 0;
	}
	atomic_store(&d->parent, EXT_ROOT_INO);
	return ino;
}

/* 0: there is none, and none is to be made. */
static ino_nr_t lpf_get(struct fsck *f)
{
	ino_nr_t ino;

	if (f->lpf)
		return f->lpf;
	ino = lpf_find(f);
	if (ino && !is_dir(f, ino)) {
		if (!fsck_fix(&f->main, P3_LPF_NO_DIR, .ino = ino))
			return 0;
		fsck_dir_unlink(f, EXT_ROOT_INO, ino, 0, "lost+found");
		if (f->icount[ino])
			f->icount[ino]--;
		ino = 0;
	}
	if (!ino && fsck_dir_find(f, EXT_ROOT_INO) && fsck_fix(&f->main, P3_NO_LPF, .ino = 0))
		ino = lpf_make(f);
	f->lpf = ino;
	return ino;
}

void fsck_reconnect(struct fsck *f, ino_nr_t ino)
{
	const ino_nr_t lpf = lpf_get(f);
	struct fsck_dir *d;
	char name[16];
	int err;

	if (!lpf || lpf == ino)
		return;
	snprintf(name, sizeof(name), "#%" PRIu32, ino);
	err = fsck_dir_link(f, lpf, name, ino, f->itype[ino] & FSCK_FT_MASK);
	if (err) {
		fsck_failed(f, err);
		return;
	}
	d = fsck_dir_find(f, ino);
	if (d)
		atomic_store(&d->parent, lpf);
	else
		f->icount[ino]++;
	fsck_fate(f, "inode %" PRIu32 " is now lost+found/%s", ino, name);
}

/* Up from d: true: the root, or a directory that reaches it. Else *top is where it ends. */
static bool climb(struct fsck *f, struct fsck_dir *d, struct fsck_dir **top, bool *loop)
{
	struct fsck_dir *at = d;

	*loop = false;
	for (size_t steps = 0; !at->reached; steps++) {
		struct fsck_dir *up = atomic_load(&at->parent) ? fsck_dir_find(f, atomic_load(&at->parent)) : NULL;

		if (!up || steps > f->dirs.nr) {
			*loop = up != NULL;
			*top = up ? d : at;
			return false;
		}
		at = up;
	}
	for (at = d; !at->reached; at = fsck_dir_find(f, atomic_load(&at->parent)))
		at->reached = true;
	return true;
}

/* The lowest number of the loop that d leads to: the same for each start. */
static struct fsck_dir *loop_lowest(struct fsck *f, struct fsck_dir *d)
{
	struct fsck_dir *at = d, *lowest;

	for (size_t i = 0; i <= f->dirs.nr; i++)
		at = fsck_dir_find(f, atomic_load(&at->parent));
	lowest = at;
	for (struct fsck_dir *p = fsck_dir_find(f, atomic_load(&at->parent)); p != at;
	     p = fsck_dir_find(f, atomic_load(&p->parent)))
		if (p->ino < lowest->ino)
			lowest = p;
	return lowest;
}

static bool connect(struct fsck *f, struct fsck_dir *d, bool loop)
{
	const ino_nr_t ino = loop ? loop_lowest(f, d)->ino : d->ino, parent = atomic_load(&fsck_dir_find(f, ino)->parent);

	if (!fsck_fix(&f->main, loop ? P3_LOOP : P3_UNCONNECTED, .ino = ino, .dir = parent))
		return false;
	if (loop) {
		fsck_dir_unlink(f, parent, ino, 0, NULL);
		atomic_store(&fsck_dir_find(f, ino)->parent, 0);
	}
	fsck_reconnect(f, ino);		/* may move what dirs points to */
	return f->lpf != 0 && !is_stopped(f);
}

static void check_connected(struct fsck *f, ino_nr_t ino)
{
	for (unsigned tries = 0; tries < 3; tries++) {
		struct fsck_dir *d = fsck_dir_find(f, ino), *top = NULL;
		bool loop;

		if (!d || climb(f, d, &top, &loop) || !connect(f, top, loop))
			return;
	}
}

static void check_dotdot(struct fsck *f, struct fsck_dir *d)
{
	const ino_nr_t parent = d->ino == EXT_ROOT_INO ? EXT_ROOT_INO : atomic_load(&d->parent);

	if (parent && d->dotdot != parent && !d->rebuild &&
	    fsck_fix(&f->main, P3_DOTDOT, .dir = d->ino, .ino = d->dotdot, .num = parent))
		fsck_dir_set_dotdot(f, d->ino, parent);
}

static void rebuild_all(struct fsck *f)
{
	for (size_t i = 0; i < f->dirs.nr && !is_stopped(f); i++) {
		int err;

		if (!f->dirs.v[i].rebuild || f->opts.mode == FSCK_NO)
			continue;
		fsck_fix(&f->main, P3_REBUILD, .dir = f->dirs.v[i].ino);
		err = fsck_dir_rebuild(f, &f->dirs.v[i], false);
		if (err == -ENOSPC || err == -EFBIG)
			err = fsck_dir_rebuild(f, &f->dirs.v[i], true);	/* that needs no more than it had */
		if (err) {
			fsck_fix(&f->main, P3_REBUILD_FAILED, .dir = f->dirs.v[i].ino, .str = strerror(-err));
			f->cannot_mark_clean = true;
		}
	}
}

void fsck_pass3(struct fsck *f)
{
	struct fsck_dir *root;

	fsck_fix(&f->main, P3_PASS, .ino = 0);
	f->lpf = 0;
	if (!is_dir(f, EXT_ROOT_INO))
		make_root(f);
	root = fsck_dir_find(f, EXT_ROOT_INO);
	if (root) {
		root->reached = true;
		lpf_get(f);	/* e2fsck wants one always */
	}
	for (size_t i = 0; root && i < f->dirs.nr && !is_stopped(f); i++)
		check_connected(f, f->dirs.v[i].ino);
	for (size_t i = 0; i < f->dirs.nr && !is_stopped(f); i++)
		check_dotdot(f, &f->dirs.v[i]);
	rebuild_all(f);
}
