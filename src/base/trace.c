/* trace.c: the event ring. A mutex is enough: tracing is for looking, not for speed. */
#include "base/trace.h"

#include <stdarg.h>
#include <time.h>

#include "base/lock.h"

struct event {
	uint64_t time_nsec;
	unsigned long thread;
	enum trace_layer layer;
	char text[TRACE_TEXT_BYTES];
};

atomic_uint trace_mask;

static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[TRACE_SLOTS];	/* [ring_lock] */
static uint64_t nr_events;		/* [ring_lock] ever added */

static const char *const layer_names[TRACE_NR_LAYERS] = {
	[TRACE_alloc] = "alloc", [TRACE_blk] = "blk", [TRACE_raid] = "raid", [TRACE_cache] = "cache",
	[TRACE_journal] = "journal", [TRACE_fs] = "fs", [TRACE_daemon] = "daemon",
};

static unsigned layer_mask_of(const char *name, size_t len)
{
	if (len == 3 && !memcmp(name, "all", 3))
		return (1u << TRACE_NR_LAYERS) - 1;
	for (unsigned i = 0; i < TRACE_NR_LAYERS; i++)
		if (strlen(layer_names[i]) == len && !memcmp(layer_names[i], name, len))
			return 1u << i;
	return 0;
}

int trace_enable(const char *layers)
{
	unsigned mask = 0;

	while (*layers) {
		size_t len = strcspn(layers, ",");
		unsigned one = layer_mask_of(layers, len);

		if (!one)
			return -EINVAL;
		mask |= one;
		layers += len;
		layers += *layers == ',';
	}
	atomic_store(&trace_mask, mask);
	return 0;
}

void trace_add(enum trace_layer layer, const char *fmt, ...)
{
	struct timespec now;
	struct event *e;
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&ring_lock);
	e = &ring[nr_events++ % TRACE_SLOTS];
	e->time_nsec = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	e->thread = (unsigned long)pthread_self();
	e->layer = layer;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&ring_lock);
}

void trace_to_text(FILE *out)
{
	pthread_mutex_lock(&ring_lock);
	for (uint64_t i = nr_events > TRACE_SLOTS ? nr_events - TRACE_SLOTS : 0; i < nr_events; i++) {
		const struct event *e = &ring[i % TRACE_SLOTS];

		fprintf(out, "%" PRIu64 ".%06" PRIu64 " %lx %s %s\n", e->time_nsec / 1000000000,
			e->time_nsec / 1000 % 1000000, e->thread, layer_names[e->layer], e->text);
	}
	pthread_mutex_unlock(&ring_lock);
}
