/* main.c: dump.osfs. */
#include "base/log.h"
#include "dump/dump.h"

int main(int argc, char **argv)
{
	log_set_program("dump.osfs");
	return dump_main(argc, argv);
}
