/* cache_clock.c: see cache_clock.h. */
#include "cache/cache_clock.h"

void clock_insert(struct clock_ring *ring, struct clock_node *node)
{
	node->referenced = true;
	ring->nr_nodes++;
	if (!ring->hand) {
		node->next = node->prev = ring->hand = node;
		return;
	}
	node->next = ring->hand;
	node->prev = ring->hand->prev;
	node->prev->next = node;
	ring->hand->prev = node;
}

void clock_remove(struct clock_ring *ring, struct clock_node *node)
{
	ring->nr_nodes--;
	if (node->next == node) {
		ring->hand = NULL;
	} else {
		if (ring->hand == node)
			ring->hand = node->next;
		node->prev->next = node->next;
		node->next->prev = node->prev;
	}
	node->next = node->prev = NULL;
}

struct clock_node *clock_victim(struct clock_ring *ring, bool (*may_evict)(const struct clock_node *node),
				uint64_t max_steps)
{
	for (uint64_t left = MIN(2 * ring->nr_nodes, max_steps); left > 0; left--) {
		struct clock_node *node = ring->hand;

		ring->hand = node->next;
		ring->nr_steps++;
		if (!may_evict(node))
			continue;
		if (!node->referenced)
			return node;
		node->referenced = false;
	}
	return NULL;
}
