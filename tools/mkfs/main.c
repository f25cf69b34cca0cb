/* main.c of mkfs.osfs. */
#include "base/log.h"
#include "mkfs.h"

int main(int argc, char **argv)
{
	log_set_program("mkfs.osfs");
	return mkfs_main(argc, argv);
}
