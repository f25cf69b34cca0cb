/* lab_check.c: see lab_check.h. Blocks are read when they are looked at, and kept. */
#include "lab_check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fs/ext_layout.h"

enum { MAX_FAULTS = 16, MAX_VOLUME_BYTES = 256 << 20, EXTENT_LEN_MAX = 32768, MAX_DEPTH = 6 };

struct check {
	FILE *out;
	struct blk_dev *volume;
	unsigned nr_faults;
	uint8_t *bytes;			/* room for the volume */
	uint8_t *loaded;		/* a byte a block */
	int err;			/* of the first read that failed */
	uint64_t nr_bytes;
	struct ext_disk_super sb;
	uint32_t block_bytes, inode_bytes, desc_bytes, nr_groups, blocks_per_group, inodes_per_group, first_block;
	uint64_t nr_blocks, nr_inodes;
	uint8_t *used;			/* a byte a block: how often it is used */
	uint16_t *refs;			/* an inode: entries that name it */
	uint16_t *parent_refs;		/* directories: ".." of children */
	uint16_t *xattr_users;		/* a block: inodes whose i_file_acl it is; sparse, by block */
};

static void PRINTF_LIKE(2, 3) fault(struct check *c, const char *fmt, ...)
{
	va_list ap;

	if (c->nr_faults++ >= MAX_FAULTS)
		return;
	va_start(ap, fmt);
	fputs("check: ", c->out);
	vfprintf(c->out, fmt, ap);
	fputc('\n', c->out);
	va_end(ap);
}

/* pblk is within the volume. */
static void *block_at(struct check *c, uint64_t pblk)
{
	uint8_t *at = c->bytes + pblk * c->block_bytes;

	if (!c->loaded[pblk]) {
		const int err = blk_read(c->volume, pblk * (c->block_bytes >> SECT_SHIFT), at, c->block_bytes);

		c->loaded[pblk] = 1;
		if (err) {
			memset(at, 0, c->block_bytes);
			c->err = c->err ? c->err : err;
		}
	}
	return at;
}

/* Bytes that do not cross a block's end; NULL outside of the filesystem. */
static const void *bytes_at(struct check *c, uint64_t pos)
{
	if (pos / c->block_bytes >= c->nr_blocks)
		return NULL;
	return (uint8_t *)block_at(c, pos / c->block_bytes) + pos % c->block_bytes;
}

static bool bit(const uint8_t *map, uint64_t nr)
{
	return map[nr / 8] >> nr % 8 & 1;
}

/* Counts a use of blocks; false: they do not exist. */
static bool use(struct check *c, uint64_t pblk, uint64_t nr, ino_nr_t ino)
{
	if (pblk < c->first_block || nr > c->nr_blocks || pblk > c->nr_blocks - nr) {
		fault(c, "inode %" PRIu32 ": block %" PRIu64 "+%" PRIu64 " does not exist", ino, pblk, nr);
		return false;
	}
	for (uint64_t i = 0; i < nr; i++)
		if (c->used[pblk + i]++ == 1)
			fault(c, "inode %" PRIu32 ": block %" PRIu64 " is used already", ino, pblk + i);
	return true;
}

/* Groups ------------------------------------------------------------------------------------------- */

static struct ext_disk_group group_at(struct check *c, uint32_t nr)
{
	struct ext_disk_group gd = { 0 };
	const void *at = bytes_at(c, (uint64_t)(c->first_block + 1) * c->block_bytes + (uint64_t)nr * c->desc_bytes);

	if (at)
		memcpy(&gd, at, c->desc_bytes);
	return gd;
}

static uint64_t wide(le32 lo, le32 hi)
{
	return le32_get(lo) | (uint64_t)le32_get(hi) << 32;
}

static void use_fixed(struct check *c)
{
	const uint32_t gdt_blocks = DIV_UP(c->nr_groups * c->desc_bytes, c->block_bytes) +
				    le16_get(c->sb.s_reserved_gdt_blocks);
	const uint32_t itable = DIV_UP(c->inodes_per_group * c->inode_bytes, c->block_bytes);

	for (uint32_t g = 0; g < c->nr_groups; g++) {
		const struct ext_disk_group gd = group_at(c, g);

		if (ext_group_has_super(&c->sb, g))
			use(c, c->first_block + (uint64_t)g * c->blocks_per_group, 1 + gdt_blocks, 0);
		use(c, wide(gd.bg_block_bitmap_lo, gd.bg_block_bitmap_hi), 1, 0);
		use(c, wide(gd.bg_inode_bitmap_lo, gd.bg_inode_bitmap_hi), 1, 0);
		use(c, wide(gd.bg_inode_table_lo, gd.bg_inode_table_hi), itable, 0);
	}
}

static bool inode_get(struct check *c, ino_nr_t ino, struct ext_disk_inode *out)
{
	const struct ext_disk_group gd = group_at(c, (ino - 1) / c->inodes_per_group);
	const uint64_t at = wide(gd.bg_inode_table_lo, gd.bg_inode_table_hi) * c->block_bytes +
			    (uint64_t)((ino - 1) % c->inodes_per_group) * c->inode_bytes;

	const void *from = bytes_at(c, at);

	if (!from)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out, from, MIN((size_t)c->inode_bytes, sizeof(*out)));
	return true;
}

static bool inode_marked(struct check *c, ino_nr_t ino)
{
	const struct ext_disk_group gd = group_at(c, (ino - 1) / c->inodes_per_group);
	const uint64_t map = wide(gd.bg_inode_bitmap_lo, gd.bg_inode_bitmap_hi);

	if (le16_get(gd.bg_flags) & EXT_BG_INODE_UNINIT || map >= c->nr_blocks)
		return false;
	return bit(block_at(c, map), (ino - 1) % c->inodes_per_group);
}

/* Blocks of an inode --------------------------------------------------------------------------------- */

/* fn gets each block of contents, 0 for none is left out. */
typedef void block_fn(struct check *c, ino_nr_t ino, uint64_t lblk, uint64_t pblk);

struct walk {
	ino_nr_t ino;
	uint64_t lblk;		/* of the next pointer */
	uint64_t nr;		/* blocks, map blocks included */
	block_fn *fn;
};

static void walk_pointer(struct check *c, struct walk *w, uint32_t pblk, unsigned depth)
{
	const uint32_t per_block = c->block_bytes / sizeof(le32);
	uint64_t span = 1;

	for (unsigned i = 0; i < depth; i++)
		span *= per_block;
	if (!pblk || !use(c, pblk, 1, w->ino)) {
		w->lblk += span;
		return;
	}
	w->nr++;
	if (!depth) {
		if (w->fn)
			w->fn(c, w->ino, w->lblk, pblk);
		w->lblk++;
		return;
	}
	for (uint32_t i = 0; i < per_block; i++)
		walk_pointer(c, w, le32_get(((le32 *)block_at(c, pblk))[i]), depth - 1);
}

static void walk_extents(struct check *c, struct walk *w, const void *node, unsigned depth)
{
	const struct ext_disk_extent_header *h = node;

	if (le16_get(h->eh_magic) != EXT_EXTENT_MAGIC || le16_get(h->eh_depth) > MAX_DEPTH ||
	    le16_get(h->eh_depth) != depth) {
		fault(c, "inode %" PRIu32 ": extent node has a bad head", w->ino);
		return;
	}
	for (unsigned i = 0; i < le16_get(h->eh_entries); i++) {
		const struct ext_disk_extent *e = (const struct ext_disk_extent *)(h + 1) + i;
		const struct ext_disk_extent_idx *x = (const struct ext_disk_extent_idx *)e;
		uint64_t len = le16_get(e->ee_len), pblk;

		if (depth) {
			pblk = le32_get(x->ei_leaf_lo) | (uint64_t)le16_get(x->ei_leaf_hi) << 32;
			if (use(c, pblk, 1, w->ino)) {
				w->nr++;
				walk_extents(c, w, block_at(c, pblk), depth - 1);
			}
			continue;
		}
		len = len > EXTENT_LEN_MAX ? len - EXTENT_LEN_MAX : len;
		pblk = le32_get(e->ee_start_lo) | (uint64_t)le16_get(e->ee_start_hi) << 32;
		if (!use(c, pblk, len, w->ino))
			continue;
		w->nr += len;
		for (uint64_t b = 0; w->fn && b < len; b++)
			w->fn(c, w->ino, le32_get(e->ee_block) + b, pblk + b);
	}
}

static bool has_map(const struct ext_disk_inode *in)
{
	const uint32_t mode = le16_get(in->i_mode);

	if (le32_get(in->i_flags) & EXT_FL_INLINE_DATA)
		return false;
	if (S_ISLNK(mode))	/* short targets lie in i_block */
		return le32_get(in->i_size_lo) >= sizeof(in->i_block);
	return S_ISREG(mode) || S_ISDIR(mode);
}

/* Blocks in use by the map; counts them all. */
static uint64_t walk_map(struct check *c, ino_nr_t ino, const struct ext_disk_inode *in, block_fn *fn)
{
	struct walk w = { .ino = ino, .fn = fn };

	if (!has_map(in))
		return 0;
	if (le32_get(in->i_flags) & EXT_FL_EXTENTS) {
		const struct ext_disk_extent_header *h = (const void *)in->i_block;

		walk_extents(c, &w, h, le16_get(h->eh_depth));
		return w.nr;
	}
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		walk_pointer(c, &w, le32_get(in->i_block[i]), i < EXT_NR_DIRECT ? 0 : i - EXT_NR_DIRECT + 1);
	return w.nr;
}

/* Directories ---------------------------------------------------------------------------------------- */

static void see_entry(struct check *c, ino_nr_t dir, const struct ext_disk_dirent *de)
{
	const uint32_t ino = le32_get(de->inode);
	const bool dot = de->name_len == 1 && de->name[0] == '.';
	const bool dotdot = de->name_len == 2 && !memcmp(de->name, "..", 2);

	if (!ino)
		return;
	if (ino > c->nr_inodes || !inode_marked(c, ino)) {
		fault(c, "directory %" PRIu32 ": entry \"%.*s\" leads to inode %" PRIu32 ", which is not in use", dir,
		      de->name_len, de->name, ino);
		return;
	}
	if (dotdot)
		c->parent_refs[ino]++;
	else if (!dot)
		c->refs[ino]++;
	else if (ino != dir)
		fault(c, "directory %" PRIu32 ": \".\" leads to inode %" PRIu32, dir, ino);
}

static void see_dir_bytes(struct check *c, ino_nr_t dir, const uint8_t *p, uint32_t len)
{
	for (uint32_t at = 0; at < len; ) {
		const struct ext_disk_dirent *de = (const void *)(p + at);
		uint32_t rec_len = len - at < 8 ? 0 : le16_get(de->rec_len);

		if (len == 65536 && (rec_len == 65535 || !rec_len))
			rec_len = 65536;
		if (rec_len < 8 || rec_len % 4 || rec_len > len - at || 8u + de->name_len > rec_len) {
			fault(c, "directory %" PRIu32 ": bad entry at byte %" PRIu32 " of a block", dir, at);
			return;
		}
		see_entry(c, dir, de);
		at += rec_len;
	}
}

/* Inner blocks of a hash tree look like one unused entry. */
static void see_dir_block(struct check *c, ino_nr_t dir, uint64_t lblk, uint64_t pblk)
{
	see_dir_bytes(c, dir, block_at(c, pblk), c->block_bytes);
}

static void see_inline_dir(struct check *c, ino_nr_t dir, const struct ext_disk_inode *in)
{
	const uint32_t parent = le32_get(in->i_block[0]);

	if (parent && parent <= c->nr_inodes)
		c->parent_refs[parent]++;
	see_dir_bytes(c, dir, (const uint8_t *)in->i_block + sizeof(le32), EXT_INLINE_BYTES - sizeof(le32));
}

/* Inodes ----------------------------------------------------------------------------------------------- */

static void see_inode(struct check *c, ino_nr_t ino)
{
	struct ext_disk_inode in;
	uint64_t nr, sects, acl;
	bool is_dir;

	if (!inode_get(c, ino, &in))
		return;
	is_dir = S_ISDIR(le16_get(in.i_mode));
	if (ino >= EXT_FIRST_INO_DEFAULT && !le16_get(in.i_links_count)) {
		fault(c, "inode %" PRIu32 " (mode %o, size %" PRIu32 ") is in use without a link", ino, le16_get(in.i_mode),
		      le32_get(in.i_size_lo));
	}
	nr = walk_map(c, ino, &in, is_dir ? see_dir_block : NULL);
	if (is_dir && le32_get(in.i_flags) & EXT_FL_INLINE_DATA)
		see_inline_dir(c, ino, &in);
	acl = le32_get(in.i_file_acl_lo) | (uint64_t)le16_get(in.i_file_acl_hi) << 32;
	if (acl && acl < c->nr_blocks) {
		nr++;
		if (!c->xattr_users[acl]++)
			use(c, acl, 1, ino);
	} else if (acl) {
		fault(c, "inode %" PRIu32 ": attribute block %" PRIu64 " does not exist", ino, acl);
	}
	sects = le32_get(in.i_blocks_lo) | (uint64_t)le16_get(in.i_blocks_hi) << 32;
	if (sects != nr * (c->block_bytes >> SECT_SHIFT))
		fault(c, "inode %" PRIu32 ": i_blocks is %" PRIu64 ", its blocks are %" PRIu64, ino, sects,
		      nr * (c->block_bytes >> SECT_SHIFT));
}

static void check_links(struct check *c, ino_nr_t ino)
{
	struct ext_disk_inode in;
	uint32_t links, found;

	if (!inode_get(c, ino, &in) || (ino < EXT_FIRST_INO_DEFAULT && ino != EXT_ROOT_INO))
		return;
	links = le16_get(in.i_links_count);
	if (S_ISDIR(le16_get(in.i_mode))) {
		if (ino != EXT_ROOT_INO && c->refs[ino] != 1)
			fault(c, "directory %" PRIu32 " is named by %u entries", ino, c->refs[ino]);
		/* ".", children's ".." (the root's own is one), its name */
		found = 1u + c->parent_refs[ino] + (ino != EXT_ROOT_INO);
	} else {
		found = c->refs[ino];
	}
	if (links != found && !(S_ISDIR(le16_get(in.i_mode)) && links == 1))
		fault(c, "inode %" PRIu32 " (mode %o): link count %" PRIu32 ", %" PRIu32 " found", ino, le16_get(in.i_mode),
		      links, found);
}

static void check_inodes(struct check *c)
{
	for (uint32_t ino = 1; ino <= c->nr_inodes; ino++)
		if (inode_marked(c, ino))
			see_inode(c, ino);
	for (uint32_t ino = 1; ino <= c->nr_inodes; ino++)
		if (inode_marked(c, ino))
			check_links(c, ino);
	for (uint64_t b = 0; b < c->nr_blocks; b++) {
		const struct ext_disk_xattr_header *h = c->xattr_users[b] ? block_at(c, b) : NULL;

		if (h && le32_get(h->h_refcount) != c->xattr_users[b])
			fault(c, "attribute block %" PRIu64 ": counts %" PRIu32 " users, has %u", b, le32_get(h->h_refcount),
			      c->xattr_users[b]);
	}
}

/* Bitmaps and counts ------------------------------------------------------------------------------------- */

static uint64_t check_group_blocks(struct check *c, uint32_t g, const struct ext_disk_group *gd)
{
	const bool uninit = le16_get(gd->bg_flags) & EXT_BG_BLOCK_UNINIT;
	const uint64_t at = wide(gd->bg_block_bitmap_lo, gd->bg_block_bitmap_hi);
	const uint8_t *map = block_at(c, at < c->nr_blocks ? at : 0);
	const uint64_t first = c->first_block + (uint64_t)g * c->blocks_per_group;
	const uint64_t end = MIN(first + c->blocks_per_group, c->nr_blocks);
	uint64_t nr_free = 0;

	for (uint64_t b = first; b < end; b++) {
		nr_free += !c->used[b];
		if (!uninit && bit(map, b - first) != !!c->used[b])
			fault(c, "block %" PRIu64 " is %s in the bitmap, %s by an inode", b,
			      bit(map, b - first) ? "used" : "free", c->used[b] ? "used" : "not used");
	}
	if (nr_free != (le16_get(gd->bg_free_blocks_count_lo) | (uint32_t)le16_get(gd->bg_free_blocks_count_hi) << 16))
		fault(c, "group %" PRIu32 ": counts %u free blocks, has %" PRIu64, g,
		      le16_get(gd->bg_free_blocks_count_lo), nr_free);
	return nr_free;
}

static uint64_t check_group_inodes(struct check *c, uint32_t g, const struct ext_disk_group *gd)
{
	uint64_t nr_free = 0, nr_dirs = 0;

	for (uint32_t i = 0; i < c->inodes_per_group; i++) {
		const ino_nr_t ino = g * c->inodes_per_group + i + 1;
		struct ext_disk_inode in;

		if (!inode_marked(c, ino))
			nr_free++;
		else if (inode_get(c, ino, &in) && S_ISDIR(le16_get(in.i_mode)))
			nr_dirs++;
	}
	if (nr_free != (le16_get(gd->bg_free_inodes_count_lo) | (uint32_t)le16_get(gd->bg_free_inodes_count_hi) << 16))
		fault(c, "group %" PRIu32 ": counts %u free inodes, has %" PRIu64, g,
		      le16_get(gd->bg_free_inodes_count_lo), nr_free);
	if (nr_dirs != (le16_get(gd->bg_used_dirs_count_lo) | (uint32_t)le16_get(gd->bg_used_dirs_count_hi) << 16))
		fault(c, "group %" PRIu32 ": counts %u directories, has %" PRIu64, g,
		      le16_get(gd->bg_used_dirs_count_lo), nr_dirs);
	return nr_free;
}

static void check_counts(struct check *c)
{
	uint64_t nr_blocks = 0, nr_inodes = 0;

	for (uint32_t g = 0; g < c->nr_groups; g++) {
		const struct ext_disk_group gd = group_at(c, g);

		nr_blocks += check_group_blocks(c, g, &gd);
		nr_inodes += check_group_inodes(c, g, &gd);
	}
	if (nr_blocks != wide(c->sb.s_free_blocks_count_lo, c->sb.s_free_blocks_count_hi))
		fault(c, "superblock counts %" PRIu32 " free blocks, there are %" PRIu64,
		      le32_get(c->sb.s_free_blocks_count_lo), nr_blocks);
	if (nr_inodes != le32_get(c->sb.s_free_inodes_count))
		fault(c, "superblock counts %" PRIu32 " free inodes, there are %" PRIu64,
		      le32_get(c->sb.s_free_inodes_count), nr_inodes);
}

/* All together ------------------------------------------------------------------------------------------------ */

static int load_super(struct check *c)
{
	const struct ext_disk_super *sb = &c->sb;
	const int err = blk_read(c->volume, EXT_SUPER_OFF_BYTES >> SECT_SHIFT, &c->sb, sizeof(c->sb));

	if (err)
		return err;
	c->block_bytes = 1024u << MIN(le32_get(sb->s_log_block_size), 6u);
	c->inode_bytes = le16_get(sb->s_inode_size);
	c->desc_bytes = EXT_DESC_BYTES_32;
	if (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_64BIT)
		c->desc_bytes = le16_get(sb->s_desc_size);
	c->blocks_per_group = le32_get(sb->s_blocks_per_group);
	c->inodes_per_group = le32_get(sb->s_inodes_per_group);
	c->first_block = le32_get(sb->s_first_data_block);
	c->nr_blocks = le32_get(sb->s_blocks_count_lo);
	c->nr_inodes = le32_get(sb->s_inodes_count);
	if (le16_get(sb->s_magic) != EXT_MAGIC || !c->blocks_per_group || !c->inodes_per_group || !c->inode_bytes ||
	    c->desc_bytes > sizeof(struct ext_disk_group) || c->nr_blocks * c->block_bytes > c->nr_bytes) {
		fault(c, "no superblock that can be worked with");
		return -EUCLEAN;
	}
	c->nr_groups = (uint32_t)DIV_UP(c->nr_blocks - c->first_block, (uint64_t)c->blocks_per_group);
	if (!(le16_get(sb->s_state) & EXT_STATE_VALID) || le16_get(sb->s_state) & EXT_STATE_ERROR)
		fault(c, "state is %x: not clean", le16_get(sb->s_state));
	if (le32_get(sb->s_feature_incompat) & EXT_INCOMPAT_RECOVER)
		fault(c, "the journal is marked as not empty");
	if (le32_get(sb->s_last_orphan))
		fault(c, "inode %" PRIu32 " is on the orphan list", le32_get(sb->s_last_orphan));
	return 0;
}

static int look(struct check *c)
{
	int err = load_super(c);

	if (err)
		return err;
	c->bytes = malloc((size_t)(c->nr_blocks * c->block_bytes));
	c->loaded = calloc(c->nr_blocks + 1, 1);
	c->used = calloc(c->nr_blocks, 1);
	c->xattr_users = calloc(c->nr_blocks, sizeof(*c->xattr_users));
	c->refs = calloc(c->nr_inodes + 1, sizeof(*c->refs));
	c->parent_refs = calloc(c->nr_inodes + 1, sizeof(*c->parent_refs));
	if (!c->bytes || !c->loaded || !c->used || !c->xattr_users || !c->refs || !c->parent_refs)
		return -ENOMEM;
	use_fixed(c);
	check_inodes(c);
	check_counts(c);
	return c->err;
}

int lab_check(struct blk_dev *volume, FILE *out)
{
	struct check c = { .out = out, .volume = volume, .nr_bytes = blk_nr_sects(volume) << SECT_SHIFT };
	const int err = c.nr_bytes > MAX_VOLUME_BYTES ? -EFBIG : look(&c);

	free(c.bytes);
	free(c.loaded);
	free(c.used);
	free(c.xattr_users);
	free(c.refs);
	free(c.parent_refs);
	return err ? err : c.nr_faults ? -EUCLEAN : 0;
}
