/* look_name.c: paths of inodes. See look_owner.h. */
#include <stdlib.h>
#include <sys/stat.h>

#include "look/look_owner.h"

enum { DEPTH_MAX = 4096 };

struct gather {
	struct look_names *n;
	const struct jbd2_map *wanted;
	struct jbd2_map dirs;		/* those that are one */
	ino_nr_t dir;
	int err;
};

static void *grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	*cap = MAX(*cap * 2, need + 1024);
	return realloc(p, *cap * size);
}

static int add(struct gather *g, const struct look_entry *e)
{
	struct look_names *n = g->n;
	const uint64_t *at = jbd2_map_get(&n->by_ino, e->ino);
	void *p;

	if (at) {
		n->rec[*at].nr_more++;
		return 0;
	}
	p = grow(n->rec, &n->cap, n->nr + 1, sizeof(*n->rec));
	if (!p)
		return -ENOMEM;
	n->rec = p;
	p = grow(n->text, &n->cap_text, n->nr_text + e->name_len, 1);
	if (!p || n->nr_text > UINT32_MAX)
		return -ENOMEM;
	n->text = p;
	memcpy(n->text + n->nr_text, e->name, e->name_len);
	n->rec[n->nr] = (struct look_name_rec){ g->dir, (uint32_t)n->nr_text, (uint16_t)e->name_len, 0 };
	n->nr_text += e->name_len;
	return jbd2_map_put(&n->by_ino, e->ino, n->nr++);
}

static bool take_entry(void *arg, const struct look_entry *e)
{
	struct gather *g = arg;
	const bool dots = (e->name_len == 1 && e->name[0] == '.') || (e->name_len == 2 && e->name[0] == '.' && e->name[1] == '.');

	if (!dots && e->name_len && (jbd2_map_get(g->wanted, e->ino) || jbd2_map_get(&g->dirs, e->ino)))
		g->err = add(g, e);
	return !g->err;
}

int look_names_load(struct look *l, const struct look_owners *w, const struct jbd2_map *wanted, struct look_names *out)
{
	struct gather g = { .n = out, .wanted = wanted };
	int err = 0;

	*out = (struct look_names){ 0 };
	l->dir_blocks_left = 4 * l->nr_blocks + w->nr_dirs;	/* LK2: sound directories share no blocks */
	for (size_t k = 0; !err && k < w->nr_dirs; k++)
		err = jbd2_map_put(&g.dirs, w->dirs[k], 1);
	for (size_t k = 0; !err && k < w->nr_dirs; k++) {
		struct look_inode dir;

		g.dir = w->dirs[k];
		if (look_inode(l, g.dir, &dir))
			continue;
		if (S_ISDIR(dir.mode))
			err = look_dir(l, &dir, false, take_entry, &g);
		look_inode_done(&dir);
		err = err ? err : g.err;
	}
	l->dir_blocks_left = UINT64_MAX;
	jbd2_map_fini(&g.dirs);
	if (err)
		look_names_free(out);
	return err;
}

void look_names_free(struct look_names *n)
{
	jbd2_map_fini(&n->by_ino);
	free(n->rec);
	free(n->text);
	*n = (struct look_names){ 0 };
}

/* From the inode up to the root; how long the path is, 0: there is none. out NULL: only that. */
static size_t climb(const struct look_names *n, ino_nr_t ino, char *out, size_t len)
{
	size_t at = len, total = 0;

	for (unsigned depth = 0; ino != EXT_ROOT_INO; depth++) {
		const uint64_t *k = jbd2_map_get(&n->by_ino, ino);
		const struct look_name_rec *r;

		if (!k || depth == DEPTH_MAX)
			return 0;
		r = &n->rec[*k];
		total += r->len + 1u;
		if (out) {
			at -= r->len;
			memcpy(out + at, n->text + r->off, r->len);
			out[--at] = '/';
		}
		ino = r->parent;
	}
	return total;
}

char *look_names_path(const struct look_names *n, ino_nr_t ino, uint32_t *nr_more)
{
	const uint64_t *k = jbd2_map_get(&n->by_ino, ino);
	const size_t len = climb(n, ino, NULL, 0);
	char *path;

	*nr_more = k ? n->rec[*k].nr_more : 0;
	if (ino == EXT_ROOT_INO)
		return strdup("/");
	if (!len)
		return NULL;
	path = malloc(len + 1);
	if (path) {
		climb(n, ino, path, len);
		path[len] = '\0';
	}
	return path;
}
