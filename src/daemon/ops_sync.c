/*
 * ops_sync.c: fsync, and its work done ahead.
 *
 * A kernel that gathers writes makes two or three requests of a write and an fsync: WRITE, perhaps
 * SETATTR with times that it has kept, FSYNC. After each reply the client has to be woken before it goes
 * on. Where an fsync has followed several times, that while is used to make the file durable, so that
 * the FSYNC finds little or nothing to do.
 *
 * Nothing is promised by it: an error is met again by the FSYNC, which tries again and tells.
 */
#include "base/trace.h"
#include "ops_int.h"

enum {
	SCORE_MAX = 8,
	SCORE_LIKELY = 4,	/* from here on an fsync is expected */
	SCORE_MISS = 4,
	SMALL_WRITE_BYTES = 64 << 10,	/* a larger one is part of a stream */
};

/* What the calling worker has seen of its clients. */
static _Thread_local struct {
	ino_nr_t ino;		/* of a small WRITE that no other WRITE or FSYNC has followed; 0: none */
	bool times;		/* a SETATTR has */
	int score;
	bool with_times, datasync;	/* of the last FSYNC that followed one */
} habit;

static void write_out_ahead(void *arg)
{
	struct daemon *d = arg;

	if (!fs_hold(d->fs, habit.ino))
		return;
	fs_write_out(d->fs, habit.ino);
	fs_forget(d->fs, habit.ino, 1);
}

static void sync_ahead(void *arg)
{
	struct daemon *d = arg;
	int err;

	if (!fs_hold(d->fs, habit.ino))
		return;
	err = fs_fsync(d->fs, habit.ino, habit.datasync);
	TRACE(daemon, "inode %" PRIu32 " made durable ahead of its fsync: %d", habit.ino, err);
	fs_forget(d->fs, habit.ino, 1);
}

void ops_sync_wrote(struct daemon *d, ino_nr_t ino, size_t len_bytes)
{
	if (habit.ino)
		habit.score = MAX(habit.score - SCORE_MISS, 0);
	habit.ino = len_bytes <= SMALL_WRITE_BYTES ? ino : 0;
	habit.times = false;
	if (habit.ino && habit.score >= SCORE_LIKELY)
		loop_when_idle(FUSE_FSYNC, habit.with_times ? write_out_ahead : sync_ahead, d);
}

void ops_sync_times(struct daemon *d, ino_nr_t ino)
{
	if (habit.ino != ino)
		return;
	habit.times = true;
	if (habit.score >= SCORE_LIKELY)
		loop_when_idle(FUSE_FSYNC, sync_ahead, d);
}

void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	const ino_nr_t ino = ops_ino(node);

	ops_reply_err(req, fs_fsync(ops_daemon(req)->fs, ino, datasync));
	if (habit.ino == ino) {
		habit.score = MIN(habit.score + 1, SCORE_MAX);
		habit.with_times = habit.times;
		habit.datasync = datasync;
	}
	habit.ino = 0;
}
