/* opts.c: the command line. The names that follow -o are in opts_list.c. */
#include "opts.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "config.h"

enum { DEFAULT_THREADS = 10, DEFAULT_SPIN_USEC = 50, MIN_CACHE_MIB = 16, MAX_DEFAULT_CACHE_MIB = 256 };

/* An eighth of the machine's memory, 256 MiB at the most. */
static uint64_t default_cache_bytes(void)
{
	const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t bytes = (uint64_t)MAX_DEFAULT_CACHE_MIB << 20;

	if (pages > 0 && page_bytes > 0)
		bytes = MIN(bytes, (uint64_t)pages * (uint64_t)page_bytes / 8);
	return MAX(bytes, (uint64_t)MIN_CACHE_MIB << 20);
}

void opts_init(struct opts *o)
{
	*o = (struct opts){ .cache_bytes = default_cache_bytes(), .max_threads = DEFAULT_THREADS,
			     .spin_usec = DEFAULT_SPIN_USEC, .writeback = true };
}

void opts_fini(struct opts *o)
{
	for (unsigned i = 0; i < o->nr_members; i++)
		free(o->members[i]);
	free(o->members);
	free(o->mountpoint);
	free(o->on_event);
	*o = (struct opts){ 0 };
}

int opts_add_member(struct opts *o, const char *name, size_t len)
{
	char **more = realloc(o->members, (o->nr_members + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	o->members = more;
	more[o->nr_members] = strndup(name, len);
	if (!more[o->nr_members])
		return -ENOMEM;
	o->nr_members++;
	return 0;
}

/* "file:", "nbd://": what blk_open takes apart itself. A path with a colon is written ./a:b. */
static bool has_scheme(const char *s)
{
	static const char *const schemes[] = { "file:", "mem:", "fault:", "record:", "trace:" };

	for (unsigned i = 0; i < ARRAY_LEN(schemes); i++)
		if (!strncmp(s, schemes[i], strlen(schemes[i])))
			return true;
	return strstr(s, "://") && strcspn(s, ":") == (size_t)(strstr(s, "://") - s);
}

int opts_add_members(struct opts *o, const char *field)
{
	char *piece;
	size_t len = 0;
	int err = 0;

	if (has_scheme(field) || !access(field, F_OK))
		return opts_add_member(o, field, strlen(field));
	piece = malloc(strlen(field) + 1);
	if (!piece)
		return -ENOMEM;
	for (const char *s = field; !err; s++) {
		if (*s == '\\' && s[1] == ':') {
			piece[len++] = *++s;
		} else if (*s == ':' || !*s) {
			if (len)
				err = opts_add_member(o, piece, len);
			len = 0;
			if (!*s)
				break;
		} else {
			piece[len++] = *s;
		}
	}
	free(piece);
	return err;
}

static int set_mountpoint(struct opts *o, const char *path)
{
	o->mountpoint = realpath(path, NULL);
	if (!o->mountpoint)	/* whoever uses it says what is wrong with it */
		o->mountpoint = strdup(path);
	return o->mountpoint ? 0 : -ENOMEM;
}

/* What is left after the options: members, and the mount point last. */
static int take_positional(struct opts *o, char **args, int nr)
{
	int err = 0;

	for (int i = 0; o->verb == OPTS_SCAN && !err && i < nr; i++)
		err = opts_add_member(o, args[i], strlen(args[i]));
	if (o->verb == OPTS_SCAN)
		return err;
	if (o->verb == OPTS_UMOUNT && nr != 1) {
		log_error("umount takes one mount point (osfs --help)");
		return -EINVAL;
	}
	if (nr < 1) {
		log_error("no mount point given (osfs --help)");
		return -EINVAL;
	}
	if (o->dir && nr > 1) {
		log_error("-d %s names the members; %s as well is too much", o->dir, args[0]);
		return -EINVAL;
	}
	if (o->verb == OPTS_VOLUME && nr < 2 && !o->dir) {
		log_error("volume takes members and a mount point (osfs --help)");
		return -EINVAL;
	}
	for (int i = 0; i < nr - 1 && !err; i++)
		err = nr == 2 ? opts_add_members(o, args[i]) : opts_add_member(o, args[i], strlen(args[i]));
	return err ? err : set_mountpoint(o, args[nr - 1]);
}

/* The first argument may be a verb; a member so named is written ./volume. */
static bool take_verb(struct opts *o, const char *arg)
{
	if (!strcmp(arg, "volume"))
		o->verb = OPTS_VOLUME;
	else if (!strcmp(arg, "scan"))
		o->verb = OPTS_SCAN;
	else if (!strcmp(arg, "umount") || !strcmp(arg, "unmount"))
		o->verb = OPTS_UMOUNT;
	else
		return false;
	return true;
}

int opts_parse(int argc, char **argv, struct opts *o)
{
	enum { OPT_PID_FILE = 256, OPT_FORCE, OPT_JSON };
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "pid-file", required_argument, NULL, OPT_PID_FILE },
		{ "foreground", no_argument, NULL, 'f' },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "json", no_argument, NULL, OPT_JSON },
		{ NULL, 0, NULL, 0 },
	};
	int c, err;

	if (argc > 1 && take_verb(o, argv[1])) {
		argc--;
		argv++;
	}
	optind = 0;	/* from the start, whoever parsed before */
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:d:fshVrw", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			err = opts_parse_list(optarg, o);
			if (err)
				return err;
			break;
		case 'd':
			o->dir = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 's':
			o->single_thread = true;
			break;
		case 'r':
			o->read_only = true;
			break;
		case 'w':
			o->read_only = false;
			break;
		case OPT_PID_FILE:
			o->pid_file = optarg;
			break;
		case OPT_FORCE:
			o->force = true;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case 'h':
			o->verb = OPTS_HELP;
			return 0;
		case 'V':
			o->verb = OPTS_VERSION;
			return 0;
		case ':':
			log_error("option %s needs a value (osfs --help)", argv[optind - 1]);
			return -EINVAL;
		default:
			log_error("unknown option %s (osfs --help)", argv[optind - 1]);
			return -EINVAL;
		}
	}
	return take_positional(o, argv + optind, argc - optind);
}

void opts_print_help(void)
{
	fputs("usage: osfs [OPTIONS] [MEMBER...] MOUNTPOINT    mount the filesystem on the members\n"
	      "       osfs [OPTIONS] A:B:C MOUNTPOINT          the same, as fstab has it\n"
	      "       osfs [OPTIONS] -d DIR MOUNTPOINT         members are what lies in DIR\n"
	      "       osfs [OPTIONS] MOUNTPOINT                as osfstab says, else the default array\n"
	      "       osfs volume [OPTIONS] MEMBER... MOUNTPOINT\n"
	      "                                                the volume itself as one file\n"
	      "       osfs umount MOUNTPOINT                   returns when the images are safe\n"
	      "       osfs scan [--json] [PATH...]             what images are, which arrays they make up\n"
	      "\n"
	      "  -o LIST          mount options, separated by commas: see osfs(1)\n"
	      "  -d DIR           all members found in DIR\n"
	      "  -r               read-only, as -o ro\n"
	      "  -f               stay in the foreground\n"
	      "  -s               one thread\n"
	      "  --force          write to a degraded array that was not stopped cleanly\n"
	      "  --pid-file FILE  the daemon's process id goes there\n"
	      "  -h, --help       this text\n"
	      "  -V, --version    the version\n", stdout);
}

void opts_print_version(void)
{
	puts(PACKAGE_NAME " " PACKAGE_VERSION);
}
