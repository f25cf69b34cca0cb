/* cmd_log.c: osfs-lab log: what is in logs of dm-log-writes, several in one order. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#include "base/log.h"
#include "blk/blk_record.h"
#include "lab.h"

static const char usage_text[] =
	"Usage: osfs-lab log LOG...\n"
	"Prints logs of dm-log-writes (record:LOG:DEVICE, or of Linux), a line a record, all in the order of\n"
	"completion. The n-th log is that of device n, from 0 on.\n";

static void print_tape(const struct blk_tape *t)
{
	uint64_t nr_writes = 0, nr_bytes = 0, nr_flushes = 0, nr_marks = 0;

	for (size_t i = 0; i < blk_tape_nr(t); i++) {
		const struct blk_rec *r = blk_tape_get(t, i);

		printf("%zu: ", i);
		blk_rec_to_text(r, stdout);
		putchar('\n');
		nr_writes += blk_rec_is_write(r);
		nr_bytes += r->nr_sects << SECT_SHIFT;
		nr_flushes += !!(r->flags & BLK_LOG_FLUSH);
		nr_marks += !!(r->flags & BLK_LOG_MARK);
	}
	printf("%zu records: %" PRIu64 " writes and discards of %" PRIu64 " bytes, %" PRIu64 " flushes, %" PRIu64 " marks\n",
	       blk_tape_nr(t), nr_writes, nr_bytes, nr_flushes, nr_marks);
}

int lab_cmd_log(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct blk_tape *t;
	int opt, err;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		fputs(usage_text, opt == 'h' ? stdout : stderr);
		return opt == 'h' ? 0 : 2;
	}
	if (optind == argc) {
		log_error("log: which log?");
		return 2;
	}
	err = blk_tape_new(&t);
	for (int i = optind; !err && i < argc; i++)
		err = blk_tape_load(t, (unsigned)(i - optind), argv[i]);
	if (!err)
		print_tape(t);
	blk_tape_free(t);
	return err ? 2 : 0;
}
