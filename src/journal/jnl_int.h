/*
 * jnl_int.h: what stands behind jnl.h. A kind of journal is one struct jnl_ops; jnl.c does
 * once for all kinds: the gate that handles pass (and that a freeze closes), the abort, the
 * checks of debug builds.
 */
#ifndef OSFS_JOURNAL_JNL_INT_H
#define OSFS_JOURNAL_JNL_INT_H

#include <assert.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/trace.h"
#include "journal/jnl.h"

enum { JNL_GATE_SLOTS = 16 };

/*
 * A gate that many handles pass at once and a freezer closes now and then. Entering is an
 * increment on the thread's own cache line; the freezer pays: it closes the gate and waits
 * until the counts of all slots are zero.
 *
 *   G1  While frozen is set and every count was seen zero, no handle is open.
 *   G2  A thread that enters increments first and looks at frozen second; the freezer sets
 *       frozen first and looks at the counts second. One of the two sees the other.
 */
struct jnl_gate {
	os_mutex lock;			/* RANK_JNL: one freezer at a time; under it the waits */
	os_cond changed;
	atomic_bool frozen;
	bool freezer;			/* [lock] someone is freezing or has frozen */
	struct {
		atomic_uint nr;
	} __attribute__((aligned(64))) slots[JNL_GATE_SLOTS];
};

struct jnl_ops {
	const char *name;
	/* After the gate; may set h->tid. -EAGAIN: leave the gate, wait_room, try again. */
	int (*begin)(struct jnl *j, struct jnl_handle *h);
	int (*wait_room)(struct jnl *j, unsigned nr_credits);	/* no handle open */
	int (*extend)(struct jnl_handle *h, unsigned nr_credits);
	int (*get_write)(struct jnl_handle *h, struct cache_buf *b, bool fresh);
	void (*dirty)(struct jnl_handle *h, struct cache_buf *b);
	void (*forget)(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
	void (*forget_data)(struct jnl_handle *h, pblk_t pblk, uint32_t nr);	/* NULL: cache_forget */
	int (*order_data)(struct jnl_handle *h, pblk_t pblk, uint32_t nr);
	int (*end)(struct jnl_handle *h);			/* before the gate */
	int (*commit_wait)(struct jnl *j, jnl_tid tid);
	bool (*is_committed)(const struct jnl *j, jnl_tid tid);	/* NULL: always */
	void (*aborted)(struct jnl *j, int err);		/* once */
	int (*free)(struct jnl *j);
};

/* The head of every kind of journal. */
struct jnl {
	const struct jnl_ops *ops;
	struct cache *cache;
	struct blk_dev *dev;
	atomic_int abort_err;		/* 0 or the first error */
	enum jnl_data_mode data_mode;	/* [const] */
	void (*commit_hook)(void *arg, jnl_tid tid);	/* [const after the first handle] */
	void *commit_arg;
	void (*abort_hook)(void *arg, int err);		/* [const after the first handle] */
	void *abort_arg;
	struct jnl_gate gate;
	struct lock_dep handle_dep;	/* RANK_HANDLE */
};

void jnl_init(struct jnl *j, const struct jnl_ops *ops, struct cache *c, struct blk_dev *dev);
void jnl_fini(struct jnl *j);

#endif
