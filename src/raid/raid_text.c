/* raid_text.c: the state of an array, for programs and for people. */
#include "raid/raid_int.h"

void raid_status_get(struct raid *r, struct raid_status *out)
{
	LOCK_GUARD(&r->lock);
	*out = (struct raid_status){
		.array_sects = r->geom.array_sects, .failed = atomic_load(&r->failed),
		.degraded = raid_is_degraded(r), .dirty = r->sb_active || r->resync_sect != MD_SECT_MAX };
	raid_status_sync(r, out);
	raid_bitmap_status(r, out);
	/* The array as a member in it has it. */
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_IN_SYNC)
			out->array = r->members[i]->sb.info;
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		if (!r->slots[slot])
			out->members[out->nr_members++] = (struct raid_member_status){
				.state = RAID_MISSING, .slot = (int)slot, .dev_nr = -1 };
	for (unsigned i = 0; i < r->nr_members && out->nr_members < RAID_MAX_MEMBERS; i++) {
		struct raid_member *m = r->members[i];
		enum raid_member_state state = atomic_load(&m->state);
		int slot = atomic_load(&m->slot);

		out->nr_active += state == RAID_IN_SYNC;
		out->nr_spares += state == RAID_SPARE;
		out->members[out->nr_members++] = (struct raid_member_status){
			.name = blk_name(m->dev), .state = state, .dev_nr = m->sb.info.dev_nr, .slot = slot,
			.replacement = atomic_load(&m->is_replacement), .why = m->why,
			.write_mostly = atomic_load(&m->write_mostly), .nr_slow = atomic_load(&m->nr_slow), .data_offset = m->data_offset,
			.recovered_sects = state == RAID_REBUILDING ? atomic_load(&m->recovered) : 0,
			.events = m->sb.info.events, .nr_corrected = atomic_load(&m->nr_corrected),
			.nr_read_errors = atomic_load(&m->nr_read_errors),
			.nr_write_errors = atomic_load(&m->nr_write_errors) };
	}
}

const char *raid_member_state_name(enum raid_member_state s)
{
	static const char *const states[] = {
		[RAID_IN_SYNC] = "in sync", [RAID_FAULTY] = "faulty", [RAID_SPARE] = "spare",
		[RAID_REBUILDING] = "rebuilding", [RAID_MISSING] = "missing",
	};

	return states[s];
}

const struct raid_geom *raid_geometry(const struct raid *r)
{
	return &r->geom;
}

void raid_to_text(struct raid *r, FILE *out)
{
	struct raid_status st;
	char uuid[40], layout[32];

	raid_status_get(r, &st);
	fprintf(out, "array %s: %s, %u disks, chunk %" PRIu32 " KiB, layout %s, uuid %s\n", blk_name(&r->dev),
		r->level->name, r->geom.nr_disks, r->geom.chunk_sects / 2,
		raid_layout_name(r->geom.level, r->geom.layout, layout), raid_uuid_text(st.array.uuid, uuid));
	fprintf(out, "  %" PRIu64 " sectors, events %" PRIu64 ", %s%s%s\n", st.array_sects, st.array.events,
		st.dirty ? "active" : "clean", st.degraded ? ", degraded" : "", st.failed ? ", failed" : "");
	for (unsigned i = 0; i < st.nr_members; i++) {
		const struct raid_member_status *m = &st.members[i];

		if (m->slot >= 0)
			fprintf(out, "  slot %d: ", m->slot);
		else
			fprintf(out, "  no slot: ");
		fprintf(out, "%s, %s, events %" PRIu64 ", errors: %" PRIu64 " reading, %" PRIu64 " writing\n",
			m->name ? m->name : "-", raid_member_state_name(m->state), m->events, m->nr_read_errors, m->nr_write_errors);
	}
}
