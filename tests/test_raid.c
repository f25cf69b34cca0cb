/* test_raid.c: runs the suites of src/raid. */
#include <stdlib.h>

#include "test_raid.h"

int main(void)
{
	SRunner *sr = srunner_create(raid_map_suite());
	int nr_failed;

	srunner_add_suite(sr, raid_io_suite());
	srunner_add_suite(sr, raid_loss_suite());
	srunner_add_suite(sr, raid_assemble_suite());
	srunner_add_suite(sr, raid_format_suite());
	srunner_add_suite(sr, raid_life_suite());
	srunner_add_suite(sr, raid_model_suite());
	srunner_add_suite(sr, raid_cut_suite());
	srunner_run_all(sr, CK_ENV);
	nr_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
