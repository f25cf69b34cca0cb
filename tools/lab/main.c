/* main.c: osfs-lab. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "lab.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "crash", lab_cmd_crash, "runs workloads, makes the states that crashes can leave, judges them" },
	{ "replay", lab_cmd_replay, "makes images of recorded logs, as crashes can have left them" },
	{ "log", lab_cmd_log, "prints logs of dm-log-writes" },
	{ "journal", lab_cmd_journal, "walks the ring of an image's journal" },
};

static void usage(FILE *out)
{
	fputs("Usage: osfs-lab COMMAND [OPTION]... [ARGUMENT]...\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("osfs-lab COMMAND --help says more. See osfs-lab(8).\n", out);
}

int main(int argc, char **argv)
{
	log_set_program("osfs-lab");
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		usage(stdout);
		return 0;
	}
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))) {
		puts("osfs-lab " PACKAGE_VERSION);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	usage(stderr);
	return 2;
}
