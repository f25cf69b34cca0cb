/*
 * raid_event.c: what happened, kept until somebody can tell it with no lock held: a
 * failing write must not wait for, or run under, whatever the receiver does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_int.h"

enum { MAX_WAITING = 64 };

struct event {
	const char *name;	/* static */
	char *member, *detail;	/* owned; NULL: none */
};

struct raid_events {
	struct event list[MAX_WAITING];
	unsigned first, nr;
	bool telling;		/* one at a time, so that they come in order */
};

static void event_free(struct event *e)
{
	free(e->member);
	free(e->detail);
}

void raid_event_add(struct raid *r, const char *name, const struct raid_member *member, const char *detail)
{
	struct raid_events *q = r->events_waiting;

	assert_held(&r->lock);
	if (!r->opts.on_event)
		return;
	if (!q)
		q = r->events_waiting = calloc(1, sizeof(*q));
	if (!q || q->nr == MAX_WAITING) {
		log_warn("array %s: nobody takes its events: %s is lost", blk_name(&r->dev), name);
		return;
	}
	q->list[(q->first + q->nr++) % MAX_WAITING] = (struct event){
		.name = name, .member = member ? strdup(blk_name(member->dev)) : NULL,
		.detail = detail ? strdup(detail) : NULL };
}

void raid_events_tell(struct raid *r)
{
	struct raid_events *q;
	struct event e;

	if (!r->opts.on_event)
		return;
	os_mutex_lock(&r->lock);
	q = r->events_waiting;
	if (!q || q->telling) {
		os_mutex_unlock(&r->lock);
		return;
	}
	q->telling = true;
	while (q->nr) {
		e = q->list[q->first];
		q->first = (q->first + 1) % MAX_WAITING;
		q->nr--;
		os_mutex_unlock(&r->lock);
		r->opts.on_event(r->opts.event_arg, &(struct raid_event){
			.name = e.name, .array = blk_name(&r->dev), .member = e.member, .detail = e.detail });
		event_free(&e);
		os_mutex_lock(&r->lock);
	}
	q->telling = false;
	os_mutex_unlock(&r->lock);
}

void raid_events_fini(struct raid *r)
{
	struct raid_events *q = r->events_waiting;

	for (; q && q->nr; q->nr--, q->first = (q->first + 1) % MAX_WAITING)
		event_free(&q->list[q->first]);
	free(q);
}
