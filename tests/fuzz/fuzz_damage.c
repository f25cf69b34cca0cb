/*
 * fuzz_damage.c: scripts of damage.
 *
 * An operation, 16 bytes: class, target (2), offset (2), kind, width, a value to choose (1), value
 * (4), another target (2), spare (2). Class and target are taken modulo what there is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"
#include "fs/ext_layout.h"
#include "fuzz.h"
#include "journal/jbd2_file.h"

struct op {
	uint8_t class, kind, width, choice;
	uint16_t target, off, other;
	uint32_t value;
};

enum { OP_SET, OP_ADD, OP_FLIP, OP_FILL, OP_COPY, OP_POINT, OP_SELF, OP_INODE, OP_NR_KINDS };

static struct op op_load(const uint8_t *p)
{
	return (struct op){
		.class = p[0], .target = (uint16_t)(p[1] | p[2] << 8), .off = (uint16_t)(p[3] | p[4] << 8), .kind = p[5] % OP_NR_KINDS,
		.width = p[6], .choice = p[7], .value = p[8] | p[9] << 8 | p[10] << 16 | (uint32_t)p[11] << 24,
		.other = (uint16_t)(p[12] | p[13] << 8) };
}

/* Numbers at the edges of things. */
static uint32_t value_of(const struct op *op)
{
	static const uint32_t edges[] = {
		0, 1, 2, 3, 4, 7, 8, 11, 12, 16, 60, 64, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 8192, 32767, 32768, 65535, 65536,
		0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff, 0x10000000, 0x80000, 0x1000, 0xf30a, 0xea020000,
	};

	return op->choice < 128 ? op->value : edges[op->choice % ARRAY_LEN(edges)];
}

static void put(uint8_t *at, size_t room, unsigned width, uint64_t value)
{
	const le64 v = le64_of(value);

	memcpy(at, &v, MIN(room, (size_t)1 << width % 4));
}

/* Where it is done: mostly at the start, where the heads are. */
static size_t off_of(const struct op *op, size_t len)
{
	const size_t off = op->width & 0x80 ? op->off % len : op->off % MIN(len, (size_t)256);

	return op->width & 0x40 ? off : off & ~(size_t)1;
}

void fuzz_damage_bytes(uint8_t *bytes, size_t len, const uint8_t *p)
{
	const struct op op = op_load(p);
	const size_t off = off_of(&op, len), room = len - off;
	uint64_t old = 0;

	switch (op.kind) {
	case OP_ADD:
		memcpy(&old, bytes + off, MIN(room, sizeof(old)));
		put(bytes + off, room, op.width, old + (int8_t)op.value);
		break;
	case OP_FLIP:
		bytes[off] ^= (uint8_t)(1 << op.value % 8);
		break;
	case OP_FILL:
		memset(bytes + off, (int)op.value, MIN(room, (size_t)(op.value >> 8) % 512 + 1));
		break;
	default:
		put(bytes + off, room, op.width, value_of(&op));
	}
}

/* One operation on the image; the target that it was done to. */
static const struct fuzz_target *damage(const struct fuzz_image *img, uint8_t *bytes, const uint8_t *p, unsigned classes)
{
	const struct op op = op_load(p);
	const struct fuzz_target *t, *o;
	unsigned class = op.class % FUZZ_NR_CLASSES, nr;
	size_t off;

	while (!(classes & 1u << class) || img->first[class] == img->first[class + 1])
		class = (class + 1) % FUZZ_NR_CLASSES;
	nr = img->first[class + 1] - img->first[class];
	t = &img->targets[img->first[class] + op.target % nr];
	o = &img->targets[op.choice & 1 ? img->first[class] + op.other % nr : op.other % img->nr_targets];
	off = off_of(&op, t->len);
	switch (op.kind) {
	case OP_COPY:
		memmove(bytes + t->off, bytes + o->off, MIN(t->len, o->len));
		break;
	case OP_POINT:		/* to another one's block, or one near it */
		put(bytes + t->off + off, t->len - off, 2, o->pblk + (op.choice & 2 ? op.value % 4 : 0));
		break;
	case OP_SELF:
		put(bytes + t->off + off, t->len - off, 2, t->pblk);
		break;
	case OP_INODE:
		put(bytes + t->off + off, t->len - off, 2, o->nr);
		break;
	default:
		fuzz_damage_bytes(bytes + t->off, t->len, p);
	}
	return t;
}

/* Checksums ---------------------------------------------------------------------------------- */

struct seal {
	uint8_t *bytes;
	const struct ext_disk_super *sb;	/* damaged or not: who reads reckons with it */
	uint32_t seed, block_bytes, desc_bytes;
	const struct fuzz_image *img;
};

static const struct fuzz_target *target_of(const struct seal *s, enum fuzz_class class, uint32_t nr)
{
	for (unsigned i = s->img->first[class]; i < s->img->first[class + 1]; i++)
		if (s->img->targets[i].nr == nr)
			return &s->img->targets[i];
	return NULL;
}

static uint32_t inode_seed(const struct seal *s, uint32_t ino)
{
	const struct fuzz_target *t = target_of(s, FUZZ_INODE, ino);

	return ext_inode_csum_seed(s->seed, ino, t ? le32_get(((struct ext_disk_inode *)(s->bytes + t->off))->i_generation) : 0);
}

static void seal_inode(const struct seal *s, const struct fuzz_target *t)
{
	struct ext_disk_inode *raw = (struct ext_disk_inode *)(s->bytes + t->off);
	const uint32_t csum = ext_inode_csum(inode_seed(s, t->nr), raw, t->len);

	raw->i_checksum_lo = le16_of((uint16_t)csum);
	if (ext_inode_has_csum_hi(raw, t->len))
		raw->i_checksum_hi = le16_of((uint16_t)(csum >> 16));
}

static void seal_dir(const struct seal *s, const struct fuzz_target *t)
{
	uint8_t *block = s->bytes + t->off;
	const uint32_t seed = inode_seed(s, t->nr);
	const unsigned off = ext_dx_entries_off(block, s->block_bytes);
	struct ext_disk_dir_tail *tail = (struct ext_disk_dir_tail *)(block + s->block_bytes - sizeof(*tail));
	const struct ext_disk_dx_countlimit *cl = (const void *)(block + off);

	if (off && off + (le16_get(cl->limit) + 1u) * sizeof(struct ext_disk_dx_entry) <= s->block_bytes &&
	    le16_get(cl->count) <= le16_get(cl->limit)) {
		struct ext_disk_dx_tail *dx = (void *)(block + off + le16_get(cl->limit) * sizeof(struct ext_disk_dx_entry));

		dx->checksum = le32_of(ext_dx_csum(seed, block, off, le16_get(cl->count), dx));
	} else if (tail->fake_type == EXT_FT_DIR_CSUM) {
		tail->checksum = le32_of(crc32c(seed, block, s->block_bytes - sizeof(*tail)));
	}
}

static void seal_extent(const struct seal *s, const struct fuzz_target *t)
{
	uint8_t *block = s->bytes + t->off;
	const size_t at = sizeof(struct ext_disk_extent_header) +
			  le16_get(((struct ext_disk_extent_header *)block)->eh_max) * sizeof(struct ext_disk_extent);
	const le32 csum = le32_of(at + 4 <= s->block_bytes ? crc32c(inode_seed(s, t->nr), block, at) : 0);

	if (at + 4 <= s->block_bytes)
		memcpy(block + at, &csum, sizeof(csum));
}

/* Of a bitmap: into the descriptor, which is sealed later. */
static void seal_bitmap(const struct seal *s, const struct fuzz_target *t, bool inodes)
{
	const struct fuzz_target *desc = target_of(s, FUZZ_DESC, t->nr);
	struct ext_disk_group *d = (struct ext_disk_group *)(s->bytes + desc->off);
	const uint32_t nr_bits = le32_get(inodes ? s->sb->s_inodes_per_group : s->sb->s_blocks_per_group);
	const uint32_t csum = ext_bitmap_csum(s->seed, s->bytes + t->off, MIN(nr_bits, s->block_bytes * 8), s->desc_bytes);

	if (inodes)
		d->bg_inode_bitmap_csum_lo = le16_of((uint16_t)csum);
	else
		d->bg_block_bitmap_csum_lo = le16_of((uint16_t)csum);
	if (s->desc_bytes < EXT_DESC_BYTES_64)
		return;
	if (inodes)
		d->bg_inode_bitmap_csum_hi = le16_of((uint16_t)(csum >> 16));
	else
		d->bg_block_bitmap_csum_hi = le16_of((uint16_t)(csum >> 16));
}

static void seal_desc(const struct seal *s, const struct fuzz_target *t)
{
	struct ext_disk_group *d = (struct ext_disk_group *)(s->bytes + t->off);

	d->bg_checksum = le16_of(ext_group_csum(s->sb, s->seed, t->nr, d, t->len));
}

static void seal_journal(const struct seal *s, const struct fuzz_target *t)
{
	const struct fuzz_target *head = &s->img->targets[s->img->first[FUZZ_JOURNAL]];
	struct jbd2_file f = { .block_bytes = s->block_bytes };
	struct jnl_disk_header h;

	memcpy(&f.sb, s->bytes + head->off, sizeof(f.sb));
	jbd2_file_settle(&f);
	memcpy(&h, s->bytes + t->off, sizeof(h));
	switch (be32_get(h.h_blocktype)) {
	case JNL_SB_V1:
	case JNL_SB_V2:
		jbd2_sb_seal((struct jnl_disk_sb *)(s->bytes + t->off));
		break;
	case JNL_COMMIT:
		jbd2_commit_seal(&f, s->bytes + t->off);
		break;
	default:
		jbd2_tail_seal(&f, s->bytes + t->off);
	}
}

static void seal_one(const struct seal *s, const struct fuzz_target *t)
{
	switch (t->class) {
	case FUZZ_INODE: seal_inode(s, t); break;
	case FUZZ_DIR: seal_dir(s, t); break;
	case FUZZ_EXTENT: seal_extent(s, t); break;
	case FUZZ_BLOCK_BITMAP: seal_bitmap(s, t, false); break;
	case FUZZ_INODE_BITMAP: seal_bitmap(s, t, true); break;
	case FUZZ_DESC: seal_desc(s, t); break;
	case FUZZ_JOURNAL: seal_journal(s, t); break;
	case FUZZ_XATTR:
		((struct ext_disk_xattr_header *)(s->bytes + t->off))->h_checksum =
			le32_of(ext_xattr_block_csum(s->seed, t->pblk, s->bytes + t->off, s->block_bytes));
		break;
	default: break;
	}
}

/* From the leaves to the superblock. Fields of the superblock that checksums depend on count as they are now. */
static void seal_all(const struct fuzz_image *img, uint8_t *bytes, const struct fuzz_target *const *touched, unsigned nr)
{
	struct ext_disk_super *sb = (struct ext_disk_super *)(bytes + EXT_SUPER_OFF_BYTES);
	const struct ext_disk_super *sound = (const struct ext_disk_super *)(img->bytes + EXT_SUPER_OFF_BYTES);
	const struct seal s = {
		.bytes = bytes, .sb = sb, .seed = ext_csum_seed(sb), .img = img,
		.block_bytes = EXT_MIN_BLOCK_BYTES << le32_get(sound->s_log_block_size), .desc_bytes = ext_desc_bytes(sound) };

	for (unsigned class = FUZZ_NR_CLASSES; class-- > 0;)
		for (unsigned i = 0; i < nr; i++) {
			if (touched[i]->class != class)
				continue;
			seal_one(&s, touched[i]);
			if (class == FUZZ_BLOCK_BITMAP || class == FUZZ_INODE_BITMAP)
				seal_desc(&s, target_of(&s, FUZZ_DESC, touched[i]->nr));
			if (class == FUZZ_INODE)	/* its generation is in the checksums of its blocks */
				for (unsigned k = img->first[FUZZ_DIR]; k < img->first[FUZZ_DIR + 1]; k++)
					if (img->targets[k].nr == touched[i]->nr)
						seal_dir(&s, &img->targets[k]);
		}
	sb->s_checksum = le32_of(ext_super_csum(sb));
}

/* A device over bytes: what mem: does, without the many small allocations, which sanitizers make slow. */
struct flat {
	struct blk_dev dev;
	uint8_t *bytes;
};

static bool flat_submit(struct blk_dev *d, struct blk_io *io, bool alone)
{
	uint8_t *at = container_of(d, struct flat, dev)->bytes + (io->sect << SECT_SHIFT);

	(void)alone;
	io->err = 0;
	if (io->op == BLK_ZERO || io->op == BLK_DISCARD)
		memset(at, 0, io->nr_sects << SECT_SHIFT);
	for (unsigned i = 0; (io->op == BLK_READ || io->op == BLK_WRITE) && i < io->nr_iov; at += io->iov[i++].iov_len) {
		if (io->op == BLK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
	}
	return true;
}

static void flat_close(struct blk_dev *d)
{
	struct flat *f = container_of(d, struct flat, dev);

	blk_dev_fini(d);
	free(f->bytes);
	free(f);
}

static const struct blk_ops flat_ops = { .name = "flat", .submit = flat_submit, .close = flat_close };

/* OSFS_FUZZ_KEEP=FILE: the damaged image, for other tools to look at. */
static void keep_image(const uint8_t *bytes, uint64_t nr_bytes)
{
	const char *path = getenv("OSFS_FUZZ_KEEP");
	FILE *f = path ? fopen(path, "w") : NULL;

	if (f) {
		fwrite(bytes, 1, nr_bytes, f);
		fclose(f);
	}
}

struct blk_dev *fuzz_damaged(const struct fuzz_image *img, const uint8_t *data, size_t size, unsigned classes)
{
	const struct fuzz_target *touched[FUZZ_OPS_MAX];
	struct flat *f;
	unsigned nr = 0;
	uint8_t *bytes;

	if (size < FUZZ_HEAD_BYTES + FUZZ_OP_BYTES)
		return NULL;
	f = calloc(1, sizeof(*f));
	bytes = malloc(img->nr_bytes);
	if (!f || !bytes || blk_dev_init(&f->dev, &flat_ops, "image", img->nr_bytes >> SECT_SHIFT, false))
		fuzz_fail("no memory");
	f->bytes = bytes;
	memcpy(bytes, img->bytes, img->nr_bytes);
	for (size_t at = FUZZ_HEAD_BYTES; at + FUZZ_OP_BYTES <= size && nr < FUZZ_OPS_MAX; at += FUZZ_OP_BYTES)
		touched[nr++] = damage(img, bytes, data + at, classes);
	if (data[1] >> 5)
		seal_all(img, bytes, touched, nr);
	keep_image(bytes, img->nr_bytes);
	return &f->dev;
}
