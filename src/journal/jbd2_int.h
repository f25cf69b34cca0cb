/*
 * jbd2_int.h: a running JBD2 journal, as its files share it.
 *
 *	jbd2.c             a journal's life, the ops table
 *	jbd2_txn.c         handles: what they bring into the running transaction
 *	jbd2_commit.c      commits, who makes them, who waits for them
 *	jbd2_layout.c      a transaction as blocks of the log
 *	jbd2_checkpoint.c  bringing blocks home, moving the tail
 *	jbd2_text.c        printing and checking
 *	jbd2_recover.c     replay (knows nothing of this header)
 *	jbd2_file.c        the file, its superblock; jbd2_csum.c its blocks' formats
 *
 * A transaction:
 *
 *	RUNNING --freeze, copy--> COMMITTING --log, flush, commit record--> COMMITTED
 *	  handles bring blocks in                                            | all home, tail moved
 *	                                                                     v
 *	                                                                   freed
 *
 *   J1  A home block is written only after the transaction with its newest copy is committed: a
 *       frame is held (C7) from jnl_get_write until that transaction has committed.
 *   J2  A frame's bytes change only between jnl_get_write and the end of that handle, and no handle
 *       is open while a commit copies.
 *   J3  The commit record is written only after every block of the transaction, of revoke records,
 *       and the ordered data are durable.
 *   J4  At most one transaction is running and at most one committing; one thread commits.
 *   J5  Space in the log is used again only after a superblock with a newer tail is durable, and
 *       that is written only after the home copies of what leaves the log are.
 *   J6  A freed metadata block: the transaction that frees it revokes older copies, what memory
 *       has of it never goes home, and nobody uses it before that transaction is committed.
 *   J7  Transactions follow each other in the log without a gap, in number and in place.
 *   J8  After an abort nothing is logged, the tail does not move, and the superblock gets s_errno only.
 *       What is committed may still go home.
 *
 * Space: a transaction takes at most a quarter of the ring (and a sixteenth of the cache), and begins only when a quarter (and
 * something for revoke records, which are not counted before they are there) is free for it.
 */
#ifndef OSFS_JOURNAL_JBD2_INT_H
#define OSFS_JOURNAL_JBD2_INT_H

#include "base/list.h"
#include "journal/jbd2_file.h"
#include "journal/jbd2_map.h"
#include "journal/jnl_int.h"

enum {
	RANK_JBD2_SB = RANK_JNL + 2,	/* the superblock while it is written */
	JBD2_COMMIT_SEC = 5,
	JBD2_TXN_PART = 4,		/* of the ring for one transaction: a quarter */
	JBD2_CACHE_PART = 16,		/* of the cache, too; twice that while a commit has its copies */
	JBD2_TXN_LEAST = 256,		/* however small the cache */
	JBD2_SLACK_PART = 16,		/* of the ring, free beside that for revoke records */
	JBD2_KEEP_COPIES = 64,		/* blocks kept for the copies of the next commit */
};

enum entry_state {
	ENTRY_LOGGED,	/* buf is held and goes into the log */
	ENTRY_REVOKED,	/* freed: a revoke record; buf, if there is one, is held until it is dropped */
};

struct jbd2_entry {
	pblk_t pblk;
	struct cache_buf *buf;
	void *copy;			/* what goes into the log; of the committing thread */
	enum entry_state state;
};

struct jbd2_ranges {
	struct cache_run *runs;
	size_t nr, cap;
};

struct jbd2_txn {
	struct list link;		/* [lock] in logged, oldest first */
	jnl_tid tid;			/* [const] its low half is the number on disk */
	atomic_uint nr_reserved;	/* blocks brought in, and credits of open handles */
	struct jbd2_entry *entries;	/* [lock while running, then the committer] */
	size_t nr, cap;
	size_t nr_logged, nr_revoked;	/* entries of each state */
	struct jbd2_map map;		/* block: its entry */
	struct jbd2_ranges ordered;	/* file data that has to be written before the commit */
	struct jbd2_ranges late;	/* data freed while an earlier commit may still write it: dropped after the commit */
	uint64_t begun_msec;
	uint32_t start, len;		/* in the log; len 0: not there yet */
	size_t nr_left;			/* [lock] committed: blocks whose newest logged copy is here and not known to be home */
};

struct jbd2 {
	struct jnl jnl;			/* first */
	struct jbd2_file file;		/* sb under sb_lock */
	struct alloc *alloc;
	struct slab *block_slab;	/* blocks below a page */
	unsigned block_order;
	uint64_t (*now_nsec)(void *arg);
	void *now_arg;
	unsigned commit_msec;
	uint32_t nr_ring, max_txn, slack;	/* [const] blocks: the ring, credits of a transaction, see Space */
	uint32_t tags_per_block, revokes_per_block;	/* [const] */

	os_mutex lock;			/* RANK_JNL */
	os_cond changed;		/* a commit or a checkpoint ended */
	os_cond wanted;			/* the thread is */
	_Atomic(struct jbd2_txn *) running;	/* set under lock, cleared under lock with handles frozen */
	struct jbd2_txn *committing;	/* [lock] */
	struct jbd2_txn *spare;		/* [lock] for the next transaction */
	struct list logged;		/* [lock] committed, not all home */
	struct jbd2_map home;		/* [lock] block: the struct jbd2_txn that has to bring it home */
	jnl_tid next_tid;		/* [lock] */
	atomic_uint_fast64_t committed;	/* newest */
	uint32_t head;			/* [lock] next block of the log to write */
	uint32_t nr_used;		/* [lock] blocks from tail to head */
	bool busy;			/* [lock] someone commits */
	bool checkpointing;		/* [lock] */
	bool data_pending;		/* [lock] the committing transaction's ordered data may not be written yet */
	uint64_t nr_flushes_begun, nr_flushed;	/* [lock] flushes by commits: the n-th began, was done */
	bool log_empty;			/* [busy] s_start on disk is 0 */

	void *copies[JBD2_KEEP_COPIES];	/* [busy] */
	unsigned nr_copies;

	os_mutex sb_lock;		/* RANK_JBD2_SB */

	pthread_t thread;
	bool background, stop;		/* [const], [lock] */
	atomic_bool kicked;		/* the thread has something to do */
	uint64_t nr_commits, nr_blocks_logged, nr_checkpoints;	/* [lock] */
};

static inline struct jbd2 *jbd2_of(struct jnl *j)
{
	return container_of(j, struct jbd2, jnl);
}

static inline struct jbd2_txn *jbd2_running(struct jbd2 *j)
{
	return atomic_load_explicit(&j->running, memory_order_acquire);
}

uint64_t jbd2_now_msec(void);
/* Tells the thread that there is something to do. lock held. */
void jbd2_kick(struct jbd2 *j);

/* jbd2_txn.c ------------------------------------------------------------------------------- */
void jbd2_txn_free(struct jbd2_txn *t);
/* Empties t and keeps it for the next one, or frees it. lock held. */
void jbd2_txn_recycle(struct jbd2 *j, struct jbd2_txn *t);
int jbd2_begin(struct jnl *jnl, struct jnl_handle *h);
int jbd2_wait_room(struct jnl *jnl, unsigned nr_credits);
int jbd2_extend(struct jnl_handle *h, unsigned nr_credits);
int jbd2_get_write(struct jnl_handle *h, struct cache_buf *b, bool fresh);
void jbd2_dirty(struct jnl_handle *h, struct cache_buf *b);
void jbd2_forget(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
void jbd2_forget_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
int jbd2_order_data(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
int jbd2_end(struct jnl_handle *h);
/* Is there something in it that a commit would have to write or do? lock held. */
bool jbd2_txn_is_empty(const struct jbd2_txn *t);

/* jbd2_layout.c ------------------------------------------------------------------------------ */

/* A transaction's blocks in the order of the log, but for the commit record. */
struct jbd2_layout {
	struct jbd2_piece *pieces;
	size_t nr;
	void **own;			/* descriptor and revoke blocks */
	size_t nr_own;
};
/* Blocks that t takes in the log, commit record included. */
uint32_t jbd2_layout_len(const struct jbd2 *j, const struct jbd2_txn *t);
/* From t->start on. */
MUST_CHECK int jbd2_layout_build(struct jbd2 *j, struct jbd2_txn *t, struct jbd2_layout *out);
void jbd2_layout_free(struct jbd2 *j, struct jbd2_layout *l);
void *jbd2_block_alloc(struct jbd2 *j);
void jbd2_block_free(struct jbd2 *j, void *block);

/* jbd2_commit.c -------------------------------------------------------------------------------- */
int jbd2_commit_wait(struct jnl *jnl, jnl_tid tid);
bool jbd2_is_committed(const struct jnl *jnl, jnl_tid tid);
/*
 * Commits the running transaction, or waits for the commit that someone else has under way; the
 * caller looks again. lock held, is dropped meanwhile; no handle open.
 */
void jbd2_commit_some(struct jbd2 *j);

/* jbd2_checkpoint.c ------------------------------------------------------------------------------ */
uint32_t jbd2_free_blocks(const struct jbd2 *j);	/* lock held */
bool jbd2_has_room(const struct jbd2 *j);		/* for a new transaction; lock held */
bool jbd2_is_filling(const struct jbd2 *j);		/* time for a checkpoint; lock held */
/*
 * Until at least want blocks are free (or the log is empty of what is committed). may_commit: also
 * commits the running transaction when it has blocks that are in the way. No lock held.
 */
MUST_CHECK int jbd2_checkpoint(struct jbd2 *j, uint32_t want, bool may_commit);
/* After t's commit record: its blocks are to be brought home by it. lock held; room in j->home is reserved. */
void jbd2_home_add(struct jbd2 *j, struct jbd2_txn *t);
/* The superblock: s_start, s_sequence. start 0: empty. */
MUST_CHECK int jbd2_store_tail(struct jbd2 *j, uint32_t start, uint32_t seq, unsigned flags);

#endif
