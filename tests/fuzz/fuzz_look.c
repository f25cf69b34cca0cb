/* fuzz_look.c: what dump.osfs and explain do, on damaged images. */
#include <stdio.h>
#include <stdlib.h>

#include "dump/dump.h"
#include "explain/explain.h"
#include "fuzz.h"

enum { INODES_MAX = 60 };

static void dump_all(struct blk_dev *dev, bool json)
{
	struct dump d = { .volume = dev };
	FILE *null = fopen("/dev/null", "w");
	char nr[16];
	const char *args[2] = { nr, NULL };

	if (!null)
		fuzz_fail("/dev/null");
	out_init(&d.out, null, json);
	if (look_open(&d.look, look_source_dev(dev), out_fault, &d.out))
		fuzz_fail("look_open");
	fuzz_check_err(dump_super(&d), "dump_super");
	if (d.look.usable) {
		fuzz_check_err(dump_groups(&d), "dump_groups");
		fuzz_check_err(dump_journal(&d), "dump_journal");
		d.args = args;
		for (unsigned i = 1; i <= MIN(d.look.nr_inodes, (uint32_t)INODES_MAX); i++) {
			d.nr_args = 1;
			snprintf(nr, sizeof(nr), "%u", i);
			fuzz_check_err(dump_inode(&d), "dump_inode");
			fuzz_check_err(dump_dir(&d), "dump_dir");
		}
		args[0] = "block";
		args[1] = "0";
		d.nr_args = 2;
		fuzz_check_err(dump_bitmap(&d), "dump_bitmap");
	}
	d.out.depth = 0;
	look_close(&d.look);
	out_done(&d.out);
	fclose(null);
}

static void explain_all(struct blk_dev *dev)
{
	static const char *const words[] = { "/", "/double", "/sub/deep/triple@70000000", "/many", "--volume-sectors=0-8191" };
	FILE *null = fopen("/dev/null", "w");

	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		struct explain x;
		char *text = NULL;
		json_t *answer;
		int err;

		if (explain_open(&x, NULL, dev, look_source_dev(dev)))
			fuzz_fail("explain_open");
		err = explain_words(&x, &words[i], 1, &answer, &text);
		fuzz_check_err(err, "explain_words");
		if (!err) {
			explain_print(answer, null);
			json_decref(answer);
		}
		free(text);
		explain_close(&x);
	}
	fclose(null);
}

void fuzz_look(const uint8_t *data, size_t size)
{
	static const char *const images[] = { "plain", "nocsum", "inline", "ext4", "ext2", "orphan", "journal", "jcsum" };
	const struct fuzz_image *img = size >= FUZZ_HEAD_BYTES ? fuzz_image_find(images[data[0] % ARRAY_LEN(images)]) : NULL;
	struct blk_dev *dev = img ? fuzz_damaged(img, data, size, (1u << FUZZ_NR_CLASSES) - 1) : NULL;

	if (!dev)
		return;
	dump_all(dev, data[1] & 1);
	explain_all(dev);
	blk_close(dev);
}
