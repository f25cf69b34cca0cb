/*
 * event.h: telling people what happens to the array: -o on-event=PROG.
 *
 *	PROG EVENT MOUNTPOINT [MEMBER]		as mdadm --monitor --program calls it
 *
 * Events are run in the order in which they came, one after the other, by a thread of their
 * own: posting one never waits for a program, and a program that hangs holds up events only.
 */
#ifndef OSFS_DAEMON_EVENT_H
#define OSFS_DAEMON_EVENT_H

#include "base/types.h"

struct events;

/* prog: a path, or a name that is looked up in PATH. -ENOMEM, -EAGAIN. */
MUST_CHECK int events_start(const char *prog, const char *mountpoint, struct events **out);
/* From any thread, under any lock. member may be NULL. What comes too fast for PROG is dropped with a message. */
void events_post(struct events *e, const char *event, const char *member);
/* Lets what was posted be run for a few seconds, then ends. NULL is fine. */
void events_stop(struct events *e);

#endif
