/*
 * dump.h: what dump.osfs shows, a function and a row of words[] (dump.c) each.
 */
#ifndef OSFS_TOOLS_DUMP_DUMP_H
#define OSFS_TOOLS_DUMP_DUMP_H

#include "dump/dump_out.h"
#include "look/look.h"
#include "raid/raid.h"

struct dump {
	struct out out;
	struct blk_dev **devs;		/* members or the image, as opened */
	unsigned nr_devs;
	struct raid *raid;		/* NULL: a single image, or not needed */
	struct alloc *alloc;
	struct blk_dev *volume;		/* NULL: not needed */
	struct look look;
	const char **args;		/* behind the word */
	unsigned nr_args;
};

/* 0, or -errno after a message. Damage goes to the output. */
int dump_super(struct dump *d);
int dump_groups(struct dump *d);
int dump_inode(struct dump *d);
int dump_dir(struct dump *d);
int dump_bitmap(struct dump *d);
int dump_md(struct dump *d);
int dump_journal(struct dump *d);
int dump_explain(struct dump *d);

/* dump_inode.c: number ("<12>", "12") or path. */
int dump_find_inode(struct dump *d, const char *what, struct look_inode *i);
/* A number below limit; -EINVAL after a message. */
int dump_number(const char *text, const char *what, uint64_t limit, uint64_t *out);
int dump_main(int argc, char **argv);

#endif
