/*
 * mkfs_journal.c: the journal's inode, its map and its first block.
 *
 * Its blocks are taken as runs while the layout is made. The map blocks are the first of them, so
 * that the log itself lies in one piece where it can.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "journal/jbd2.h"
#include "journal/jnl_disk.h"
#include "mkfs_int.h"

enum {
	MIN_FS_BLOCKS = 2048,		/* smaller ones get no journal by themselves, as mke2fs has it */
	BACKUP_OF_BLOCKS = 1,		/* s_jnl_backup_type */
};

/* How many -------------------------------------------------------------------------------- */

/* What mke2fs takes for a filesystem of so many blocks. */
static uint32_t default_blocks(uint64_t nr_blocks)
{
	static const struct {
		uint64_t below;
		uint32_t blocks;
	} sizes[] = {
		{ MIN_FS_BLOCKS, 0 }, { 32768, 1024 }, { 256 << 10, 4096 }, { 512 << 10, 8192 }, { 4 << 20, 16384 },
		{ 8 << 20, 32768 }, { 16 << 20, 65536 }, { 32 << 20, 131072 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		if (nr_blocks < sizes[i].below)
			return sizes[i].blocks;
	return 262144;
}

/* Blocks of the map of a file of nr blocks. */
static uint32_t nr_map_blocks(uint64_t nr, uint32_t block_bytes)
{
	const uint64_t per = block_bytes / sizeof(le32);
	uint64_t map = 0;

	nr -= MIN(nr, (uint64_t)EXT_NR_DIRECT);
	for (unsigned depth = 1; nr > 0; depth++) {
		uint64_t part = depth == 1 ? per : depth == 2 ? per * per : per * per * per;

		part = MIN(nr, part);
		nr -= part;
		for (unsigned level = 0; level < depth; level++) {
			part = DIV_UP(part, per);
			map += part;
		}
	}
	return (uint32_t)map;
}

/*
 * In the middle, as mke2fs has it, when what lies behind is enough, with the metadata of all groups of the
 * same flex group and behind.
 */
static bool has_room_behind(const struct mkfs_layout *l, uint32_t group)
{
	const uint64_t blocks = l->nr_blocks - l->first_data_block - (uint64_t)group * l->blocks_per_group;
	const uint32_t first = ALIGN_DOWN(group, MKFS_FLEX_GROUPS);
	const uint64_t metadata = (uint64_t)(l->nr_groups - first) * (l->itable_blocks + l->gdt_blocks + 3);

	return blocks >= l->journal_left + metadata;
}

int mkfs_journal_size(const struct mkfs_opts *o, struct mkfs_layout *l)
{
	const uint64_t wanted = o->journal_bytes / l->block_bytes;
	uint64_t blocks = o->journal_bytes ? wanted : default_blocks(l->nr_blocks);

	if (!(o->compat & EXT_COMPAT_HAS_JOURNAL))
		return 0;
	if (blocks == 0) {	/* too small for one, and nobody asked for a size */
		l->super.s_feature_compat = le32_of(o->compat & ~(uint32_t)EXT_COMPAT_HAS_JOURNAL);
		return 0;
	}
	if (blocks < JNL_MIN_BLOCKS) {
		log_error("-J size: a journal has %u blocks at least: %u KiB", JNL_MIN_BLOCKS,
			  JNL_MIN_BLOCKS * (l->block_bytes / 1024));
		return -EINVAL;
	}
	if (blocks + nr_map_blocks(blocks, l->block_bytes) > l->nr_blocks / 2 && o->journal_bytes) {
		log_error("-J size: %" PRIu64 " blocks are more than half of the file system's %" PRIu64, blocks, l->nr_blocks);
		return -ENOSPC;
	}
	l->journal_blocks = (uint32_t)blocks;
	l->journal_map_blocks = nr_map_blocks(blocks, l->block_bytes);
	l->journal_left = l->journal_blocks + l->journal_map_blocks;
	l->journal_group = has_room_behind(l, l->nr_groups / 2) ? l->nr_groups / 2 : 0;
	return 0;
}

/* Where ------------------------------------------------------------------------------------- */

int mkfs_journal_take(struct mkfs_layout *l, pblk_t first, uint32_t nr)
{
	struct mkfs_run *last = l->nr_journal_runs ? &l->journal_runs[l->nr_journal_runs - 1] : NULL, *grown;

	l->journal_left -= nr;
	if (last && last->first + last->nr == first) {
		last->nr += nr;
		return 0;
	}
	grown = realloc(l->journal_runs, (l->nr_journal_runs + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->journal_runs = grown;
	l->journal_runs[l->nr_journal_runs++] = (struct mkfs_run){ first, nr };
	return 0;
}

/* The n-th of all its blocks. */
static pblk_t nth_block(const struct mkfs_layout *l, uint32_t n)
{
	for (size_t i = 0; i < l->nr_journal_runs; i++) {
		if (n < l->journal_runs[i].nr)
			return l->journal_runs[i].first + n;
		n -= l->journal_runs[i].nr;
	}
	return 0;
}

/* The map -------------------------------------------------------------------------------------- */

/* Block numbers are given out in the order in which the map is gone through. */
struct mapper {
	const struct mkfs_layout *l;
	struct blk_dev *volume;		/* NULL: only i_block is wanted */
	uint32_t next_map, next_data;
	int err;
};

static pblk_t map_subtree(struct mapper *m, unsigned depth);

static void fill_table(struct mapper *m, le32 *table, unsigned depth)
{
	for (uint32_t i = 0; i < m->l->block_bytes / sizeof(*table) && m->next_data < m->l->journal_blocks; i++)
		table[i] = le32_of((uint32_t)map_subtree(m, depth));
}

/* A data block, or a map block so many levels above data and all below it. Returns its number. */
static pblk_t map_subtree(struct mapper *m, unsigned depth)
{
	const struct mkfs_layout *l = m->l;
	pblk_t pblk;
	le32 *table;

	if (depth == 0)
		return nth_block(l, l->journal_map_blocks + m->next_data++);
	pblk = nth_block(l, m->next_map++);
	table = calloc(1, l->block_bytes);
	if (!table) {
		m->err = -ENOMEM;
		return 0;
	}
	fill_table(m, table, depth - 1);
	if (!m->err && m->volume)
		m->err = blk_write(m->volume, pblk * (l->block_bytes >> SECT_SHIFT), table, l->block_bytes);
	free(table);
	return pblk;
}

static int make_map(const struct mkfs_layout *l, struct blk_dev *volume, le32 i_block[static EXT_NR_BLOCK])
{
	struct mapper m = { .l = l, .volume = volume };

	for (unsigned i = 0; i < EXT_NR_BLOCK && !m.err && m.next_data < l->journal_blocks; i++)
		i_block[i] = le32_of((uint32_t)map_subtree(&m, i < EXT_NR_DIRECT ? 0 : i - EXT_NR_DIRECT + 1));
	return m.err;
}

int mkfs_journal_backup(struct mkfs_layout *l)
{
	const uint64_t bytes = (uint64_t)l->journal_blocks * l->block_bytes;
	struct ext_disk_super *sb = &l->super;
	int err;

	if (!l->journal_blocks)
		return 0;
	sb->s_journal_inum = le32_of(EXT_JOURNAL_INO);
	sb->s_jnl_backup_type = BACKUP_OF_BLOCKS;
	err = make_map(l, NULL, sb->s_jnl_blocks);
	sb->s_jnl_blocks[EXT_NR_BLOCK] = le32_of((uint32_t)(bytes >> 32));
	sb->s_jnl_blocks[EXT_NR_BLOCK + 1] = le32_of((uint32_t)bytes);
	return err;
}

/* Writing ----------------------------------------------------------------------------------------- */

void mkfs_journal_inode(const struct mkfs_layout *l, struct ext_disk_inode *raw)
{
	const uint64_t nr = (uint64_t)l->journal_blocks + l->journal_map_blocks;

	raw->i_mode = le16_of(S_IFREG | 0600);
	raw->i_size_lo = l->super.s_jnl_blocks[EXT_NR_BLOCK + 1];
	raw->i_size_hi = l->super.s_jnl_blocks[EXT_NR_BLOCK];
	raw->i_blocks_lo = le32_of((uint32_t)(nr * (l->block_bytes >> SECT_SHIFT)));
	memcpy(raw->i_block, l->super.s_jnl_blocks, sizeof(raw->i_block));
}

/* Nothing in it may look like a log. */
static int zero_log(const struct mkfs_layout *l, struct blk_dev *volume)
{
	const sect_t per_block = l->block_bytes >> SECT_SHIFT;
	int err = 0;

	for (size_t i = 0; !err && i < l->nr_journal_runs; i++)
		err = blk_zero(volume, l->journal_runs[i].first * per_block, l->journal_runs[i].nr * per_block);
	return err;
}

int mkfs_journal_write(const struct mkfs_layout *l, struct blk_dev *volume, bool zeroed)
{
	le32 i_block[EXT_NR_BLOCK] = { { 0 } };
	uint8_t sb[JNL_SB_BYTES];
	int err = zeroed ? 0 : zero_log(l, volume);

	if (!err)
		err = make_map(l, volume, i_block);
	if (!err)
		err = jbd2_format(sb, l->block_bytes, l->journal_blocks, l->super.s_uuid);
	if (!err)
		err = blk_write(volume, nth_block(l, l->journal_map_blocks) * (l->block_bytes >> SECT_SHIFT), sb, sizeof(sb));
	if (err)
		log_error("%s: cannot write the journal: %s", blk_name(volume), strerror(-err));
	return err;
}
