/*
 * test_raid.h: arrays on disks that the test holds in its hand: they outlive the
 * array, can die, get bad sectors, be looked at and be copied.
 */
#ifndef OSFS_TESTS_TEST_RAID_H
#define OSFS_TESTS_TEST_RAID_H

#include <check.h>

#include "alloc/alloc.h"
#include "base/rng.h"
#include "raid/raid.h"
#include "raid/raid_map.h"

/* For loops: ck_assert() sends a message to the parent each time, these only when they fail. */
#define must_msg(cond, ...)				\
	do {						\
		if (!(cond))				\
			ck_abort_msg(__VA_ARGS__);	\
	} while (0)
#define must(cond) must_msg(cond, "%s", #cond)

enum { TDISKS_MAX = 16 };

/* The process dies: after so many more writes, to whatever disk, none arrives any more. */
struct tcut {
	bool is_armed, is_done;
	uint64_t left;
};

struct tdisk {
	struct tcut *cut;		/* NULL: none */
	uint8_t *mem;
	uint64_t nr_sects;
	bool dead;			/* every request fails */
	bool fail_writes;
	unsigned delay_msec;		/* of every request */
	sect_t bad_sect, bad_end;	/* reads of these fail until they are written */
	bool bad_is_hard;		/* ... and writes of them too */
	unsigned nr_flushes, nr_reads, nr_writes;
	sect_t data_offset;		/* sectors written from here on are counted in: */
	uint64_t nr_data_sects;
};

void tdisk_init(struct tdisk *d, uint64_t nr_sects);
void tdisk_fini(struct tdisk *d);
struct blk_dev *tdisk_open(struct tdisk *d, const char *name);

/* What to build. */
struct tconf {
	int level;
	const char *layout;
	unsigned nr_disks;
	uint32_t chunk_sects;
	unsigned rows;			/* chunks on each member */
	bool has_metadata;		/* else 1.2 */
	enum raid_metadata metadata;
	bool uneven;			/* members of different sizes */
	unsigned nr_spares;
	uint32_t bitmap_bytes;		/* a bit stands for; 0: no bitmap */
};

struct tarray {
	struct tconf conf;
	uint32_t layout;
	struct alloc *alloc;
	struct raid_open_opts opts;	/* of assemblies without others; alloc is filled in */
	struct tcut cut;		/* of all disks */
	struct tdisk disks[TDISKS_MAX];
	unsigned nr_devs;
	uint64_t largest_sects;		/* of a disk */
	bool absent[TDISKS_MAX];	/* not given at the next assembly */
	struct raid *r;			/* NULL: not assembled */
	uint8_t *flat;			/* what the array should hold */
	uint64_t nr_sects;
	struct rng rng;
	uint64_t seed;
};

extern const struct tconf tconfs[];
extern const unsigned nr_tconfs;
const char *tconf_text(const struct tconf *c);

/* Created and assembled. */
struct tarray *tarray_new(const struct tconf *conf, uint64_t seed);
void tarray_free(struct tarray *t);
/* 0 or -errno. */
int tarray_assemble(struct tarray *t, const struct raid_open_opts *opts);
void tarray_reassemble(struct tarray *t);	/* stop, then without the absent ones */
void tarray_stop(struct tarray *t);
/* One more disk, as large as the others, empty, not part of the array; its index. */
unsigned tarray_disk_add(struct tarray *t);
/* raid_member_add() of a disk; 0 or -errno. */
int tarray_join(struct tarray *t, unsigned disk, enum raid_add how);
/* The disk of a slot or -1, md's number of the disk's member or -1, its state. */
int tarray_disk_of(struct tarray *t, unsigned slot);
int tarray_nr_of(struct tarray *t, unsigned disk);
/* A sector of a slot's disk; NULL: it is not in sync. */
uint8_t *tarray_at(struct tarray *t, unsigned slot, sect_t member_sect);
enum raid_member_state tarray_state_of(struct tarray *t, unsigned disk);
/* raid_step() until nothing is left to do; the last result. */
int tarray_finish(struct tarray *t);
/* Removes the disk's member; it has to be a spare or faulty. */
void tarray_remove(struct tarray *t, unsigned disk);
/* As if the process had died: the disks keep what they have. */
void tarray_crash(struct tarray *t);

/* nr random batches of writes, kept in flat too. */
void tarray_write_random(struct tarray *t, unsigned nr);
int tarray_write(struct tarray *t, sect_t sect, uint32_t nr_sects);
/* Everything, in requests of random sizes and by all of them at once. */
void tarray_compare(struct tarray *t);
/* Copies and parities on the disks that are there, byte by byte against flat. */
void tarray_check_disks(struct tarray *t);
struct raid_info tarray_info(struct tarray *t, unsigned disk);
/* Messages of the code under test are wanted only when something breaks. */
void tlog_quiet(void);
bool tlog_saw(const char *text);	/* since the last tlog_quiet() */

Suite *raid_map_suite(void);
Suite *raid_io_suite(void);
Suite *raid_loss_suite(void);
Suite *raid_assemble_suite(void);
Suite *raid_format_suite(void);
Suite *raid_life_suite(void);
Suite *raid_model_suite(void);
Suite *raid_cut_suite(void);

#endif
