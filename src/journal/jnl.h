/*
 * jnl.h: transactions over metadata blocks. This is the one interface that src/fs
 * writes metadata through; behind it stands a journal, or the null journal for
 * filesystems without one.
 *
 * Use:
 *	struct jnl_handle h;
 *	err = jnl_begin(j, credits, &h);	 before any change; may wait for a commit
 *	err = jnl_get_write(&h, buf);		 before the first changed byte of a block
 *	... change buf->data ...
 *	jnl_dirty(&h, buf);			 after the last changed byte
 *	err = jnl_end(&h);
 *
 * credits is the most metadata blocks that the handle may dirty, as a sum in words
 * at the caller. One handle at most is open per thread (RANK_HANDLE is held shared).
 * While a handle is open the thread does not wait for locks of a lower rank, does not
 * call cache_throttle or a flush.
 *
 *   J0  Bytes of metadata change only inside a handle. When no handle is open the
 *       metadata in the cache is between two operations: that is when it is copied.
 *
 * Errors: -EROFS after an abort (sticky), -ENOSPC when credits exceed what the journal can hold.
 */
#ifndef OSFS_JOURNAL_JNL_H
#define OSFS_JOURNAL_JNL_H

#include "cache/cache.h"

struct jnl;
typedef uint64_t jnl_tid;	/* rises by one a transaction; 0 is none */

enum jnl_data_mode {
	JNL_DATA_ORDERED,	/* data of new blocks is durable before the commit that makes them visible */
	JNL_DATA_JOURNAL,	/* data goes through the log like metadata */
	JNL_DATA_WRITEBACK,	/* no order */
};

#ifdef OSFS_LOCK_DEBUG
enum { JNL_TOUCHED_MAX = 256 };
struct jnl_touched {
	pblk_t pblk;
	bool dirty;
};
#endif

struct jnl_handle {
	struct jnl *jnl;
	jnl_tid tid;
	unsigned nr_credits;	/* left; counted down in debug builds */
	unsigned slot;		/* of the gate */
	unsigned nr_reserved;	/* credits that the transaction counts for this handle */
	unsigned nr_used;	/* blocks that this handle brought into it */
	bool opened;
#ifdef OSFS_LOCK_DEBUG
	unsigned nr_touched;
	struct jnl_touched touched[JNL_TOUCHED_MAX];
#endif
};

/* The null journal: no log; dirty metadata goes home by the cache's write-back. */
MUST_CHECK int jnl_null_new(struct cache *c, struct blk_dev *dev, struct jnl **out);
/* Everything committed and home, after an abort what can be; then freed. Returns the first error. j may be NULL. */
int jnl_free(struct jnl *j);

MUST_CHECK int jnl_begin(struct jnl *j, unsigned nr_credits, struct jnl_handle *h);
/* More credits for an operation that turned out longer. -ENOSPC: call jnl_restart at the next consistent point. */
MUST_CHECK int jnl_extend(struct jnl_handle *h, unsigned nr_credits);
/* Ends the handle's part so far and begins a new one: the two may lie in different transactions. */
MUST_CHECK int jnl_restart(struct jnl_handle *h, unsigned nr_credits);
int jnl_end(struct jnl_handle *h);
static inline void jnl_end_cleanup(struct jnl_handle *h)
{
	if (h->opened)
		jnl_end(h);
}
/* Declare as: CLEANUP_HANDLE struct jnl_handle h = {0}; */
#define CLEANUP_HANDLE __attribute__((cleanup(jnl_end_cleanup)))

MUST_CHECK int jnl_get_write(struct jnl_handle *h, struct cache_buf *b);
/* For a block from cache_get_new(): has no older contents that matter. */
MUST_CHECK int jnl_get_create(struct jnl_handle *h, struct cache_buf *b);
void jnl_dirty(struct jnl_handle *h, struct cache_buf *b);
/* Metadata blocks were freed in this handle: never write them home, revoke them in the log. */
void jnl_forget(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
/* Blocks of file data were freed: their frames go. Metadata in data=journal mode: revoked as well. */
void jnl_forget_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
/*
 * These blocks were allocated for file data in this handle: in ordered mode what is dirty in them is
 * written before the transaction commits. The data is in the cache, or between cache_write_begin
 * and _end, when the handle ends.
 */
MUST_CHECK int jnl_order_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr);

/*
 * Durable: transaction tid (and all before it), and whatever the device had completed before the
 * call. 0 as tid: everything up to now. Callers that come at one time share a commit. -EROFS after
 * an abort. No handle may be open.
 */
MUST_CHECK int jnl_commit_wait(struct jnl *j, jnl_tid tid);
/* From now on everything that writes gets -EROFS; the first err stays. */
void jnl_abort(struct jnl *j, int err);
bool jnl_is_aborted(const struct jnl *j);
enum jnl_data_mode jnl_data_mode(const struct jnl *j);
/* Blocks that were freed in transaction tid may be used again. Without a journal: at once. */
bool jnl_is_committed(const struct jnl *j, jnl_tid tid);
/*
 * fn is called after each commit, in order, with no lock of the journal held, by whoever committed:
 * maybe a thread in jnl_begin() or jnl_commit_wait() with its inode locks. It does not call the
 * journal. Set before the first handle.
 */
void jnl_set_commit_hook(struct jnl *j, void (*fn)(void *arg, jnl_tid tid), void *arg);
/*
 * fn is called once, at the first abort, by whoever met the error: with what locks it has, none of the
 * journal's. Set before the first handle.
 */
void jnl_set_abort_hook(struct jnl *j, void (*fn)(void *arg, int err), void *arg);

/*
 * Between these no handle is open, so metadata in the cache is between two operations (J0). Closes the gate
 * and waits for the handles that are open; arg is the journal. Not nested, no I/O meanwhile, no handle of the caller's.
 */
void jnl_freeze(void *arg);
void jnl_thaw(void *arg);

#endif
