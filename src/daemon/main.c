/*
 * main.c: osfs.
 *
 *	daemon > fs > journal > cache > raid > blk, with alloc at the side
 */
#include "base/log.h"
#include "life.h"
#include "scan.h"

int main(int argc, char **argv)
{
	struct opts o;
	int status = EXIT_DONE;

	log_set_program("osfs");
	log_set_limit(1000, 20);
	opts_init(&o);
	if (opts_parse(argc, argv, &o)) {
		opts_fini(&o);
		return EXIT_USAGE;
	}
	switch (o.verb) {
	case OPTS_HELP:
		opts_print_help();
		break;
	case OPTS_VERSION:
		opts_print_version();
		break;
	case OPTS_SCAN:
		status = scan_run(&o);
		break;
	case OPTS_UMOUNT:
		status = life_umount(o.mountpoint);
		break;
	default:
		status = life_mount(&o);
	}
	opts_fini(&o);
	return status;
}
