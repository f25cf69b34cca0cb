/*
 * fs_int.h: what the files of src/fs share.
 *
 * Who takes what, in rising order:
 *   fs->rename_lock   RANK_RENAME     moving a directory to another parent
 *   inode->lock       RANK_INODE      contents: file data, block map, directory entries, xattrs, inline
 *                                     data. Exclusive to change, shared to read. Several: by rising
 *                                     inode number (fs_lock_inodes).
 *   journal handle    RANK_HANDLE     begun after the inode locks, ended before they are dropped
 *   fs->orphan_lock   FS_RANK_ORPHAN  takes the inodes' meta one by one: none is held when it is taken
 *   inode->meta       RANK_INO_STORE  scalar fields; held while they change and are stored. Key: inode number.
 *   shard lock        RANK_INO_TABLE  the table of in-memory inodes
 *   fs->release_lock  FS_RANK_RELEASE giving out again what was freed
 *   group->lock       RANK_GROUP      bitmaps and counts of one group. Key: group number.
 *   fs->freed_lock    FS_RANK_FREED   the list of freed blocks that may not be used yet
 *   fs->super_lock    RANK_SUPER
 *
 * Invariants:
 *   F1  What comes from disk is checked once on the way in: the superblock and descriptors at the
 *       mount, every other block by its struct cache_kind, an inode in inode_load().
 *   F2  On-disk inodes are written only by fs_inode_store(), inside a handle.
 *   F3  A block is marked used in its bitmap in the same handle that points to it, and freed
 *       in the same handle that drops the pointer.
 *   F5  A freed block is not given out before the transaction that freed it is committed.
 *   F4  i_size and pointers change so that no stale block contents become visible: a fresh block
 *       is written or zeroed in the cache before it is within the size.
 */
#ifndef OSFS_FS_FS_INT_H
#define OSFS_FS_FS_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/trace.h"
#include "fs/ext_disk.h"
#include "fs/ext_layout.h"	/* checksums and superblock copies: use these, do not write them again */
#include "fs/fs.h"
#include "journal/jnl.h"

enum { FS_RANK_ORPHAN = RANK_INO_STORE - 1, FS_RANK_RELEASE = RANK_GROUP - 1,
       FS_RANK_FREED = RANK_GROUP + 1 };

/* fs_group.checked: what has been seen of a group's bitmaps, in memory only. */
enum {
	FS_GROUP_BLOCKS_SEEN = 1, FS_GROUP_BLOCKS_BAD = 2,	/* bad: logged, never used again */
	FS_GROUP_INODES_SEEN = 4, FS_GROUP_INODES_BAD = 8,
};

struct fs_group {
	os_mutex lock;			/* RANK_GROUP, key: number */
	uint32_t nr;			/* [const] */
	pblk_t block_bitmap, inode_bitmap, inode_table;	/* [const] */
	uint32_t nr_blocks;		/* [const] the last group is shorter */
	/* Change with lock held; may be looked at without, to choose a group. */
	atomic_uint free_blocks, free_inodes, used_dirs;
	atomic_uint longest_run;	/* no run of free blocks is longer; looked at without lock, too */
	uint32_t itable_unused;		/* [lock] */
	uint16_t flags;			/* [lock] EXT_BG_* */
	uint16_t checked;		/* [lock] FS_GROUP_* */
	uint32_t block_bitmap_csum, inode_bitmap_csum;	/* [lock] as in the descriptor */
	uint32_t block_hint, inode_hint;	/* [lock] no free bit before it */
	uint8_t *pending;		/* [lock] bits of freed blocks that may not be used yet; NULL: none */
	uint32_t nr_pending;		/* [lock] how many */
	atomic_uint readahead;		/* the window of the inode table that was read ahead last, plus one */
	struct list reservations;	/* [lock] of struct fs_reservation, oldest first */
	unsigned nr_reservations;	/* [lock] */
};

/*
 * Blocks set aside in memory for a growing file, so that several files do not interleave:
 * others do not take them while there are other free blocks. Nothing is counted as used.
 * It lies within one group, which takes the oldest one back when it has too many: nobody
 * tells when a file grows no more.
 */
struct fs_reservation {
	struct list link;		/* [group lock] in the group's list; by itself while nr is 0 */
	pblk_t first;			/* [the owner alone writes, under the group lock] */
	atomic_uint nr;			/* [group lock] 0: none; the owner may look without */
	uint32_t ahead;			/* [inode lock] how long the last one was made */
};

/* A run of blocks that hold metadata of fixed place: superblocks, descriptors, bitmaps, inode tables. */
struct fs_zone {
	pblk_t first;
	uint64_t nr;
};

struct fs_icache;			/* fs_icache.c */
struct jbd2_run;
struct jbd2_overlay;

/* fs_journal.c: where the journal lies, and what a read-only mount replayed. All [const after open]. */
struct fs_journal {
	struct jbd2_run *runs;		/* of its inode, by file block; NULL: none, or not looked at */
	size_t nr_runs;
	struct jbd2_overlay *overlay;	/* read-only: frames with what the log had */
	bool in_use;			/* fs->jnl is this journal */
};

/* Blocks that were freed in a transaction that is not committed (fs_pending.c). */
struct fs_freed {
	jnl_tid tid;
	pblk_t first;
	uint32_t nr;			/* all in one group */
};

struct fs {
	struct blk_dev *dev;
	struct cache *cache;
	struct jnl *jnl;
	struct alloc *alloc;
	struct fs_opts opts;		/* [const] */
	atomic_bool read_only;		/* set at open or by errors= */
	bool opened_rw;			/* [const after open] the superblock says "mounted" and must be told of the end */
	bool was_valid;			/* [const after open] the last mount had ended cleanly */
	bool was_clean;			/* [const after open] and had met no errors */
	/* Geometry: [const after open] */
	uint32_t block_bytes, block_shift;
	uint32_t ptrs_per_block_shift;	/* block pointers in an indirect block: 1 << this */
	uint64_t nr_blocks;
	uint32_t first_data_block, blocks_per_group, inodes_per_group, nr_groups;
	uint32_t nr_inodes, first_ino;
	uint32_t itable_blocks;		/* of one group */
	uint32_t inode_bytes, desc_bytes, want_extra_isize;
	uint32_t groups_per_flex_shift;
	uint32_t compat, incompat, ro_compat;
	uint32_t csum_seed;		/* crc32c(~0, uuid) or s_checksum_seed; of all metadata checksums */
	uint32_t hash_seed[4];
	uint8_t hash_version;		/* EXT_HASH_* with the signedness of s_flags taken in */
	uint64_t nr_reserved_blocks;	/* for root */
	uint64_t max_file_bytes;	/* of an indirect-mapped file */
	uint64_t overhead_blocks;	/* for statfs f_blocks as the kernel has it (minixdf off) */
	struct fs_group *groups;	/* [const] */
	struct fs_zone *zones;		/* [const] sorted, apart from each other */
	uint32_t nr_zones;

	os_mutex super_lock;		/* RANK_SUPER */
	struct ext_disk_super super;	/* [super_lock] as last written, but for the counters */
	struct cache_buf *super_buf;	/* [const] the block it lies in, pinned; contents change under super_lock */
	uint64_t start_written_bytes;	/* [const after open] of the device, at the mount; for s_kbytes_written */
	struct rng rng;			/* [super_lock] */
	int first_error;		/* [super_lock] */
	bool super_changed;		/* [super_lock] beside the counters; not stored yet */
	atomic_bool panicked;		/* opts.panic was called */
	atomic_uint_fast64_t free_blocks, free_inodes;	/* sums over the groups */

	struct fs_journal journal;

	os_mutex freed_lock;		/* FS_RANK_FREED */
	struct fs_freed *freed;		/* [freed_lock] oldest first */
	size_t nr_freed, freed_cap;	/* [freed_lock] */
	os_mutex release_lock;		/* FS_RANK_RELEASE: those whose transaction is committed are released */
	atomic_uint_fast64_t nr_pending;	/* blocks that are freed and may not be used yet */

	os_mutex rename_lock;		/* RANK_RENAME */
	os_mutex orphan_lock;		/* FS_RANK_ORPHAN: s_last_orphan and the i_dtime chain */
	struct list orphans;		/* [orphan_lock] in-memory inodes on the disk's list, first first */

	struct fs_icache *icache;
};

/* Where a run of a file's blocks lies. */
struct fs_extent {
	lblk_t lblk;
	pblk_t pblk;		/* 0: a hole */
	uint32_t nr;		/* at least 1 */
};

struct fs_inode {
	/* The table of inodes (fs_icache.c) */
	struct fs *fs;			/* [const] */
	ino_nr_t ino;			/* [const] */
	struct fs_inode *hash_next;	/* [shard] */
	struct list idle_link;		/* [shard] on one of the shard's idle lists while nr_pins is 0 */
	uint32_t nr_pins;		/* [shard] fs_iget() minus fs_iput() */
	int load_err;			/* [shard] > 0 while it is being read; < 0: it could not be */
	uint64_t nr_refs;		/* [shard] the caller's memory of it (fs_lookup … fs_forget) */

	os_rwlock lock;			/* RANK_INODE, key: ino */
	os_mutex meta;			/* RANK_INO_STORE, key: ino */

	/* Fields of the disk inode. [meta]; those marked + change only with lock held exclusively too. */
	uint32_t generation;		/* [const while in memory] */
	uint16_t mode;			/* the type is const */
	uint16_t extra_isize;		/* [const while in memory] 0 with 128-byte inodes */
	uint32_t uid, gid, nlink;	/* nlink: a directory with 1 has "many" (dir_nlink) */
	uint32_t flags;			/* + */
	uint32_t dtime;			/* next inode of the orphan list while on it */
	uint64_t size_bytes;		/* + */
	uint64_t nr_sects;		/* + */
	pblk_t file_acl;		/* + */
	uint32_t projid;
	struct timespec atime, mtime, ctime, crtime;
	uint64_t version;
	uint32_t block[EXT_NR_BLOCK];	/* [lock] host order: map, or raw bytes (see fs_inode_block_bytes) */
	atomic_bool atime_dirty;	/* newer than on disk (lazy); set under meta */
	atomic_bool index_surveyed;	/* a directory's index of several levels leads to no more blocks than there are */
	bool on_orphan_list;		/* [orphan_lock] */
	struct list orphan_link;	/* [orphan_lock] */
	uint32_t csum_seed;		/* [const] crc32c(crc32c(fs seed, ino), generation) */

	const struct fs_map_ops *map;	/* [lock] NULL: contents are in the inode or it has none */
	struct fs_extent last_map;	/* [meta] the last extent found; nr 0: none */
	struct fs_reservation resv;
	uint64_t dirty_from, dirty_to;	/* [meta] bytes written since the last fsync; from >= to: none */
	/* [meta] The last transactions with a change of it, and with one that is more than times. 0: unknown. */
	jnl_tid sync_tid, datasync_tid;
	lblk_t dir_hint;		/* [lock] linear directories: first block that may have room */
};

/* Does file data go through the log (data=journal)? */
static inline bool fs_logs_data(const struct fs *fs) { return jnl_data_mode(fs->jnl) == JNL_DATA_JOURNAL; }
static inline bool fs_has_compat(const struct fs *fs, uint32_t bit) { return fs->compat & bit; }
static inline bool fs_has_incompat(const struct fs *fs, uint32_t bit) { return fs->incompat & bit; }
static inline bool fs_has_ro_compat(const struct fs *fs, uint32_t bit) { return fs->ro_compat & bit; }
static inline bool fs_has_csum(const struct fs *fs) { return fs_has_ro_compat(fs, EXT_RO_COMPAT_METADATA_CSUM); }
static inline bool fs_has_filetype(const struct fs *fs) { return fs_has_incompat(fs, EXT_INCOMPAT_FILETYPE); }
static inline bool fs_inode_is_dir(const struct fs_inode *i) { return S_ISDIR(i->mode); }
static inline bool fs_inode_has_inline(const struct fs_inode *i) { return i->flags & EXT_FL_INLINE_DATA; }

/* fs_super.c: mount, unmount, superblock ------------------------------------------ */
struct timespec fs_now(struct fs *fs);
uint32_t fs_random(struct fs *fs);
/*
 * Damage or a lost write was met: remembered in the superblock (EXT_STATE_ERROR), and the
 * errors= policy carried out. The line has been logged by the one who knew. Returns err.
 */
int fs_damaged(struct fs *fs, ino_nr_t ino, pblk_t pblk, int err);
/* The journal's abort hook: read-only from now on, whatever errors= says. */
void fs_journal_aborted(void *arg, int err);
/* Writes the in-memory superblock, with the counters of now, into its block, inside a handle (credits: 1). */
MUST_CHECK int fs_super_store(struct jnl_handle *h, struct fs *fs);
/* The same with a handle of its own, and durable. */
MUST_CHECK int fs_super_write(struct fs *fs);
/* At its place at once, past the log, and durable: while the log has no superblock and no handle is open. */
MUST_CHECK int fs_super_write_home(struct fs *fs);
/* -EROFS when nothing may be written, else 0. First line of everything that changes something. */
MUST_CHECK int fs_writable(struct fs *fs);

/*
 * fs_super_check.c: checks fs->super, sets the geometry and, where the features ask for it,
 * read_only. before_replay: a wrong checksum is let pass where there is a journal, whose replay may
 * mend a superblock that was torn; then it is to be read and checked again.
 */
MUST_CHECK int fs_super_check(struct fs *fs, bool before_replay);

/* fs_journal.c ------------------------------------------------------------------------- */
/* Before anything but the superblock is read: finds the journal and replays it. The cache is there. */
MUST_CHECK int fs_journal_recover(struct fs *fs);
/* fs->jnl, once the filesystem is known: the journal, or the null journal. */
MUST_CHECK int fs_journal_start(struct fs *fs);
/* The superblock says that the journal is in use, durably and at home. */
MUST_CHECK int fs_journal_mark_used(struct fs *fs);
/* At the unmount: everything is home and the superblock clean. jnl_free() is the caller's. */
MUST_CHECK int fs_journal_finish(struct fs *fs);
/* After jnl_free(). */
void fs_journal_fini(struct fs *fs);

/* fs_pending.c: freed blocks wait for their transaction (F5) --------------------------------- */
/* These blocks of one group, whose bits are about to be cleared, are not to be given out yet. group->lock held. */
MUST_CHECK int fs_pending_add(struct jnl_handle *h, struct fs *fs, struct fs_group *g, uint32_t from, uint32_t nr);
/* The journal's commit hook. */
void fs_pending_release(void *arg, jnl_tid tid);
void fs_pending_fini(struct fs *fs);
/*
 * After -ENOSPC, no handle open: commits when freed blocks wait for that, and tells whether it is
 * worth another try. *nr_tries begins with 0.
 */
bool fs_nospc_retry(struct fs *fs, int err, unsigned *nr_tries);

/* fs_features.c: what we have, what is read-only, what is refused -------------------- */
/* Decides by sb's features: 0; 0 with *read_only set, after a message with name; -EOPNOTSUPP after one. */
MUST_CHECK int fs_features_check(const struct ext_disk_super *sb, const char *name, bool want_write,
				 bool *read_only);

/* fs_group.c: descriptors and bitmap blocks ------------------------------------------ */
MUST_CHECK int fs_groups_load(struct fs *fs);	/* and the zones */
void fs_groups_free(struct fs *fs);
/* Writes a group's descriptor into its block. group->lock held. Credits: 1. */
MUST_CHECK int fs_group_store(struct jnl_handle *h, struct fs *fs, struct fs_group *g);
/* The bitmap block, checked, and initialised when the group was EXT_BG_*_UNINIT. group->lock held. */
MUST_CHECK int fs_group_block_bitmap(struct fs *fs, struct fs_group *g, struct cache_buf **out);
MUST_CHECK int fs_group_inode_bitmap(struct fs *fs, struct fs_group *g, struct cache_buf **out);
/* A bit of the bitmap changed: checksum, flags and counts go to the descriptor. Both: group->lock held. */
MUST_CHECK int fs_group_block_bitmap_dirty(struct jnl_handle *h, struct fs *fs, struct fs_group *g,
					   struct cache_buf *b);
MUST_CHECK int fs_group_inode_bitmap_dirty(struct jnl_handle *h, struct fs *fs, struct fs_group *g,
					   struct cache_buf *b);
/* Are the EXT_BG_* flags and itable_unused in force? */
static inline bool fs_has_group_csum(const struct fs *fs)
{
	return fs->ro_compat & (EXT_RO_COMPAT_METADATA_CSUM | EXT_RO_COMPAT_GDT_CSUM);
}
bool fs_group_has_super(const struct fs *fs, uint32_t group);
/* The block that holds a group's descriptor, and the place in it. */
pblk_t fs_group_desc_block(const struct fs *fs, uint32_t group, uint32_t *off_bytes);
static inline pblk_t fs_group_first_block(const struct fs *fs, uint32_t group)
{
	return (pblk_t)group * fs->blocks_per_group + fs->first_data_block;
}
static inline struct fs_group *fs_group_of_block(const struct fs *fs, pblk_t pblk)
{
	return &fs->groups[(pblk - fs->first_data_block) / fs->blocks_per_group];
}
static inline struct fs_group *fs_group_of_inode(const struct fs *fs, ino_nr_t ino)
{
	return &fs->groups[(ino - 1) / fs->inodes_per_group];
}
/* fs_zone.c: where the fixed metadata lies. */
MUST_CHECK int fs_zones_load(struct fs *fs);	/* from the groups' locations; -EUCLEAN when two overlap */
/* Descriptor blocks (copies and reserved ones too) right behind the place of the superblock in a group. */
uint32_t fs_group_nr_desc_blocks(const struct fs *fs, uint32_t group);
/* Calls fn for each part of a zone that lies in the blocks [first, first + nr). */
void fs_zones_in(const struct fs *fs, pblk_t first, uint64_t nr, void (*fn)(void *arg, pblk_t pblk, uint64_t nr),
		 void *arg);
/* Is nr blocks from pblk inside the device and clear of superblocks, descriptors, bitmaps, inode tables? */
bool fs_data_blocks_ok(const struct fs *fs, pblk_t pblk, uint64_t nr);

/* fs_balloc.c: blocks ------------------------------------------------------------------ */
enum {
	FS_CREDITS_ALLOC = 2,		/* fs_blocks_alloc: one group's bitmap and descriptor */
	FS_CREDITS_FREE_GROUP = 2,	/* fs_blocks_free: the same, for each group that the blocks lie in */
};
/*
 * Up to want contiguous blocks at goal or near it (0: near the inode's group); *got >= 1, all
 * in one group. With for_data the blocks behind are reserved, the more the longer the file grows
 * in sequence. Adds to the inode's nr_sects in memory (takes meta; the caller stores the inode).
 * The blocks reserved for root are given out with fs_opts.use_reserved only. -ENOSPC.
 * inode->lock held exclusively.
 */
MUST_CHECK int fs_blocks_alloc(struct jnl_handle *h, struct fs_inode *inode, pblk_t goal, uint32_t want,
			       bool for_data, pblk_t *pblk, uint32_t *got);
/*
 * Frees and takes off nr_sects (takes meta). metadata: also jnl_forget; data: cache_forget.
 * -EUCLEAN, and nothing done, when the blocks are not all data blocks; blocks that are free
 * already are logged and left.
 */
MUST_CHECK int fs_blocks_free(struct jnl_handle *h, struct fs_inode *inode, pblk_t pblk, uint32_t nr,
			      bool metadata);
/* What fs_blocks_alloc gave out in this handle, and nobody put anything into: others may have it at once. */
MUST_CHECK int fs_blocks_give_back(struct jnl_handle *h, struct fs_inode *inode, pblk_t pblk, uint32_t nr);
void fs_reservation_drop(struct fs_inode *inode);	/* inode->lock held exclusively */
/* Where to start for an inode that has no block yet. */
pblk_t fs_blocks_goal(struct fs_inode *inode);

/* fs_ialloc.c, fs_ialloc_group.c: inode numbers ------------------------------------------------------------ */
/*
 * A new inode, in memory, pinned and exclusively known to the caller, marked used on disk and
 * initialised (mode, owner by cred and the setgid rule of dir, times, generation, extra_isize,
 * csum seed, map); nlink 0, not stored yet: the caller fills it in and calls fs_inode_store().
 * Directories are spread over groups, files lie near their directory.
 */
MUST_CHECK int fs_inode_alloc(struct jnl_handle *h, struct fs_inode *dir, const struct fs_cred *cred, uint32_t mode,
			      struct fs_inode **out);
/* Marks the number free and clears the disk inode (dtime set). Contents are gone already. */
MUST_CHECK int fs_inode_free(struct jnl_handle *h, struct fs_inode *inode);

/* fs_icache.c: inodes in memory ---------------------------------------------------------- */
MUST_CHECK int fs_icache_init(struct fs *fs);
/* At the unmount: all references are void. Access times are stored, unlinked inodes destroyed. */
void fs_icache_drain(struct fs *fs);
void fs_icache_fini(struct fs *fs);
/*
 * Finds or reads inode ino and pins it. -ESTALE free inode, -EUCLEAN damaged or out of range.
 * Call it with no handle open and no lock above RANK_INODE: it may store others' access times.
 */
MUST_CHECK int fs_iget(struct fs *fs, ino_nr_t ino, struct fs_inode **out);
/* As fs_iget, and an inode without links that the disk's orphan list names is had, too. */
MUST_CHECK int fs_iget_orphan(struct fs *fs, ino_nr_t ino, struct fs_inode **out);
/* Unpins. The last one of an unlinked inode without references destroys its contents: call it with no
 * lock and no handle. NULL is fine. */
void fs_iput(struct fs_inode *inode);
static inline void fs_iput_cleanup(struct fs_inode **i) { fs_iput(*i); }
#define CLEANUP_INODE __attribute__((cleanup(fs_iput_cleanup)))
/* One more reference of the caller's (fs_lookup and so on). The inode is pinned. */
void fs_inode_ref(struct fs_inode *inode);
/* A new inode enters the table (fs_inode_alloc). Pinned once. -ENOMEM. */
MUST_CHECK int fs_icache_new(struct fs *fs, ino_nr_t ino, struct fs_inode **out);
/* Unpins a new inode whose making failed: it is forgotten, its number is free already. NULL is fine. */
void fs_icache_abandon(struct fs_inode *inode);
/* Stores the access times that are newer than on disk. No lock, no handle. */
MUST_CHECK int fs_icache_store_atimes(struct fs *fs);
void fs_icache_count(struct fs *fs, uint64_t *nr_cached, uint64_t *nr_referenced);
/* Locks up to 4 inodes exclusively by rising number; NULLs and doubles are skipped. */
void fs_lock_inodes(struct fs_inode **inodes, unsigned nr);
void fs_unlock_inodes(struct fs_inode **inodes, unsigned nr);

/* fs_inode.c: disk inode and memory inode ----------------------------------------------- */
MUST_CHECK int fs_inode_load(struct fs_inode *inode, bool orphan_too);
/* All fields into the inode table block, checksum too; the tids of fsync. inode->meta held. Credits: 1. */
MUST_CHECK int fs_inode_store(struct jnl_handle *h, struct fs_inode *inode);
/* The block of the inode table that holds it, and the inode's bytes in it. */
MUST_CHECK int fs_inode_get_raw(struct fs_inode *inode, struct cache_buf **b, struct ext_disk_inode **raw);
/* Checksum over raw as it stands in its block, written into it. */
void fs_inode_seal(const struct fs_inode *inode, struct ext_disk_inode *raw);
void fs_inode_attr(struct fs_inode *inode, struct fs_attr *out);	/* takes meta */
/* i_block as bytes: fast symlinks, inline data, device numbers. Conversion from/to the disk is verbatim. */
void fs_inode_block_bytes_get(const struct fs_inode *inode, uint8_t out[static EXT_INLINE_BYTES]);
void fs_inode_block_bytes_set(struct fs_inode *inode, const uint8_t in[static EXT_INLINE_BYTES]);
/* Device number, where the format has it in i_block. */
uint64_t fs_inode_rdev(const struct fs_inode *inode);
void fs_inode_set_rdev(struct fs_inode *inode, uint64_t rdev);
/* Sets mtime and ctime (or ctime only) to now. meta held. */
void fs_inode_touch(struct fs_inode *inode, bool mtime);
/*
 * fs_orphan.c: puts on / takes off the on-disk orphan list and stores the inode; what is so
 * already is left. No meta held. Credits: FS_CREDITS_ORPHAN (superblock, this inode, the neighbour).
 */
MUST_CHECK int fs_orphan_add(struct jnl_handle *h, struct fs_inode *inode);
MUST_CHECK int fs_orphan_del(struct jnl_handle *h, struct fs_inode *inode);
/* At mount: finishes deletions and truncates that a crash left, on the list or in the orphan file. */
MUST_CHECK int fs_orphans_process(struct fs *fs);
/* A truncation that was begun is carried out, and the inode taken off the list. No lock, no handle. */
MUST_CHECK int fs_orphan_finish_truncate(struct fs_inode *inode);
MUST_CHECK int fs_orphan_file_process(struct fs *fs);	/* fs_orphan_file.c */
/* Contents, attribute block, then the inode: what the last fs_iput() of an unlinked inode does. */
int fs_inode_destroy(struct fs_inode *inode);

/* fs_map.c, fs_map_ind.c: file block to filesystem block ---------------------------------- */
struct fs_map_ops {
	const char *name;
	/* The extent that holds lblk, cut to max blocks; a hole has pblk 0. inode->lock held (shared is enough). */
	int (*find)(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out);
	/* Like find, but a hole is filled: *fresh tells whether the blocks are new. lock held exclusively. */
	int (*fill)(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
		    bool *fresh);
	/*
	 * Frees the blocks [from, to) (to UINT64_MAX: all behind) and map blocks that become empty.
	 * May jnl_restart(h) at consistent points. lock held exclusively.
	 */
	int (*punch)(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to);
	/* Most metadata blocks that fill of nr blocks may dirty, beside those of fs_blocks_alloc. */
	unsigned (*fill_credits)(const struct fs_inode *inode, uint32_t nr);
	/* The same for one step of punch: map blocks changed, freed or new, with their bitmaps. */
	unsigned (*punch_credits)(const struct fs_inode *inode);
	/* Steps of one handle: few enough for small logs, and not to hold off the write-back of metadata. */
	unsigned punch_steps;
};
extern const struct fs_map_ops fs_map_ind;
/* Sets inode->map for its type and flags. -EUCLEAN, -EOPNOTSUPP (message). */
MUST_CHECK int fs_map_init(struct fs_inode *inode);
/* i_block and flag of an empty map, of the kind that the filesystem gives new inodes. meta held. */
void fs_map_new(struct fs_inode *inode);
/* The largest size that the inode can have. */
uint64_t fs_map_max_bytes(const struct fs_inode *inode);
/* inode->map through last_map. */
MUST_CHECK int fs_map_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out);
MUST_CHECK int fs_map_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max,
			   struct fs_extent *out, bool *fresh);
MUST_CHECK int fs_map_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to);

/* Credits, as sums in words (fs_credits.c) -------------------------------------------------- */
/* One fs_map_fill of up to nr data blocks: map blocks, bitmap and descriptor each group touched, superblock, inode. */
unsigned fs_credits_fill(const struct fs_inode *inode, uint32_t nr);
/* One consistent step of fs_map_punch. */
unsigned fs_credits_punch_step(const struct fs_inode *inode);
/* Adding one name to dir: a leaf split up to the root, new blocks, the directory's inode. */
unsigned fs_credits_dir_add(const struct fs_inode *dir);
/* Removing or replacing one name: the block, the directory's inode. */
unsigned fs_credits_dir_remove(const struct fs_inode *dir);
/* fs_inode_alloc: bitmap, descriptor, superblock, inode table block (+ attribute block). */
unsigned fs_credits_inode_alloc(const struct fs *fs);
/* One xattr or inline-data change: inode, attribute block old and new, with their allocation. */
unsigned fs_credits_xattr(const struct fs *fs);
enum { FS_CREDITS_INODE = 1, FS_CREDITS_ORPHAN = 3 };

/* fs_file.c: contents of regular files ------------------------------------------------------- */
/* Grows or shrinks a regular file (fs_setattr). lock held exclusively, no handle open. */
MUST_CHECK int fs_file_truncate(struct fs_inode *inode, uint64_t size_bytes);
/* Frees everything that the inode's map holds, for destroy. lock held exclusively, no handle open. */
MUST_CHECK int fs_file_free_blocks(struct fs_inode *inode);

/* fs_inline.c: contents in the inode (EXT_FL_INLINE_DATA) --------------------------------------
 * The first 60 bytes are i_block, the rest the value of the in-inode attribute system.data.
 * lock held (exclusively to change).
 */
unsigned fs_inline_max_bytes(struct fs_inode *inode);	/* what could fit now, with the other attributes there */
MUST_CHECK int fs_inline_read(struct fs_inode *inode, void *buf, unsigned off, unsigned len);
/* Sets the whole contents to len bytes; -ENOSPC when they do not fit. Handle: credits xattr. */
MUST_CHECK int fs_inline_write(struct jnl_handle *h, struct fs_inode *inode, const void *buf, unsigned len);
/* Makes a new, empty inline file or directory (flag and empty system.data as the kernel has it). */
MUST_CHECK int fs_inline_init(struct jnl_handle *h, struct fs_inode *inode);
/* Takes flag and attribute away: the inode is a mapped one with no blocks; the caller writes the contents. */
MUST_CHECK int fs_inline_drop(struct jnl_handle *h, struct fs_inode *inode);

/* fs_xattr.c ------------------------------------------------------------------------------------ */
/* In-inode attributes only; used by fs_inline.c. Value pointer into the block, or -ENODATA. */
struct fs_xattr_space {
	unsigned used_bytes, free_bytes;
};
/* Frees the attribute block (or drops one reference of a shared one), for destroy. */
MUST_CHECK int fs_xattr_free(struct jnl_handle *h, struct fs_inode *inode);
/* Default ACL of a new inode's directory, carried over; and nothing when there is none. */
MUST_CHECK int fs_xattr_inherit(struct jnl_handle *h, struct fs_inode *dir, struct fs_inode *inode);

/* fs_dir*.c, fs_htree*.c, fs_hash.c: directory contents ------------------------------------------
 * dir->lock held (exclusively to change); handles by the caller with the credits above.
 */
MUST_CHECK int fs_dir_find(struct fs_inode *dir, struct fs_name name, ino_nr_t *ino, unsigned *type);
/* -EEXIST is the caller's to have checked. type: EXT_FT_*. Touches dir's size, blocks, times; stores dir. */
MUST_CHECK int fs_dir_add(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino,
			  unsigned type);
MUST_CHECK int fs_dir_remove(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name);
/* The entry's inode and type change in place (rename over, exchange, ".."). */
MUST_CHECK int fs_dir_set(struct jnl_handle *h, struct fs_inode *dir, struct fs_name name, ino_nr_t ino,
			  unsigned type);
/* Contents of a new directory: "." and "..", in the inode or in a first block. */
MUST_CHECK int fs_dir_init(struct jnl_handle *h, struct fs_inode *dir, ino_nr_t parent);
/* 1 empty, 0 not. */
MUST_CHECK int fs_dir_is_empty(struct fs_inode *dir);

/* Hash of a name as the on-disk trees have it. version: EXT_HASH_*. */
MUST_CHECK int fs_hash_name(const uint32_t seed[static 4], uint8_t version, struct fs_name name, uint32_t *major,
			    uint32_t *minor);

#endif
