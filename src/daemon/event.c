/* event.c: see event.h. A ring of events, a thread that runs a program for each. */
#include "event.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"

extern char **environ;

enum { MAX_EVENTS = 256, LINGER_MSEC = 5000 };

struct event {
	char *name, *member;
};

struct events {
	char *prog, *mountpoint;	/* [const] */
	pthread_t thread;
	os_mutex lock;			/* RANK_LEAF */
	os_cond changed;
	struct event ring[MAX_EVENTS];	/* [lock] */
	unsigned first, nr;		/* [lock] */
	unsigned nr_dropped;		/* [lock] */
	pid_t child;			/* [lock] 0: none runs. Not reaped while it stands here */
	bool stopping, done;		/* [lock] */
	bool given_up;			/* [lock] whatever runs is killed */
};

/* The daemon's own handling of signals is none of the program's business. */
static int spawn(const struct events *e, const struct event *ev, pid_t *pid)
{
	char *argv[] = { e->prog, ev->name, e->mountpoint, ev->member, NULL };
	posix_spawnattr_t attr;
	sigset_t none, dflt;
	int err;

	sigemptyset(&none);
	sigemptyset(&dflt);
	sigaddset(&dflt, SIGPIPE);
	err = -posix_spawnattr_init(&attr);
	if (err)
		return err;
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dflt);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	err = -posix_spawnp(pid, e->prog, NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return err;
}

static void set_child(struct events *e, pid_t pid)
{
	LOCK_GUARD(&e->lock);
	e->child = pid;
	if (pid && e->given_up)
		kill(pid, SIGKILL);
}

static void run_one(struct events *e, const struct event *ev)
{
	siginfo_t info = { 0 };
	pid_t pid;
	int err = spawn(e, ev, &pid);

	if (err) {
		log_warn("on-event: %s cannot be run: %s", e->prog, strerror(-err));
		return;
	}
	set_child(e, pid);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) && errno == EINTR)
		;
	set_child(e, 0);
	waitpid(pid, NULL, 0);
	if (info.si_code != CLD_EXITED)
		log_warn("on-event: %s %s ended by signal %d", e->prog, ev->name, info.si_status);
	else if (info.si_status)
		log_warn("on-event: %s %s ended with status %d", e->prog, ev->name, info.si_status);
}

static bool take(struct events *e, struct event *ev)
{
	LOCK_GUARD(&e->lock);
	while (!e->nr && !e->stopping)
		os_cond_wait(&e->changed, &e->lock);
	if (!e->nr)
		return false;
	*ev = e->ring[e->first];
	e->first = (e->first + 1) % MAX_EVENTS;
	e->nr--;
	return true;
}

static void *events_main(void *arg)
{
	struct events *e = arg;
	struct event ev;

	while (take(e, &ev)) {
		run_one(e, &ev);
		free(ev.name);
		free(ev.member);
	}
	LOCK_GUARD(&e->lock);
	e->done = true;
	os_cond_broadcast(&e->changed);
	return NULL;
}

int events_start(const char *prog, const char *mountpoint, struct events **out)
{
	struct events *e = calloc(1, sizeof(*e));
	int err = -ENOMEM;

	*out = NULL;
	if (!e)
		return err;
	os_mutex_init(&e->lock, RANK_LEAF);
	os_cond_init(&e->changed);
	e->prog = strdup(prog);
	e->mountpoint = strdup(mountpoint);
	if (e->prog && e->mountpoint)
		err = -pthread_create(&e->thread, NULL, events_main, e);
	if (!err) {
		*out = e;
		return 0;
	}
	free(e->prog);
	free(e->mountpoint);
	os_cond_fini(&e->changed);
	os_mutex_fini(&e->lock);
	free(e);
	return err;
}

void events_post(struct events *e, const char *event, const char *member)
{
	struct event ev = { .name = strdup(event), .member = member ? strdup(member) : NULL };
	bool dropped = true;

	os_mutex_lock(&e->lock);
	if (ev.name && e->nr < MAX_EVENTS && !e->stopping) {
		e->ring[(e->first + e->nr++) % MAX_EVENTS] = ev;
		os_cond_broadcast(&e->changed);
		dropped = false;
	}
	os_mutex_unlock(&e->lock);
	if (!dropped)
		return;
	log_warn("on-event: %s was not told of %s%s%s", e->prog, event, member ? " " : "", member ? member : "");
	free(ev.name);
	free(ev.member);
}

/* Forgets what was not begun, and ends the program that runs. */
static void give_up(struct events *e)
{
	assert_held(&e->lock);
	while (e->nr > 0) {
		struct event *ev = &e->ring[e->first];

		log_warn("on-event: %s was not told of %s", e->prog, ev->name);
		free(ev->name);
		free(ev->member);
		e->first = (e->first + 1) % MAX_EVENTS;
		e->nr--;
	}
	e->given_up = true;
	if (e->child) {
		log_warn("on-event: %s does not end; it is killed", e->prog);
		kill(e->child, SIGKILL);
	}
}

void events_stop(struct events *e)
{
	if (!e)
		return;
	os_mutex_lock(&e->lock);
	e->stopping = true;
	os_cond_broadcast(&e->changed);
	while (!e->done && os_cond_wait_msec(&e->changed, &e->lock, LINGER_MSEC))
		;
	if (!e->done)
		give_up(e);
	os_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	os_cond_fini(&e->changed);
	os_mutex_fini(&e->lock);
	free(e->prog);
	free(e->mountpoint);
	free(e);
}
