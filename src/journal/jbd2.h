/*
 * jbd2.h: the JBD2 journal behind jnl.h: opening, recovery, making one, seeing it.
 *
 * What a filesystem does with it:
 *
 *   mount    Read the superblock and the journal inode's map; the map's runs go into jbd2_opts.
 *            jbd2_needs_recovery() or INCOMPAT_RECOVER: jbd2_recover(), then read everything again:
 *            replay changed blocks behind the back of whoever looked at them (frames in the cache
 *            are brought up to date, also pinned ones). Read-only: jbd2_recover() replays into the
 *            cache alone, not one byte is written; keep the overlay until after the last read.
 *            Writing: jbd2_open(). Then jbd2_errno() != 0: the last run was aborted, note it in the
 *            superblock (s_state) and jbd2_clear_errno(). INCOMPAT_RECOVER is durable before the first
 *            handle begins: written past the log, as the kernel does.
 *   write    jnl.h. Metadata through jnl_get_write/jnl_dirty. File data in newly allocated blocks:
 *            jnl_order_data() in the handle that allocates, and the data is in the cache
 *            (cache_write_end) or on its way (cache_write_begin) before that handle ends. Data
 *            blocks in data=journal mode are metadata. No jnl_begin between cache_write_begin and
 *            cache_write_end: a commit waits for such writers.
 *   free     jnl_forget() for metadata blocks, jnl_forget_data() for the others, and no reuse before
 *            the transaction commits: jnl_is_committed(j, h.tid), or the commit hook.
 *   fsync    Write the file's data (cache_flush_range), then jnl_commit_wait(j, tid of the last
 *            handle that changed the inode): what the device had completed before the call is
 *            durable after it too, with no flush more than needed.
 *   error    jnl_abort(): s_errno is written at once.
 *   unmount  jbd2_empty(); INCOMPAT_RECOVER is cleared, past the log; jnl_free(): 0 means that
 *            everything is home and the log is empty (s_start 0). After an abort the log is left for
 *            the next recovery.
 *
 * Threads: as jnl.h. Without `background` nothing happens outside of calls: deterministic.
 */
#ifndef OSFS_JOURNAL_JBD2_H
#define OSFS_JOURNAL_JBD2_H

#include "journal/jnl.h"

/* A piece of the journal file: its blocks from lblk on lie at pblk on. */
struct jbd2_run {
	lblk_t lblk;
	pblk_t pblk;
	uint32_t nr;
};

struct jbd2_opts {
	struct cache *cache;		/* of the filesystem; its block size is the journal's */
	struct blk_dev *dev;
	struct alloc *alloc;
	const struct jbd2_run *runs;	/* sorted by lblk, without a gap from 0; copied */
	size_t nr_runs;
	uint64_t nr_pblks;		/* of the filesystem: a tag beyond is damage */
	enum jnl_data_mode data_mode;
	unsigned commit_sec;		/* 0: 5 */
	bool background;		/* a thread for commits by time and for checkpoints */
	bool read_only;
	bool checksum;			/* the filesystem has metadata_csum: checksum v3 from now on */
	uint64_t (*now_nsec)(void *arg);	/* wall clock for commit records; NULL: the system's */
	void *now_arg;
};

/* The log must be empty: jbd2_recover() first. -EUCLEAN, -EOPNOTSUPP after a message. */
MUST_CHECK int jbd2_open(const struct jbd2_opts *o, struct jnl **out);

struct jbd2_recovery {
	uint64_t nr_transactions, nr_blocks, nr_revoked;	/* replayed; copies passed over as revoked */
	uint32_t first_seq, end_seq;		/* transactions [first, end) */
	bool fast_commits;			/* read-only: there were some, not replayed */
};
struct jbd2_overlay;

/*
 * Replays what is committed. Writing: home, flushed, log emptied; *overlay is NULL. Read-only:
 * into held frames of the cache that the overlay keeps (NULL when the log was empty). When the
 * log is damaged where Linux would refuse it, -EUCLEAN and the log stays. -EOPNOTSUPP: it holds
 * fast commits and is to be written. No journal is open on it, no file data is in the cache.
 */
MUST_CHECK int jbd2_recover(const struct jbd2_opts *o, struct jbd2_recovery *out, struct jbd2_overlay **overlay);
/* Before cache_free. NULL is fine. */
void jbd2_overlay_free(struct jbd2_overlay *overlay);
/* 1: the log is not empty; 0; or the error of a journal that cannot be read. */
MUST_CHECK int jbd2_needs_recovery(const struct jbd2_opts *o);

/* The error that a former run left in the journal's superblock (negative), or 0. */
int jbd2_errno(struct jnl *j);
MUST_CHECK int jbd2_clear_errno(struct jnl *j);

/*
 * A new, empty journal: fills the 1024 bytes of its superblock. The other blocks of the file
 * hold nothing that looks like a log: mkfs zeroes them. -EINVAL: less than 1024 blocks.
 */
MUST_CHECK int jbd2_format(void *sb, uint32_t block_bytes, uint32_t nr_blocks, const uint8_t uuid[16]);

/* Commits, and brings everything home: the log is empty on disk, the journal goes on. No handle may be open. */
MUST_CHECK int jbd2_empty(struct jnl *j);
/* Asserts J1 to J8 (jbd2_int.h) as far as they show. */
void jbd2_check_state(struct jnl *j);
/* The ring: head, tail, transactions, how full. */
void jbd2_to_text(struct jnl *j, FILE *out);

enum { JBD2_STATUS_TXNS = 32, JBD2_STATUS_CELLS = 64 };
enum jbd2_txn_state { JBD2_TXN_COMMITTED, JBD2_TXN_COMMITTING, JBD2_TXN_RUNNING };
struct jbd2_txn_status {
	uint32_t seq;
	enum jbd2_txn_state state;
	uint32_t start, len;			/* in the log; len 0: not there yet */
	uint64_t nr_blocks, nr_revoked, nr_left;	/* left: to bring home */
};
struct jbd2_status {
	uint32_t first, end, head, tail;	/* the ring is [first, end); head == tail: see nr_used */
	uint32_t nr_used, max_txn;		/* blocks; of one transaction */
	uint64_t nr_descriptors, nr_copies, nr_revoke_blocks, nr_records;	/* that nr_used consists of */
	uint64_t nr_to_bring_home, nr_commits, nr_logged, nr_checkpoints;
	enum jnl_data_mode data_mode;
	unsigned commit_msec, checksum;		/* version; 0: none */
	int abort_err;
	char picture[JBD2_STATUS_CELLS + 1];	/* = committed, + being committed, > head, . free */
	uint64_t nr_txns;			/* of which the oldest are listed, and the running one last */
	unsigned nr_listed;
	struct jbd2_txn_status txns[JBD2_STATUS_TXNS];
};
void jbd2_status_get(struct jnl *j, struct jbd2_status *out);
const char *jnl_data_mode_name(enum jnl_data_mode mode);

#endif
