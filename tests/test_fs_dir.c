/* test_fs_dir.c: directories in every format, against models and the tools. */
#include <stdlib.h>

#include "test_fs_dir.h"

const struct dir_format dir_formats[NR_DIR_FORMATS] = {
	{ "linear, 1 KiB", "24m", FSX_EXT ",^dir_index,^metadata_csum -b 1024" },
	{ "linear, checksums, 4 KiB", "24m", FSX_EXT ",^dir_index,metadata_csum -b 4096" },
	{ "linear, no filetype", "24m", FSX_EXT ",^dir_index,^filetype,^metadata_csum -b 1024" },
	{ "hashed, 1 KiB", "24m", FSX_EXT ",dir_index,^metadata_csum -b 1024" },
	{ "hashed, checksums, 1 KiB", "24m", FSX_EXT ",dir_index,metadata_csum -b 1024" },
	{ "hashed, checksums, 4 KiB", "24m", FSX_EXT ",dir_index,metadata_csum -b 4096" },
	{ "inline, 4 KiB", "24m", FSX_EXT ",inline_data,dir_index,metadata_csum -b 4096" },
	{ "inline, linear, 1 KiB", "24m", FSX_EXT ",inline_data,^dir_index,^metadata_csum -b 1024 -I 512" },
	{ "large_dir, inline, 1 KiB", "24m", FSX_EXT ",inline_data,large_dir,dir_index,metadata_csum -b 1024" },
	{ "hashed, extents, 1 KiB", "24m", FSX_EXTENTS ",dir_index,metadata_csum -b 1024" },
	{ "inline, extents, 4 KiB", "24m", FSX_EXTENTS ",inline_data,dir_index,metadata_csum -b 4096" },
	{ "hashed, 64 KiB", "64m", FSX_EXT ",dir_index,^metadata_csum -b 65536" },
};

int main(void)
{
	TCase *(*const parts[])(void) = {
		dir_name_tests, dir_model_tests, dir_big_tests, dir_damage_tests, dir_thread_tests,
	};
	Suite *s = suite_create("fs_dir");
	SRunner *sr;
	int failed;

	fsx_need_tools();
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		suite_add_tcase(s, parts[i]());
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
