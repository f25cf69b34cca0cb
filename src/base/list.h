/*
 * list.h: doubly linked circular lists with the link inside the object.
 *
 * The head is a link itself. A link that is on no list points to itself, so
 * list_del() may be repeated and list_is_empty() tells whether a link is on a list.
 */
#ifndef OSFS_BASE_LIST_H
#define OSFS_BASE_LIST_H

#include "base/types.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert(struct list *l, struct list *prev, struct list *next)
{
	next->prev = l;
	l->next = next;
	l->prev = prev;
	prev->next = l;
}

/* Behind the head: first in order. */
static inline void list_add(struct list *head, struct list *l)
{
	list_insert(l, head, head->next);
}

/* Before the head: last in order. */
static inline void list_add_tail(struct list *head, struct list *l)
{
	list_insert(l, head->prev, head);
}

static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* All of from goes to the end of to, in its order; from is empty after. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(l, type, member) container_of(l, type, member)
#define list_first(head, type, member) \
	(list_is_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_for_each(pos, head, member)						\
	for (pos = list_entry((head)->next, typeof(*pos), member); &pos->member != (head);	\
	     pos = list_entry(pos->member.next, typeof(*pos), member))
/* pos may be deleted or freed in the body. */
#define list_for_each_safe(pos, n, head, member)					\
	for (pos = list_entry((head)->next, typeof(*pos), member),			\
	     n = list_entry(pos->member.next, typeof(*pos), member);			\
	     &pos->member != (head);							\
	     pos = n, n = list_entry(n->member.next, typeof(*n), member))

#endif
