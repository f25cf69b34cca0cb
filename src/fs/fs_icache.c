/*
 * fs_icache.c: the table of inodes in memory.
 *
 * An inode is in the table while it is pinned (a call works on it), unlinked and referenced (the
 * caller of fs.h remembers its number), or idle, kept for the next look: the longest unused are
 * dropped when there are too many. Of a dropped one that is referenced only that is kept (fs_refs.h),
 * so memory does not grow with what the kernel has seen.
 *
 *   IC1  One memory inode per number. It is loaded by the thread that entered it; others wait.
 *   IC2  The last unpin of an inode without links and references destroys it; from then on nobody
 *        else gets it (-ESTALE), until its number is given out again.
 *   IC3  An access time that only memory knows is stored before the inode is dropped.
 */
#include <assert.h>
#include <stdlib.h>

#include "fs/fs_int.h"
#include "fs/fs_refs.h"

enum {
	NR_SHARDS = 16,
	NR_BUCKETS = 1024,	/* a shard */
	MAX_IDLE = 1024,	/* a shard */
	LOADING = 1,		/* load_err */
};

struct ishard {
	os_mutex lock;			/* RANK_INO_TABLE */
	os_cond loaded;			/* or dropped, of one that was -ESTALE */
	struct fs_inode *buckets[NR_BUCKETS];	/* [lock] */
	struct list idle;		/* [lock] longest unused first */
	unsigned nr_idle;		/* [lock] */
	struct fs_refs refs;		/* [lock] of inodes that are not in the table */
	uint64_t nr_inodes, nr_referenced;	/* [lock] */
};

struct fs_icache {
	struct slab *slab;
	struct ishard shards[NR_SHARDS];
};

static struct ishard *shard_of(struct fs *fs, ino_nr_t ino)
{
	return &fs->icache->shards[ino % NR_SHARDS];
}

static struct fs_inode **bucket_of(struct ishard *s, ino_nr_t ino)
{
	return &s->buckets[ino / NR_SHARDS % NR_BUCKETS];
}

static struct fs_inode *find(struct ishard *s, ino_nr_t ino)
{
	struct fs_inode *inode = *bucket_of(s, ino);

	while (inode && inode->ino != ino)
		inode = inode->hash_next;
	return inode;
}

int fs_icache_init(struct fs *fs)
{
	struct fs_icache *ic = calloc(1, sizeof(*ic));

	if (!ic)
		return -ENOMEM;
	fs->icache = ic;
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		os_mutex_init(&ic->shards[i].lock, RANK_INO_TABLE);
		os_cond_init(&ic->shards[i].loaded);
		list_init(&ic->shards[i].idle);
		fs_refs_init(&ic->shards[i].refs, fs->alloc);
	}
	ic->slab = slab_new(fs->alloc, "inode", sizeof(struct fs_inode), SLAB_ZERO);
	return ic->slab ? 0 : -ENOMEM;
}

/* In and out of the table; shard locked ------------------------------------------------ */

static struct fs_inode *enter(struct fs *fs, struct ishard *s, ino_nr_t ino)
{
	struct fs_inode **bucket = bucket_of(s, ino), *inode = slab_alloc(fs->icache->slab);

	assert_held(&s->lock);
	if (!inode)
		return NULL;
	inode->fs = fs;
	inode->ino = ino;
	inode->nr_pins = 1;
	list_init(&inode->idle_link);
	list_init(&inode->orphan_link);
	list_init(&inode->resv.link);
	inode->nr_refs = fs_refs_take(&s->refs, ino);
	os_rwlock_init(&inode->lock, RANK_INODE);
	os_mutex_init(&inode->meta, RANK_INO_STORE);
	inode->hash_next = *bucket;
	*bucket = inode;
	s->nr_inodes++;
	return inode;
}

/* Its references stay known: a linked one's in refs. */
static void drop(struct ishard *s, struct fs_inode *inode)
{
	struct fs_inode **at = bucket_of(s, inode->ino);

	assert_held(&s->lock);
	assert(inode->nr_pins == 0 && list_is_empty(&inode->idle_link) && inode->resv.nr == 0);
	while (*at != inode)
		at = &(*at)->hash_next;
	*at = inode->hash_next;
	s->nr_inodes--;
	if (inode->nr_refs > 0 && fs_refs_put(&s->refs, inode->ino, inode->nr_refs))
		s->nr_referenced--;	/* no memory: a later unlink takes it as forgotten */
	if (inode->load_err == -ESTALE)
		os_cond_broadcast(&s->loaded);	/* fs_icache_new() may wait for the number */
	os_rwlock_fini(&inode->lock);
	os_mutex_fini(&inode->meta);
	slab_put(inode->fs->icache->slab, inode);
}

static void idle_remove(struct ishard *s, struct fs_inode *inode)
{
	if (list_is_empty(&inode->idle_link))
		return;
	list_del(&inode->idle_link);
	s->nr_idle--;
}

/*
 * An unlinked one that is remembered is to be had from memory only. One that could not be taken from the
 * orphan list stays until the unmount: the list in memory goes through it. (Nobody has it: no lock.)
 */
static bool may_idle(const struct fs_inode *inode)
{
	return (inode->nlink > 0 || inode->nr_refs == 0) && !inode->on_orphan_list;
}

static void idle_add(struct ishard *s, struct fs_inode *inode)
{
	if (!may_idle(inode) || !list_is_empty(&inode->idle_link))
		return;
	list_add_tail(&s->idle, &inode->idle_link);
	s->nr_idle++;
}

/* Nobody uses it now. */
static void settle(struct ishard *s, struct fs_inode *inode)
{
	assert(inode->nr_pins == 0);
	if (inode->load_err < 0 && !inode->on_orphan_list)
		drop(s, inode);
	else
		idle_add(s, inode);
}

/* IC3. The inode is pinned; no lock is held. */
static int store_atime(struct fs_inode *inode)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err;

	if (!atomic_load(&inode->atime_dirty) || fs_writable(inode->fs))
		return 0;
	err = jnl_begin(inode->fs->jnl, FS_CREDITS_INODE, &h);
	if (err)
		return err;
	os_mutex_lock(&inode->meta);
	err = fs_inode_store(&h, inode);
	os_mutex_unlock(&inode->meta);
	return err ? err : jnl_end(&h);
}

/* A reservation outlives the file's last use when nobody released it: it goes with the inode. */
static bool needs_work(const struct fs_inode *inode)
{
	return atomic_load(&inode->atime_dirty) || inode->resv.nr;
}

static void retire_work(struct fs_inode *inode)
{
	if (inode->resv.nr) {
		os_rwlock_wrlock_key(&inode->lock, inode->ino);
		fs_reservation_drop(inode);
		os_rwlock_unlock(&inode->lock);
	}
	if (store_atime(inode))
		inode->atime_dirty = false;	/* the filesystem takes no more writes: nothing to keep it for */
}

/* Getting and putting --------------------------------------------------------------------- */

static int check_number(struct fs *fs, ino_nr_t ino)
{
	if (ino == EXT_ROOT_INO || (ino >= fs->first_ino && ino <= fs->nr_inodes))
		return 0;
	log_error("%s: no inode has the number %" PRIu32, blk_name(fs->dev), ino);
	return -EUCLEAN;
}

/* Found in the table: pinned, and loaded when others are at it. Shard locked. */
static int get_found(struct ishard *s, struct fs_inode *inode)
{
	int err;

	inode->nr_pins++;
	idle_remove(s, inode);
	while (inode->load_err == LOADING)
		os_cond_wait(&s->loaded, &s->lock);
	err = inode->load_err;
	if (err && --inode->nr_pins == 0)
		settle(s, inode);
	return err;
}

static int get(struct fs *fs, ino_nr_t ino, bool orphan_too, struct fs_inode **out)
{
	struct ishard *s = shard_of(fs, ino);
	struct fs_inode *inode;
	int err;

	*out = NULL;
	os_mutex_lock(&s->lock);
	inode = find(s, ino);
	if (likely(inode != NULL)) {
		err = get_found(s, inode);
		os_mutex_unlock(&s->lock);
		*out = err ? NULL : inode;
		return err;
	}
	err = check_number(fs, ino);
	if (!err) {
		inode = enter(fs, s, ino);
		err = inode ? 0 : -ENOMEM;
	}
	if (err) {
		os_mutex_unlock(&s->lock);
		return err;
	}
	inode->load_err = LOADING;
	os_mutex_unlock(&s->lock);
	err = fs_inode_load(inode, orphan_too);
	os_mutex_lock(&s->lock);
	inode->load_err = err;
	os_cond_broadcast(&s->loaded);
	if (err && --inode->nr_pins == 0)
		settle(s, inode);
	os_mutex_unlock(&s->lock);
	*out = err ? NULL : inode;
	return err;
}

int fs_iget(struct fs *fs, ino_nr_t ino, struct fs_inode **out)
{
	return get(fs, ino, false, out);
}

int fs_iget_orphan(struct fs *fs, ino_nr_t ino, struct fs_inode **out)
{
	return get(fs, ino, true, out);
}

int fs_icache_new(struct fs *fs, ino_nr_t ino, struct fs_inode **out)
{
	struct ishard *s = shard_of(fs, ino);
	struct fs_inode *inode;
	LOCK_GUARD(&s->lock);

	*out = NULL;
	/* One that is being destroyed gives its number back a moment before it leaves the table. */
	while ((inode = find(s, ino)) && inode->load_err == -ESTALE)
		os_cond_wait(&s->loaded, &s->lock);
	if (inode || fs_refs_has(&s->refs, ino)) {
		log_error("%s: inode %" PRIu32 " is in use, but free in its bitmap", blk_name(fs->dev), ino);
		return -EUCLEAN;
	}
	*out = inode = enter(fs, s, ino);
	return inode ? 0 : -ENOMEM;
}

void fs_icache_abandon(struct fs_inode *inode)
{
	struct ishard *s;

	if (!inode)
		return;
	s = shard_of(inode->fs, inode->ino);
	LOCK_GUARD(&s->lock);
	inode->load_err = -ESTALE;
	if (--inode->nr_pins == 0)
		settle(s, inode);
}

/* IC2. Shard locked, and unlocked meanwhile. */
static void destroy(struct ishard *s, struct fs_inode *inode)
{
	inode->nr_pins = 1;
	inode->load_err = -ESTALE;
	os_mutex_unlock(&s->lock);
	fs_inode_destroy(inode);	/* what fails stays on the orphan list, logged */
	os_mutex_lock(&s->lock);
	if (inode->on_orphan_list) {	/* it could not be: whoever waits for the number gets an error */
		inode->load_err = -EUCLEAN;
		os_cond_broadcast(&s->loaded);
	}
	if (--inode->nr_pins == 0)
		settle(s, inode);
}

/* The last pin is gone. Shard locked. */
static void unpinned(struct ishard *s, struct fs_inode *inode)
{
	/* nlink belongs to meta, but nobody else has the inode now. */
	if (inode->load_err == 0 && inode->nlink == 0 && inode->nr_refs == 0 && !fs_writable(inode->fs))
		destroy(s, inode);
	else
		settle(s, inode);
}

/* Too many idle ones: the longest unused goes. Shard locked, and unlocked meanwhile when there is work. */
static void trim(struct ishard *s)
{
	while (s->nr_idle > MAX_IDLE) {
		struct fs_inode *inode = list_first(&s->idle, struct fs_inode, idle_link);

		idle_remove(s, inode);
		if (needs_work(inode)) {
			inode->nr_pins = 1;
			os_mutex_unlock(&s->lock);
			retire_work(inode);
			os_mutex_lock(&s->lock);
			if (--inode->nr_pins > 0 || !may_idle(inode))
				continue;	/* it is wanted again */
		}
		if (inode->nlink == 0 && !fs_writable(inode->fs))
			destroy(s, inode);
		else
			drop(s, inode);
	}
}

void fs_iput(struct fs_inode *inode)
{
	struct ishard *s;

	if (!inode)
		return;
	s = shard_of(inode->fs, inode->ino);
	os_mutex_lock(&s->lock);
	assert(inode->nr_pins > 0);
	if (--inode->nr_pins == 0) {
		unpinned(s, inode);
		trim(s);
	}
	os_mutex_unlock(&s->lock);
}

/* Shard locked. */
static void add_ref(struct ishard *s, struct fs_inode *inode)
{
	if (inode->nr_refs++ == 0)
		s->nr_referenced++;
}

void fs_inode_ref(struct fs_inode *inode)
{
	struct ishard *s = shard_of(inode->fs, inode->ino);
	LOCK_GUARD(&s->lock);

	add_ref(s, inode);
}

bool fs_hold(struct fs *fs, ino_nr_t ino)
{
	struct ishard *s = shard_of(fs, ino);
	struct fs_inode *inode;
	LOCK_GUARD(&s->lock);

	inode = find(s, ino);
	if (!inode || inode->load_err || (!inode->nr_refs && ino != EXT_ROOT_INO))
		return false;
	add_ref(s, inode);
	return true;
}

void fs_forget(struct fs *fs, ino_nr_t ino, uint64_t nr_refs)
{
	struct ishard *s = shard_of(fs, ino);
	struct fs_inode *inode;
	LOCK_GUARD(&s->lock);

	inode = find(s, ino);
	if (!inode) {
		s->nr_referenced -= fs_refs_drop(&s->refs, ino, nr_refs);
	} else if (inode->nr_refs > 0) {
		inode->nr_refs -= MIN(inode->nr_refs, nr_refs);
		if (inode->nr_refs > 0)
			return;
		s->nr_referenced--;
		if (inode->nr_pins == 0)
			unpinned(s, inode);
	}
}

/* All of them -------------------------------------------------------------------------------- */

/* Calls fn on every inode of the shard, pinned and with the shard unlocked; fn must not fail the walk. */
static int for_each_dirty(struct fs *fs, int (*fn)(struct fs_inode *inode))
{
	int first_err = 0;

	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct ishard *s = &fs->icache->shards[i];

		for (unsigned b = 0; b < NR_BUCKETS; b++) {
			struct fs_inode *inode;

			os_mutex_lock(&s->lock);
			for (inode = s->buckets[b]; inode; inode = inode->hash_next) {
				int err;

				if (inode->load_err || !atomic_load(&inode->atime_dirty))
					continue;
				inode->nr_pins++;
				idle_remove(s, inode);
				os_mutex_unlock(&s->lock);
				err = fn(inode);
				first_err = first_err ? first_err : err;
				os_mutex_lock(&s->lock);
				/* Not dropped or destroyed here: the walk goes on from it. */
				if (--inode->nr_pins == 0)
					idle_add(s, inode);
			}
			os_mutex_unlock(&s->lock);
		}
	}
	return first_err;
}

int fs_icache_store_atimes(struct fs *fs)
{
	return for_each_dirty(fs, store_atime);
}

/* What is on the orphan list still goes with the table (fs_icache_fini). */
static void settle_last(struct ishard *s, struct fs_inode *inode)
{
	if (!inode->on_orphan_list)
		drop(s, inode);
}

void fs_icache_drain(struct fs *fs)
{
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct ishard *s = &fs->icache->shards[i];

		os_mutex_lock(&s->lock);
		for (unsigned b = 0; b < NR_BUCKETS; b++)
			for (struct fs_inode *inode = s->buckets[b], *next; inode; inode = next) {
				next = inode->hash_next;	/* nobody else is there: it stays where it is */
				assert(inode->nr_pins == 0);
				idle_remove(s, inode);
				s->nr_referenced -= inode->nr_refs > 0;
				inode->nr_refs = 0;
				inode->nr_pins = 1;
				os_mutex_unlock(&s->lock);
				retire_work(inode);
				os_mutex_lock(&s->lock);
				inode->nr_pins = 0;
				if (inode->load_err == 0 && inode->nlink == 0 && !fs_writable(fs))
					destroy(s, inode);
				else
					settle_last(s, inode);
			}
		/* What was destroyed may have settled as idle when it could not be. */
		while (!list_is_empty(&s->idle)) {
			struct fs_inode *inode = list_first(&s->idle, struct fs_inode, idle_link);

			idle_remove(s, inode);
			drop(s, inode);
		}
		os_mutex_unlock(&s->lock);
	}
}

void fs_icache_fini(struct fs *fs)
{
	struct fs_icache *ic = fs->icache;

	if (!ic)
		return;
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct ishard *s = &ic->shards[i];

		os_mutex_lock(&s->lock);
		for (unsigned b = 0; b < NR_BUCKETS; b++)
			while (s->buckets[b]) {
				struct fs_inode *inode = s->buckets[b];

				idle_remove(s, inode);
				inode->resv.nr = 0;
				inode->nr_pins = 0;	/* a mount that failed half-way */
				inode->nr_refs = 0;
				drop(s, inode);
			}
		os_mutex_unlock(&s->lock);
		fs_refs_fini(&s->refs);
		os_mutex_fini(&s->lock);
		os_cond_fini(&s->loaded);
	}
	slab_free(ic->slab);
	free(ic);
	fs->icache = NULL;
}

void fs_icache_count(struct fs *fs, uint64_t *nr_cached, uint64_t *nr_referenced)
{
	*nr_cached = *nr_referenced = 0;
	for (unsigned i = 0; i < NR_SHARDS; i++) {
		struct ishard *s = &fs->icache->shards[i];
		LOCK_GUARD(&s->lock);

		*nr_cached += s->nr_inodes;
		*nr_referenced += s->nr_referenced;
	}
}

/* Several at once ---------------------------------------------------------------------------------- */

enum { LOCK_MAX = 4 };

/* The different ones by rising number; returns how many. */
static unsigned sort_inodes(struct fs_inode **inodes, unsigned nr, struct fs_inode *sorted[static LOCK_MAX])
{
	unsigned n = 0;

	assert(nr <= LOCK_MAX);
	for (unsigned i = 0; i < nr; i++) {
		struct fs_inode *inode = inodes[i];
		unsigned at = n;

		if (!inode)
			continue;
		while (at > 0 && sorted[at - 1]->ino > inode->ino)
			at--;
		if (at > 0 && sorted[at - 1] == inode)
			continue;
		memmove(sorted + at + 1, sorted + at, (n - at) * sizeof(sorted[0]));
		sorted[at] = inode;
		n++;
	}
	return n;
}

void fs_lock_inodes(struct fs_inode **inodes, unsigned nr)
{
	struct fs_inode *sorted[LOCK_MAX + 1];
	const unsigned n = sort_inodes(inodes, nr, sorted);

	for (unsigned i = 0; i < n; i++)
		os_rwlock_wrlock_key(&sorted[i]->lock, sorted[i]->ino);
}

void fs_unlock_inodes(struct fs_inode **inodes, unsigned nr)
{
	struct fs_inode *sorted[LOCK_MAX + 1];
	unsigned n = sort_inodes(inodes, nr, sorted);

	while (n > 0)
		os_rwlock_unlock(&sorted[--n]->lock);
}
