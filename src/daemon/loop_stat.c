/*
 * loop_stat.c: what the loop learns about each kind of request, and tells.
 *
 * A kind whose requests take longer than SUSPECT_USEC on average is suspect. Long need not
 * mean blocked (a large copy is long), so for suspects the thread's voluntary context switches
 * are counted: the kind blocks when most of them gave up the CPU inside.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "loop_int.h"

enum { SUSPECT_USEC = 40, LEARN_SHIFT = 3 };

uint64_t loop_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned load(atomic_uint *a)
{
	return atomic_load_explicit(a, memory_order_relaxed);
}

/* Moving average: an eighth of the way to the sample. */
static void learn(atomic_uint *mean, unsigned sample)
{
	const int old = (int)load(mean), step = (int)sample - old;

	atomic_store_explicit(mean, (unsigned)(old + step / (1 << LEARN_SHIFT) + (step > 0) - (step < 0)),
			      memory_order_relaxed);
}

bool loop_kind_blocks(struct loop *l, unsigned opcode)
{
	struct op_kind *k = &l->kinds[opcode];

	return load(&k->blocked256) > 128 && load(&k->wall_usec16) > SUSPECT_USEC * 16;
}

static long nr_waits(void)
{
	struct rusage ru;

	return getrusage(RUSAGE_THREAD, &ru) ? 0 : ru.ru_nvcsw;
}

struct measure {
	struct op_kind *kind;
	bool suspect;
	long nr_waits;
	uint64_t start;
};

static struct measure measure_begin(struct worker *w, unsigned opcode)
{
	struct measure m = { .kind = &w->loop->kinds[opcode] };

	m.suspect = load(&m.kind->wall_usec16) > SUSPECT_USEC * 16;
	m.nr_waits = m.suspect ? nr_waits() : 0;
	m.start = loop_now();
	atomic_store_explicit(&w->busy_since, m.start, memory_order_relaxed);
	return m;
}

/* Returns the nanoseconds. */
static uint64_t measure_end(struct worker *w, const struct measure *m)
{
	uint64_t nsec;

	atomic_store_explicit(&w->busy_since, 0, memory_order_relaxed);
	nsec = loop_now() - m->start;
	learn(&m->kind->wall_usec16, (unsigned)MIN(nsec * 16 / 1000, (uint64_t)1 << 20));
	if (m->suspect)
		learn(&m->kind->blocked256, nr_waits() != m->nr_waits ? 256 : 0);
	return nsec;
}

/* To the watchdog it is a request like others (L1). */
void loop_work_ahead_measured(struct worker *w)
{
	const struct measure m = measure_begin(w, w->ahead.opcode);

	w->ahead.fn(w->ahead.arg);
	measure_end(w, &m);
	atomic_fetch_add_explicit(&w->loop->nr_ahead, 1, memory_order_relaxed);
}

void loop_serve_measured(struct worker *w, unsigned opcode)
{
	const struct measure m = measure_begin(w, opcode);
	uint64_t nsec;

	fuse_session_process_buf(w->loop->se, &w->buf);
	nsec = measure_end(w, &m);
	/* No other thread writes these: a plain sum, readable by all. */
	atomic_store_explicit(&w->op[opcode].nr,
			      atomic_load_explicit(&w->op[opcode].nr, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store_explicit(&w->op[opcode].nsec,
			      atomic_load_explicit(&w->op[opcode].nsec, memory_order_relaxed) + nsec,
			      memory_order_relaxed);
}

void loop_stats_get(struct loop *l, struct loop_stats *out)
{
	LOCK_GUARD(&l->lock);

	*out = (struct loop_stats){
		.nr_threads = l->nr_workers,
		.nr_handed_over = atomic_load(&l->nr_handed_over),
		.nr_rescued = atomic_load(&l->nr_rescued),
		.nr_looks = atomic_load(&l->nr_looks),
		.nr_met = atomic_load(&l->nr_met),
		.nr_ahead = atomic_load(&l->nr_ahead),
	};
	for (unsigned op = 0; op < LOOP_NR_OPCODES; op++) {
		for (unsigned i = 0; i < l->nr_workers; i++) {
			out->op[op].nr += atomic_load_explicit(&l->workers[i]->op[op].nr, memory_order_relaxed);
			out->op[op].nsec += atomic_load_explicit(&l->workers[i]->op[op].nsec,
								 memory_order_relaxed);
		}
		out->op[op].blocks = loop_kind_blocks(l, op);
	}
}

const char *loop_op_name(unsigned opcode)
{
	static const char *const names[LOOP_NR_OPCODES] = {
		[FUSE_LOOKUP] = "LOOKUP", [FUSE_FORGET] = "FORGET", [FUSE_GETATTR] = "GETATTR",
		[FUSE_SETATTR] = "SETATTR", [FUSE_READLINK] = "READLINK", [FUSE_SYMLINK] = "SYMLINK",
		[FUSE_MKNOD] = "MKNOD", [FUSE_MKDIR] = "MKDIR", [FUSE_UNLINK] = "UNLINK",
		[FUSE_RMDIR] = "RMDIR", [FUSE_RENAME] = "RENAME", [FUSE_LINK] = "LINK", [FUSE_OPEN] = "OPEN",
		[FUSE_READ] = "READ", [FUSE_WRITE] = "WRITE", [FUSE_STATFS] = "STATFS",
		[FUSE_RELEASE] = "RELEASE", [FUSE_FSYNC] = "FSYNC", [FUSE_SETXATTR] = "SETXATTR",
		[FUSE_GETXATTR] = "GETXATTR", [FUSE_LISTXATTR] = "LISTXATTR",
		[FUSE_REMOVEXATTR] = "REMOVEXATTR", [FUSE_FLUSH] = "FLUSH", [FUSE_INIT] = "INIT",
		[FUSE_OPENDIR] = "OPENDIR", [FUSE_READDIR] = "READDIR", [FUSE_RELEASEDIR] = "RELEASEDIR",
		[FUSE_FSYNCDIR] = "FSYNCDIR", [FUSE_ACCESS] = "ACCESS", [FUSE_CREATE] = "CREATE",
		[FUSE_INTERRUPT] = "INTERRUPT", [FUSE_DESTROY] = "DESTROY", [FUSE_IOCTL] = "IOCTL",
		[FUSE_BATCH_FORGET] = "BATCH_FORGET", [FUSE_FALLOCATE] = "FALLOCATE",
		[FUSE_READDIRPLUS] = "READDIRPLUS", [FUSE_RENAME2] = "RENAME2", [FUSE_LSEEK] = "LSEEK",
		[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE", [FUSE_SYNCFS] = "SYNCFS",
		[51] = "TMPFILE", [52] = "STATX",
	};

	return opcode < LOOP_NR_OPCODES ? names[opcode] : NULL;
}
