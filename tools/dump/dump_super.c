/* dump_super.c: the superblock (names as dumpe2fs has them), groups, bitmaps. */
#include <stdlib.h>

#include "base/log.h"
#include "dump/dump.h"
#include "fs/fs.h"

/* Superblock ------------------------------------------------------------------------------- */

static void uuid_text(const uint8_t u[16], char text[static 40])
{
	char *at = text;

	for (unsigned i = 0; i < 16; i++)
		at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", u[i]);
}

/* A fixed field that need not end with a NUL. */
static void put_name(struct out *o, const char *key, const char *label, const char *s, size_t cap, const char *none)
{
	const size_t len = strnlen(s, cap);
	char text[4 * 64 + 8];

	out_text(o, key, label, "%s", len ? out_quote(s, len, text, sizeof(text)) : none);
}

static void put_uuid(struct out *o, const char *key, const char *label, const uint8_t u[16])
{
	static const uint8_t none[16];
	char text[40];

	uuid_text(u, text);
	out_text(o, key, label, "%s", memcmp(u, none, sizeof(none)) ? text : "<none>");
}

static void add_features(FILE *f, char set, uint32_t bits)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = fs_feature_name(set, 1u << bit);

		if (!(bits & 1u << bit))
			continue;
		if (name)
			fprintf(f, " %s", name);
		else
			fprintf(f, " FEATURE_%c%u", set == 'c' ? 'C' : set == 'i' ? 'I' : 'R', bit);
	}
}

static void put_features(struct out *o, const struct ext_disk_super *sb)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return;
	add_features(f, 'c', le32_get(sb->s_feature_compat));
	add_features(f, 'i', le32_get(sb->s_feature_incompat));
	add_features(f, 'r', le32_get(sb->s_feature_ro_compat));
	fclose(f);
	out_text(o, "features", "Filesystem features", "%s", len ? text + 1 : "(none)");
	free(text);
}

static void put_mount_opts(struct out *o, const struct ext_disk_super *sb)
{
	static const struct {
		uint32_t mask, value;
		const char *name;
	} opts[] = {
		{ 0x1, 0x1, "debug" }, { 0x2, 0x2, "bsdgroups" }, { 0x4, 0x4, "user_xattr" }, { 0x8, 0x8, "acl" },
		{ 0x10, 0x10, "uid16" }, { 0x60, 0x20, "journal_data" }, { 0x60, 0x40, "journal_data_ordered" },
		{ 0x60, 0x60, "journal_data_writeback" }, { 0x100, 0x100, "nobarrier" }, { 0x200, 0x200, "block_validity" },
		{ 0x400, 0x400, "discard" }, { 0x800, 0x800, "nodelalloc" },
	};
	const uint32_t bits = le32_get(sb->s_default_mount_opts);
	char text[256] = "";

	for (unsigned i = 0; i < ARRAY_LEN(opts); i++)
		if ((bits & opts[i].mask) == opts[i].value)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", opts[i].name);
	out_text(o, "default_mount_options", "Default mount options", "%s", *text ? text + 1 : "(none)");
}

static void put_state(struct out *o, const struct ext_disk_super *sb)
{
	static const char *const errors[] = { "Unknown (continue)", "Continue", "Remount read-only", "Panic" };
	static const char *const os[] = { "Linux", "Hurd", "Masix", "FreeBSD", "Lites" };
	const unsigned state = le16_get(sb->s_state), on_error = le16_get(sb->s_errors), nr_os = le32_get(sb->s_creator_os);
	const uint32_t flags = le32_get(sb->s_flags);

	out_text(o, "flags", "Filesystem flags", "%s%s%s", flags & EXT_FLAGS_SIGNED_HASH ? "signed_directory_hash " : "",
		 flags & EXT_FLAGS_UNSIGNED_HASH ? "unsigned_directory_hash " : "", flags & 3 ? "" : "(none)");
	put_mount_opts(o, sb);
	out_text(o, "state", "Filesystem state", "%s%s", state & EXT_STATE_VALID ? "clean" : "not clean",
		 state & EXT_STATE_ERROR ? " with errors" : "");
	out_text(o, "errors_behavior", "Errors behavior", "%s", errors[on_error < ARRAY_LEN(errors) ? on_error : 0]);
	out_text(o, "os_type", "Filesystem OS type", "%s", nr_os < ARRAY_LEN(os) ? os[nr_os] : "unknown");
}

static uint64_t wide(const struct ext_disk_super *sb, le32 lo, le32 hi)
{
	return le32_get(lo) | (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT ? (uint64_t)le32_get(hi) << 32 : 0);
}

static void put_counts(struct out *o, const struct ext_disk_super *sb)
{
	out_u64(o, "inodes", "Inode count", le32_get(sb->s_inodes_count));
	out_u64(o, "blocks", "Block count", wide(sb, sb->s_blocks_count_lo, sb->s_blocks_count_hi));
	out_u64(o, "reserved_blocks", "Reserved block count", wide(sb, sb->s_r_blocks_count_lo, sb->s_r_blocks_count_hi));
	if (le32_get(sb->s_overhead_blocks))
		out_u64(o, "overhead_clusters", "Overhead clusters", le32_get(sb->s_overhead_blocks));
	out_u64(o, "free_blocks", "Free blocks", wide(sb, sb->s_free_blocks_count_lo, sb->s_free_blocks_count_hi));
	out_u64(o, "free_inodes", "Free inodes", le32_get(sb->s_free_inodes_count));
	out_u64(o, "first_block", "First block", le32_get(sb->s_first_data_block));
}

static void put_sizes(struct out *o, const struct look *l)
{
	const struct ext_disk_super *sb = &l->super;
	const uint32_t log = le32_get(sb->s_log_block_size);

	if (log <= 6) {
		out_u64(o, "block_size", "Block size", EXT_MIN_BLOCK_BYTES << log);
		out_u64(o, "fragment_size", "Fragment size", EXT_MIN_BLOCK_BYTES << MIN(le32_get(sb->s_log_cluster_size), 20u));
	} else {
		out_num(o, "log_block_size", "Block size", log, "1024 << %" PRIu32 ", which cannot be", log);
	}
	if (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT)
		out_u64(o, "desc_size", "Group descriptor size", le16_get(sb->s_desc_size));
	if (le16_get(sb->s_reserved_gdt_blocks))
		out_u64(o, "reserved_gdt_blocks", "Reserved GDT blocks", le16_get(sb->s_reserved_gdt_blocks));
	out_u64(o, "blocks_per_group", "Blocks per group", le32_get(sb->s_blocks_per_group));
	out_u64(o, "fragments_per_group", "Fragments per group", le32_get(sb->s_clusters_per_group));
	out_u64(o, "inodes_per_group", "Inodes per group", le32_get(sb->s_inodes_per_group));
	if (l->usable)
		out_u64(o, "inode_blocks_per_group", "Inode blocks per group", l->itable_blocks);
	if (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_META_BG)
		out_u64(o, "first_meta_bg", "First meta block group", le32_get(sb->s_first_meta_bg));
	if (le16_get(sb->s_raid_stride))
		out_u64(o, "raid_stride", "RAID stride", le16_get(sb->s_raid_stride));
	if (le32_get(sb->s_raid_stripe_width))
		out_u64(o, "raid_stripe_width", "RAID stripe width", le32_get(sb->s_raid_stripe_width));
	if (sb->s_log_groups_per_flex && sb->s_log_groups_per_flex < 32)
		out_u64(o, "flex_bg_size", "Flex block group size", 1ull << sb->s_log_groups_per_flex);
}

static int64_t time_of(le32 lo, uint8_t hi)
{
	return (int64_t)((uint64_t)hi << 32 | le32_get(lo));
}

static void put_times(struct out *o, const struct ext_disk_super *sb)
{
	out_time(o, "created", "Filesystem created", time_of(sb->s_mkfs_time, sb->s_mkfs_time_hi));
	out_time(o, "last_mount_time", "Last mount time", time_of(sb->s_mtime, sb->s_mtime_hi));
	out_time(o, "last_write_time", "Last write time", time_of(sb->s_wtime, sb->s_wtime_hi));
	out_u64(o, "mount_count", "Mount count", le16_get(sb->s_mnt_count));
	out_num(o, "max_mount_count", "Maximum mount count", le16_get(sb->s_max_mnt_count), "%d",
		(int16_t)le16_get(sb->s_max_mnt_count));
	out_time(o, "last_checked", "Last checked", time_of(sb->s_lastcheck, sb->s_lastcheck_hi));
	out_num(o, "check_interval", "Check interval", le32_get(sb->s_checkinterval), "%" PRIu32 " (%s)",
		le32_get(sb->s_checkinterval), le32_get(sb->s_checkinterval) ? "seconds" : "<none>");
	if (le64_get(sb->s_kbytes_written))
		out_num(o, "lifetime_kbytes", "Lifetime writes", le64_get(sb->s_kbytes_written), "%" PRIu64 " kB",
			le64_get(sb->s_kbytes_written));
}

static void put_inode_fields(struct out *o, const struct ext_disk_super *sb)
{
	out_u64(o, "first_inode", "First inode", le32_get(sb->s_first_ino));
	out_u64(o, "inode_size", "Inode size", le16_get(sb->s_inode_size));
	if (le16_get(sb->s_min_extra_isize))
		out_u64(o, "required_extra_isize", "Required extra isize", le16_get(sb->s_min_extra_isize));
	if (le16_get(sb->s_want_extra_isize))
		out_u64(o, "desired_extra_isize", "Desired extra isize", le16_get(sb->s_want_extra_isize));
	if (le32_get(sb->s_journal_inum))
		out_u64(o, "journal_inode", "Journal inode", le32_get(sb->s_journal_inum));
	if (le32_get(sb->s_last_orphan))
		out_u64(o, "first_orphan_inode", "First orphan inode", le32_get(sb->s_last_orphan));
}

static void put_rest(struct out *o, const struct ext_disk_super *sb)
{
	static const char *const hashes[] = { "legacy", "half_md4", "tea", "legacy_unsigned", "half_md4_unsigned",
					      "tea_unsigned", "siphash" };
	const uint8_t hash = sb->s_def_hash_version;

	out_text(o, "default_hash", "Default directory hash", "%s", hash < ARRAY_LEN(hashes) ? hashes[hash] : "unknown");
	put_uuid(o, "hash_seed", "Directory Hash Seed", (const uint8_t *)sb->s_hash_seed);
	if (le32_get(sb->s_error_count)) {
		out_u64(o, "error_count", "FS Error count", le32_get(sb->s_error_count));
		out_time(o, "first_error_time", "First error time", time_of(sb->s_first_error_time, sb->s_first_error_time_hi));
		put_name(o, "first_error_function", "First error function", (const char *)sb->s_first_error_func,
			 sizeof(sb->s_first_error_func), "");
		out_u64(o, "first_error_inode", "First error inode #", le32_get(sb->s_first_error_ino));
		out_u64(o, "first_error_block", "First error block #", le64_get(sb->s_first_error_block));
		out_time(o, "last_error_time", "Last error time", time_of(sb->s_last_error_time, sb->s_last_error_time_hi));
		put_name(o, "last_error_function", "Last error function", (const char *)sb->s_last_error_func,
			 sizeof(sb->s_last_error_func), "");
		out_u64(o, "last_error_inode", "Last error inode #", le32_get(sb->s_last_error_ino));
		out_u64(o, "last_error_block", "Last error block #", le64_get(sb->s_last_error_block));
	}
	if (le32_get(sb->s_feature_ro_compat) & EXT_RO_COMPAT_METADATA_CSUM) {
		out_text(o, "checksum_type", "Checksum type", "%s", sb->s_checksum_type == 1 ? "crc32c" : "unknown");
		out_hex(o, "checksum", "Checksum", le32_get(sb->s_checksum));
	}
}

int dump_super(struct dump *d)
{
	const struct ext_disk_super *sb = &d->look.super;
	struct out *o = &d->out;
	const uint32_t rev = le32_get(sb->s_rev_level);

	put_name(o, "volume_name", "Filesystem volume name", sb->s_volume_name, sizeof(sb->s_volume_name), "<none>");
	put_name(o, "last_mounted", "Last mounted on", sb->s_last_mounted, sizeof(sb->s_last_mounted), "<not available>");
	put_uuid(o, "uuid", "Filesystem UUID", sb->s_uuid);
	out_num(o, "magic", "Filesystem magic number", le16_get(sb->s_magic), "0x%04X", le16_get(sb->s_magic));
	out_num(o, "revision", "Filesystem revision #", rev, "%" PRIu32 " (%s)", rev,
		rev == 0 ? "original" : rev == 1 ? "dynamic" : "unknown");
	put_features(o, sb);
	put_state(o, sb);
	put_counts(o, sb);
	put_sizes(o, &d->look);
	put_times(o, sb);
	out_num(o, "reserved_uid", "Reserved blocks uid", le16_get(sb->s_def_resuid), "%u%s", le16_get(sb->s_def_resuid),
		le16_get(sb->s_def_resuid) ? "" : " (user root)");
	out_num(o, "reserved_gid", "Reserved blocks gid", le16_get(sb->s_def_resgid), "%u%s", le16_get(sb->s_def_resgid),
		le16_get(sb->s_def_resgid) ? "" : " (group root)");
	put_inode_fields(o, sb);
	put_rest(o, sb);
	return 0;
}

/* Groups ------------------------------------------------------------------------------------- */

static void put_group(struct dump *d, const struct look_group *g)
{
	const struct ext_group *e = &g->desc;
	struct out *o = &d->out;

	out_u64(o, "first_block", "First block", g->first);
	out_u64(o, "last_block", "Last block", g->first + g->nr_blocks - 1);
	if (g->has_super)
		out_u64(o, "superblock", g->nr ? "Backup superblock" : "Primary superblock", g->first);
	if (g->nr_desc_blocks)
		out_num(o, "descriptors", "Group descriptors", g->first_desc_block, "%" PRIu64 "-%" PRIu64, g->first_desc_block,
			g->first_desc_block + g->nr_desc_blocks - 1);
	if (g->nr_reserved_blocks)
		out_num(o, "reserved_gdt", "Reserved GDT blocks", g->first_desc_block + g->nr_desc_blocks, "%" PRIu64 "-%" PRIu64,
			g->first_desc_block + g->nr_desc_blocks, g->first_desc_block + g->nr_desc_blocks + g->nr_reserved_blocks - 1);
	out_u64(o, "block_bitmap", "Block bitmap", e->block_bitmap);
	out_u64(o, "inode_bitmap", "Inode bitmap", e->inode_bitmap);
	out_num(o, "inode_table", "Inode table", e->inode_table, "%" PRIu64 "-%" PRIu64, e->inode_table,
		e->inode_table + d->look.itable_blocks - 1);
	out_u64(o, "free_blocks", "Free blocks", e->free_blocks);
	out_u64(o, "free_inodes", "Free inodes", e->free_inodes);
	out_u64(o, "directories", "Directories", e->used_dirs);
	out_u64(o, "unused_inodes", "Unused inodes", e->itable_unused);
	out_text(o, "flags", "Flags", "[%s%s%s]", e->flags & EXT_BG_INODE_UNINIT ? " INODE_UNINIT" : "",
		 e->flags & EXT_BG_BLOCK_UNINIT ? " BLOCK_UNINIT" : "", e->flags & EXT_BG_INODE_ZEROED ? " ITABLE_ZEROED" : "");
	out_num(o, "checksum", "Checksum", e->csum, "0x%04x", e->csum);
}

static void show_group(struct dump *d, uint32_t nr)
{
	struct look_group g;
	char title[32];

	snprintf(title, sizeof(title), "Group %" PRIu32, nr);
	out_begin(&d->out, "group", title);
	if (d->out.json)
		out_u64(&d->out, "group", "", nr);
	if (!look_group(&d->look, nr, &g))
		put_group(d, &g);
	out_end(&d->out);
}

int dump_groups(struct dump *d)
{
	uint64_t from = 0, to = d->look.nr_groups;

	if (d->nr_args > 0) {
		if (dump_number(d->args[0], "group", d->look.nr_groups, &from))
			return -EINVAL;
		to = from + 1;
	}
	out_list(&d->out, "groups", NULL);
	for (; from < to; from++)
		show_group(d, (uint32_t)from);
	out_end(&d->out);
	return 0;
}

/* Bitmaps ------------------------------------------------------------------------------------- */

/* Runs of one value as they stand; what is behind the end is left out. */
static void put_runs(struct dump *d, const uint8_t *map, uint32_t nr_bits, uint64_t first, bool used)
{
	out_list(&d->out, used ? "used" : "free", used ? "Used:" : "Free:");
	for (uint32_t from = 0, to; from < nr_bits; from = to) {
		for (to = from; to < nr_bits && look_bit(map, to) == look_bit(map, from); to++)
			;
		if (look_bit(map, from) == used)
			out_row(&d->out, json_pack("[I,I]", (json_int_t)(first + from), (json_int_t)(first + to - 1)),
				"%" PRIu64 "-%" PRIu64, first + from, first + to - 1);
	}
	out_end(&d->out);
}

int dump_bitmap(struct dump *d)
{
	const bool inodes = d->nr_args > 0 && !strcmp(d->args[0], "inode");
	const uint8_t *map;
	struct look_group g;
	uint64_t nr, first;
	uint32_t nr_bits, nr_free = 0;

	if (d->nr_args != 2 || (!inodes && strcmp(d->args[0], "block"))) {
		log_error("bitmap: say which: block GROUP, or inode GROUP");
		return -EINVAL;
	}
	if (dump_number(d->args[1], "group", d->look.nr_groups, &nr))
		return -EINVAL;
	if (look_group(&d->look, (uint32_t)nr, &g) || look_bitmap(&d->look, &g, inodes, &map))
		return 0;	/* said */
	nr_bits = inodes ? d->look.inodes_per_group : g.nr_blocks;
	first = inodes ? nr * d->look.inodes_per_group + 1 : g.first;
	for (uint32_t i = 0; i < nr_bits; i++)
		nr_free += !look_bit(map, i);
	out_u64(&d->out, "group", "Group", nr);
	out_u64(&d->out, "block", "Bitmap at block", inodes ? g.desc.inode_bitmap : g.desc.block_bitmap);
	out_u64(&d->out, "nr_free", "Free", nr_free);
	if (nr_free != (inodes ? g.desc.free_inodes : g.desc.free_blocks))
		look_fault(&d->look, "the descriptor counts %" PRIu32 " free", inodes ? g.desc.free_inodes : g.desc.free_blocks);
	put_runs(d, map, nr_bits, first, true);
	put_runs(d, map, nr_bits, first, false);
	return 0;
}
