/* magazine.c: everything about magazines that is not the hot path. See magazine.h for M1 to M3. */
#include "alloc/magazine.h"

#include <assert.h>
#include <stdlib.h>

#include "alloc/alloc_int.h"

/* ---- one magazine -------------------------------------------------------- */

static void mag_drain_all(struct magazine *m)
{
	unsigned nr = mag_nr(m);

	mag_set_nr(m, 0);
	if (nr)
		m->class->drain(m->class, m->obj, nr);
}

static void mag_free_locked(struct magazine *m)
{
	assert_held(&m->class->a->lock);
	mag_drain_all(m);
	list_del(&m->link);
	free(m);
}

/* ---- threads ------------------------------------------------------------- */

static void thread_end(void *arg)
{
	struct alloc_thread *t = arg;
	struct alloc *a = t->a;

	os_mutex_lock(&a->lock);
	for (unsigned i = 0; i < MAG_CLASSES; i++)
		if (t->mags[i])
			mag_free_locked(t->mags[i]);
	list_del(&t->link);
	os_mutex_unlock(&a->lock);
	free(t);
}

/* The calling thread's table, made at its first use; NULL when out of memory. */
static struct alloc_thread *thread_mine(struct alloc *a)
{
	struct alloc_thread *t = pthread_getspecific(a->mt.key);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->a = a;
	if (pthread_setspecific(a->mt.key, t)) {
		free(t);
		return NULL;
	}
	os_mutex_lock(&a->lock);
	list_add(&a->mt.threads, &t->link);
	os_mutex_unlock(&a->lock);
	return t;
}

int mag_threads_init(struct mag_threads *mt)
{
	memset(mt, 0, sizeof(*mt));
	list_init(&mt->threads);
	mt->index_used[MAG_NO_INDEX] = true;
	return -pthread_key_create(&mt->key, thread_end);
}

void mag_threads_fini(struct mag_threads *mt)
{
	struct alloc_thread *t, *next;

	/* Without the key no destructor runs for threads that go on without us. */
	pthread_key_delete(mt->key);
	list_for_each_safe(t, next, &mt->threads, link)
		free(t);
}

/* ---- classes ------------------------------------------------------------- */

static unsigned index_take(struct mag_threads *mt)
{
	for (unsigned i = MAG_NO_INDEX + 1; i < MAG_CLASSES; i++)
		if (!mt->index_used[i]) {
			mt->index_used[i] = true;
			return i;
		}
	return MAG_NO_INDEX;
}

void mag_class_init(struct mag_class *c, struct alloc *a, unsigned cap,
		    unsigned (*refill)(struct mag_class *c, void **obj, unsigned nr),
		    void (*drain)(struct mag_class *c, void **obj, unsigned nr))
{
	c->a = a;
	c->cap = cap;
	list_init(&c->magazines);
	c->refill = refill;
	c->drain = drain;
	c->index = MAG_NO_INDEX;
	if (cap >= 2) {
		LOCK_GUARD(&a->lock);
		c->index = index_take(&a->mt);
	}
}

void mag_class_fini(struct mag_class *c)
{
	struct magazine *m, *next;
	struct alloc_thread *t;

	if (c->index == MAG_NO_INDEX)
		return;
	LOCK_GUARD(&c->a->lock);
	list_for_each(t, &c->a->mt.threads, link)
		t->mags[c->index] = NULL;
	list_for_each_safe(m, next, &c->magazines, link)
		mag_free_locked(m);
	c->a->mt.index_used[c->index] = false;
}

void mag_flush_mine(struct mag_class *c)
{
	struct magazine *m = mag_mine(c, c->a->mt.key);

	if (m)
		mag_drain_all(m);
}

uint64_t mag_nr_resting_locked(struct mag_class *c)
{
	struct magazine *m;
	uint64_t nr = 0;

	assert_held(&c->a->lock);
	list_for_each(m, &c->magazines, link)
		nr += mag_nr(m);
	return nr;
}

/* ---- slow path ----------------------------------------------------------- */

static struct magazine *mag_new_mine(struct mag_class *c)
{
	struct alloc_thread *t;
	struct magazine *m;

	if (c->index == MAG_NO_INDEX)
		return NULL;
	t = thread_mine(c->a);
	if (!t)
		return NULL;
	m = calloc(1, sizeof(*m) + c->cap * sizeof(m->obj[0]));
	if (!m)
		return NULL;
	m->class = c;
	t->mags[c->index] = m;
	os_mutex_lock(&c->a->lock);
	list_add(&c->magazines, &m->link);
	os_mutex_unlock(&c->a->lock);
	return m;
}

/* The first object taken is to be the first handed out: neighbours stay neighbours. */
static void reverse(void **obj, unsigned nr)
{
	for (unsigned i = 0; i < nr / 2; i++) {
		void *tmp = obj[i];

		obj[i] = obj[nr - 1 - i];
		obj[nr - 1 - i] = tmp;
	}
}

void *mag_get_slow(struct mag_class *c, struct magazine *m)
{
	void *obj;
	unsigned nr;

	if (!m)
		m = mag_new_mine(c);
	if (!m)
		return c->refill(c, &obj, 1) ? obj : NULL;
	nr = c->refill(c, m->obj, c->cap / 2);
	if (!nr)
		return NULL;
	reverse(m->obj, nr);
	mag_set_nr(m, nr - 1);
	return m->obj[nr - 1];
}

void mag_put_slow(struct mag_class *c, struct magazine *m, void *obj)
{
	unsigned half = c->cap / 2, nr;

	if (!m)
		m = mag_new_mine(c);
	if (!m) {
		c->drain(c, &obj, 1);
		return;
	}
	nr = mag_nr(m);
	if (nr == c->cap) {
		/* The older half goes: what was put last is still in the processor's cache. */
		c->drain(c, m->obj, half);
		nr -= half;
		memmove(m->obj, m->obj + half, nr * sizeof(m->obj[0]));
	}
	m->obj[nr] = obj;
	mag_set_nr(m, nr + 1);
}
