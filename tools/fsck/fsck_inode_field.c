/* fsck_inode_field.c: flags and fields of an inode that mean the same for all types. */
#include "fsck_inode.h"

static void drop_flag(struct inode_look *l, enum problem pr, uint32_t flag)
{
	if (fsck_fix(l->w, pr, .ino = l->ino, .num = flag)) {
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) & ~flag);
		l->dirty = true;
	}
}

static bool looks_like_extents(const struct ext_disk_inode *raw)
{
	const struct ext_disk_extent_header *h = (const void *)raw->i_block;

	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && le16_get(h->eh_depth) < 5 && le16_get(h->eh_max) > 0 &&
	       le16_get(h->eh_max) <= 4 && le16_get(h->eh_entries) <= le16_get(h->eh_max);
}

/* The inode is in order, but the superblock has lost the feature. Asked for the first such inode; they are many. */
static void want_feature(struct inode_look *l, enum problem pr, uint32_t feature)
{
	struct fsck *f = l->f;

	if (!has_incompat(f, feature) && fsck_fix(l->w, pr, .ino = l->ino))
		fsck_set_features(f, f->compat, f->incompat | feature);
}

/* Flags of features that fsck refuses to look at when they are on. */
enum { FOREIGN_FLAGS = EXT_FL_ENCRYPT | EXT_FL_VERITY | EXT_FL_EA_INODE | EXT_FL_CASEFOLD | 0x200 /* compressed */,
       IMAGIC_FLAG = 0x2000 };

static void look_at_flags(struct inode_look *l)
{
	const uint32_t flags = le32_get(l->raw->i_flags);
	const bool maps = S_ISREG(l->mode) || S_ISDIR(l->mode);

	if (flags & FOREIGN_FLAGS)
		drop_flag(l, P1_FLAG_FEATURE, flags & FOREIGN_FLAGS);
	if ((flags & IMAGIC_FLAG) && !has_compat(l->f, EXT_COMPAT_IMAGIC_INODES))
		drop_flag(l, P1_FLAG_FEATURE, IMAGIC_FLAG);
	if ((flags & EXT_FL_EXTENTS) && (maps || S_ISLNK(l->mode)) && !(flags & EXT_FL_INLINE_DATA) &&
	    looks_like_extents(l->raw))
		want_feature(l, P1_EXTENT_FEATURE, EXT_INCOMPAT_EXTENTS);
	else if ((flags & EXT_FL_EXTENTS) && (!has_incompat(l->f, EXT_INCOMPAT_EXTENTS) || (flags & EXT_FL_INLINE_DATA)))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_EXTENTS);
	else if (maps && has_incompat(l->f, EXT_INCOMPAT_EXTENTS) && !(flags & (EXT_FL_EXTENTS | EXT_FL_INLINE_DATA)) &&
		 looks_like_extents(l->raw) && fsck_fix(l->w, P1_EXTENT_FLAG, .ino = l->ino)) {
		l->raw->i_flags = le32_of(le32_get(l->raw->i_flags) | EXT_FL_EXTENTS);
		l->dirty = true;
	}
	if ((flags & EXT_FL_INLINE_DATA) && maps && fsck_inline_part(l->f, l->raw).value)
		want_feature(l, P1_INLINE_FEATURE, EXT_INCOMPAT_INLINE_DATA);
	else if ((flags & EXT_FL_INLINE_DATA) && !has_incompat(l->f, EXT_INCOMPAT_INLINE_DATA))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_INLINE_DATA);
	if ((flags & EXT_FL_INDEX) && !S_ISDIR(l->mode))
		drop_flag(l, P1_INDEX_NO_DIR, EXT_FL_INDEX);
	else if ((flags & EXT_FL_INDEX) && (!has_compat(l->f, EXT_COMPAT_DIR_INDEX) || (flags & EXT_FL_INLINE_DATA)))
		drop_flag(l, P1_FLAG_FEATURE, EXT_FL_INDEX);
}

/* A negative time with all epoch bits set: a writer that did not know them meant the former only. */
static void look_at_times(struct inode_look *l)
{
	enum { EPOCH = 3 };
	struct ext_disk_inode *raw = l->raw;
	const struct {
		le32 low, *extra;
		size_t end;
	} times[] = {
		{ raw->i_ctime, &raw->i_ctime_extra, offsetof(struct ext_disk_inode, i_mtime_extra) },
		{ raw->i_mtime, &raw->i_mtime_extra, offsetof(struct ext_disk_inode, i_atime_extra) },
		{ raw->i_atime, &raw->i_atime_extra, offsetof(struct ext_disk_inode, i_crtime) },
		{ raw->i_crtime, &raw->i_crtime_extra, offsetof(struct ext_disk_inode, i_version_hi) },
	};
	bool bad = false;

	if (l->f->inode_bytes == EXT_GOOD_OLD_INODE_BYTES)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		bad |= times[i].end <= EXT_GOOD_OLD_INODE_BYTES + (size_t)le16_get(raw->i_extra_isize) &&
		       (int32_t)le32_get(times[i].low) < 0 && (le32_get(*times[i].extra) & EPOCH) == EPOCH;
	if (!bad || !fsck_fix(l->w, P1_TIME, .ino = l->ino))
		return;
	for (unsigned i = 0; i < ARRAY_LEN(times); i++)
		*times[i].extra = le32_of(le32_get(*times[i].extra) & ~(uint32_t)EPOCH);
	l->dirty = true;
}

void inode_check_fields(struct inode_look *l)
{
	struct ext_disk_inode *raw = l->raw;

	if (l->f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES) {
		const unsigned extra = le16_get(raw->i_extra_isize), max = l->f->inode_bytes - EXT_GOOD_OLD_INODE_BYTES;

		if (extra && (extra < 4 || extra > max || extra % 4) &&
		    fsck_fix(l->w, P1_EXTRA_ISIZE, .ino = l->ino, .num = extra)) {
			const unsigned want = le16_get(l->f->sb.s_want_extra_isize);

			raw->i_extra_isize = le16_of((uint16_t)(want >= 4 && want <= max && want % 4 == 0 ? want : MIN(32u, max)));
			l->dirty = true;
		}
	}
	look_at_times(l);
	if (le32_get(raw->i_dtime) && fsck_fix(l->w, l->ino == EXT_ROOT_INO ? P1_ROOT_DTIME : P1_DTIME_SET, .ino = l->ino)) {
		raw->i_dtime = le32_of(0);
		l->dirty = true;
	}
	if (le32_get(raw->i_obso_faddr) &&
	    fsck_fix(l->w, P1_FADDR, .ino = l->ino, .num = le32_get(raw->i_obso_faddr))) {
		raw->i_obso_faddr = le32_of(0);
		l->dirty = true;
	}
	if (!has_incompat(l->f, EXT_INCOMPAT_64BIT) && le16_get(raw->i_file_acl_hi) &&
	    fsck_fix(l->w, P1_ACL_HIGH, .ino = l->ino, .num = le16_get(raw->i_file_acl_hi))) {
		raw->i_file_acl_hi = le16_of(0);
		l->dirty = true;
	}
	if (!S_ISREG(l->mode) && le32_get(raw->i_size_hi) &&
	    fsck_fix(l->w, P1_SIZE_HIGH, .ino = l->ino, .num = le32_get(raw->i_size_hi))) {
		raw->i_size_hi = le32_of(0);
		l->dirty = true;
	}
	look_at_flags(l);
}

bool inode_is_garbage(const struct inode_look *l)
{
	const unsigned extra = l->f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES ? le16_get(l->raw->i_extra_isize) : 0;
	unsigned nr_bad = 0;

	if (!fsck_ft_of(l->mode) || extra % 4 || extra > l->f->inode_bytes - EXT_GOOD_OLD_INODE_BYTES)
		return true;
	if (!inode_has_map(l->f, l->raw))
		return false;
	if (le32_get(l->raw->i_flags) & EXT_FL_EXTENTS)
		return !looks_like_extents(l->raw);
	for (unsigned i = 0; i < EXT_NR_BLOCK; i++)
		nr_bad += l->raw->i_block[i].raw && !fsck_data_ok(l->f, le32_get(l->raw->i_block[i]), 1);
	return nr_bad >= EXT_NR_BLOCK / 2;
}

bool inode_is_no_special(const struct inode_look *l)
{
	enum { DEVICE_WORDS = 4 };	/* as many as e2fsck leaves to the number of a device */

	if (S_ISREG(l->mode) || S_ISDIR(l->mode) || S_ISLNK(l->mode))
		return false;
	for (unsigned i = DEVICE_WORDS; i < EXT_NR_BLOCK; i++)
		if (l->raw->i_block[i].raw)
			return true;
	return false;
}
