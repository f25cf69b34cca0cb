/*
 * fsck_int.h: what the files of tools/fsck share.
 *
 *   fsck.c              fsck_check(): the passes in order, restarts, the end
 *   fsck_problem.c      what is said and asked; counts; --json
 *   fsck_io.c           reading; changed blocks, kept until there are many
 *   fsck_undo.c         before-images
 *   fsck_super.c        superblock and copies       fsck_group.c    descriptors
 *   fsck_journal.c      replay, journal inode       fsck_orphan.c   orphan list and file
 *   fsck_resize.c       the resize inode             fsck_search.c   a lost inode table
 *   fsck_bad.c          blocks that cannot be read (-c)
 *   fsck_pass1.c        inodes, by groups on all processors
 *   fsck_inode.c        one inode as a whole        fsck_inode_raw.c    how it lies on disk
 *   fsck_inode_field.c  fields of all types         fsck_inode_type.c   contents by type
 *   fsck_walk.c         one block map, indirect     fsck_walk_extent.c  one of extents
 *   fsck_extent.c       a node of extents           fsck_extent_tree.c  a tree of them made anew
 *   fsck_map.c          maps changed for repairs
 *   fsck_xattr.c        attributes                  fsck_dup.c      pass 1B
 *   fsck_pass2.c        directories, by windows     fsck_dir.c      one directory
 *   fsck_view.c         a directory in memory       fsck_htree.c    the index of a directory
 *   fsck_rebuild.c      a directory written anew    fsck_progress.c how far it is
 *   fsck_pass3.c        connectivity, lost+found, rebuilding
 *   fsck_pass4.c        link counts                 fsck_pass5.c    bitmaps and summaries
 *   fsck_alloc.c        blocks and inodes for repairs
 *   fsck_share.c        a pass on several processors
 *
 *   K1  Passes detect and call fsck_fix(); only when that says yes they change something. With
 *       FSCK_NO it never does, and fsck_block_write() refuses.
 *   K2  A block's before-image is in the undo file, durably, before the block is written.
 *   K3  What is read is checked before it is used as an index, a length, or a block number.
 *   K4  A worker of passes 1 and 2 decides nothing: an object that is not perfect is left as it
 *       was, put on a list, and done again by the main thread, in order of its number. So the
 *       outcome and what is said do not depend on threads.
 *   K5  Work is bounded by the size of the filesystem: no map block is followed twice in one
 *       map, and the passes begin anew at most FSCK_MAX_ROUNDS times.
 */
#ifndef OSFS_TOOLS_FSCK_FSCK_INT_H
#define OSFS_TOOLS_FSCK_FSCK_INT_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "fs/ext_disk.h"
#include "fs/ext_layout.h"
#include "fs/fs_bits.h"
#include "fsck.h"
#include "journal/jbd2_map.h"

enum {
	FSCK_WINDOW_BYTES = 4 << 20,		/* directory blocks read at once */
	FSCK_DIR_MAX_BYTES = 256 << 20,		/* of one directory */
	FSCK_DIRTY_BYTES = 32 << 20,		/* changed blocks in memory, then they are written */
	FSCK_ITABLE_BYTES = 1 << 20,		/* of an inode table read at once */
	FSCK_MAX_ROUNDS = 6,
	FSCK_MAX_THREADS = 8,
};

/* Problems ------------------------------------------------------------------------ */
enum problem {
#define PROBLEM(id, flags, text, question) id,
#include "fsck_problems.h"
#undef PROBLEM
	NR_PROBLEMS
};

struct fsck_args {
	ino_nr_t ino, dir;
	pblk_t pblk;
	lblk_t lblk;
	uint32_t group;
	uint64_t num, num2;
	const char *str;
	size_t str_len;		/* 0: str ends with NUL */
};

struct fsck;

/* Who looks: the main thread (dry false), or a worker, whose questions only make it note a suspect (K4). */
struct worker {
	struct fsck *f;
	bool dry, suspect;
	uint8_t *map_buf[6];	/* map blocks on the way down, allocated when needed */
	struct jbd2_map seen;	/* map blocks of the walk under way (K5) */
	struct inode_scratch *inode;	/* fsck_inode.c */
	struct dir_scratch *dir;	/* fsck_dir.c */
};

/* Does the repair go ahead? Says the problem and the answer, counts both. */
bool fsck_fix_args(struct worker *w, enum problem pr, const struct fsck_args *args);
#define fsck_fix(w, pr, ...) fsck_fix_args(w, pr, &(const struct fsck_args){ __VA_ARGS__ })
void fsck_say(struct fsck *f, const char *fmt, ...) PRINTF_LIKE(2, 3);	/* not with --json */
/* Where something went, for the end: "inode 12 is now lost+found/#12". */
void fsck_fate(struct fsck *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
int fsck_problems_status(struct fsck *f);	/* FSCK_FIXED, FSCK_LEFT, as far as it went */
void fsck_problems_end(struct fsck *f, int status);
void fsck_problems_free(struct fsck *f);
/* Progress of a pass, now of max. */
void fsck_progress(struct fsck *f, unsigned pass, uint64_t now, uint64_t max);
void fsck_progress_clear(struct fsck *f);

/* The filesystem ------------------------------------------------------------------- */
struct fsck_zone {
	pblk_t first, end;
};

/* A directory, sorted by number in fsck.dirs. */
struct fsck_dir {
	ino_nr_t ino;
	_Atomic ino_nr_t parent;	/* where an entry for it was found; 0: nowhere yet */
	ino_nr_t dotdot;	/* what its ".." says; 0: nothing usable */
	uint32_t nr_blks;
	uint64_t first_blk;	/* in fsck.dblks */
	uint32_t seed;		/* of its checksums */
	bool is_inline, is_hashed, rebuild, reached;
};
struct fsck_dblk {
	pblk_t pblk;		/* 0: a hole */
	uint32_t lblk;
};

/* fsck.itype: EXT_FT_* of an inode in use, 0 for a free one. */
enum { FSCK_FT_MASK = 0xf, FSCK_FT_BLOCKS = 0x10 /* it has contents or attributes */ };

/* Bitmaps whose place is not known: pass 5 finds a new one. */
enum { FSCK_LOST_BLOCK_BITMAP = 1, FSCK_LOST_INODE_BITMAP = 2 };

#define ARRAY_BODY(type) { type *v; size_t nr, cap; }
#define ARRAY_OF(type) struct ARRAY_BODY(type)
/* Makes room for `more`; false: no memory (w->f->err is set). */
bool fsck_grow(struct fsck *f, void **v, size_t *cap, size_t nr, size_t more, size_t size);
#define array_room(f, a, more) fsck_grow(f, (void **)&(a)->v, &(a)->cap, (a)->nr, more, sizeof(*(a)->v))
#define array_push(f, a, ...)									\
	(array_room(f, a, 1) ? ((a)->v[(a)->nr++] = __VA_ARGS__, true) : false)
#define array_free(a) (free((a)->v), (a)->v = NULL, (a)->nr = (a)->cap = 0)

struct fsck_conflict {		/* a directory with a second parent */
	ino_nr_t child, parent;
};
struct fsck_xref {		/* an attribute block in use */
	pblk_t pblk;
	uint32_t found, told;	/* references */
	ino_nr_t ino;		/* one that has it */
};

struct fsck {
	struct blk_dev *dev;
	struct fsck_opts opts;
	struct worker main;
	int err;			/* first operational error: the run is over */
	atomic_bool any_err;		/* a worker failed; joined into err */
	bool restart;			/* begin with pass 1 again */
	bool cannot_mark_clean;
	bool is_clean;			/* marked so, and not looked at further */
	unsigned round;
	uint32_t now;

	/* Superblock and what follows from it */
	struct ext_disk_super sb;
	pblk_t sb_from;			/* block it was read from; 0: the first one */
	bool sb_dirty, gd_dirty, copies_dirty;	/* copies_dirty: the copies are written too */
	uint32_t block_bytes, block_shift, nr_groups, blocks_per_group, inodes_per_group, itable_blocks;
	uint32_t inode_bytes, desc_bytes, first_data_block, first_ino, nr_inodes;
	uint64_t nr_blocks;
	uint32_t compat, incompat, ro_compat, csum_seed, hash_seed[4];
	bool hash_unsigned;
	uint8_t *desc;			/* all descriptors, one behind the other */
	struct fsck_zone *zones;	/* fixed metadata, sorted */
	size_t nr_zones;
	uint8_t *group_lost;		/* FSCK_LOST_* of each group */

	/* Found by pass 1. Bits count from first_data_block, so that a group begins at a byte. */
	_Atomic uint64_t *used, *dup;	/* dup NULL: no block has two owners */
	os_mutex dup_lock;		/* RANK_LEAF: making dup */
	atomic_bool has_dup;
	_Atomic uint8_t *itype;		/* by number */
	uint16_t *ilinks;		/* i_links_count */
	_Atomic uint16_t *icount;	/* entries found; stays at the maximum */
	ARRAY_OF(struct fsck_dir) dirs;
	ARRAY_OF(struct fsck_dblk) dblks;
	ARRAY_OF(struct fsck_conflict) conflicts;	/* [dup_lock] in pass 2 */
	ARRAY_OF(struct fsck_xref) xrefs;	/* sorted by block after pass 1 */
	ARRAY_OF(uint64_t) bad;		/* -c: blocks for the list of bad ones, sorted */
	bool bad_pending;		/* the list is to be made of them */
	uint64_t alloc_hint;
	ino_nr_t lpf;			/* lost+found, once it is known */

	struct fsck_io *io;
	struct fsck_undo *undo;
	struct fsck_report *report;
	bool wrote;
	uint64_t nr_free_blocks, nr_free_inodes;	/* as pass 5 has counted */
	/* fsck_progress.c */
	bool bar_shown;
	unsigned pass_shown;
	uint64_t pass_begin, shown_at;
};

static inline bool has_compat(const struct fsck *f, uint32_t bit) { return f->compat & bit; }
static inline bool has_incompat(const struct fsck *f, uint32_t bit) { return f->incompat & bit; }
static inline bool has_ro_compat(const struct fsck *f, uint32_t bit) { return f->ro_compat & bit; }
static inline bool has_csum(const struct fsck *f) { return f->ro_compat & EXT_RO_COMPAT_METADATA_CSUM; }
static inline bool has_group_csum(const struct fsck *f)
{
	return f->ro_compat & (EXT_RO_COMPAT_METADATA_CSUM | EXT_RO_COMPAT_GDT_CSUM);
}
static inline pblk_t group_first(const struct fsck *f, uint32_t g)
{
	return (pblk_t)g * f->blocks_per_group + f->first_data_block;
}
static inline uint32_t group_nr_blocks(const struct fsck *f, uint32_t g)
{
	return (uint32_t)MIN((uint64_t)f->blocks_per_group, f->nr_blocks - group_first(f, g));
}
static inline sect_t block_sect(const struct fsck *f, pblk_t pblk)
{
	return pblk << (f->block_shift - SECT_SHIFT);
}
static inline bool is_stopped(const struct fsck *f)
{
	return f->err || (f->opts.stop && *f->opts.stop);
}
/* The first operational error counts. Returns it. */
int fsck_failed(struct fsck *f, int err);

/* fsck_io.c ----------------------------------------------------------------------------- */
MUST_CHECK int fsck_io_new(struct fsck *f);
void fsck_io_free(struct fsck *f);
/* One block; -EIO and so on, told by the caller. Any thread. */
MUST_CHECK int fsck_block_read(struct fsck *f, pblk_t pblk, void *buf);
/* nr neighbours at once. */
MUST_CHECK int fsck_blocks_read(struct fsck *f, pblk_t pblk, uint32_t nr, void *buf);
struct fsck_want {
	pblk_t pblk;
	void *buf;
	int err;	/* out */
};
/* All at once, neighbours together; sorts wants by block. */
void fsck_blocks_want(struct fsck *f, struct fsck_want *wants, size_t nr);
/* The block's new contents. Main thread only. Errors end the run. */
void fsck_block_write(struct fsck *f, pblk_t pblk, const void *buf);
/* Bytes that are no whole block of the filesystem (the superblocks), at once. */
MUST_CHECK int fsck_bytes_write(struct fsck *f, uint64_t off_bytes, const void *buf, size_t len_bytes);
/* Everything changed goes home, flushed. */
MUST_CHECK int fsck_io_flush(struct fsck *f);

/* fsck_undo.c: e2undo(8)'s format ---------------------------------------------------------- */
MUST_CHECK int fsck_undo_open(struct fsck *f, const char *path);
/* Before-images of these bytes of the device (K2). */
MUST_CHECK int fsck_undo_save(struct fsck *f, uint64_t off_bytes, size_t len_bytes);
/* What was saved is durable. */
MUST_CHECK int fsck_undo_sync(struct fsck *f);
MUST_CHECK int fsck_undo_close(struct fsck *f);
/* The volume as a device whose writes are saved first; blk_close() it before the volume. */
MUST_CHECK int fsck_undo_dev(struct fsck *f, struct blk_dev **out);

/* fsck_super.c, fsck_group.c, fsck_resize.c ------------------------------------------------- */
MUST_CHECK int fsck_super_load(struct fsck *f);
void fsck_super_checks(struct fsck *f);		/* fields that only count or hint */
void fsck_set_features(struct fsck *f, uint32_t compat, uint32_t incompat);
MUST_CHECK int fsck_super_store(struct fsck *f, bool clean);
/* As it is in memory: of a filesystem that needs no check. */
MUST_CHECK int fsck_super_store_flags(struct fsck *f);
/* Is it marked clean, so that there is nothing to do? With the reason when not. */
bool fsck_super_is_clean(struct fsck *f, const char **why);
void fsck_super_geometry(struct fsck *f);
MUST_CHECK int fsck_groups_load(struct fsck *f);
/* For a new round: what is in memory holds, the bits of blocks begin anew. */
MUST_CHECK int fsck_groups_load_again(struct fsck *f);
MUST_CHECK int fsck_groups_store(struct fsck *f);
/* fsck_search.c: the block with the first group's inode table, by its contents; 0: not found. */
pblk_t fsck_search_itable(struct fsck *f);
static inline struct ext_disk_group *group_desc(const struct fsck *f, uint32_t g)
{
	return (struct ext_disk_group *)(f->desc + (size_t)g * f->desc_bytes);
}
#define GROUP_FIELD(f, g, field, bits)								\
	(le##bits##_get(group_desc(f, g)->field##_lo) |						\
	 ((f)->desc_bytes >= EXT_DESC_BYTES_64 ? (uint64_t)le##bits##_get(group_desc(f, g)->field##_hi) << bits : 0))
#define GROUP_SET(f, g, field, bits, value)							\
	do {											\
		group_desc(f, g)->field##_lo = le##bits##_of((uint##bits##_t)(value));		\
		if ((f)->desc_bytes >= EXT_DESC_BYTES_64)					\
			group_desc(f, g)->field##_hi = le##bits##_of((uint##bits##_t)((uint64_t)(value) >> bits)); \
		(f)->gd_dirty = true;								\
	} while (0)
static inline pblk_t group_block_bitmap(const struct fsck *f, uint32_t g)
{
	return GROUP_FIELD(f, g, bg_block_bitmap, 32);
}
static inline pblk_t group_inode_bitmap(const struct fsck *f, uint32_t g)
{
	return GROUP_FIELD(f, g, bg_inode_bitmap, 32);
}
static inline pblk_t group_inode_table(const struct fsck *f, uint32_t g)
{
	return GROUP_FIELD(f, g, bg_inode_table, 32);
}
static inline uint16_t group_flags(const struct fsck *f, uint32_t g)
{
	return has_group_csum(f) ? le16_get(group_desc(f, g)->bg_flags) : 0;
}
void group_set_flags(struct fsck *f, uint32_t g, uint16_t flags);
/* All inodes of the group are looked at from now on: the passes begin anew. */
void fsck_group_open(struct fsck *f, uint32_t g);
/* Inodes of the group, from its first one on, that may be in use. */
uint32_t group_nr_used_inodes(const struct fsck *f, uint32_t g);
/* Is it fixed metadata, or outside? nr blocks. */
bool fsck_data_ok(const struct fsck *f, pblk_t pblk, uint64_t nr);
bool fsck_is_fixed(const struct fsck *f, pblk_t pblk, uint64_t nr);
void fsck_resize_check(struct fsck *f);

/* fsck_share.c: threads over shares of a pass ---------------------------------------------- */
struct share_ops {
	size_t bytes;		/* of a share, zeroed before init */
	bool (*init)(void *share, void *pass);	/* false: no memory; fini follows all the same */
	void *(*run)(void *share);	/* takes work until there is none; any thread */
	void (*fini)(void *share);
};
/*
 * Readies shares, max at most, and runs them in a thread each, the first in the caller's. Returns when all
 * are done, and how many there are; 0: no memory, told.
 */
unsigned fsck_shares_run(struct fsck *f, const struct share_ops *ops, void *pass, void *shares, unsigned max);
void fsck_shares_fini(const struct share_ops *ops, void *shares, unsigned nr);
/* Inodes or groups, for what is done after the threads in the order of numbers (K4). */
void fsck_numbers_sort(uint32_t *v, size_t nr);

/* Block bits */
void fsck_claim(struct fsck *f, pblk_t pblk, uint64_t nr);	/* any thread */
void fsck_unclaim(struct fsck *f, pblk_t pblk, uint64_t nr);
bool fsck_is_used(const struct fsck *f, pblk_t pblk);
bool fsck_is_dup(const struct fsck *f, pblk_t pblk);

/* fsck_bad.c ---------------------------------------------------------------------------- */
/* -c, before the passes: reads all blocks, fills f->bad, and asks whether the list is to be made of it. */
void fsck_bad_scan(struct fsck *f);
/* f->bad_pending, pass 1 being done: makes the list. Its blocks have two owners now if they had one before. */
void fsck_bad_store(struct fsck *f);
/* What can be read of a block, by sectors, zeroes elsewhere. Not for blocks that are dirty. */
void fsck_block_salvage(struct fsck *f, pblk_t pblk, void *buf);

/* Inodes -------------------------------------------------------------------------------------- */
/* Where its first block of data lies, as far as the inode itself says; 0: elsewhere, or nowhere. */
pblk_t inode_first_block(const struct ext_disk_inode *raw);
/* Does the block begin with "." of this inode, and ".."? *dotdot: where to. */
bool fsck_has_dots(const uint8_t *block, ino_nr_t ino, ino_nr_t *dotdot);
/* A block of a group's inode table cannot be read: said, and when that is agreed to, its inodes are free from now on. */
void fsck_inode_block_lost(struct fsck *f, uint32_t group, pblk_t pblk);
/* The raw inode: inode_bytes of buf. */
MUST_CHECK int fsck_inode_read(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
/* The same; one whose block cannot be read is zeroes, and its block is lost. */
MUST_CHECK int fsck_inode_read_or_lose(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
/* Seals and writes it. */
void fsck_inode_write(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
void fsck_inode_seal(const struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
bool fsck_inode_csum_ok(const struct fsck *f, ino_nr_t ino, const struct ext_disk_inode *raw);
/* No links, a deletion time; it is free. Its blocks are the caller's matter. */
void fsck_inode_clear(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
uint64_t inode_size(const struct ext_disk_inode *raw);
void inode_set_size(struct ext_disk_inode *raw, uint64_t size);
uint64_t inode_nr_sects(const struct fsck *f, const struct ext_disk_inode *raw);
void inode_set_nr_sects(const struct fsck *f, struct ext_disk_inode *raw, uint64_t nr);
pblk_t inode_file_acl(const struct fsck *f, const struct ext_disk_inode *raw);
void inode_set_file_acl(const struct fsck *f, struct ext_disk_inode *raw, pblk_t pblk);
static inline uint32_t inode_seed(const struct fsck *f, ino_nr_t ino, const struct ext_disk_inode *raw)
{
	return ext_inode_csum_seed(f->csum_seed, ino, le32_get(raw->i_generation));
}
unsigned fsck_ft_of(uint32_t mode);	/* EXT_FT_*; 0: no type */
bool fsck_is_zero(const void *p, size_t len);
/* Does the superblock name it: journal, orphan file, quotas? */
bool fsck_is_super_ino(const struct fsck *f, ino_nr_t ino);
/* Is the number one of the system's that no directory names? */
bool fsck_is_system_ino(const struct fsck *f, ino_nr_t ino);
/* Does the inode's type and flags say that i_block is a map? */
bool inode_has_map(const struct fsck *f, const struct ext_disk_inode *raw);

struct inode_scratch *inode_scratch_new(void);
void inode_scratch_free(struct inode_scratch *s);
/* Checks one inode that is in use or not, and with a clean result enters what it found. */
void fsck_inode_check(struct worker *w, ino_nr_t ino, struct ext_disk_inode *raw);
/* Directories that the worker's checks have found go to f. */
void inode_scratch_collect(struct fsck *f, struct inode_scratch *s);
void fsck_pass1(struct fsck *f);

/* fsck_walk.c: a block map, from its root to its data ------------------------------------------- */
struct visit {
	lblk_t lblk;
	pblk_t pblk;		/* may be changed with WALK_MOVE */
	uint32_t nr;		/* data blocks; 1 for map blocks */
	unsigned level;		/* 0: data; else a map block so many steps above the data */
	bool unwritten;
};
enum walk_act {
	WALK_KEEP, WALK_CUT,
	WALK_MOVE,	/* to v->pblk: the pointer changes; a map block is written there */
	WALK_SKIP,	/* do not look below */
	WALK_SHORTEN,	/* only the first v->nr blocks of the extent stay */
};
struct walk {
	struct worker *w;
	ino_nr_t ino;
	struct ext_disk_inode *raw;
	/* Each pointer, before what is below it. */
	enum walk_act (*ptr)(struct walk *wk, struct visit *v);
	/* Something that cannot be: true cuts it off. NULL: it is passed over. */
	bool (*bad)(struct walk *wk, enum problem pr, const struct fsck_args *args);
	/* A map block that has become empty and goes. NULL: empty ones of indirect maps stay. */
	void (*gone)(struct walk *wk, pblk_t pblk);
	void *arg;
	bool raw_dirty;		/* out: raw changed */
	bool failed;		/* out: something could not be followed and was left */
};
void fsck_walk(struct walk *wk);
void fsck_walk_fini(struct worker *w);	/* frees what its walks have used */
/* fsck_extent_tree.c */
struct fsck_run {
	lblk_t lblk;
	pblk_t pblk;
	uint32_t nr;		/* as many as one extent can have at most */
	bool unwritten;
};
struct fsck_runs ARRAY_BODY(struct fsck_run);
/*
 * Makes a tree of these runs, rising by lblk, in place of the map in raw. Its nodes are claimed; those of the old map stay
 * so. -ENOSPC, -ENOMEM: raw is as it was.
 */
MUST_CHECK int fsck_extents_make(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, const struct fsck_runs *runs);
/* fsck_map.c. i_blocks, as many as the map has. */
void fsck_map_recount(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw);
/* Data and map blocks from lblk on are no longer the file's; i_blocks follows, their bits are cleared. */
void fsck_map_truncate(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk);
/* Puts block pblk at lblk, a hole, with map blocks as needed (claimed, counted in i_blocks). -ENOSPC, -EOPNOTSUPP. */
MUST_CHECK int fsck_map_put(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk);

/* fsck_xattr.c */
struct inline_part {
	uint8_t *value;		/* of system.data; NULL: there is none */
	uint32_t len;
};
/* The attributes in the inode itself; true: raw changed. */
bool fsck_ibody_check(struct worker *w, ino_nr_t ino, struct ext_disk_inode *raw, bool *has_any);
struct inline_part fsck_inline_part(const struct fsck *f, struct ext_disk_inode *raw);
/* True: the reference is to go. *told: h_refcount. */
bool fsck_xattr_block_check(struct worker *w, ino_nr_t ino, pblk_t pblk, uint32_t *told);
void fsck_xattr_refcounts(struct fsck *f);
/* One reference less (of a deleted inode). */
void fsck_xattr_release(struct fsck *f, pblk_t pblk);

/* fsck_dup.c */
void fsck_pass1b(struct fsck *f);

/* fsck_journal.c, fsck_orphan.c */
void fsck_journal_check(struct fsck *f);	/* replays, too: everything read before is read again */
/* The copy of the journal inode in the superblock, for the next time. */
void fsck_journal_backup(struct fsck *f, const struct ext_disk_inode *raw);
void fsck_orphans(struct fsck *f);
/* A block of the orphan file without orphans, to lie at pblk. seed: inode_seed() of the file. */
void fsck_orphan_block_empty(const struct fsck *f, uint32_t seed, pblk_t pblk, uint8_t *block);

/* Directories ------------------------------------------------------------------------------------ */
struct fsck_dir *fsck_dir_find(const struct fsck *f, ino_nr_t ino);
/* A new one, in its place. NULL: no memory. */
struct fsck_dir *fsck_dir_add(struct fsck *f, ino_nr_t ino);

/* A directory with its blocks in memory. */
struct dir_block {
	uint8_t *data;
	pblk_t pblk;		/* 0: a hole */
	uint32_t lblk;
	int err;		/* it could not be read */
	bool dirty;
};
struct dir_view {
	struct fsck_dir *d;
	struct ext_disk_inode *raw;	/* NULL: a worker looks at a directory of blocks */
	struct dir_block *blocks;
	uint32_t nr;
	bool raw_dirty, rebuild;
};
/* A chain of entries in it. */
struct dir_chain {
	uint8_t *p;
	uint32_t len;
};
struct dir_scratch *dir_scratch_new(void);
void dir_scratch_free(struct dir_scratch *s);
void fsck_pass2(struct fsck *f);
/* Checks it and enters its names into the counts. */
void fsck_dir_check(struct worker *w, struct dir_view *v);
void fsck_htree_check(struct worker *w, struct dir_view *v);
enum { DIR_LEAF, DIR_DX_ROOT, DIR_DX_NODE };
unsigned fsck_dir_block_kind(const struct fsck *f, const struct dir_view *v, uint32_t i);
bool fsck_leaf_csum_ok(const struct fsck *f, uint32_t seed, const uint8_t *block);
bool fsck_leaf_has_tail(const struct fsck *f, const uint8_t *block);
/* Checksum of a leaf or an index block; a leaf gets its tail. */
void fsck_dir_block_seal(const struct fsck *f, uint32_t seed, uint8_t *block, unsigned kind);
void fsck_leaf_init(const struct fsck *f, uint8_t *block);
/* Bytes for entries in a leaf. */
static inline uint32_t leaf_bytes(const struct fsck *f)
{
	return f->block_bytes - (has_csum(f) ? (uint32_t)sizeof(struct ext_disk_dir_tail) : 0);
}
static inline uint8_t dirent_type(const struct fsck *f, unsigned ft)
{
	return has_incompat(f, EXT_INCOMPAT_FILETYPE) ? (uint8_t)ft : EXT_FT_UNKNOWN;
}
/* The chain of block i, or (inline) of part i; p NULL: there is none. */
struct dir_chain fsck_view_chain(const struct fsck *f, const struct dir_view *v, uint32_t i);
static inline uint32_t fsck_view_nr_chains(const struct dir_view *v) { return v->d->is_inline ? 2 : v->nr; }
void fsck_view_chain_dirty(struct dir_view *v, uint32_t i);
/* Length of an entry; 0: it does not fit into rest bytes. */
uint32_t fsck_rec_len(const struct ext_disk_dirent *de, uint32_t rest);
static inline uint32_t dirent_bytes(unsigned name_len) { return ALIGN_UP(8u + name_len, 4u); }
le16 fsck_rec_len_of(uint32_t len);
bool fsck_name_is_dots(const char *name, unsigned len);
/* Reads a whole directory: 0, or -errno. fsck_view_close() in any case. */
MUST_CHECK int fsck_view_open(struct fsck *f, struct fsck_dir *d, struct dir_view *v);
/* Writes what is dirty. */
void fsck_view_close(struct fsck *f, struct dir_view *v);
/* A hole gets a block, an empty leaf. -ENOSPC. */
MUST_CHECK int fsck_view_fill(struct fsck *f, struct dir_view *v, uint32_t i);
void fsck_view_shrink(struct fsck *f, struct dir_view *v, uint32_t nr);
/* Adds a name; the directory grows by a block when it must. -ENOSPC. */
MUST_CHECK int fsck_dir_link(struct fsck *f, ino_nr_t dir, const char *name, ino_nr_t ino, unsigned ft);
/* Takes the entries of dir that name ino away (".." and "." not), but for the first nr_keep. name NULL: any. */
void fsck_dir_unlink(struct fsck *f, ino_nr_t dir, ino_nr_t ino, unsigned nr_keep, const char *name);
void fsck_dir_set_dotdot(struct fsck *f, ino_nr_t dir, ino_nr_t parent);
/* Written anew from its entries, hashed when that is right and linear is false. */
MUST_CHECK int fsck_dir_rebuild(struct fsck *f, struct fsck_dir *d, bool linear);
/* One block more at its end, an empty leaf; v->raw is dirty. -ENOSPC. */
MUST_CHECK int fsck_view_grow(struct fsck *f, struct dir_view *v);
/* version: as in the root of a tree. False: unknown. */
bool fsck_hash(const struct fsck *f, uint8_t version, const char *name, unsigned len, uint32_t *major, uint32_t *minor);
void fsck_pass3(struct fsck *f);
/* Names ino in lost+found. */
void fsck_reconnect(struct fsck *f, ino_nr_t ino);
void fsck_pass4(struct fsck *f);
void fsck_pass5(struct fsck *f);

/* fsck_alloc.c: for repairs; what is taken is claimed. 0: none left --------------------------------- */
pblk_t fsck_block_alloc(struct fsck *f, pblk_t goal);
ino_nr_t fsck_inode_alloc(struct fsck *f);
/* A directory of one block with "." and "..", written; itype, dirs entered. -ENOSPC. */
MUST_CHECK int fsck_dir_make(struct fsck *f, ino_nr_t ino, ino_nr_t parent, uint16_t mode);

#endif
