/*
 * test_fs_dir_model.c: random calls on names, against a model that knows a tree of names and
 * what each call must say.
 */
#include <stdlib.h>

#include "base/rng.h"
#include "test_fs_dir.h"

enum { MAX_OBJECTS = 900, MAX_DIRS = 12, NR_NAMES = 260, NR_STEPS = 3000, NR_ROUNDS = 3 };

enum kind { NONE, FILE_KIND, DIR_KIND, SYMLINK_KIND };

struct object {
	enum kind kind;
	unsigned nlink;		/* files and symbolic links: names */
	ino_nr_t ino;
	unsigned parent;	/* directories */
	unsigned nr_entries;	/* directories */
};

/* entry[d][n]: the object that name n of directory d leads to; object 0 is none, 1 the root. */
struct model {
	struct rng rng;
	uint64_t seed;
	struct fsx *x;
	char names[NR_NAMES][EXT_NAME_MAX + 1];
	struct object objects[MAX_OBJECTS];
	unsigned dirs[MAX_DIRS];	/* objects; 0: free */
	uint16_t entry[MAX_DIRS][NR_NAMES];
};

enum { ROOT = 1 };

static void make_names(struct model *m)
{
	for (unsigned i = 0; i < NR_NAMES; i++) {
		const unsigned len = rng_below(&m->rng, 8) ? (unsigned)rng_below(&m->rng, 24) : (unsigned)rng_below(&m->rng, 250);
		int at = sprintf(m->names[i], "%u-", i);

		for (unsigned k = 0; k < len && at < EXT_NAME_MAX; k++)
			m->names[i][at++] = (char)(1 + rng_below(&m->rng, 46));	/* up to the one before '/' */
		m->names[i][at] = '\0';
	}
}

static unsigned slot_of(const struct model *m, unsigned object)
{
	for (unsigned d = 0; d < MAX_DIRS; d++)
		if (m->dirs[d] == object)
			return d;
	return MAX_DIRS;
}

static unsigned random_slot(struct model *m)
{
	unsigned d;

	do
		d = (unsigned)rng_below(&m->rng, MAX_DIRS);
	while (!m->dirs[d]);
	return d;
}

static unsigned new_object(struct model *m, enum kind kind, ino_nr_t ino)
{
	for (unsigned o = ROOT + 1; o < MAX_OBJECTS; o++)
		if (m->objects[o].kind == NONE) {
			m->objects[o] = (struct object){ .kind = kind, .nlink = 1, .ino = ino };
			return o;
		}
	ck_abort_msg("the model is full");
}

static bool has_room(const struct model *m)
{
	for (unsigned o = ROOT + 1; o < MAX_OBJECTS; o++)
		if (m->objects[o].kind == NONE)
			return true;
	return false;
}

static void set_entry(struct model *m, unsigned d, unsigned n, unsigned object)
{
	struct object *dir = &m->objects[m->dirs[d]];

	dir->nr_entries += !!object - !!m->entry[d][n];
	m->entry[d][n] = (uint16_t)object;
}

static void drop_name(struct model *m, unsigned object)
{
	struct object *o = &m->objects[object];

	if (o->kind == DIR_KIND)
		m->dirs[slot_of(m, object)] = 0;
	if (o->kind == DIR_KIND || --o->nlink == 0)
		o->kind = NONE;
}

static bool is_dir(const struct model *m, unsigned object)
{
	return m->objects[object].kind == DIR_KIND;
}

/* Is object the directory or above it? */
static bool is_above(const struct model *m, unsigned object, unsigned dir)
{
	for (; dir != ROOT; dir = m->objects[dir].parent)
		if (dir == object)
			return true;
	return object == ROOT;
}

static void expect(struct model *m, const char *what, int64_t got, int want)
{
	ck_assert_msg(want ? got == want : got >= 0, "seed %ju: %s: %jd, not %d\n%s", (uintmax_t)m->seed, what, (intmax_t)got,
		      want, fsx_log());
}

/* Calls ----------------------------------------------------------------------------------- */

static void step_create(struct model *m, unsigned d, unsigned n)
{
	const ino_nr_t dir = m->objects[m->dirs[d]].ino;
	const bool symlink = rng_below(&m->rng, 6) == 0;
	char target[300];
	int64_t ino;

	if (!has_room(m))
		return;
	memset(target, 'x', sizeof(target));
	target[1 + rng_below(&m->rng, 290)] = '\0';
	ino = symlink ? tree_symlink(m->x, dir, m->names[n], target) : tree_file(m->x, dir, m->names[n]);
	expect(m, "create", ino, m->entry[d][n] ? -EEXIST : 0);
	if (ino > 0)
		set_entry(m, d, n, new_object(m, symlink ? SYMLINK_KIND : FILE_KIND, (ino_nr_t)ino));
}

static void step_mkdir(struct model *m, unsigned d, unsigned n)
{
	unsigned slot = slot_of(m, 0), object;
	int64_t ino;

	if (slot == MAX_DIRS || !has_room(m))
		return;
	ino = tree_dir(m->x, m->objects[m->dirs[d]].ino, m->names[n]);
	expect(m, "mkdir", ino, m->entry[d][n] ? -EEXIST : 0);
	if (ino < 0)
		return;
	object = new_object(m, DIR_KIND, (ino_nr_t)ino);
	m->objects[object].parent = m->dirs[d];
	m->dirs[slot] = object;
	memset(m->entry[slot], 0, sizeof(m->entry[slot]));
	set_entry(m, d, n, object);
}

static void step_link(struct model *m, unsigned d, unsigned n)
{
	const unsigned from = random_slot(m), object = m->entry[from][rng_below(&m->rng, NR_NAMES)];
	int want;

	if (!object)
		return;
	want = is_dir(m, object) ? (m->entry[d][n] ? -EEXIST : -EPERM) : m->entry[d][n] ? -EEXIST : 0;
	expect(m, "link", tree_link(m->x, m->objects[object].ino, m->objects[m->dirs[d]].ino, m->names[n]), want);
	if (want)
		return;
	m->objects[object].nlink++;
	set_entry(m, d, n, object);
}

static void step_unlink(struct model *m, unsigned d, unsigned n)
{
	const unsigned object = m->entry[d][n];
	const int want = !object ? -ENOENT : is_dir(m, object) ? -EISDIR : 0;

	expect(m, "unlink", tree_unlink(m->x, m->objects[m->dirs[d]].ino, m->names[n]), want);
	if (want)
		return;
	set_entry(m, d, n, 0);
	drop_name(m, object);
}

static void step_rmdir(struct model *m, unsigned d, unsigned n)
{
	const unsigned object = m->entry[d][n];
	const int want = !object ? -ENOENT : !is_dir(m, object) ? -ENOTDIR : m->objects[object].nr_entries ? -ENOTEMPTY : 0;

	expect(m, "rmdir", tree_rmdir(m->x, m->objects[m->dirs[d]].ino, m->names[n]), want);
	if (want)
		return;
	set_entry(m, d, n, 0);
	drop_name(m, object);
}

static int want_rename(const struct model *m, unsigned d, unsigned n, unsigned to_d, unsigned to_n, unsigned flags)
{
	const unsigned child = m->entry[d][n], target = m->entry[to_d][to_n];
	const bool exchange = flags & FS_RENAME_EXCHANGE;

	if (!child)
		return -ENOENT;
	if (d != to_d && is_dir(m, child) && is_above(m, child, m->dirs[to_d]))
		return -EINVAL;
	if (d != to_d && target && is_dir(m, target) && is_above(m, target, m->dirs[d]))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (target && flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (!target)
		return exchange ? -ENOENT : 0;
	if (exchange || child == target)
		return 0;
	if (is_dir(m, child) != is_dir(m, target))
		return is_dir(m, child) ? -ENOTDIR : -EISDIR;
	return is_dir(m, target) && m->objects[target].nr_entries ? -ENOTEMPTY : 0;
}

static void step_rename(struct model *m, unsigned d, unsigned n)
{
	static const unsigned all_flags[] = { 0, 0, 0, FS_RENAME_NOREPLACE, FS_RENAME_EXCHANGE };
	const unsigned flags = all_flags[rng_below(&m->rng, ARRAY_LEN(all_flags))];
	const unsigned to_d = random_slot(m), to_n = (unsigned)rng_below(&m->rng, NR_NAMES);
	const unsigned child = m->entry[d][n], target = m->entry[to_d][to_n];
	const int want = want_rename(m, d, n, to_d, to_n, flags);

	expect(m, "rename", tree_rename(m->x, m->objects[m->dirs[d]].ino, m->names[n], m->objects[m->dirs[to_d]].ino,
					m->names[to_n], flags), want);
	if (want || child == target)
		return;
	if (is_dir(m, child))
		m->objects[child].parent = m->dirs[to_d];
	if (flags & FS_RENAME_EXCHANGE) {
		if (is_dir(m, target))
			m->objects[target].parent = m->dirs[d];
		set_entry(m, d, n, target);
		set_entry(m, to_d, to_n, child);
		return;
	}
	set_entry(m, d, n, 0);
	set_entry(m, to_d, to_n, child);
	if (target)
		drop_name(m, target);
}

/* Comparison ---------------------------------------------------------------------------------- */

static unsigned subdirs_of(const struct model *m, unsigned d)
{
	unsigned nr = 0;

	for (unsigned n = 0; n < NR_NAMES; n++)
		nr += m->entry[d][n] && is_dir(m, m->entry[d][n]);
	return nr;
}

static void check_object(struct model *m, unsigned object)
{
	const struct object *o = &m->objects[object];
	const struct fs_attr a = tree_attr(m->x, o->ino);
	const unsigned type = o->kind == DIR_KIND ? S_IFDIR : o->kind == SYMLINK_KIND ? S_IFLNK : S_IFREG;

	ck_assert_uint_eq(a.mode & S_IFMT, type);
	ck_assert_uint_eq(a.nlink, o->kind == DIR_KIND ? 2 + subdirs_of(m, slot_of(m, object)) : o->nlink);
}

static void check_dir(struct model *m, unsigned d)
{
	const struct object *dir = &m->objects[m->dirs[d]];
	struct tree_list l = tree_list_all(m->x, dir->ino, 1 + (unsigned)rng_below(&m->rng, 40));

	ck_assert_int_eq(tree_find(m->x, dir->ino, ".."), m->objects[dir->parent].ino);
	ck_assert_msg(l.nr == dir->nr_entries, "seed %ju: %u names listed, not %u", (uintmax_t)m->seed, l.nr,
		      dir->nr_entries);
	tree_list_free(&l);
	for (unsigned n = 0; n < NR_NAMES; n++) {
		const unsigned object = m->entry[d][n];

		expect(m, "lookup", tree_find(m->x, dir->ino, m->names[n]), object ? 0 : -ENOENT);
		if (!object)
			continue;
		ck_assert_int_eq(tree_find(m->x, dir->ino, m->names[n]), m->objects[object].ino);
		check_object(m, object);
	}
}

static void check_all(struct model *m)
{
	for (unsigned d = 0; d < MAX_DIRS; d++)
		if (m->dirs[d])
			check_dir(m, d);
}

typedef void step_fn(struct model *m, unsigned d, unsigned n);

static void run_steps(struct model *m, unsigned nr)
{
	static step_fn *const steps[] = {
		step_create, step_create, step_create, step_create, step_create, step_mkdir, step_link, step_link, step_unlink,
		step_unlink, step_rmdir, step_rename, step_rename,
	};

	for (unsigned i = 0; i < nr; i++)
		steps[rng_below(&m->rng, ARRAY_LEN(steps))](m, random_slot(m), (unsigned)rng_below(&m->rng, NR_NAMES));
}

static void remove_all(struct model *m)
{
	for (bool more = true; more;) {
		more = false;
		for (unsigned d = 0; d < MAX_DIRS; d++)
			for (unsigned n = 0; m->dirs[d] && n < NR_NAMES; n++) {
				const unsigned object = m->entry[d][n];

				if (object)
					(is_dir(m, object) ? step_rmdir : step_unlink)(m, d, n);
				more |= m->entry[d][n] != 0;
			}
	}
}

static void model_init(struct model *m, struct fsx *x, uint64_t seed)
{
	*m = (struct model){ .seed = seed, .x = x, .rng = { seed } };
	make_names(m);
	/* The model's root is a directory below the filesystem's, which is object 0. */
	m->objects[0].ino = EXT_ROOT_INO;
	m->objects[ROOT] = (struct object){ .kind = DIR_KIND, .ino = tree_must_dir(x, EXT_ROOT_INO, "top") };
	m->dirs[0] = ROOT;
}

START_TEST(random_calls_agree_with_a_model)
{
	static struct model m;
	const struct dir_format *format = &dir_formats[_i];
	CLEANUP_FSX struct fsx *x = fsx_new(format->size, format->mke2fs);
	struct statvfs before, after;

	fsx_mount(x);
	model_init(&m, x, 100 + (uint64_t)_i);
	fs_statfs(x->fs, &before);
	for (unsigned round = 0; round < NR_ROUNDS; round++) {
		run_steps(&m, NR_STEPS);
		check_all(&m);
		fsx_done(x);
		fsx_mount(x);
		check_all(&m);
	}
	remove_all(&m);
	fs_statfs(x->fs, &after);
	ck_assert_uint_eq(before.f_ffree, after.f_ffree);
	fsx_done(x);
}
END_TEST

TCase *dir_model_tests(void)
{
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_calls_agree_with_a_model, 0, NR_DIR_FORMATS);
	return tc;
}
