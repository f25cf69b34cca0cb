/* ctl_raid_status.c: the state of an array as JSON, in md's words. */
#include <stdlib.h>

#include "ctl.h"

static void set_u64(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void set_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, v ? json_string(v) : json_null());
}

static json_t *member_json(const struct raid_member_status *m)
{
	json_t *o = json_object();

	json_object_set_new(o, "slot", json_integer(m->slot));
	json_object_set_new(o, "device", json_integer(m->dev_nr));
	set_text(o, "name", m->name);
	set_text(o, "state", raid_member_state_name(m->state));
	set_text(o, "why", m->why);
	json_object_set_new(o, "replacement", json_boolean(m->replacement));
	json_object_set_new(o, "write_mostly", json_boolean(m->write_mostly));
	set_u64(o, "events", m->events);
	set_u64(o, "read_errors", m->nr_read_errors);
	set_u64(o, "write_errors", m->nr_write_errors);
	set_u64(o, "corrected", m->nr_corrected);
	set_u64(o, "slow", m->nr_slow);
	if (m->state == RAID_REBUILDING)
		set_u64(o, "recovered_bytes", m->recovered_sects << SECT_SHIFT);
	return o;
}

/* Members in their slots' order, those without a slot behind them. */
static json_t *members_json(const struct raid_status *st)
{
	json_t *list = json_array();

	for (unsigned slot = 0; slot < st->array.nr_disks; slot++)
		for (unsigned i = 0; i < st->nr_members; i++)
			if (st->members[i].slot == (int)slot)
				json_array_append_new(list, member_json(&st->members[i]));
	for (unsigned i = 0; i < st->nr_members; i++)
		if (st->members[i].slot < 0)
			json_array_append_new(list, member_json(&st->members[i]));
	return list;
}

/* As mdadm --detail: "active, degraded, recovering". */
static json_t *state_json(const struct raid_status *st)
{
	static const char *const actions[] = {
		[RAID_IDLE] = "", [RAID_RESYNC] = ", resyncing", [RAID_RECOVER] = ", recovering",
		[RAID_CHECK] = ", checking", [RAID_REPAIR] = ", repairing",
	};
	char text[80];

	snprintf(text, sizeof(text), "%s%s%s%s", st->dirty ? "active" : "clean", st->degraded ? ", degraded" : "",
		 st->failed ? ", failed" : "", actions[st->action]);
	return json_string(text);
}

static json_t *action_json(const struct raid_status *st)
{
	json_t *o = json_object();

	set_text(o, "name", raid_action_name(st->action));
	if (st->action != RAID_IDLE) {
		set_u64(o, "done_bytes", st->sync_sects << SECT_SHIFT);
		set_u64(o, "all_bytes", st->sync_end << SECT_SHIFT);
		json_object_set_new(o, "percent", json_real(st->sync_end ? 100.0 * (double)st->sync_sects / (double)st->sync_end : 0));
		set_u64(o, "speed_kib", st->speed_kib);
		json_object_set_new(o, "left_seconds", st->left_sec == UINT64_MAX ? json_null()
										  : json_integer((json_int_t)st->left_sec));
	}
	set_u64(o, "speed_min_kib", st->speed_min_kib);
	set_u64(o, "speed_max_kib", st->speed_max_kib);
	return o;
}

static json_t *scrub_json(struct raid *r, const struct raid_status *st)
{
	struct raid_place_found *places = calloc(RAID_MAX_PLACES, sizeof(*places));
	const unsigned nr = places ? raid_places_get(r, places, RAID_MAX_PLACES) : 0;
	json_t *o = json_object(), *list = json_array();

	set_text(o, "last", st->last_scrub == RAID_IDLE ? NULL : raid_action_name(st->last_scrub));
	set_u64(o, "mismatch_sectors", st->mismatch_sects);
	set_u64(o, "repaired_sectors", st->repaired_sects);
	set_u64(o, "places_found", st->nr_places);
	for (unsigned i = 0; i < MIN(nr, (unsigned)RAID_MAX_PLACES); i++)
		json_array_append_new(list, json_pack("{s:I,s:I,s:i,s:b}", "volume_byte", (json_int_t)(places[i].sect << SECT_SHIFT),
						      "bytes", (json_int_t)(places[i].nr_sects << SECT_SHIFT), "slot", places[i].slot,
						      "repaired", places[i].repaired));
	json_object_set_new(o, "places", list);
	free(places);
	return o;
}

static json_t *bitmap_json(const struct raid_status *st)
{
	if (!st->has_bitmap)
		return json_null();
	return json_pack("{s:I,s:I,s:I}", "chunk_bytes", (json_int_t)st->bitmap_chunk_bytes, "bits",
			 (json_int_t)st->bitmap_bits, "dirty", (json_int_t)st->bitmap_dirty);
}

json_t *ctl_array_json(struct raid *r)
{
	struct raid_status *st = malloc(sizeof(*st));
	json_t *o = json_object();
	char text[40];

	if (!st)
		return o;
	raid_status_get(r, st);
	set_text(o, "level", raid_level_name(st->array.level));
	set_text(o, "layout", raid_layout_name(st->array.level, st->array.layout, text));
	set_u64(o, "chunk_kib", st->array.chunk_sects / 2);
	set_u64(o, "raid_devices", st->array.nr_disks);
	set_u64(o, "active_devices", st->nr_active);
	set_u64(o, "spare_devices", st->nr_spares);
	set_text(o, "uuid", raid_uuid_text(st->array.uuid, text));
	set_text(o, "name", st->array.name);
	set_u64(o, "events", st->array.events);
	set_u64(o, "size_bytes", st->array_sects << SECT_SHIFT);
	json_object_set_new(o, "state", state_json(st));
	json_object_set_new(o, "degraded", json_boolean(st->degraded));
	json_object_set_new(o, "failed", json_boolean(st->failed));
	set_u64(o, "unsynced_bytes", st->unsynced_sects << SECT_SHIFT);
	json_object_set_new(o, "action", action_json(st));
	json_object_set_new(o, "scrub", scrub_json(r, st));
	json_object_set_new(o, "bitmap", bitmap_json(st));
	json_object_set_new(o, "members", members_json(st));
	free(st);
	return o;
}
