/*
 * lock.h: mutexes, reader-writer locks and conditions that know their rank.
 *
 * Locks are taken in rising order of rank. Builds with --enable-debug keep a
 * stack of held locks per thread and abort with both names when the order is
 * broken, when a lock is taken twice, or when assert_held() fails; other builds
 * pay nothing. Two locks of one rank may be held together only when the second
 * is taken with a larger key (os_*_lock_key: inodes by number, stripes by stripe).
 */
#ifndef OSFS_BASE_LOCK_H
#define OSFS_BASE_LOCK_H

#include <pthread.h>

#include "base/types.h"

enum lock_rank {
	RANK_DAEMON	= 10,	/* daemon:  control socket, mount table of the process   */
	RANK_RENAME	= 20,	/* fs:      one directory-moving rename at a time        */
	RANK_INODE	= 30,	/* fs:      one inode: size, map, contents; by number    */
	RANK_HANDLE	= 40,	/* journal: handles against the freeze of a commit       */
	RANK_INO_STORE	= 46,	/* fs:      one inode's fields while they are stored     */
	RANK_INO_TABLE	= 50,	/* fs:      table of in-memory inodes (one bucket)       */
	RANK_ORPHAN	= 52,	/* fs:      orphan list                                  */
	RANK_GROUP	= 54,	/* fs:      one block group: its bitmaps and counts      */
	RANK_SUPER	= 58,	/* fs:      superblock counters, reservation tree        */
	RANK_JNL	= 60,	/* journal: running and committing transaction           */
	RANK_FLUSHER	= 70,	/* cache:   write-back thread's state, dirty throttle    */
	RANK_SHARD	= 80,	/* cache:   hash and clock of one shard                  */
	RANK_RAID_ADMIN	= 86,	/* raid:    changes of the set of members, background work   */
	RANK_RAID_GATE	= 88,	/* raid:    requests wait while the set of members changes   */
	RANK_STRIPE	= 90,	/* raid:    one stripe during a parity update; by number */
	RANK_RAID	= 100,	/* raid:    state and superblocks of an array            */
	RANK_MEMBER	= 110,	/* raid:    one member                                   */
	RANK_BLK	= 120,	/* blk:     a device's own state                         */
	RANK_SLAB	= 130,	/* alloc:   one slab cache                               */
	RANK_BUDDY	= 140,	/* alloc:   the page allocator                           */
	RANK_LEAF	= 200,	/* anything that takes no other lock                     */
};

struct lock_dep {
#ifdef OSFS_LOCK_DEBUG
	const char *name;
	int rank;
	uint64_t key;
#endif
};

typedef struct { pthread_mutex_t m; struct lock_dep dep; } os_mutex;
typedef struct { pthread_rwlock_t l; struct lock_dep dep; } os_rwlock;
typedef struct { pthread_cond_t c; } os_cond;

#ifdef OSFS_LOCK_DEBUG
void lock_dep_init(struct lock_dep *d, const char *name, int rank);
void lock_dep_acquire(struct lock_dep *d, uint64_t key, bool try_only);
void lock_dep_release(struct lock_dep *d);
void lock_dep_assert_held(const struct lock_dep *d);
/* Aborts when the calling thread holds a lock of this rank or above. */
void lock_dep_assert_below(int rank);
#else
#define lock_dep_init(d, name, rank) ((void)(d))
#define lock_dep_acquire(d, key, try_only) ((void)(d))
#define lock_dep_release(d) ((void)(d))
#define lock_dep_assert_held(d) ((void)(d))
#define lock_dep_assert_below(rank) ((void)0)
#endif

#define os_mutex_init(mx, rank)							\
	do {									\
		pthread_mutex_init(&(mx)->m, NULL);				\
		lock_dep_init(&(mx)->dep, #mx, rank);				\
	} while (0)
#define os_rwlock_init(rw, rank)						\
	do {									\
		pthread_rwlock_init(&(rw)->l, NULL);				\
		lock_dep_init(&(rw)->dep, #rw, rank);				\
	} while (0)

static inline void os_mutex_fini(os_mutex *mx) { pthread_mutex_destroy(&mx->m); }
static inline void os_rwlock_fini(os_rwlock *rw) { pthread_rwlock_destroy(&rw->l); }

static inline void os_mutex_lock_key(os_mutex *mx, uint64_t key)
{
	(void)key;
	lock_dep_acquire(&mx->dep, key, false);
	pthread_mutex_lock(&mx->m);
}

static inline void os_mutex_lock(os_mutex *mx)
{
	os_mutex_lock_key(mx, 0);
}

static inline bool os_mutex_trylock(os_mutex *mx)
{
	if (pthread_mutex_trylock(&mx->m))
		return false;
	lock_dep_acquire(&mx->dep, 0, true);
	return true;
}

static inline void os_mutex_unlock(os_mutex *mx)
{
	lock_dep_release(&mx->dep);
	pthread_mutex_unlock(&mx->m);
}

static inline void os_rwlock_rdlock_key(os_rwlock *rw, uint64_t key)
{
	(void)key;
	lock_dep_acquire(&rw->dep, key, false);
	pthread_rwlock_rdlock(&rw->l);
}

static inline void os_rwlock_wrlock_key(os_rwlock *rw, uint64_t key)
{
	(void)key;
	lock_dep_acquire(&rw->dep, key, false);
	pthread_rwlock_wrlock(&rw->l);
}

static inline void os_rwlock_rdlock(os_rwlock *rw) { os_rwlock_rdlock_key(rw, 0); }
static inline void os_rwlock_wrlock(os_rwlock *rw) { os_rwlock_wrlock_key(rw, 0); }

static inline void os_rwlock_unlock(os_rwlock *rw)
{
	lock_dep_release(&rw->dep);
	pthread_rwlock_unlock(&rw->l);
}

void os_cond_init(os_cond *c);	/* measures time on CLOCK_MONOTONIC */
static inline void os_cond_fini(os_cond *c) { pthread_cond_destroy(&c->c); }
static inline void os_cond_signal(os_cond *c) { pthread_cond_signal(&c->c); }
static inline void os_cond_broadcast(os_cond *c) { pthread_cond_broadcast(&c->c); }
void os_cond_wait(os_cond *c, os_mutex *mx);
/* Returns false when msec milliseconds passed without a signal. */
bool os_cond_wait_msec(os_cond *c, os_mutex *mx, unsigned msec);

#define assert_held(lk) lock_dep_assert_held(&(lk)->dep)

static inline void os_mutex_guard_end(os_mutex **mx) { os_mutex_unlock(*mx); }
static inline void os_rwlock_guard_end(os_rwlock **rw) { os_rwlock_unlock(*rw); }

/* Held from here to the end of the enclosing block. */
#define LOCK_GUARD(mx) LOCK_GUARD_N(mx, __COUNTER__)
#define LOCK_GUARD_N(mx, n) LOCK_GUARD_NN(mx, n)
#define LOCK_GUARD_NN(mx, n)								\
	os_mutex *lock_guard_##n __attribute__((cleanup(os_mutex_guard_end), unused)) =	\
		({ os_mutex *mx_ = (mx); os_mutex_lock(mx_); mx_; })
#define RDLOCK_GUARD(rw)								\
	os_rwlock *rdlock_guard_ __attribute__((cleanup(os_rwlock_guard_end), unused)) =	\
		({ os_rwlock *rw_ = (rw); os_rwlock_rdlock(rw_); rw_; })
#define WRLOCK_GUARD(rw)								\
	os_rwlock *wrlock_guard_ __attribute__((cleanup(os_rwlock_guard_end), unused)) =	\
		({ os_rwlock *rw_ = (rw); os_rwlock_wrlock(rw_); rw_; })

#endif
