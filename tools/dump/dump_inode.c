/* dump_inode.c: one inode: its fields, its tree of blocks, what is within it, its attributes. */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "dump/dump.h"

int dump_number(const char *text, const char *what, uint64_t limit, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-') {
		log_error("%s '%s' is no number", what, text);
		return -EINVAL;
	}
	if (*out >= limit) {
		log_error("%s %" PRIu64 " does not exist: there are %" PRIu64, what, *out, limit);
		return -EINVAL;
	}
	return 0;
}

int dump_find_inode(struct dump *d, const char *what, struct look_inode *i)
{
	const bool angled = what[0] == '<';
	char digits[32];
	uint64_t nr;
	ino_nr_t ino;
	int err;

	if (what[0] == '/') {
		err = look_path(&d->look, what, &ino);
		if (err) {
			log_error("%s: %s", what, strerror(-err));
			return err;
		}
		nr = ino;
	} else {
		snprintf(digits, sizeof(digits), "%s", what + angled);
		if (angled && digits[0] && digits[strlen(digits) - 1] == '>')
			digits[strlen(digits) - 1] = '\0';
		err = dump_number(digits, "inode", (uint64_t)d->look.nr_inodes + 1, &nr);
		if (err)
			return err;
	}
	return look_inode(&d->look, (ino_nr_t)nr, i);
}

/* Fields ---------------------------------------------------------------------------------------- */

static const char *type_name(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "regular";
	case S_IFDIR: return "directory";
	case S_IFLNK: return "symlink";
	case S_IFCHR: return "character special";
	case S_IFBLK: return "block special";
	case S_IFIFO: return "FIFO";
	case S_IFSOCK: return "socket";
	default: return "bad type";
	}
}

static void put_flags(struct out *o, uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ EXT_FL_SYNC, "sync" }, { EXT_FL_IMMUTABLE, "immutable" }, { EXT_FL_APPEND, "append" },
		{ EXT_FL_NODUMP, "nodump" }, { EXT_FL_NOATIME, "noatime" }, { EXT_FL_ENCRYPT, "encrypt" },
		{ EXT_FL_INDEX, "index" }, { EXT_FL_JOURNAL_DATA, "journal_data" }, { EXT_FL_DIRSYNC, "dirsync" },
		{ EXT_FL_TOPDIR, "topdir" }, { EXT_FL_HUGE_FILE, "huge_file" }, { EXT_FL_EXTENTS, "extents" },
		{ EXT_FL_VERITY, "verity" }, { EXT_FL_EA_INODE, "ea_inode" }, { EXT_FL_INLINE_DATA, "inline_data" },
		{ EXT_FL_CASEFOLD, "casefold" },
	};
	char text[256] = "";

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (flags & names[i].bit)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", names[i].name);
	out_num(o, "flags", "Flags", flags, "0x%" PRIx32 "%s%s%s", flags, *text ? " (" : "", *text ? text + 1 : "", *text ? ")" : "");
}

/* Seconds with the two bits of the extra field. */
static void put_time(struct out *o, const char *key, const char *label, le32 low, le32 extra, bool has_extra)
{
	int64_t sec = (int32_t)le32_get(low);

	if (has_extra)
		sec += (int64_t)(le32_get(extra) & 3) << 32;
	out_time(o, key, label, sec);
}

static bool has_field(const struct look_inode *i, size_t end)
{
	return EXT_GOOD_OLD_INODE_BYTES + (size_t)i->extra_isize >= end;
}
#define HAS(i, field) has_field(i, offsetof(struct ext_disk_inode, field) + sizeof(le32))

static void put_times(struct out *o, const struct look_inode *i)
{
	const struct ext_disk_inode *r = i->raw;

	put_time(o, "ctime", "ctime", r->i_ctime, r->i_ctime_extra, HAS(i, i_ctime_extra));
	put_time(o, "atime", "atime", r->i_atime, r->i_atime_extra, HAS(i, i_atime_extra));
	put_time(o, "mtime", "mtime", r->i_mtime, r->i_mtime_extra, HAS(i, i_mtime_extra));
	if (HAS(i, i_crtime_extra))
		put_time(o, "crtime", "crtime", r->i_crtime, r->i_crtime_extra, true);
	if (i->dtime && i->links == 0 && i->dtime < 0x10000000)
		out_num(o, "dtime", "Next orphan inode", i->dtime, "%" PRIu32, i->dtime);
	else if (i->dtime)
		out_time(o, "dtime", "dtime", i->dtime);
}

static void put_fields(struct dump *d, const struct look_inode *i)
{
	struct out *o = &d->out;

	out_u64(o, "inode", "Inode", i->ino);
	out_num(o, "table_block", "In block", i->table_block, "%" PRIu64 ", offset %" PRIu32, i->table_block, i->table_off);
	out_text(o, "type", "Type", "%s", type_name(i->mode));
	out_num(o, "mode", "Mode", i->mode & 07777, "%04o", i->mode & 07777);
	put_flags(o, i->flags);
	out_num(o, "generation", "Generation", i->generation, "%" PRIu32, i->generation);
	out_u64(o, "uid", "User", i->uid);
	out_u64(o, "gid", "Group", i->gid);
	out_u64(o, "size", "Size", i->size_bytes);
	out_u64(o, "links", "Links", i->links);
	out_u64(o, "blockcount", "Blockcount", i->nr_sects);
	if (i->file_acl)
		out_u64(o, "file_acl", "File ACL", i->file_acl);
	put_times(o, i);
	if (d->look.inode_bytes > EXT_GOOD_OLD_INODE_BYTES)
		out_u64(o, "extra_isize", "Size of extra inode fields", le16_get(i->raw->i_extra_isize));
	if (d->look.csum)
		out_hex(o, "checksum", "Inode checksum", i->csum);
}

static void check_fields(struct dump *d, const struct look_inode *i)
{
	struct look *l = &d->look;
	const unsigned space = l->inode_bytes - EXT_GOOD_OLD_INODE_BYTES;

	if (i->csum != i->want_csum && (i->mode || i->links))
		look_fault(l, "inode %" PRIu32 ": checksum is %#" PRIx32 ", should be %#" PRIx32, i->ino, i->csum, i->want_csum);
	if (space && (le16_get(i->raw->i_extra_isize) > space || le16_get(i->raw->i_extra_isize) % 4))
		look_fault(l, "inode %" PRIu32 ": i_extra_isize cannot be %u", i->ino, le16_get(i->raw->i_extra_isize));
	if (!i->mode && !i->links && i->ino > EXT_ROOT_INO)
		out_line(&d->out, "(not in use)");
}

/* The tree ---------------------------------------------------------------------------------------- */

/* Runs that go on are joined before they are printed. */
struct tree {
	struct dump *d;
	struct look_piece run;		/* nr 0: none */
	uint64_t nr_data, nr_maps;
};

static const char *map_name(const struct look_piece *p)
{
	static const char *const names[] = { "", "IND", "DIND", "TIND" };

	return p->extents ? "ETB" : names[p->level < ARRAY_LEN(names) ? p->level : 0];
}

static void run_print(struct tree *t)
{
	const struct look_piece *p = &t->run;
	const char *unwritten = p->kind == LOOK_UNWRITTEN ? " unwritten" : "";

	if (!p->nr)
		return;
	if (p->nr == 1)
		out_row(&t->d->out, json_pack("{s:I,s:I,s:i,s:b}", "lblk", (json_int_t)p->lblk, "pblk", (json_int_t)p->pblk, "nr", 1,
					      "unwritten", *unwritten != 0),
			"(%" PRIu64 "):%" PRIu64 "%s", p->lblk, p->pblk, unwritten);
	else
		out_row(&t->d->out, json_pack("{s:I,s:I,s:I,s:b}", "lblk", (json_int_t)p->lblk, "pblk", (json_int_t)p->pblk, "nr",
					      (json_int_t)p->nr, "unwritten", *unwritten != 0),
			"(%" PRIu64 "-%" PRIu64 "):%" PRIu64 "-%" PRIu64 "%s", p->lblk, p->lblk + p->nr - 1, p->pblk,
			p->pblk + p->nr - 1, unwritten);
	t->run.nr = 0;
}

static bool tree_piece(void *arg, const struct look_piece *p)
{
	struct tree *t = arg;
	struct look_piece *run = &t->run;

	if (p->kind == LOOK_MAP) {
		run_print(t);
		t->nr_maps++;
		out_row(&t->d->out, json_pack("{s:s,s:i,s:I,s:I,s:I}", "map", map_name(p), "level", p->level, "pblk", (json_int_t)p->pblk,
					      "lblk", (json_int_t)p->lblk, "nr", (json_int_t)p->nr_lblks),
			"%*s(%s%s%.0d):%" PRIu64 "  of blocks %" PRIu64 "-%" PRIu64, p->extents ? 0 : 6 - 2 * (int)MIN(p->level, 3u), "",
			map_name(p), p->extents ? " level " : "", p->extents ? (int)p->level : 0, p->pblk, p->lblk,
			p->lblk + p->nr_lblks - 1);
		return true;
	}
	t->nr_data += p->kind == LOOK_DATA ? p->nr : 0;
	if (run->nr && run->kind == p->kind && run->lblk + run->nr == p->lblk && run->pblk + run->nr == p->pblk) {
		run->nr += p->nr;
		return true;
	}
	run_print(t);
	*run = *p;
	return true;
}

static int put_tree(struct dump *d, const struct look_inode *i)
{
	struct tree t = { .d = d };
	int err;

	out_list(&d->out, "blocks", "Blocks:");
	err = look_map(&d->look, i, NULL, tree_piece, &t);
	run_print(&t);
	out_end(&d->out);
	out_u64(&d->out, "data_blocks", "Data blocks", t.nr_data);
	out_u64(&d->out, "map_blocks", "Map blocks", t.nr_maps);
	return err;
}

/* What else is in it --------------------------------------------------------------------------------- */

static int put_inline(struct dump *d, const struct look_inode *i)
{
	uint8_t *buf = malloc((size_t)d->look.inode_bytes + EXT_INLINE_BYTES);
	char text[1024];
	unsigned len;
	int err;

	if (!buf)
		return -ENOMEM;
	err = look_inline(&d->look, i, buf, &len);
	if (!err) {
		out_u64(&d->out, "inline_bytes", "Size of inline data", len);
		if (!S_ISDIR(i->mode))
			out_text(&d->out, "inline_data", "Inline data", "%s", out_quote(buf, len, text, sizeof(text)));
	}
	free(buf);
	return err;
}

static void put_in_block(struct dump *d, const struct look_inode *i)
{
	const uint32_t old = le32_get(i->raw->i_block[0]), new = le32_get(i->raw->i_block[1]);
	char text[4 * EXT_INLINE_BYTES + 8];

	if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
		out_text(&d->out, "device", "Device", "%u:%u", old ? old >> 8 & 0xff : (new & 0xfff00) >> 8,
			 old ? old & 0xff : (new & 0xff) | (new >> 12 & 0xfff00));
	else if (S_ISLNK(i->mode))
		out_text(&d->out, "target", "Fast link dest", "%s",
			 out_quote(i->raw->i_block, MIN(i->size_bytes, (uint64_t)EXT_INLINE_BYTES), text, sizeof(text)));
}

static void put_xattr(void *arg, const struct look_xattr *x)
{
	struct dump *d = arg;
	char name[300 * 4], value[512];

	out_row(&d->out, json_pack("{s:s,s:o,s:o,s:i,s:I}", "prefix", look_xattr_prefix(x->index), "name",
				   out_bytes(x->name, x->name_len), "value", out_bytes(x->value ? (const char *)x->value : "", x->value_len),
				   "size", (int)x->value_len, "in_block", (json_int_t)x->in_block),
		"%s%s (%" PRIu32 ") = \"%s\"%s", look_xattr_prefix(x->index), out_quote(x->name, x->name_len, name, sizeof(name)),
		x->value_len, out_quote(x->value ? (const char *)x->value : "", x->value_len, value, sizeof(value)),
		x->in_block ? " in the attribute block" : "");
}

static int show(struct dump *d, const struct look_inode *i)
{
	int err = 0;

	put_fields(d, i);
	check_fields(d, i);
	if (look_inode_has_inline(i))
		err = put_inline(d, i);
	else if (look_inode_has_map(&d->look, i))
		err = put_tree(d, i);
	else
		put_in_block(d, i);
	if (err)
		return err;
	out_list(&d->out, "xattrs", "Extended attributes:");
	err = look_xattrs(&d->look, i, put_xattr, d);
	out_end(&d->out);
	return err;
}

int dump_inode(struct dump *d)
{
	struct look_inode i = { 0 };
	int err;

	if (d->nr_args != 1) {
		log_error("inode: say which: a number or a path");
		return -EINVAL;
	}
	err = dump_find_inode(d, d->args[0], &i);
	if (!err)
		err = show(d, &i);
	look_inode_done(&i);
	return err;
}
