/*
 * test_jbd2.h: a JBD2 journal on the watched device of test_cache.h, without threads of its own; power
 * cuts; and what of it all the recovery brings back.
 *
 * Blocks below LOG_AT are the "filesystem": each has a version (fill_pattern). The log lies in two
 * pieces behind, so that the map counts.
 */
#ifndef OSFS_TEST_JBD2_H
#define OSFS_TEST_JBD2_H

#include "journal/jbd2.h"
#include "journal/jbd2_file.h"
#include "test_cache.h"

enum { LOG_AT = 2000, LOG_BLOCKS = 1024, LOG_FIRST_PIECE = 300, LOG_GAP = 7 };

/* How a log is written. */
struct format {
	const char *name;
	uint32_t incompat;
};
extern const struct format formats[];
extern const int nr_formats;

struct log {
	struct jnl *j;
	struct jbd2_opts opts;
	struct jbd2_run runs[2];
	uint64_t now;		/* the clock of commit records: a millisecond a look */
	uint8_t *saved;		/* the device at the power cut */
};
extern struct log lg;

/* Device, cache, and an empty journal of that format on it; not open yet. */
void log_make(const struct format *f);
void log_open(void);
/* All of that, ordered data. */
void log_start(const struct format *f);
/* Closes, which must go well. */
void log_stop(void);
/* The device as it is now is what is left; then everything goes, and a fresh cache is on that device. */
void power_cut(void);
/* The same, with a look at the bytes in between. */
void power_cut_and(void (*spoil)(void));
/* jbd2_recover with these options; the overlay (read-only) is given back. */
int recover(struct jbd2_recovery *st);
void must_recover(uint64_t nr_transactions);

void must_begin(struct jnl_handle *h, unsigned nr_credits);
void must_end(struct jnl_handle *h);
void must_commit(void);
/* In h: the block becomes this version. */
void put_block(struct jnl_handle *h, pblk_t pblk, unsigned version);
/* In a handle of its own. */
void change_block(pblk_t pblk, unsigned version);
/* Block of the device where this block of the log lies. */
void *log_block(uint32_t lblk);
struct jnl_disk_sb *log_sb(void);
/* As after a change of the superblock's bytes. */
void log_sb_seal(void);

void add_recover_tests(Suite *s);

#endif
