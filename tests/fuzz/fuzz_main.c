/* fuzz_main.c: for libFuzzer: the harness is in the program's name, fuzz-HARNESS. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_harness *the_harness;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = strrchr((*argv)[0], '-');

	(void)argc;
	the_harness = name ? fuzz_harness_find(name + 1) : NULL;
	if (!the_harness) {
		fprintf(stderr, "%s: no harness of that name\n", (*argv)[0]);
		exit(2);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_run(the_harness, data, size);
	return 0;
}
