/* lab_tree.c: see lab_tree.h. */
#include "lab_tree.h"

#include <dirent.h>
#include <stdlib.h>

#include "base/crc.h"

enum { XATTR_NAMES_MAX = 4096, XATTR_VALUE_MAX = 4096, LAB_FILE_MAX = 64 << 20 };

/* One directory's entries; reading must not call back, so they are collected first. */
struct names {
	char **names;
	size_t nr, cap;
	int err;
};

static bool collect(void *arg, const struct fs_dirent *de)
{
	struct names *n = arg;
	char **grown;

	if ((de->name.len == 1 && de->name.s[0] == '.') || (de->name.len == 2 && !memcmp(de->name.s, "..", 2)))
		return true;
	if (n->nr == n->cap) {
		n->cap = MAX(n->cap * 2, (size_t)16);
		grown = realloc(n->names, n->cap * sizeof(*grown));
		if (!grown) {
			n->err = -ENOMEM;
			return false;
		}
		n->names = grown;
	}
	n->names[n->nr] = strndup(de->name.s, de->name.len);
	if (!n->names[n->nr]) {
		n->err = -ENOMEM;
		return false;
	}
	n->nr++;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(struct fs *fs, ino_nr_t dir, struct names *n)
{
	const int err = fs_readdir(fs, dir, 0, collect, n);

	if (n->nr)
		qsort(n->names, n->nr, sizeof(*n->names), compare_names);
	return err ? err : n->err;
}

static void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->nr; i++)
		free(n->names[i]);
	free(n->names);
}

static int read_data(struct fs *fs, struct lab_node *node)
{
	uint64_t pos = 0;

	if (node->size_bytes > LAB_FILE_MAX)
		return -EFBIG;
	node->data = malloc((size_t)node->size_bytes + 1);
	if (!node->data)
		return -ENOMEM;
	if (S_ISLNK(node->mode)) {
		const int n = fs_readlink(fs, node->ino, (char *)node->data, (size_t)node->size_bytes);

		return n < 0 ? n : (uint64_t)n == node->size_bytes ? 0 : -EUCLEAN;
	}
	while (pos < node->size_bytes) {
		const size_t want = (size_t)MIN(node->size_bytes - pos, (uint64_t)1 << 20);
		struct fs_read_result r;
		const int err = fs_read(fs, node->ino, pos, want, &r);
		const size_t got = err ? 0 : r.len_bytes;

		if (err)
			return err;
		for (unsigned i = 0; i < r.nr_iov; i++) {
			memcpy(node->data + pos, r.iov[i].iov_base, r.iov[i].iov_len);
			pos += r.iov[i].iov_len;
		}
		fs_read_done(fs, &r);
		if (!got)
			return -EUCLEAN;	/* shorter than its size */
	}
	return 0;
}

static int print_xattr(struct fs *fs, ino_nr_t ino, const char *name, FILE *out)
{
	uint8_t value[XATTR_VALUE_MAX];
	const int n = fs_getxattr(fs, ino, name, value, sizeof(value));

	if (n < 0)
		return n;
	fprintf(out, "%s=", name);
	for (int i = 0; i < n; i++)
		fprintf(out, "%02x", value[i]);
	fputc('\n', out);
	return 0;
}

static int read_xattrs(struct fs *fs, struct lab_node *node)
{
	char names[XATTR_NAMES_MAX], *list[XATTR_NAMES_MAX / 2];
	const int len = fs_listxattr(fs, node->ino, names, sizeof(names));
	size_t nr = 0, size;
	FILE *out;
	int err = 0;

	if (len < 0)
		return len == -EOPNOTSUPP ? 0 : len;
	if (!len)
		return 0;
	for (int i = 0; i < len; i += (int)strlen(names + i) + 1)
		list[nr++] = names + i;
	qsort(list, nr, sizeof(*list), compare_names);
	out = open_memstream(&node->xattrs, &size);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; !err && i < nr; i++)
		err = print_xattr(fs, node->ino, list[i], out);
	fclose(out);
	return err;
}

static struct lab_node *node_add(struct lab_tree *t, const char *path)
{
	struct lab_node *nodes;

	if (t->nr == t->cap) {
		t->cap = MAX(t->cap * 2, (size_t)32);
		nodes = realloc(t->nodes, t->cap * sizeof(*nodes));
		if (!nodes)
			return NULL;
		t->nodes = nodes;
	}
	t->nodes[t->nr] = (struct lab_node){ .path = strdup(path) };
	return t->nodes[t->nr].path ? &t->nodes[t->nr++] : NULL;
}

static int take(struct fs *fs, struct lab_tree *t, const char *path, ino_nr_t ino, char **where);

static int take_dir(struct fs *fs, struct lab_tree *t, const char *path, ino_nr_t ino, char **where)
{
	struct names n = { 0 };
	int err = read_names(fs, ino, &n);

	for (size_t i = 0; !err && i < n.nr; i++) {
		struct fs_attr at;
		char *child;

		if (asprintf(&child, "%s%s%s", path, path[1] ? "/" : "", n.names[i]) < 0) {
			err = -ENOMEM;
			break;
		}
		err = fs_lookup(fs, ino, fs_name_of(n.names[i]), &at);
		if (err && !*where) {
			*where = child;
			break;
		}
		if (!err) {
			err = take(fs, t, child, at.ino, where);
			fs_forget(fs, at.ino, 1);
		}
		free(child);
	}
	names_fini(&n);
	return err;
}

static int take(struct fs *fs, struct lab_tree *t, const char *path, ino_nr_t ino, char **where)
{
	struct lab_node *node = node_add(t, path);
	struct fs_attr at;
	int err;

	if (!node)
		return -ENOMEM;
	err = fs_getattr(fs, ino, &at);
	if (!err) {
		node->ino = ino;
		node->generation = at.generation;
		node->mode = at.mode;
		node->nlink = at.nlink;
		node->uid = at.uid;
		node->gid = at.gid;
		node->rdev = at.rdev;
		node->size_bytes = at.size_bytes;
		err = read_xattrs(fs, node);
	}
	if (!err && (S_ISREG(node->mode) || S_ISLNK(node->mode)))
		err = read_data(fs, node);
	if (!err && S_ISDIR(at.mode))
		err = take_dir(fs, t, path, ino, where);
	if (err && !*where)
		*where = strdup(path);
	return err;
}

static int compare_nodes(const void *a, const void *b)
{
	return strcmp(((const struct lab_node *)a)->path, ((const struct lab_node *)b)->path);
}

int lab_tree_take(struct fs *fs, struct lab_tree *out, char **where)
{
	int err;

	*out = (struct lab_tree){ 0 };
	*where = NULL;
	err = take(fs, out, "/", 2, where);
	if (!err)
		qsort(out->nodes, out->nr, sizeof(*out->nodes), compare_nodes);
	return err;
}

void lab_tree_fini(struct lab_tree *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		free(t->nodes[i].path);
		free(t->nodes[i].data);
		free(t->nodes[i].xattrs);
	}
	free(t->nodes);
	*t = (struct lab_tree){ 0 };
}

const struct lab_node *lab_tree_find(const struct lab_tree *t, const char *path)
{
	const struct lab_node key = { .path = (char *)(uintptr_t)path };

	return t->nr ? bsearch(&key, t->nodes, t->nr, sizeof(key), compare_nodes) : NULL;
}

const struct lab_node *lab_tree_find_inode(const struct lab_tree *t, ino_nr_t ino, uint32_t generation)
{
	for (size_t i = 0; i < t->nr; i++)
		if (t->nodes[i].ino == ino && t->nodes[i].generation == generation)
			return &t->nodes[i];
	return NULL;
}

void lab_tree_to_text(const struct lab_tree *t, FILE *out)
{
	for (size_t i = 0; i < t->nr; i++) {
		const struct lab_node *n = &t->nodes[i];

		fprintf(out, "%s ino=%" PRIu32 " mode=%o nlink=%" PRIu32 " %" PRIu32 ":%" PRIu32 " size=%" PRIu64, n->path,
			n->ino, n->mode, n->nlink, n->uid, n->gid, n->size_bytes);
		if (S_ISLNK(n->mode))
			fprintf(out, " -> %.*s", (int)n->size_bytes, (const char *)n->data);
		else if (n->data)
			fprintf(out, " crc=%08" PRIx32, crc32c(~0u, n->data, (size_t)n->size_bytes));
		if (n->xattrs)
			fprintf(out, " xattrs=%zu", strlen(n->xattrs));
		fputc('\n', out);
	}
}

int lab_path_ino(struct fs *fs, const char *path, ino_nr_t *ino)
{
	ino_nr_t at = 2;

	while (*path == '/')
		path++;
	while (*path) {
		const size_t len = strcspn(path, "/");
		struct fs_attr attr;
		const int err = fs_lookup(fs, at, (struct fs_name){ path, len }, &attr);

		if (err)
			return err;
		fs_forget(fs, attr.ino, 1);
		at = attr.ino;
		path += len;
		while (*path == '/')
			path++;
	}
	*ino = at;
	return 0;
}
