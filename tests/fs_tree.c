/* fs_tree.c: see fs_tree.h. */
#include "fs_tree.h"

#include <dirent.h>
#include <stdlib.h>

static const struct fs_cred tester = { 1000, 100 };

static int64_t forget(struct fsx *x, int err, const struct fs_attr *a)
{
	if (err)
		return err;
	fs_forget(x->fs, a->ino, 1);
	return a->ino;
}

int64_t tree_file(struct fsx *x, ino_nr_t dir, const char *name)
{
	struct fs_attr a;

	return forget(x, fs_mknod(x->fs, &tester, dir, fs_name_of(name), S_IFREG | 0644, 0, &a), &a);
}

int64_t tree_dir(struct fsx *x, ino_nr_t dir, const char *name)
{
	struct fs_attr a;

	return forget(x, fs_mkdir(x->fs, &tester, dir, fs_name_of(name), 0755, &a), &a);
}

int64_t tree_symlink(struct fsx *x, ino_nr_t dir, const char *name, const char *target)
{
	struct fs_attr a;

	return forget(x, fs_symlink(x->fs, &tester, dir, fs_name_of(name), fs_name_of(target), &a), &a);
}

int tree_link(struct fsx *x, ino_nr_t ino, ino_nr_t dir, const char *name)
{
	struct fs_attr a;
	const int err = fs_link(x->fs, ino, dir, fs_name_of(name), &a);

	if (!err)
		fs_forget(x->fs, ino, 1);
	return err;
}

int tree_unlink(struct fsx *x, ino_nr_t dir, const char *name)
{
	return fs_unlink(x->fs, dir, fs_name_of(name));
}

int tree_rmdir(struct fsx *x, ino_nr_t dir, const char *name)
{
	return fs_rmdir(x->fs, dir, fs_name_of(name));
}

int tree_rename(struct fsx *x, ino_nr_t dir, const char *name, ino_nr_t new_dir, const char *new_name, unsigned flags)
{
	return fs_rename(x->fs, dir, fs_name_of(name), new_dir, fs_name_of(new_name), flags);
}

int64_t tree_find(struct fsx *x, ino_nr_t dir, const char *name)
{
	struct fs_attr a;

	return forget(x, fs_lookup(x->fs, dir, fs_name_of(name), &a), &a);
}

struct fs_attr tree_attr(struct fsx *x, ino_nr_t ino)
{
	struct fs_attr a;

	ck_assert_int_eq(fs_getattr(x->fs, ino, &a), 0);
	return a;
}

static ino_nr_t must(int64_t result, const char *name)
{
	ck_assert_msg(result > 0, "%s: %s\n%s", name, strerror((int)-result), fsx_log());
	return (ino_nr_t)result;
}

ino_nr_t tree_must_file(struct fsx *x, ino_nr_t dir, const char *name)
{
	return must(tree_file(x, dir, name), name);
}

ino_nr_t tree_must_dir(struct fsx *x, ino_nr_t dir, const char *name)
{
	return must(tree_dir(x, dir, name), name);
}

/* Listings ------------------------------------------------------------------------------ */

struct taker {
	struct tree_list *list;
	unsigned room;
};

static void list_add_name(struct tree_list *l, struct fs_name name, ino_nr_t ino, unsigned type)
{
	if (l->nr == l->max) {
		l->max = l->max ? 2 * l->max : 64;
		l->names = realloc(l->names, l->max * sizeof(*l->names));
	}
	l->names[l->nr++] = (struct tree_name){ strndup(name.s, name.len), ino, type };
}

static bool is_dots(struct fs_name n)
{
	return (n.len == 1 && n.s[0] == '.') || (n.len == 2 && n.s[0] == '.' && n.s[1] == '.');
}

static bool take(void *arg, const struct fs_dirent *de)
{
	struct taker *t = arg;

	if (t->room == 0)
		return false;
	t->room--;
	ck_assert_msg(de->next_cookie > t->list->cookie, "cookies rise");
	t->list->cookie = de->next_cookie;
	if (!is_dots(de->name))
		list_add_name(t->list, de->name, de->ino, de->type);
	return true;
}

void tree_list_more(struct fsx *x, ino_nr_t dir, struct tree_list *l, unsigned per_call)
{
	struct taker t = { l, per_call };
	const int err = fs_readdir(x->fs, dir, l->cookie, take, &t);

	ck_assert_msg(!err, "fs_readdir: %s\n%s", strerror(-err), fsx_log());
	l->at_end = t.room == per_call;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct tree_name *)a)->name, ((const struct tree_name *)b)->name);
}

void tree_list_sort(struct tree_list *l)
{
	if (l->nr)
		qsort(l->names, l->nr, sizeof(*l->names), name_compare);
}

struct tree_list tree_list_all(struct fsx *x, ino_nr_t dir, unsigned per_call)
{
	struct tree_list l = { 0 };

	while (!l.at_end)
		tree_list_more(x, dir, &l, per_call);
	tree_list_sort(&l);
	for (unsigned i = 1; i < l.nr; i++)
		ck_assert_msg(strcmp(l.names[i - 1].name, l.names[i].name), "'%s' came twice", l.names[i].name);
	return l;
}

unsigned tree_list_count(const struct tree_list *l, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->nr; i++)
		n += !strcmp(l->names[i].name, name);
	return n;
}

void tree_list_free(struct tree_list *l)
{
	for (unsigned i = 0; i < l->nr; i++)
		free(l->names[i].name);
	free(l->names);
	*l = (struct tree_list){ 0 };
}

struct tree_list tree_debugfs_ls(struct fsx *x, const char *path)
{
	struct tree_list l = { 0 };
	char *text, *request;

	/* /inode/mode/uid/gid/name/size/ */
	ck_assert_int_ge(asprintf(&request, "ls -p %s", path), 0);
	text = fsx_debugfs(x, request);
	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		ino_nr_t ino;
		int name_at = 0;

		if (sscanf(line, "/%" SCNu32 "/%*o/%*u/%*u/%n", &ino, &name_at) != 1 || !name_at)
			continue;
		struct fs_name name = { line + name_at, strcspn(line + name_at, "/") };

		if (ino && !is_dots(name))
			list_add_name(&l, name, ino, DT_UNKNOWN);
	}
	free(text);
	free(request);
	tree_list_sort(&l);
	return l;
}

void tree_lists_equal(struct tree_list *a, struct tree_list *b)
{
	tree_list_sort(a);
	tree_list_sort(b);
	for (unsigned i = 0; i < a->nr && i < b->nr; i++) {
		ck_assert_str_eq(a->names[i].name, b->names[i].name);
		ck_assert_uint_eq(a->names[i].ino, b->names[i].ino);
	}
	ck_assert_uint_eq(a->nr, b->nr);
}
