/* look.c: superblock, geometry, descriptors, bitmaps. See look.h. */
#include "look/look.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_LOG_BLOCK = 6, MAX_DESC_BYTES = 1024 };

static int dev_read(void *arg, uint64_t off_bytes, void *buf, size_t len_bytes)
{
	return blk_read(arg, off_bytes >> SECT_SHIFT, buf, len_bytes);
}

struct look_source look_source_dev(struct blk_dev *d)
{
	return (struct look_source){ dev_read, d, blk_nr_sects(d) << SECT_SHIFT, false };
}

void look_fault(struct look *l, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	l->nr_faults++;
	l->fault(l->fault_arg, what);
}

/* Opening ------------------------------------------------------------------------------ */

static uint64_t blocks_count(const struct ext_disk_super *sb)
{
	const bool wide = le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT;

	return le32_get(sb->s_blocks_count_lo) | (wide ? (uint64_t)le32_get(sb->s_blocks_count_hi) << 32 : 0);
}

/* Tells of a field that nothing can be reckoned with. */
static bool field_ok(struct look *l, const char *field, uint64_t value, bool ok)
{
	if (!ok)
		look_fault(l, "superblock: %s cannot be %" PRIu64, field, value);
	return ok;
}

static bool sizes_ok(struct look *l)
{
	const struct ext_disk_super *sb = &l->super;
	const uint32_t log = le32_get(sb->s_log_block_size), bits = (EXT_MIN_BLOCK_BYTES << MIN(log, 6u)) * 8;
	const uint32_t bpg = le32_get(sb->s_blocks_per_group), ipg = le32_get(sb->s_inodes_per_group);
	const bool rev0 = le32_get(sb->s_rev_level) == 0;
	const uint32_t inode = rev0 ? EXT_GOOD_OLD_INODE_BYTES : le16_get(sb->s_inode_size);
	const uint32_t desc = le16_get(sb->s_desc_size);
	const bool wide = le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT;

	if (le32_get(sb->s_feature_ro_compat) & EXT_RO_COMPAT_BIGALLOC) {
		look_fault(l, "superblock: feature bigalloc: clusters are not looked into");
		return false;
	}
	return field_ok(l, "s_log_block_size", log, log <= MAX_LOG_BLOCK) &&
	       field_ok(l, "s_blocks_per_group", bpg, bpg > 0 && bpg <= bits) &&
	       field_ok(l, "s_inodes_per_group", ipg, ipg > 0 && ipg <= bits) &&
	       field_ok(l, "s_inode_size", inode, is_pow2(inode) && inode >= EXT_GOOD_OLD_INODE_BYTES && inode <= bits / 8) &&
	       field_ok(l, "s_desc_size", desc, !wide || (is_pow2(desc) && desc >= 64 && desc <= MAX_DESC_BYTES)) &&
	       field_ok(l, "s_first_data_block", le32_get(sb->s_first_data_block), le32_get(sb->s_first_data_block) <= 1) &&
	       field_ok(l, "s_blocks_count", blocks_count(sb), blocks_count(sb) > le32_get(sb->s_first_data_block));
}

static void geometry(struct look *l)
{
	const struct ext_disk_super *sb = &l->super;
	const uint64_t nr = blocks_count(sb);

	l->compat = le32_get(sb->s_feature_compat);
	l->incompat = le32_get(sb->s_feature_incompat);
	l->ro_compat = le32_get(sb->s_feature_ro_compat);
	l->block_shift = 10 + le32_get(sb->s_log_block_size);
	l->block_bytes = 1u << l->block_shift;
	l->nr_blocks = MIN(nr, l->src.nr_bytes >> l->block_shift);
	if (l->nr_blocks < nr)
		look_fault(l, "superblock: s_blocks_count is %" PRIu64 ", the device has %" PRIu64 " blocks", nr, l->nr_blocks);
	l->first_data_block = le32_get(sb->s_first_data_block);
	l->blocks_per_group = le32_get(sb->s_blocks_per_group);
	l->inodes_per_group = le32_get(sb->s_inodes_per_group);
	l->inode_bytes = le32_get(sb->s_rev_level) == 0 ? EXT_GOOD_OLD_INODE_BYTES : le16_get(sb->s_inode_size);
	l->desc_bytes = l->incompat & EXT_INCOMPAT_64BIT ? le16_get(sb->s_desc_size) : EXT_DESC_BYTES_32;
	l->itable_blocks = (uint32_t)DIV_UP((uint64_t)l->inodes_per_group * l->inode_bytes, (uint64_t)l->block_bytes);
	l->csum_seed = ext_csum_seed(sb);
	l->csum = l->ro_compat & EXT_RO_COMPAT_METADATA_CSUM;
}

static bool counts(struct look *l)
{
	uint64_t nr_groups, nr_inodes;

	if (!field_ok(l, "s_blocks_count", l->nr_blocks, l->nr_blocks > l->first_data_block))
		return false;
	nr_groups = DIV_UP(l->nr_blocks - l->first_data_block, (uint64_t)l->blocks_per_group);
	nr_inodes = nr_groups * l->inodes_per_group;
	if (!field_ok(l, "the number of groups", nr_groups, nr_groups <= UINT32_MAX) ||
	    !field_ok(l, "the number of inodes", nr_inodes, nr_inodes <= UINT32_MAX))
		return false;
	l->nr_groups = (uint32_t)nr_groups;
	l->nr_inodes = (uint32_t)nr_inodes;
	if (nr_inodes != le32_get(l->super.s_inodes_count))
		look_fault(l, "superblock: s_inodes_count is %" PRIu32 ", all groups have %" PRIu64,
			   le32_get(l->super.s_inodes_count), nr_inodes);
	return true;
}

static int buffers(struct look *l)
{
	l->desc = malloc(l->block_bytes);
	l->table = malloc(l->block_bytes);
	l->bitmap = malloc(l->block_bytes);
	return l->desc && l->table && l->bitmap ? 0 : -ENOMEM;
}

int look_open(struct look *l, struct look_source src, void (*fault)(void *arg, const char *what), void *fault_arg)
{
	int err;

	*l = (struct look){ .src = src, .fault = fault, .fault_arg = fault_arg, .desc_pblk = UINT64_MAX,
			    .table_pblk = UINT64_MAX, .bitmap_pblk = UINT64_MAX, .dir_blocks_left = UINT64_MAX };
	if (src.nr_bytes < EXT_SUPER_OFF_BYTES + EXT_SUPER_BYTES) {
		look_fault(l, "too small for a filesystem");
		return 0;
	}
	err = src.read(src.arg, EXT_SUPER_OFF_BYTES, &l->super, sizeof(l->super));
	if (err) {
		look_fault(l, "superblock cannot be read: %s", strerror(-err));
		return err;
	}
	if (le16_get(l->super.s_magic) != EXT_MAGIC) {
		look_fault(l, "no ext2, ext3 or ext4 superblock is there: s_magic is %#x", le16_get(l->super.s_magic));
		return 0;
	}
	if (le32_get(l->super.s_feature_ro_compat) & EXT_RO_COMPAT_METADATA_CSUM &&
	    le32_get(l->super.s_checksum) != ext_super_csum(&l->super))
		look_fault(l, "superblock: checksum is %#" PRIx32 ", should be %#" PRIx32, le32_get(l->super.s_checksum),
			   ext_super_csum(&l->super));
	if (!sizes_ok(l))
		return 0;
	geometry(l);
	l->usable = counts(l);
	return l->usable ? buffers(l) : 0;
}

void look_close(struct look *l)
{
	free(l->desc);
	free(l->table);
	free(l->bitmap);
	l->desc = l->table = l->bitmap = NULL;
	l->usable = false;
}

int look_block(struct look *l, pblk_t pblk, void *buf)
{
	int err;

	if (!look_block_ok(l, pblk)) {
		look_fault(l, "block %" PRIu64 " is outside of the filesystem", pblk);
		return -EUCLEAN;
	}
	err = l->src.read(l->src.arg, pblk << l->block_shift, buf, l->block_bytes);
	if (err)
		look_fault(l, "block %" PRIu64 " cannot be read: %s", pblk, strerror(-err));
	return err;
}

/* Groups ------------------------------------------------------------------------------- */

static pblk_t desc_block(const struct look *l, uint32_t group, uint32_t *off)
{
	const uint32_t per_block = l->block_bytes / l->desc_bytes, nr = group / per_block;

	*off = group % per_block * l->desc_bytes;
	if (!(l->incompat & EXT_INCOMPAT_META_BG) || nr < le32_get(l->super.s_first_meta_bg))
		return (pblk_t)l->first_data_block + 1 + nr;
	return look_group_first(l, nr * per_block) + ext_group_has_super(&l->super, nr * per_block);
}

/* What lies at the start of a group by the format alone. */
static void group_head(const struct look *l, struct look_group *g)
{
	const uint32_t per_block = l->block_bytes / l->desc_bytes, meta = g->nr / per_block, at = g->nr % per_block;
	const uint32_t first_meta = le32_get(l->super.s_first_meta_bg);

	g->first = look_group_first(l, g->nr);
	g->nr_blocks = (uint32_t)MIN((uint64_t)l->blocks_per_group, l->nr_blocks - g->first);
	g->has_super = ext_group_has_super(&l->super, g->nr);
	g->first_desc_block = g->first + g->has_super;
	if (!(l->incompat & EXT_INCOMPAT_META_BG)) {
		g->nr_desc_blocks = g->has_super ? DIV_UP(l->nr_groups, per_block) : 0;
		g->nr_reserved_blocks = g->has_super ? le16_get(l->super.s_reserved_gdt_blocks) : 0;
	} else if (meta < first_meta) {
		g->nr_desc_blocks = g->has_super ? first_meta : 0;
	} else {
		g->nr_desc_blocks = at == 0 || at == 1 || at == per_block - 1;
	}
	g->nr_desc_blocks = MIN(g->nr_desc_blocks, g->nr_blocks);
	g->nr_reserved_blocks = MIN(g->nr_reserved_blocks, g->nr_blocks - g->nr_desc_blocks);
}

static void group_parse(const struct look *l, const struct ext_disk_group *d, struct look_group *g)
{
	g->desc = ext_group_decode(&l->super, d, l->desc_bytes);
	g->want_csum = g->desc.csum;
	if (l->ro_compat & (EXT_RO_COMPAT_METADATA_CSUM | EXT_RO_COMPAT_GDT_CSUM))
		g->want_csum = ext_group_csum(&l->super, l->csum_seed, g->nr, d, l->desc_bytes);
}

/* A place in a descriptor that lies outside. */
static void place_fault(struct look *l, const struct look_group *g, const char *what, pblk_t pblk)
{
	look_fault(l, "descriptor of group %" PRIu32 ": the %s lies outside (%" PRIu64 ")", g->nr, what, pblk);
}

static void group_check(struct look *l, const struct look_group *g)
{
	const struct ext_group *e = &g->desc;
	const uint32_t nr_inodes = l->inodes_per_group;

	if (e->csum != g->want_csum)
		look_fault(l, "descriptor of group %" PRIu32 ": checksum is %#x, should be %#x", g->nr, e->csum, g->want_csum);
	if (!look_block_ok(l, e->block_bitmap))
		place_fault(l, g, "block bitmap", e->block_bitmap);
	if (!look_block_ok(l, e->inode_bitmap))
		place_fault(l, g, "inode bitmap", e->inode_bitmap);
	if (!look_block_ok(l, e->inode_table) || l->itable_blocks > l->nr_blocks - e->inode_table)
		place_fault(l, g, "inode table", e->inode_table);
	if (e->free_blocks > g->nr_blocks || e->free_inodes > nr_inodes || e->itable_unused > nr_inodes || e->used_dirs > nr_inodes)
		look_fault(l, "descriptor of group %" PRIu32 ": counts more than there are", g->nr);
}

static int group_load(struct look *l, uint32_t nr, struct look_group *g)
{
	uint32_t off;
	int err;

	*g = (struct look_group){ .nr = nr };
	group_head(l, g);
	g->desc_block = desc_block(l, nr, &off);
	if (g->desc_block != l->desc_pblk) {
		l->desc_pblk = UINT64_MAX;
		err = look_block(l, g->desc_block, l->desc);
		if (err)
			return err;
		l->desc_pblk = g->desc_block;
	}
	group_parse(l, (const struct ext_disk_group *)(l->desc + off), g);
	return 0;
}

int look_group(struct look *l, uint32_t nr, struct look_group *g)
{
	const int err = group_load(l, nr, g);

	if (!err)
		group_check(l, g);
	return err;
}

static void bits_set(uint8_t *map, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		map[from / 8] |= (uint8_t)(1 << from % 8);
}

/* The part of [pblk, pblk + nr) that lies in the group is in use. */
static void mark(const struct look_group *g, uint8_t *map, pblk_t pblk, uint64_t nr)
{
	const pblk_t from = MAX(pblk, g->first), to = MIN(pblk + nr, g->first + g->nr_blocks);

	if (from < to)
		bits_set(map, (uint32_t)(from - g->first), (uint32_t)(to - g->first));
}

/* With flex_bg other groups' bitmaps and tables may lie here. */
static void make_block_bitmap(struct look *l, const struct look_group *g, uint8_t *map)
{
	const uint64_t flex = l->incompat & EXT_INCOMPAT_FLEX_BG ? 1ull << MIN(l->super.s_log_groups_per_flex, 31u) : 1;
	const uint64_t from = g->nr / flex * flex, to = MIN(from + flex, (uint64_t)l->nr_groups);

	mark(g, map, g->first, g->has_super);
	mark(g, map, g->first_desc_block, (uint64_t)g->nr_desc_blocks + g->nr_reserved_blocks);
	for (uint64_t i = from; i < to; i++) {
		struct look_group o = *g;

		if (i != g->nr && group_load(l, (uint32_t)i, &o))
			continue;
		mark(g, map, o.desc.block_bitmap, 1);
		mark(g, map, o.desc.inode_bitmap, 1);
		mark(g, map, o.desc.inode_table, l->itable_blocks);
	}
	bits_set(map, g->nr_blocks, l->block_bytes * 8);
}

int look_bitmap(struct look *l, const struct look_group *g, bool inodes, const uint8_t **map)
{
	const uint32_t nr_bits = inodes ? l->inodes_per_group : l->blocks_per_group;
	const uint32_t found = inodes ? g->desc.inode_bitmap_csum : g->desc.block_bitmap_csum;
	const pblk_t pblk = inodes ? g->desc.inode_bitmap : g->desc.block_bitmap;
	uint32_t want;
	int err;

	*map = l->bitmap;
	if (g->desc.flags & (inodes ? EXT_BG_INODE_UNINIT : EXT_BG_BLOCK_UNINIT)) {
		l->bitmap_pblk = UINT64_MAX;
		memset(l->bitmap, 0, l->block_bytes);
		if (inodes)
			bits_set(l->bitmap, l->inodes_per_group, l->block_bytes * 8);
		else
			make_block_bitmap(l, g, l->bitmap);
		return 0;
	}
	if (pblk == l->bitmap_pblk)
		return 0;
	l->bitmap_pblk = UINT64_MAX;
	err = look_block(l, pblk, l->bitmap);
	if (err)
		return err;
	l->bitmap_pblk = pblk;
	if (!l->csum || l->src.live)	/* the sum is in the descriptor */
		return 0;
	want = ext_bitmap_csum(l->csum_seed, l->bitmap, nr_bits, l->desc_bytes);
	if (want != found)
		look_fault(l, "%s bitmap of group %" PRIu32 " (block %" PRIu64 "): checksum is %#" PRIx32 ", should be %#" PRIx32,
			   inodes ? "inode" : "block", g->nr, pblk, found, want);
	return 0;
}
