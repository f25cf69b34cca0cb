/* fsck_progress.c: how far it is: a bar with the time left on a terminal, or lines for a program (-C fd). */
#include <time.h>
#include <unistd.h>

#include "fsck_int.h"

enum { BAR_WIDTH = 40, MIN_MSEC = 200 };

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void fsck_progress_clear(struct fsck *f)
{
	if (!f->bar_shown)
		return;
	f->bar_shown = false;
	fprintf(f->opts.out, "\r%*s\r", BAR_WIDTH + 36, "");
	fflush(f->opts.out);
}

static void bar(struct fsck *f, unsigned pass, uint64_t now, uint64_t max, uint64_t msec)
{
	const unsigned full = (unsigned)(now * BAR_WIDTH / max);
	const uint64_t left = now ? (msec - f->pass_begin) * (max - now) / now / 1000 : 0;

	fprintf(f->opts.out, "\rPass %u |%.*s%*s| %3u%%  %u:%02u left ", pass, (int)full,
		"========================================", (int)(BAR_WIDTH - full), "", (unsigned)(now * 100 / max),
		(unsigned)(left / 60), (unsigned)(left % 60));
	fflush(f->opts.out);
	f->bar_shown = true;
}

void fsck_progress(struct fsck *f, unsigned pass, uint64_t now, uint64_t max)
{
	const int fd = f->opts.progress_fd;
	uint64_t msec;

	if (fd == FSCK_PROGRESS_OFF || !max)
		return;
	msec = now_msec();
	if (pass != f->pass_shown) {
		f->pass_shown = pass;
		f->pass_begin = f->shown_at = msec;
	}
	if (fd != FSCK_PROGRESS_BAR) {
		dprintf(fd, "%u %llu %llu %s\n", pass, (unsigned long long)now, (unsigned long long)max, blk_name(f->dev));
		return;
	}
	if (msec - f->shown_at < MIN_MSEC)
		return;
	f->shown_at = msec;
	bar(f, pass, now, max, msec);
}
