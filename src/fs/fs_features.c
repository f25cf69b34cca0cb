/*
 * fs_features.c: the features of the format by name, and what osfs makes of each.
 * A bit that has no row is unknown: refused among the incompat ones, read-only among the ro_compat
 * ones, of no concern among the compat ones (that is what the three sets mean).
 */
#include "fs/fs_int.h"

enum policy {
	WRITE,		/* we keep it up */
	READ,		/* we can read it but not keep it up */
	REFUSE,
};

struct feature {
	char set;	/* 'c' compat, 'i' incompat, 'r' ro_compat */
	uint32_t bit;
	const char *name;
	enum policy policy;
	const char *why;	/* READ, REFUSE: what is said; NULL: that it is not supported */
};

static const struct feature features[] = {
	{ 'c', EXT_COMPAT_DIR_PREALLOC, "dir_prealloc", WRITE, NULL },
	{ 'c', EXT_COMPAT_IMAGIC_INODES, "imagic_inodes", WRITE, NULL },
	{ 'c', EXT_COMPAT_HAS_JOURNAL, "has_journal", WRITE, NULL },
	{ 'c', EXT_COMPAT_EXT_ATTR, "ext_attr", WRITE, NULL },
	{ 'c', EXT_COMPAT_RESIZE_INODE, "resize_inode", WRITE, NULL },
	{ 'c', EXT_COMPAT_DIR_INDEX, "dir_index", WRITE, NULL },
	{ 'c', EXT_COMPAT_LAZY_BG, "lazy_bg", WRITE, NULL },
	{ 'c', EXT_COMPAT_EXCLUDE_BITMAP, "snapshot_bitmap", READ, NULL },
	{ 'c', EXT_COMPAT_SPARSE_SUPER2, "sparse_super2", WRITE, NULL },
	{ 'c', EXT_COMPAT_FAST_COMMIT, "fast_commit", WRITE, NULL },
	{ 'c', EXT_COMPAT_STABLE_INODES, "stable_inodes", WRITE, NULL },
	{ 'c', EXT_COMPAT_ORPHAN_FILE, "orphan_file", WRITE, NULL },

	{ 'i', EXT_INCOMPAT_COMPRESSION, "compression", REFUSE, NULL },
	{ 'i', EXT_INCOMPAT_FILETYPE, "filetype", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_RECOVER, "needs_recovery", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_JOURNAL_DEV, "journal_dev", REFUSE, "this is a journal's device, not a filesystem" },
	{ 'i', EXT_INCOMPAT_META_BG, "meta_bg", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_EXTENTS, "extent", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_64BIT, "64bit", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_MMP, "mmp", REFUSE, NULL },
	{ 'i', EXT_INCOMPAT_FLEX_BG, "flex_bg", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_EA_INODE, "ea_inode", REFUSE, NULL },
	{ 'i', EXT_INCOMPAT_DIRDATA, "dirdata", REFUSE, NULL },
	{ 'i', EXT_INCOMPAT_CSUM_SEED, "metadata_csum_seed", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_LARGEDIR, "large_dir", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_INLINE_DATA, "inline_data", WRITE, NULL },
	{ 'i', EXT_INCOMPAT_ENCRYPT, "encrypt", REFUSE, NULL },
	{ 'i', EXT_INCOMPAT_CASEFOLD, "casefold", REFUSE, NULL },

	{ 'r', EXT_RO_COMPAT_SPARSE_SUPER, "sparse_super", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_LARGE_FILE, "large_file", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_BTREE_DIR, "btree_dir", READ, NULL },
	{ 'r', EXT_RO_COMPAT_HUGE_FILE, "huge_file", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_GDT_CSUM, "uninit_bg", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_DIR_NLINK, "dir_nlink", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_EXTRA_ISIZE, "extra_isize", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_HAS_SNAPSHOT, "snapshot", READ, NULL },
	{ 'r', EXT_RO_COMPAT_QUOTA, "quota", READ, "quotas are not kept up" },
	{ 'r', EXT_RO_COMPAT_BIGALLOC, "bigalloc", REFUSE, NULL },
	{ 'r', EXT_RO_COMPAT_METADATA_CSUM, "metadata_csum", WRITE, NULL },
	{ 'r', EXT_RO_COMPAT_REPLICA, "replica", READ, NULL },
	{ 'r', EXT_RO_COMPAT_READONLY, "read-only", READ, "it is marked so" },
	{ 'r', EXT_RO_COMPAT_PROJECT, "project", READ, "quotas are not kept up" },
	{ 'r', EXT_RO_COMPAT_SHARED_BLOCKS, "shared_blocks", READ, NULL },
	{ 'r', EXT_RO_COMPAT_VERITY, "verity", READ, NULL },
	{ 'r', EXT_RO_COMPAT_ORPHAN_PRESENT, "orphan_present", WRITE, NULL },
};

static const struct feature *feature_find(char set, uint32_t bit)
{
	for (unsigned i = 0; i < ARRAY_LEN(features); i++)
		if (features[i].set == set && features[i].bit == bit)
			return &features[i];
	return NULL;
}

const char *fs_feature_name(char set, uint32_t bit)
{
	const struct feature *f = feature_find(set, bit);

	return f ? f->name : NULL;
}

static enum policy policy_unknown(char set)
{
	return set == 'i' ? REFUSE : set == 'r' ? READ : WRITE;
}

static void tell(const char *name, char set, uint32_t bit, enum policy policy)
{
	const struct feature *f = feature_find(set, bit);
	const char *set_name = set == 'i' ? "incompat" : set == 'r' ? "ro_compat" : "compat";
	const char *why = f && f->why ? f->why : "it is not supported";

	if (policy == REFUSE)
		log_error("%s: feature %s (%s bit %#" PRIx32 "): %s", name, f ? f->name : "unknown", set_name, bit, why);
	else
		log_warn("%s: read-only because of feature %s (%s bit %#" PRIx32 "): %s", name,
			 f ? f->name : "unknown", set_name, bit, why);
}

/* Tells all that is refused, so that one look is enough. */
static enum policy set_check(const char *name, char set, uint32_t bits, bool want_write)
{
	enum policy worst = WRITE;

	for (uint32_t bit = 1; bit; bit <<= 1) {
		const struct feature *f = feature_find(set, bit);
		const enum policy p = f ? f->policy : policy_unknown(set);

		if (!(bits & bit) || p == WRITE)
			continue;
		if (p == REFUSE || want_write)
			tell(name, set, bit, p);
		worst = MAX(worst, p);
	}
	return worst;
}

int fs_features_check(const struct ext_disk_super *sb, const char *name, bool want_write, bool *read_only)
{
	const enum policy i = set_check(name, 'i', le32_get(sb->s_feature_incompat), want_write);
	const enum policy r = set_check(name, 'r', le32_get(sb->s_feature_ro_compat), want_write);
	const enum policy c = set_check(name, 'c', le32_get(sb->s_feature_compat), want_write);

	if (i == REFUSE || r == REFUSE)
		return -EOPNOTSUPP;
	*read_only = i == READ || r == READ || c == READ;
	return 0;
}
