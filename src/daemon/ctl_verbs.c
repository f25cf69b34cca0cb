/* ctl_verbs.c: what osfsctl can ask for. A verb is one function and one row. */
#include <stdlib.h>

#include "base/trace.h"
#include "ctl.h"
#include "loop.h"
#include "session.h"

static json_t *json_uuid(const uint8_t uuid[16])
{
	char text[37];
	char *at = text;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += snprintf(at, 3, "%02x", uuid[i]);
	}
	return json_string(text);
}

static void set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, v ? json_string(v) : json_null());
}

static json_t *features_json(const struct fs_status *st)
{
	const struct {
		char set;
		uint32_t bits;
	} sets[] = { { 'c', st->compat }, { 'i', st->incompat }, { 'r', st->ro_compat } };
	json_t *list = json_array();

	for (unsigned i = 0; i < ARRAY_LEN(sets); i++)
		for (unsigned bit = 0; bit < 32; bit++) {
			const char *name = sets[i].bits & 1u << bit ? fs_feature_name(sets[i].set, 1u << bit) : NULL;

			if (name)
				json_array_append_new(list, json_string(name));
		}
	return list;
}

static json_t *fs_json(struct fs *fs)
{
	struct fs_status st;
	json_t *o = json_object();

	fs_status_get(fs, &st);
	set_text(o, "label", st.label);
	json_object_set_new(o, "uuid", json_uuid(st.uuid));
	json_object_set_new(o, "features", features_json(&st));
	set_u64(o, "block_bytes", st.block_bytes);
	set_u64(o, "blocks", st.nr_blocks);
	set_u64(o, "free_blocks", st.nr_free_blocks);
	set_u64(o, "reserved_blocks", st.nr_reserved_blocks);
	set_u64(o, "inodes", st.nr_inodes);
	set_u64(o, "free_inodes", st.nr_free_inodes);
	set_u64(o, "cached_inodes", st.nr_cached_inodes);
	set_u64(o, "referenced_inodes", st.nr_referenced_inodes);
	json_object_set_new(o, "read_only", json_boolean(st.read_only));
	set_text(o, "error", st.error ? strerror(-st.error) : NULL);
	return o;
}

static json_t *cache_json(struct cache *c)
{
	struct cache_stats st;
	json_t *o = json_object();
	uint64_t looked;

	cache_stats_get(c, &st);
	looked = st.nr_hits + st.nr_misses;
	set_u64(o, "size_bytes", st.size_bytes);
	set_u64(o, "block_bytes", st.block_bytes);
	set_u64(o, "frames", st.nr_frames);
	set_u64(o, "dirty", st.nr_dirty);
	set_u64(o, "pinned", st.nr_pinned);
	set_u64(o, "hits", st.nr_hits);
	set_u64(o, "misses", st.nr_misses);
	set_u64(o, "evictions", st.nr_evictions);
	set_u64(o, "hand_steps", st.nr_hand_steps);
	set_u64(o, "blocks_read", st.nr_blocks_read);
	set_u64(o, "blocks_written", st.nr_blocks_written);
	set_u64(o, "read_batches", st.nr_read_batches);
	set_u64(o, "write_batches", st.nr_write_batches);
	set_u64(o, "throttled", st.nr_throttled);
	json_object_set_new(o, "hit_percent", json_real(looked ? 100.0 * (double)st.nr_hits / (double)looked : 0));
	return o;
}

static json_t *alloc_json(struct alloc *a)
{
	enum { MAX_CACHES = 32 };
	struct slab_stats slabs[MAX_CACHES];
	struct alloc_stats st;
	json_t *o = json_object(), *list = json_array();
	const unsigned nr = slab_stats_get(a, slabs, MAX_CACHES);

	alloc_stats_get(a, &st);
	set_u64(o, "arena_bytes", st.arena_bytes);
	set_u64(o, "used_bytes", st.used_bytes);
	set_u64(o, "peak_bytes", st.peak_bytes);
	for (unsigned i = 0; i < MIN(nr, (unsigned)MAX_CACHES); i++) {
		json_t *s = json_object();

		set_text(s, "name", slabs[i].name);
		set_u64(s, "object_bytes", slabs[i].object_bytes);
		set_u64(s, "used", slabs[i].nr_used);
		set_u64(s, "slots", slabs[i].nr_slots);
		json_array_append_new(list, s);
	}
	json_object_set_new(o, "slabs", list);
	return o;
}

static json_t *common_json(struct daemon *d)
{
	json_t *o = json_object();

	set_text(o, "mountpoint", d->o.mountpoint);
	set_text(o, "source", d->source);
	if (d->members.raid)
		json_object_set_new(o, "array", ctl_array_json(d->members.raid));
	if (d->fs)
		json_object_set_new(o, "cache", cache_json(fs_cache(d->fs)));
	json_object_set_new(o, "memory", alloc_json(d->alloc));
	return o;
}

static int verb_status(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	*result = common_json(d);
	if (d->fs) {
		json_t *journal = ctl_journal_json(d->fs, false);

		json_object_set_new(*result, "filesystem", fs_json(d->fs));
		if (journal)
			json_object_set_new(*result, "journal", journal);
	}
	return 0;
}

static json_t *device_json(const struct blk_dev *dev)
{
	struct blk_stats st;
	json_t *o = json_object();

	blk_stats_get(dev, &st);
	set_text(o, "name", blk_name(dev));
	set_u64(o, "reads", st.nr_ios[BLK_READ]);
	set_u64(o, "read_bytes", st.nr_bytes[BLK_READ]);
	set_u64(o, "writes", st.nr_ios[BLK_WRITE]);
	set_u64(o, "written_bytes", st.nr_bytes[BLK_WRITE]);
	set_u64(o, "flushes", st.nr_ios[BLK_FLUSH]);
	set_u64(o, "errors", st.nr_errors);
	return o;
}

static json_t *requests_json(struct loop *l)
{
	struct loop_stats st;
	json_t *o = json_object(), *ops = json_object();

	loop_stats_get(l, &st);
	set_u64(o, "threads", st.nr_threads);
	set_u64(o, "handed_over", st.nr_handed_over);
	set_u64(o, "rescued", st.nr_rescued);
	set_u64(o, "looks", st.nr_looks);
	set_u64(o, "looks_met", st.nr_met);
	set_u64(o, "ahead", st.nr_ahead);
	for (unsigned i = 0; i < LOOP_NR_OPCODES; i++) {
		const char *name = loop_op_name(i);
		json_t *op;

		if (!st.op[i].nr || !name)
			continue;
		op = json_object();
		set_u64(op, "count", st.op[i].nr);
		set_u64(op, "mean_nsec", st.op[i].nsec / st.op[i].nr);
		json_object_set_new(ops, name, op);
	}
	json_object_set_new(o, "operations", ops);
	return o;
}

static int verb_stats(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	json_t *devices = json_array();

	*result = common_json(d);
	json_object_set_new(*result, "requests", requests_json(d->loop));
	json_array_append_new(devices, device_json(d->members.dev));
	for (unsigned i = 0; d->members.raid && i < d->members.nr; i++)
		json_array_append_new(devices, device_json(d->members.devs[i]));
	json_object_set_new(*result, "devices", devices);
	return 0;
}

/* With layers: switches the trace to them; without: what the ring has. */
static int verb_trace(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const char *layers = json_string_value(json_array_get(args, 0));
	char *text = NULL;
	size_t len;
	FILE *f;

	if (layers) {
		if (!trace_enable(strcmp(layers, "off") ? layers : ""))
			return 0;
		*error_text = strdup("no such layer: give alloc, blk, raid, cache, journal, fs, daemon, all or off");
		return -EINVAL;
	}
	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	trace_to_text(f);
	fclose(f);
	*result = json_pack("{s:s}", "text", text);
	free(text);
	return *result ? 0 : -ENOMEM;
}

static int verb_drop_caches(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	if (d->fs)
		cache_drop_clean(fs_cache(d->fs));
	alloc_trim(d->alloc);
	return 0;
}

static int verb_umount(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	const int err = session_unmount(d->o.mountpoint, false);

	if (err == -EBUSY)
		*error_text = strdup("target is busy");
	return err ? err : 1;	/* told when all is written and closed */
}

const struct ctl_verb ctl_verbs[] = {
	{ "status", verb_status },
	{ "stats", verb_stats },
	{ "trace", verb_trace },
	{ "drop-caches", verb_drop_caches },
	{ "umount", verb_umount },
	{ "journal", ctl_verb_journal },
	{ "layout", ctl_verb_layout },
	{ "disk", ctl_verb_disk },
	{ "scrub", ctl_verb_scrub },
	{ "rebuild", ctl_verb_rebuild },
	{ "explain", ctl_verb_explain },
	{ NULL, NULL },
};
