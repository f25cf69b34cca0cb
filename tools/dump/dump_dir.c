/* dump_dir.c: a directory: its entries, and the tree of its index. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "dump/dump.h"

static const char *type_name(unsigned type)
{
	static const char *const names[] = { "-", "reg", "dir", "chr", "blk", "fifo", "sock", "lnk" };

	return type < ARRAY_LEN(names) ? names[type] : "?";
}

/* Entries ----------------------------------------------------------------------------------- */

static bool put_entry(void *arg, const struct look_entry *e)
{
	struct dump *d = arg;
	char name[4 * 256];

	out_row(&d->out, json_pack("{s:I,s:I,s:i,s:I,s:s,s:o}", "lblk", (json_int_t)e->lblk, "pblk", (json_int_t)e->pblk, "offset",
				   (int)e->off, "inode", (json_int_t)e->ino, "type", type_name(e->type), "name",
				   out_bytes(e->name, e->name_len)),
		"%6" PRIu64 " %5u %10" PRIu32 "  %-4s  %s", e->lblk, e->off, e->ino, type_name(e->type),
		out_quote(e->name, e->name_len, name, sizeof(name)));
	return true;
}

/* The index ----------------------------------------------------------------------------------- */

enum { LEVELS_MAX = 3 };

struct index {
	struct dump *d;
	const struct look_inode *dir;
	struct jbd2_map seen;		/* index blocks */
	unsigned levels;		/* of index blocks, the root included */
};

static const struct ext_disk_dx_entry *entries_of(const uint8_t *block, unsigned off, uint32_t block_bytes, unsigned *count)
{
	const struct ext_disk_dx_countlimit *cl = (const void *)(block + off);

	*count = MIN((unsigned)le16_get(cl->count), (unsigned)((block_bytes - off) / sizeof(struct ext_disk_dx_entry)));
	return (const void *)(block + off);
}

static int put_node(struct index *x, lblk_t lblk, unsigned level);

static int put_children(struct index *x, const uint8_t *block, unsigned off, unsigned level)
{
	const struct ext_disk_dx_entry *e;
	unsigned count;
	int err = 0;

	e = entries_of(block, off, x->d->look.block_bytes, &count);
	for (unsigned k = 0; !err && k < count; k++) {
		const uint32_t hash = k ? le32_get(e[k].hash) : 0, child = le32_get(e[k].block) & 0x0fffffff;

		out_row(&x->d->out, json_pack("{s:i,s:I,s:I,s:b}", "level", (int)level, "hash", (json_int_t)hash, "lblk", (json_int_t)child,
					      "leaf", level + 1 == x->levels),
			"%*s0x%08" PRIx32 "  %s %" PRIu32, (int)level * 2, "", hash, level + 1 == x->levels ? "leaf" : "node", child);
		if (level + 1 < x->levels)
			err = put_node(x, child, level + 1);
	}
	return err;
}

static int put_node(struct index *x, lblk_t lblk, unsigned level)
{
	struct look *l = &x->d->look;
	uint8_t *buf = malloc(l->block_bytes);
	pblk_t pblk;
	unsigned off;
	int err = buf ? look_map_find(l, x->dir, lblk, &pblk) : -ENOMEM;

	if (!err && (!pblk || jbd2_map_get(&x->seen, pblk))) {
		look_fault(l, "directory inode %" PRIu32 ": index block %" PRIu64 ": %s", x->dir->ino, lblk,
			   pblk ? "it is on the way already" : "a hole");
	} else if (!err && !(err = jbd2_map_put(&x->seen, pblk, 1)) && !look_block(l, pblk, buf)) {
		off = look_dx_off(l, x->dir, lblk, buf);
		look_dx_check(l, x->dir, lblk, pblk, buf);
		if (off)
			err = put_children(x, buf, off, level);
		else
			look_fault(l, "directory inode %" PRIu32 ": block %" PRIu64 " is not of an index", x->dir->ino, lblk);
	}
	free(buf);
	return err;
}

static int put_index(struct dump *d, const struct look_inode *dir)
{
	struct index x = { .d = d, .dir = dir };
	const struct ext_disk_dx_root_info *info;
	struct look *l = &d->look;
	uint8_t *buf = malloc(l->block_bytes);
	pblk_t pblk;
	int err = buf ? look_map_find(l, dir, 0, &pblk) : -ENOMEM;

	if (err || !pblk || look_block(l, pblk, buf) || !look_dx_off(l, dir, 0, buf)) {
		if (!err)
			look_fault(l, "directory inode %" PRIu32 ": its first block is not the root of an index", dir->ino);
		free(buf);
		return err;
	}
	info = (const void *)(buf + 24);
	out_u64(&d->out, "hash_version", "Hash version", info->hash_version);
	out_u64(&d->out, "indirect_levels", "Indirect levels", info->indirect_levels);
	x.levels = info->indirect_levels + 1u;
	free(buf);
	if (x.levels > LEVELS_MAX) {
		look_fault(l, "directory inode %" PRIu32 ": too many levels", dir->ino);
		return 0;
	}
	out_list(&d->out, "index", "Index (hash, block of the directory):");
	err = put_node(&x, 0, 0);
	out_end(&d->out);
	jbd2_map_fini(&x.seen);
	return err;
}

static int show(struct dump *d, const struct look_inode *dir)
{
	int err = 0;

	if (!S_ISDIR(dir->mode)) {
		log_error("inode %" PRIu32 " is not a directory", dir->ino);
		return -ENOTDIR;
	}
	out_u64(&d->out, "inode", "Inode", dir->ino);
	out_u64(&d->out, "size", "Size", dir->size_bytes);
	if (dir->csum != dir->want_csum)
		look_fault(&d->look, "inode %" PRIu32 ": checksum is %#" PRIx32 ", should be %#" PRIx32, dir->ino, dir->csum,
			   dir->want_csum);
	if (look_inode_has_inline(dir))
		out_u64(&d->out, "parent", "Parent", le32_get(dir->raw->i_block[0]));
	else if (dir->flags & EXT_FL_INDEX)
		err = put_index(d, dir);
	if (err)
		return err;
	out_list(&d->out, "entries", "Entries (block, offset, inode, type, name):");
	err = look_dir(&d->look, dir, true, put_entry, d);
	out_end(&d->out);
	return err;
}

int dump_dir(struct dump *d)
{
	struct look_inode dir = { 0 };
	int err;

	if (d->nr_args != 1) {
		log_error("dir: say which: a path or an inode number");
		return -EINVAL;
	}
	err = dump_find_inode(d, d->args[0], &dir);
	if (!err)
		err = show(d, &dir);
	look_inode_done(&dir);
	return err;
}
