/* main.c of fsck.osfs. */
#include "base/log.h"
#include "fsck.h"

int main(int argc, char **argv)
{
	log_set_program("fsck.osfs");
	return fsck_main(argc, argv);
}
