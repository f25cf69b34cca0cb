/* fs_status.c: numbers about the whole filesystem. */
#include "fs/fs_int.h"

/* Blocks that users can have: all but the fixed metadata, as the kernel's statfs counts. */
void fs_statfs(struct fs *fs, struct statvfs *out)
{
	const uint64_t free = atomic_load(&fs->free_blocks);
	const uint64_t kept = fs->nr_reserved_blocks;

	*out = (struct statvfs){
		.f_bsize = fs->block_bytes,
		.f_frsize = fs->block_bytes,
		.f_blocks = fs->nr_blocks - fs->overhead_blocks,
		.f_bfree = free,
		.f_bavail = free > kept ? free - kept : 0,
		.f_files = fs->nr_inodes,
		.f_ffree = atomic_load(&fs->free_inodes),
		.f_favail = atomic_load(&fs->free_inodes),
		.f_namemax = EXT_NAME_MAX,
	};
}

void fs_status_get(struct fs *fs, struct fs_status *out)
{
	*out = (struct fs_status){
		.block_bytes = fs->block_bytes,
		.inode_bytes = fs->inode_bytes,
		.nr_groups = fs->nr_groups,
		.nr_blocks = fs->nr_blocks,
		.nr_free_blocks = atomic_load(&fs->free_blocks),
		.nr_reserved_blocks = fs->nr_reserved_blocks,
		.nr_inodes = fs->nr_inodes,
		.nr_free_inodes = atomic_load(&fs->free_inodes),
		.compat = fs->compat,
		.incompat = fs->incompat,
		.ro_compat = fs->ro_compat,
		.read_only = fs_is_read_only(fs),
		.has_journal = fs_has_compat(fs, EXT_COMPAT_HAS_JOURNAL),
	};
	fs_icache_count(fs, &out->nr_cached_inodes, &out->nr_referenced_inodes);
	os_mutex_lock(&fs->super_lock);
	memcpy(out->label, fs->super.s_volume_name, sizeof(fs->super.s_volume_name));
	memcpy(out->uuid, fs->super.s_uuid, sizeof(out->uuid));
	out->error = fs->first_error;
	os_mutex_unlock(&fs->super_lock);
}

static void features_to_text(char set, uint32_t bits, FILE *out)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = fs_feature_name(set, 1u << bit);

		if (!(bits & 1u << bit))
			continue;
		if (name)
			fprintf(out, " %s", name);
		else
			fprintf(out, " %c%#x", set, 1u << bit);
	}
}

void fs_to_text(struct fs *fs, FILE *out)
{
	struct fs_status st;

	fs_status_get(fs, &st);
	fprintf(out, "filesystem '%s' on %s: %s%s\n", st.label, blk_name(fs->dev), st.read_only ? "read-only" : "read-write",
		st.error ? ", with errors" : "");
	fprintf(out, "  blocks of %u: %" PRIu64 ", %" PRIu64 " free, %" PRIu64 " reserved; inodes of %u: %" PRIu64 ", %" PRIu64
		" free\n", st.block_bytes, st.nr_blocks, st.nr_free_blocks, st.nr_reserved_blocks, st.inode_bytes, st.nr_inodes,
		st.nr_free_inodes);
	fputs("  features:", out);
	features_to_text('c', st.compat, out);
	features_to_text('i', st.incompat, out);
	features_to_text('r', st.ro_compat, out);
	fprintf(out, "\n  inodes in memory: %" PRIu64 ", %" PRIu64 " of them referenced\n", st.nr_cached_inodes,
		st.nr_referenced_inodes);
}
