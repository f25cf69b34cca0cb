/*
 * magazine.h: per-thread stacks of free objects in front of a locked allocator.
 * Private to src/alloc.
 *
 * A class is one kind of thing handed out: a slab cache's objects, or runs of one
 * order. Each thread has one magazine per class it uses; get and put touch nothing
 * else. Half a magazine at a time moves to and from the class by refill and drain,
 * which take the locks.
 *
 * M1  Only its own thread changes a magazine, until the thread or the class ends;
 *     others may read the count for statistics.
 * M2  A thread's end drains its magazines; a class's end drains those of all threads
 *     (nobody may use the class any more then).
 * M3  Class index 0 never has a magazine: every get and put of such a class goes
 *     straight to refill and drain, one at a time. Debug modes use it, since their
 *     checks need to see every object, and classes beyond the thread table's end.
 */
#ifndef OSFS_ALLOC_MAGAZINE_H
#define OSFS_ALLOC_MAGAZINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/types.h"

struct alloc;
struct mag_class;

enum { MAG_CLASSES = 128, MAG_NO_INDEX = 0 };

struct magazine {
	struct mag_class *class;
	struct list link;		/* [alloc.lock] in class.magazines */
	atomic_uint nr;
	void *obj[];			/* class.cap */
};

struct mag_class {
	struct alloc *a;
	unsigned index;			/* into alloc_thread.mags; MAG_NO_INDEX: see M3 */
	unsigned cap;			/* objects in a magazine, at least 2 */
	struct list magazines;		/* [alloc.lock] of all threads */
	/* Up to nr objects into obj[]; returns how many. */
	unsigned (*refill)(struct mag_class *c, void **obj, unsigned nr);
	void (*drain)(struct mag_class *c, void **obj, unsigned nr);
};

/* What one thread keeps for one struct alloc. */
struct alloc_thread {
	struct alloc *a;
	struct list link;		/* [alloc.lock] in alloc.threads */
	struct magazine *mags[MAG_CLASSES];
};

/* The part of struct alloc that lets a thread find its own magazines. */
struct mag_threads {
	pthread_key_t key;		/* struct alloc_thread of the calling thread */
	struct list threads;		/* [alloc.lock] */
	bool index_used[MAG_CLASSES];	/* [alloc.lock] */
};

MUST_CHECK int mag_threads_init(struct mag_threads *mt);
/* Frees what threads keep; all classes must have ended. */
void mag_threads_fini(struct mag_threads *mt);

/* cap below 2, or no index left: a class without magazines (M3). */
void mag_class_init(struct mag_class *c, struct alloc *a, unsigned cap,
		    unsigned (*refill)(struct mag_class *c, void **obj, unsigned nr),
		    void (*drain)(struct mag_class *c, void **obj, unsigned nr));
void mag_class_fini(struct mag_class *c);
/* Empties the calling thread's magazine. */
void mag_flush_mine(struct mag_class *c);
/* Objects that lie in magazines; a snapshot while threads run. Takes alloc.lock's holder for granted. */
uint64_t mag_nr_resting_locked(struct mag_class *c);

void *mag_get_slow(struct mag_class *c, struct magazine *m);
void mag_put_slow(struct mag_class *c, struct magazine *m, void *obj);

static inline unsigned mag_nr(const struct magazine *m)
{
	return atomic_load_explicit(&m->nr, memory_order_relaxed);
}

static inline void mag_set_nr(struct magazine *m, unsigned nr)
{
	atomic_store_explicit(&m->nr, nr, memory_order_relaxed);
}

static inline struct magazine *mag_mine(const struct mag_class *c, pthread_key_t key)
{
	struct alloc_thread *t = pthread_getspecific(key);

	return likely(t) ? t->mags[c->index] : NULL;
}

static inline void *mag_get(struct mag_class *c, pthread_key_t key)
{
	struct magazine *m = mag_mine(c, key);
	unsigned nr;

	if (unlikely(!m || !(nr = mag_nr(m))))
		return mag_get_slow(c, m);
	mag_set_nr(m, nr - 1);
	return m->obj[nr - 1];
}

static inline void mag_put(struct mag_class *c, pthread_key_t key, void *obj)
{
	struct magazine *m = mag_mine(c, key);
	unsigned nr;

	if (unlikely(!m || (nr = mag_nr(m)) == c->cap)) {
		mag_put_slow(c, m, obj);
		return;
	}
	m->obj[nr] = obj;
	mag_set_nr(m, nr + 1);
}

#endif
