/* dump_md.c: md superblocks of the members, field names as mdadm --examine has them. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "dump/dump.h"
#include "raid/raid_disk.h"
#include "raid/raid_int.h"

struct md {
	struct out *o;
	struct blk_dev *dev;
	sect_t at;
	uint8_t raw[MD_SB_BYTES];
};

static void fault(struct md *m, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	out_fault(m->o, what);
}

/* Sum of 32-bit words without the one at skip, folded. */
static uint32_t sum_words(const uint8_t *raw, size_t len, size_t skip)
{
	uint64_t sum = 0;
	le32 word;
	le16 half;

	for (size_t at = 0; at + 4 <= len; at += 4) {
		memcpy(&word, raw + at, 4);
		sum += at == skip ? 0 : le32_get(word);
	}
	if (len % 4) {
		memcpy(&half, raw + len - 2, 2);
		sum += le16_get(half);
	}
	return (uint32_t)((sum & UINT32_MAX) + (sum >> 32));
}

static void put_checksum(struct md *m, uint32_t found, uint32_t want)
{
	out_text(m->o, "checksum", "Checksum", found == want ? "%" PRIx32 " - correct" : "%" PRIx32 " - expected %08" PRIx32, found, want);
	if (found != want)
		fault(m, "the checksum does not match");
}

static void put_geometry(struct md *m, int level, uint32_t layout, uint32_t chunk_sects, uint32_t nr_disks)
{
	char text[32];

	out_text(m->o, "raid_level", "Raid Level", "%s", raid_level_find(level) ? raid_level_name(level) : "unknown");
	out_u64(m->o, "raid_devices", "Raid Devices", nr_disks);
	if (level == RAID_5 || level == RAID_6 || level == RAID_10)
		out_text(m->o, "layout", "Layout", "%s", raid_layout_name(level, layout, text));
	if (chunk_sects)
		out_num(m->o, "chunk_sectors", "Chunk Size", chunk_sects, "%" PRIu32 "K", chunk_sects / 2);
}

static void put_time(struct out *o, const char *key, const char *label, uint64_t sec)
{
	out_time(o, key, label, (int64_t)(sec & ((UINT64_C(1) << 40) - 1)));
}

/* Version 1 ------------------------------------------------------------------------------------ */

static unsigned role_of(const struct md_disk_sb1 *d, uint32_t dev, uint32_t max_dev)
{
	return dev < max_dev ? le16_get(d->dev_roles[dev]) : MD_ROLE_SPARE;
}

static void put_role(struct md *m, const struct md_disk_sb1 *d, uint32_t max_dev)
{
	const unsigned role = role_of(d, le32_get(d->dev_number), max_dev);
	const uint32_t nr = MIN(le32_get(d->raid_disks), (uint32_t)RAID_MAX_MEMBERS);
	char state[RAID_MAX_MEMBERS + 1];

	if (role == MD_ROLE_JOURNAL)
		out_text(m->o, "device_role", "Device Role", "Journal");
	else if (role >= MD_ROLE_MAX)
		out_text(m->o, "device_role", "Device Role", "spare");
	else
		out_text(m->o, "device_role", "Device Role", "Active device %u", role);
	for (uint32_t slot = 0; slot < nr; slot++) {
		unsigned count = 0;

		for (uint32_t dev = 0; dev < max_dev; dev++)
			count += role_of(d, dev, max_dev) == slot;
		state[slot] = count == 0 ? '.' : count == 1 ? 'A' : 'R';
	}
	state[nr] = '\0';
	out_text(m->o, "array_state", "Array State", "%s ('A' == active, '.' == missing, 'R' == replacing)", state);
}

static void put_sizes(struct md *m, const struct md_disk_sb1 *d)
{
	const int32_t level = (int32_t)le32_get(d->level);

	out_num(m->o, "avail_dev_sectors", "Avail Dev Size", le64_get(d->data_size), "%" PRIu64 " sectors", le64_get(d->data_size));
	if (level > 0)
		out_num(m->o, "used_dev_sectors", "Used Dev Size", le64_get(d->size), "%" PRIu64 " sectors", le64_get(d->size));
	out_num(m->o, "data_offset", "Data Offset", le64_get(d->data_offset), "%" PRIu64 " sectors", le64_get(d->data_offset));
	out_num(m->o, "super_offset", "Super Offset", le64_get(d->super_offset), "%" PRIu64 " sectors", le64_get(d->super_offset));
	if (le64_get(d->data_offset) > blk_nr_sects(m->dev) ||
	    le64_get(d->data_size) > blk_nr_sects(m->dev) - le64_get(d->data_offset))
		fault(m, "the data area goes to sector %" PRIu64 ", the device has %" PRIu64, le64_get(d->data_offset) +
		      le64_get(d->data_size), blk_nr_sects(m->dev));
	if (le64_get(d->super_offset) != m->at)
		fault(m, "it says that it lies at sector %" PRIu64 ", and lies at %" PRIu64, le64_get(d->super_offset), m->at);
}

static void put_features1(struct md *m, const struct md_disk_sb1 *d)
{
	const uint32_t features = le32_get(d->feature_map);
	const int32_t bitmap = (int32_t)le32_get(d->bitmap_offset);

	if (features & MD_FEATURE_RECOVERY_OFFSET)
		out_num(m->o, "recovery_offset", "Recovery Offset", le64_get(d->recovery_offset), "%" PRIu64 " sectors",
			le64_get(d->recovery_offset));
	if (features & MD_FEATURE_BITMAP_OFFSET)
		out_num(m->o, "bitmap_offset", "Internal Bitmap", (uint64_t)(int64_t)bitmap, "%" PRId32 " sectors from superblock", bitmap);
	if (features & MD_FEATURE_RESHAPE_ACTIVE)
		out_num(m->o, "reshape_position", "Reshape pos'n", le64_get(d->reshape_position), "%" PRIu64 " sectors",
			le64_get(d->reshape_position));
	if (le16_get(d->bblog_size))
		out_num(m->o, "bad_block_log", "Bad Block Log", le16_get(d->bblog_size), "%u sectors at offset %" PRId32 " sectors%s",
			le16_get(d->bblog_size), (int32_t)le32_get(d->bblog_offset),
			features & MD_FEATURE_BAD_BLOCKS ? " - bad blocks present." : "");
}

static void put_uuid(struct out *o, const char *key, const char *label, const uint8_t uuid[16])
{
	char text[40];

	out_text(o, key, label, "%s", raid_uuid_text(uuid, text));
}

static void show_v1(struct md *m, unsigned minor)
{
	const struct md_disk_sb1 *d = (const struct md_disk_sb1 *)m->raw;
	const uint32_t max_dev = MIN(le32_get(d->max_dev), (uint32_t)MD_1_MAX_DEVS);
	char name[4 * 32 + 8];

	out_num(m->o, "magic", "Magic", le32_get(d->magic), "%08" PRIx32, le32_get(d->magic));
	out_text(m->o, "version", "Version", "1.%u", minor);
	out_num(m->o, "feature_map", "Feature Map", le32_get(d->feature_map), "0x%" PRIx32, le32_get(d->feature_map));
	put_uuid(m->o, "array_uuid", "Array UUID", d->set_uuid);
	out_text(m->o, "name", "Name", "%s", out_quote(d->set_name, strnlen(d->set_name, 32), name, sizeof(name)));
	put_time(m->o, "creation_time", "Creation Time", le64_get(d->ctime));
	put_sizes(m, d);
	out_text(m->o, "state", "State", "%s", le64_get(d->resync_offset) == MD_SECT_MAX ? "clean" : "active");
	if (le64_get(d->resync_offset) != MD_SECT_MAX && le64_get(d->resync_offset))
		out_u64(m->o, "resync_offset", "Resync Offset", le64_get(d->resync_offset));
	put_uuid(m->o, "device_uuid", "Device UUID", d->device_uuid);
	if (d->devflags & MD_DEVFLAG_WRITE_MOSTLY)
		out_text(m->o, "device_flags", "Flags", "write-mostly");
	put_features1(m, d);
	put_time(m->o, "update_time", "Update Time", le64_get(d->utime));
	if (le32_get(d->max_dev) > MD_1_MAX_DEVS)
		fault(m, "max_dev is %" PRIu32 ", at most %u is possible", le32_get(d->max_dev), MD_1_MAX_DEVS);
	put_checksum(m, le32_get(d->sb_csum),
		     sum_words(m->raw, MD_1_FIXED_BYTES + 2 * (size_t)max_dev, offsetof(struct md_disk_sb1, sb_csum)));
	out_u64(m->o, "events", "Events", le64_get(d->events));
	put_geometry(m, (int32_t)le32_get(d->level), le32_get(d->layout), le32_get(d->chunksize), le32_get(d->raid_disks));
	out_u64(m->o, "device_number", "Device Number", le32_get(d->dev_number));
	put_role(m, d, max_dev);
}

/* Version 0.90 ----------------------------------------------------------------------------------- */

static void show_v090(struct md *m)
{
	const struct md_disk_sb090 *d = (const struct md_disk_sb090 *)m->raw;

	out_num(m->o, "magic", "Magic", le32_get(d->magic), "%08" PRIx32, le32_get(d->magic));
	out_text(m->o, "version", "Version", "0.%" PRIu32 ".00", le32_get(d->minor_version));
	out_text(m->o, "array_uuid", "UUID", "%08" PRIx32 ":%08" PRIx32 ":%08" PRIx32 ":%08" PRIx32, le32_get(d->set_uuid0),
		 le32_get(d->set_uuid1), le32_get(d->set_uuid2), le32_get(d->set_uuid3));
	out_time(m->o, "creation_time", "Creation Time", le32_get(d->ctime));
	out_num(m->o, "used_dev_kib", "Used Dev Size", le32_get(d->size), "%" PRIu32, le32_get(d->size));
	out_time(m->o, "update_time", "Update Time", le32_get(d->utime));
	out_text(m->o, "state", "State", "%s", le32_get(d->state) & MD_STATE_CLEAN ? "clean" : "active");
	out_u64(m->o, "active_devices", "Active Devices", le32_get(d->active_disks));
	out_u64(m->o, "working_devices", "Working Devices", le32_get(d->working_disks));
	out_u64(m->o, "failed_devices", "Failed Devices", le32_get(d->failed_disks));
	out_u64(m->o, "spare_devices", "Spare Devices", le32_get(d->spare_disks));
	put_checksum(m, le32_get(d->sb_csum), sum_words(m->raw, MD_SB_BYTES, offsetof(struct md_disk_sb090, sb_csum)));
	out_u64(m->o, "events", "Events", (uint64_t)le32_get(d->events_hi) << 32 | le32_get(d->events_lo));
	put_geometry(m, (int32_t)le32_get(d->level), le32_get(d->layout), le32_get(d->chunk_size) / SECT_BYTES,
		     le32_get(d->raid_disks));
	out_u64(m->o, "device_number", "Device Number", le32_get(d->this_disk.number));
	out_u64(m->o, "raid_disk", "Raid Disk", le32_get(d->this_disk.raid_disk));
}

/* Members ------------------------------------------------------------------------------------------ */

static bool found_here(struct md *m, enum raid_metadata kind)
{
	const struct md_disk_sb1 *d = (const struct md_disk_sb1 *)m->raw;

	if (!raid_sb_place(kind, blk_nr_sects(m->dev), &m->at) || blk_read(m->dev, m->at, m->raw, sizeof(m->raw)))
		return false;
	return le32_get(d->magic) == MD_MAGIC_U32 && le32_get(d->major_version) == (kind == RAID_META_090 ? 0 : 1);
}

static void show_member(struct dump *d, struct blk_dev *dev)
{
	static const struct {
		enum raid_metadata kind;
		unsigned minor;
	} places[] = { { RAID_META_12, 2 }, { RAID_META_11, 1 }, { RAID_META_10, 0 }, { RAID_META_090, 90 } };
	struct md m = { .o = &d->out, .dev = dev };
	unsigned nr = 0;

	out_begin(&d->out, "member", blk_name(dev));
	if (d->out.json)
		out_text(&d->out, "member", "", "%s", blk_name(dev));
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		if (!found_here(&m, places[i].kind))
			continue;
		if (nr++) {	/* an old one that was left behind: said, not shown */
			fault(&m, "another md superblock (%s) lies at sector %" PRIu64, places[i].minor == 90 ? "0.90" : "1.x", m.at);
			continue;
		}
		if (places[i].kind == RAID_META_090)
			show_v090(&m);
		else
			show_v1(&m, places[i].minor);
	}
	if (!nr)
		out_fault(&d->out, "no md superblock is there");
	out_end(&d->out);
}

int dump_md(struct dump *d)
{
	out_list(&d->out, "members", NULL);
	for (unsigned i = 0; i < d->nr_devs; i++)
		show_member(d, d->devs[i]);
	out_end(&d->out);
	return 0;
}
