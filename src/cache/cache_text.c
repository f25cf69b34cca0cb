/* cache_text.c: numbers, printing, checking. */
#include "cache/cache_int.h"

void cache_stats_get(struct cache *c, struct cache_stats *out)
{
	*out = (struct cache_stats){
		.size_bytes = c->max_frames * c->block_bytes,
		.block_bytes = c->block_bytes,
		.nr_frames = atomic_load(&c->nr_frames),
		.nr_dirty = atomic_load(&c->nr_dirty[DIRTY_META]) + atomic_load(&c->nr_dirty[DIRTY_DATA]),
		.nr_blocks_read = atomic_load(&c->nr_blocks_read),
		.nr_blocks_written = atomic_load(&c->nr_blocks_written),
		.nr_read_batches = atomic_load(&c->nr_read_batches),
		.nr_write_batches = atomic_load(&c->nr_write_batches),
		.nr_throttled = atomic_load(&c->nr_throttled),
	};
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		LOCK_GUARD(&s->lock);

		out->nr_hits += s->nr_hits;
		out->nr_misses += s->nr_misses;
		out->nr_evictions += s->nr_evictions;
		out->nr_hand_steps += s->clock.nr_steps;
		out->nr_pinned += s->nr_pinned;
		out->nr_writeback += s->nr_writeback;
	}
}

void cache_to_text(struct cache *c, FILE *out)
{
	struct cache_stats st;
	uint64_t looked;

	cache_stats_get(c, &st);
	looked = st.nr_hits + st.nr_misses;
	fprintf(out, "cache of %s: %" PRIu64 " of %" PRIu64 " frames of %u bytes, %" PRIu64 " dirty, %" PRIu64
		     " in write-back, %" PRIu64 " pinned\n", blk_name(c->dev), st.nr_frames, c->max_frames, c->block_bytes,
		st.nr_dirty, st.nr_writeback, st.nr_pinned);
	fprintf(out, "  hits %" PRIu64 " misses %" PRIu64 " (%.1f %%), evicted %" PRIu64 ", hand moved %" PRIu64 "\n",
		st.nr_hits, st.nr_misses, looked ? 100.0 * (double)st.nr_hits / (double)looked : 0.0, st.nr_evictions,
		st.nr_hand_steps);
	fprintf(out, "  read %" PRIu64 " blocks in %" PRIu64 " batches, wrote %" PRIu64 " in %" PRIu64 ", throttled %" PRIu64
		     " times\n", st.nr_blocks_read, st.nr_read_batches, st.nr_blocks_written, st.nr_write_batches,
		st.nr_throttled);
	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		LOCK_GUARD(&s->lock);

		fprintf(out, "  shard %2u: %" PRIu64 " frames, hand at block %" PRIu64 "\n", i, s->clock.nr_nodes,
			s->clock.hand ? container_of(s->clock.hand, struct frame, clock)->buf.pblk : 0);
	}
}

static int complain(const struct frame *f, const char *what)
{
	log_error("cache: block %" PRIu64 " (flags %#x, %u pins): %s", f->buf.pblk, f->flags, f->nr_pins, what);
	return -EUCLEAN;
}

static int check_shard(struct cache *c, struct shard *s, uint64_t dirty[NR_DIRTY_CLASSES])
{
	uint64_t nr_pinned = 0, nr_writeback = 0;
	struct clock_node *node = s->clock.hand;
	struct frame *f;

	for (uint64_t n = 0; n < s->clock.nr_nodes; n++, node = node->next) {
		f = container_of(node, struct frame, clock);
		if (frame_find(s, f->buf.pblk) != f)
			return complain(f, "in the clock but not in the hash");
		if (shard_of(c, f->buf.pblk) != s)
			return complain(f, "in the wrong shard");
		if (node->next->prev != node)
			return complain(f, "its neighbour in the clock does not know it");
		if (!(f->flags & FRAME_DIRTY) != list_is_empty(&f->dirty_link))
			return complain(f, "dirty but on no list, or the other way round");
		if (f->flags & FRAME_UNHASHED)
			return complain(f, "unhashed, yet found");
		if (f->nr_holds > 0 && (f->flags & FRAME_DIRTY || f->nr_pins < f->nr_holds))
			return complain(f, "held, yet dirty or not pinned");
		nr_pinned += f->nr_pins > 0;
		nr_writeback += (f->flags & FRAME_WRITEBACK) != 0;
	}
	if (node != s->clock.hand) {
		log_error("cache: a clock of %" PRIu64 " nodes does not come back to its hand", s->clock.nr_nodes);
		return -EUCLEAN;
	}
	for (unsigned class = 0; class < NR_DIRTY_CLASSES; class++)
		list_for_each(f, &s->dirty[class], dirty_link) {
			dirty[class]++;
			if (!(f->flags & FRAME_META) != (class == DIRTY_DATA))
				return complain(f, "on the other class's dirty list");
		}
	if (nr_writeback != s->nr_writeback || nr_pinned > s->nr_pinned) {
		log_error("cache: a shard counts %" PRIu64 " in write-back and %" PRIu64 " pinned, has %" PRIu64 " and %" PRIu64,
			  s->nr_writeback, s->nr_pinned, nr_writeback, nr_pinned);
		return -EUCLEAN;
	}
	return 0;
}

/* Counts over all shards are only exact while nobody works; they are compared when they can be. */
int cache_check(struct cache *c)
{
	uint64_t dirty[NR_DIRTY_CLASSES] = { 0 };

	for (unsigned i = 0; i < CACHE_NR_SHARDS; i++) {
		struct shard *s = &c->shards[i];
		int err;
		LOCK_GUARD(&s->lock);

		err = check_shard(c, s, dirty);
		if (err)
			return err;
	}
	if (!c->opts.background)
		for (unsigned class = 0; class < NR_DIRTY_CLASSES; class++)
			if (dirty[class] != atomic_load(&c->nr_dirty[class])) {
				log_error("cache: %" PRIu64 " frames on the dirty lists, %" PRIu64 " counted", dirty[class],
					  (uint64_t)atomic_load(&c->nr_dirty[class]));
				return -EUCLEAN;
			}
	return 0;
}
