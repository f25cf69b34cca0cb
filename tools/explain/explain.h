/*
 * explain.h: from a path to the sectors of disks, and from sectors and blocks back to files.
 *
 * Answers are JSON, for osfsctl (which gets them from a daemon) and dump.osfs alike, and
 * explain_print() makes lines of them.
 *
 *	forth	{"path", "inode", "type", "size", "pieces": [{"kind", "lblk", "nr_blocks", "block",
 *		 "volume_sector", "nr_sectors", "places": [{"member", "slot", "sector", "nr_sectors",
 *		 "stripe", "copy", "parity": [{"role", "member", "slot", "sector"}]}]}]}
 *	back	{"answers": [{"member", "slot", "sector", "nr_sectors", "what", "stripe", "copy",
 *		 "volume_sector", "owners": [{"block", "nr_blocks", "owner", "inode", "path",
 *		 "lblk", ...}]}]}
 *	"faults": [...] what was found wrong on the way
 */
#ifndef OSFS_TOOLS_EXPLAIN_EXPLAIN_H
#define OSFS_TOOLS_EXPLAIN_EXPLAIN_H

#include <jansson.h>

#include "look/look_owner.h"
#include "raid/raid_map.h"

/* An array's members as they lie on their devices; all sectors count from a device's start. */
struct explain_member {
	char *name;
	int slot;			/* -1: none */
	bool is_missing;		/* its data_offset is not known */
	uint64_t nr_sects;
	sect_t data_offset, super_sect, bitmap_sect, bblog_sect;
	uint64_t nr_super, nr_bitmap, nr_bblog;	/* 0: there is none */
};
struct explain_array {
	const struct raid_geom *geom;	/* NULL: no array, the volume is one device */
	struct explain_member *members;
	unsigned nr;
	char *volume_name;
};
/* r NULL: the volume is this one device. */
MUST_CHECK int explain_array_load(struct raid *r, struct blk_dev *volume, struct explain_array *out);
void explain_array_free(struct explain_array *a);

struct explain {
	struct explain_array array;
	struct look look;		/* usable false: no filesystem can be told of */
	json_t *faults;
	uint64_t nr_faults;
};
MUST_CHECK int explain_open(struct explain *x, struct raid *r, struct blk_dev *volume, struct look_source src);
void explain_close(struct explain *x);

/*
 * What is asked for, in words as on the command line: PATH[@OFFSET], or any number of --member=,
 * --sectors=, --volume-sectors=, --blocks=. 0 and *out; -errno with *error_text, malloc'ed.
 */
MUST_CHECK int explain_words(struct explain *x, const char *const *words, unsigned nr, json_t **out, char **error_text);
void explain_print(const json_t *answer, FILE *f);

/*
 * explain_list.c: a word --list=FILE is a list of bad sectors ("-": standard input) of the member before it, or
 * of the volume: lines FROM[-TO] in units of --unit=BYTES (512; badblocks has 1024), or a ddrescue map file. fn is
 * called with the words in which --sectors= or --volume-sectors= stands for it, as often as it takes when that
 * word is to have at most cap bytes; its first error ends that. Without --list it is called once.
 */
MUST_CHECK int explain_list_expand(const char *const *words, unsigned nr, size_t cap,
				   int (*fn)(void *arg, const char *const *words, unsigned nr), void *arg);
/* Sorted, joined. */
size_t explain_ranges_join(struct look_range *ranges, size_t nr);

#endif
