/* dump.c: dump.osfs: the command line, the devices, and which word shows what. */
#include "dump/dump.h"

#include <stdlib.h>

#include "base/log.h"
#include "config.h"

enum { EXIT_GOOD = 0, EXIT_DAMAGE = 1, EXIT_USAGE = 2, EXIT_FAILED = 4 };

static const char usage_text[] =
	"Usage: dump.osfs [--json] MEMBER...|IMAGE WHAT\n"
	"  super               the superblock\n"
	"  groups [GROUP]      group descriptors\n"
	"  inode NUMBER|PATH   an inode, its tree of blocks, its attributes\n"
	"  dir PATH|NUMBER     entries of a directory, its hash tree\n"
	"  bitmap block|inode GROUP\n"
	"  md                  md superblocks of the members\n"
	"  journal             the journal's superblock and what its log holds\n"
	"  explain PATH[@OFFSET]                            where a file or a byte of it lies\n"
	"  explain --member=N --sectors=FROM[-TO]           whose sectors these are; also --volume-sectors=, --blocks=,\n"
	"          --list=FILE [--unit=BYTES]               lists of badblocks, map files of ddrescue\n"
	"Exit status: 0 shown, 1 something shown is damaged, 2 usage, 4 cannot be shown.\n";

enum needs { NEEDS_MEMBERS, NEEDS_VOLUME, NEEDS_SUPER, NEEDS_FS };

static const struct word {
	const char *name;
	enum needs needs;
	int (*show)(struct dump *d);
} words[] = {
	{ "super", NEEDS_SUPER, dump_super },	{ "groups", NEEDS_FS, dump_groups }, { "inode", NEEDS_FS, dump_inode },
	{ "dir", NEEDS_FS, dump_dir },		{ "bitmap", NEEDS_FS, dump_bitmap }, { "md", NEEDS_MEMBERS, dump_md },
	{ "journal", NEEDS_FS, dump_journal },	{ "explain", NEEDS_VOLUME, dump_explain },
};

static const struct word *word_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(words[i].name, name))
			return &words[i];
	return NULL;
}

/* Devices: only looked at, so without a lock: a mounted filesystem can be shown, as it lies on disk. */
static int open_devs(struct dump *d, const char **names, unsigned nr)
{
	static const struct blk_open_opts look = { .read_only = true, .no_lock = true };
	int err;

	d->devs = calloc(nr, sizeof(struct blk_dev *));
	if (!d->devs)
		return -ENOMEM;
	for (; d->nr_devs < nr; d->nr_devs++) {
		err = blk_open(names[d->nr_devs], &look, &d->devs[d->nr_devs]);
		if (err)
			return err;
	}
	return 0;
}

/* An image that is no member of an array is the volume itself. */
static int open_volume(struct dump *d)
{
	struct raid_info info;
	int err = d->nr_devs == 1 ? raid_examine(d->devs[0], &info) : 0;

	if (err == -ENOENT) {
		d->volume = d->devs[0];
		return 0;
	}
	if (!err)
		err = alloc_new(&(struct alloc_opts){ 0 }, &d->alloc);
	if (!err)
		err = raid_assemble(d->devs, d->nr_devs, &(struct raid_open_opts){ .alloc = d->alloc, .read_only = true, .quiet = true },
				    &d->raid);
	if (!err)
		d->volume = raid_dev(d->raid);
	return err;
}

static int close_all(struct dump *d)
{
	int err = 0;

	look_close(&d->look);
	if (d->raid)
		err = raid_free(d->raid);
	for (unsigned i = 0; !d->raid && i < d->nr_devs; i++)
		blk_close(d->devs[i]);
	free(d->devs);
	if (d->alloc)
		alloc_free(d->alloc);
	return err;
}

static int show(struct dump *d, const struct word *w)
{
	int err = 0;

	if (w->needs != NEEDS_MEMBERS)
		err = open_volume(d);
	if (!err && w->needs >= NEEDS_SUPER)
		err = look_open(&d->look, look_source_dev(d->volume), out_fault, &d->out);
	if (!err && w->needs == NEEDS_FS && !d->look.usable) {
		log_error("%s: the superblock cannot be used; 'super' shows it", blk_name(d->volume));
		return -EUCLEAN;
	}
	return err ? err : w->show(d);
}

static int run(const struct word *w, const char **members, unsigned nr_members, const char **args, unsigned nr_args, bool json)
{
	struct dump d = { .args = args, .nr_args = nr_args };
	int err;

	out_init(&d.out, stdout, json);
	err = open_devs(&d, members, nr_members);
	if (!err)
		err = show(&d, w);
	if (err == -ENOMEM || err == -EIO)
		log_error("%s: %s", members[0], strerror(-err));
	d.out.depth = 0;
	out_done(&d.out);
	close_all(&d);
	return err ? EXIT_FAILED : d.out.nr_faults ? EXIT_DAMAGE : EXIT_GOOD;
}

int dump_main(int argc, char **argv)
{
	const char **names = calloc((size_t)argc + 1, sizeof(*names));
	unsigned nr = 0, at = 0;
	bool json = false;
	int status;

	for (int i = 1; names && i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = true;
		} else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			fputs(usage_text, stdout);
			free(names);
			return EXIT_GOOD;
		} else if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "--version")) {
			printf("dump.osfs %s\n", PACKAGE_VERSION);
			free(names);
			return EXIT_GOOD;
		} else {
			names[nr++] = argv[i];
		}
	}
	while (at < nr && !word_find(names[at]))
		at++;
	if (at == 0 || at == nr) {
		if (nr > 0)
			log_error("%s", at == 0 ? "which image?" : "what is to be shown?");
		fputs(usage_text, stderr);
		status = EXIT_USAGE;
	} else {
		status = run(word_find(names[at]), names, at, names + at + 1, nr - at - 1, json);
	}
	free(names);
	return status;
}
