/* dir_ahead.c: a few pieces; the oldest goes first. */
#include "dir_ahead.h"

#include <stdlib.h>

#include "base/lock.h"

enum { NR_PIECES = 4 };

struct dir_ahead {
	os_mutex lock;		/* RANK_DAEMON; of all below */
	struct dir_piece *pieces[NR_PIECES];
	unsigned oldest;
};

int dir_ahead_new(struct dir_ahead **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	os_mutex_init(&(*out)->lock, RANK_DAEMON);
	return 0;
}

void dir_ahead_free(struct dir_ahead *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < NR_PIECES; i++)
		free(a->pieces[i]);
	os_mutex_fini(&a->lock);
	free(a);
}

struct dir_piece *dir_ahead_take(struct dir_ahead *a, ino_nr_t ino, uint64_t cookie, size_t cap)
{
	LOCK_GUARD(&a->lock);

	for (unsigned i = 0; i < NR_PIECES; i++) {
		struct dir_piece *p = a->pieces[i];

		if (p && p->ino == ino && p->cookie == cookie && p->cap == cap) {
			a->pieces[i] = NULL;
			return p;
		}
	}
	return NULL;
}

void dir_ahead_put(struct dir_ahead *a, struct dir_piece *p)
{
	LOCK_GUARD(&a->lock);

	free(a->pieces[a->oldest]);
	a->pieces[a->oldest] = p;
	a->oldest = (a->oldest + 1) % NR_PIECES;
}
