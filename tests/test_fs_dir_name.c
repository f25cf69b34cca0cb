/* test_fs_dir_name.c: what single calls on names do and refuse. */
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "test_fs_dir.h"

static const struct fs_cred tester = { 1000, 100 };

static struct fsx *mounted(const char *more)
{
	char opts[128];
	struct fsx *x;

	snprintf(opts, sizeof(opts), "%s%s", FSX_EXT, more);
	x = fsx_new("8m", opts);
	fsx_mount(x);
	return x;
}

START_TEST(names_have_1_to_255_bytes_and_no_slash)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	char name[EXT_NAME_MAX + 2];

	memset(name, 'n', sizeof(name));
	name[EXT_NAME_MAX + 1] = '\0';
	ck_assert_int_eq(tree_file(x, EXT_ROOT_INO, name), -ENAMETOOLONG);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, name), -ENAMETOOLONG);
	name[EXT_NAME_MAX] = '\0';
	ck_assert_int_gt(tree_file(x, EXT_ROOT_INO, name), 0);
	ck_assert_int_gt(tree_find(x, EXT_ROOT_INO, name), 0);
	ck_assert_int_lt(tree_file(x, EXT_ROOT_INO, ""), 0);
	ck_assert_int_eq(tree_file(x, EXT_ROOT_INO, "a/b"), -EINVAL);
	ck_assert_int_lt(tree_dir(x, EXT_ROOT_INO, "."), 0);
	ck_assert_int_lt(tree_rmdir(x, EXT_ROOT_INO, ".."), 0);
	fsx_done(x);
}
END_TEST

START_TEST(dot_and_dotdot_can_be_looked_up)
{
	CLEANUP_FSX struct fsx *x = mounted(_i ? ",inline_data" : "");
	const ino_nr_t a = tree_must_dir(x, EXT_ROOT_INO, "a"), b = tree_must_dir(x, a, "b");

	ck_assert_int_eq(tree_find(x, b, "."), b);
	ck_assert_int_eq(tree_find(x, b, ".."), a);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, ".."), EXT_ROOT_INO);
	fsx_done(x);
}
END_TEST

START_TEST(what_is_no_directory_has_no_names)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	const ino_nr_t f = tree_must_file(x, EXT_ROOT_INO, "f");

	ck_assert_int_eq(tree_find(x, f, "x"), -ENOTDIR);
	ck_assert_int_eq(tree_file(x, f, "x"), -ENOTDIR);
	ck_assert_int_eq(tree_unlink(x, f, "x"), -ENOTDIR);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "f"), -ENOTDIR);
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "lost+found"), -EISDIR);
	fsx_done(x);
}
END_TEST

START_TEST(symbolic_links_of_every_length_keep_their_target)
{
	CLEANUP_FSX struct fsx *x = mounted(_i ? ",inline_data -b 1024" : " -b 1024");
	static const unsigned lens[] = { 1, 58, 59, 60, 61, 100, 255, 1022, 1023 };
	char target[1100], name[16], buf[1100];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
			int64_t ino;

			snprintf(name, sizeof(name), "s%u", lens[i]);
			memset(target, 'a' + (int)i, lens[i]);
			target[lens[i]] = '\0';
			ino = round ? tree_find(x, EXT_ROOT_INO, name) : tree_symlink(x, EXT_ROOT_INO, name, target);
			ck_assert_int_gt(ino, 0);
			ck_assert_int_eq(fs_readlink(x->fs, (ino_nr_t)ino, buf, sizeof(buf)), (int)lens[i]);
			ck_assert_mem_eq(buf, target, lens[i]);
			ck_assert_int_eq(fs_readlink(x->fs, (ino_nr_t)ino, buf, 1), 1);
			ck_assert_uint_eq(tree_attr(x, (ino_nr_t)ino).size_bytes, lens[i]);
		}
		fsx_done(x);
		fsx_mount(x);
	}
	memset(target, 'x', 1024);
	target[1024] = '\0';
	ck_assert_int_eq(tree_symlink(x, EXT_ROOT_INO, "long", target), -ENAMETOOLONG);
	ck_assert_int_eq(tree_symlink(x, EXT_ROOT_INO, "none", ""), -ENOENT);
	ck_assert_int_eq(fs_readlink(x->fs, EXT_ROOT_INO, buf, sizeof(buf)), -EINVAL);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		snprintf(name, sizeof(name), "s%u", lens[i]);
		ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, name), 0);
	}
	fsx_done(x);
}
END_TEST

START_TEST(special_files_are_those_that_debugfs_sees)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	static const struct {
		const char *name, *want;
		uint32_t mode;
		unsigned maj, min;
	} nodes[] = {
		{ "null", "Device major/minor number: 01:03", S_IFCHR | 0666, 1, 3 },
		{ "big", "(New-style) Device major/minor number: 259:70000", S_IFBLK | 0600, 259, 70000 },
		{ "pipe", "Type: FIFO", S_IFIFO | 0600, 0, 0 },
		{ "sock", "Type: socket", S_IFSOCK | 0600, 0, 0 },
	};
	struct fs_attr a;

	for (unsigned i = 0; i < ARRAY_LEN(nodes); i++) {
		const uint64_t rdev = makedev(nodes[i].maj, nodes[i].min);

		ck_assert_int_eq(fs_mknod(x->fs, &tester, EXT_ROOT_INO, fs_name_of(nodes[i].name), nodes[i].mode, rdev, &a), 0);
		ck_assert_uint_eq(a.mode, nodes[i].mode);
		ck_assert_uint_eq(a.rdev, rdev);
	}
	ck_assert_int_eq(fs_mknod(x->fs, &tester, EXT_ROOT_INO, fs_name_of("d"), S_IFDIR | 0700, 0, &a), -EINVAL);
	fsx_done(x);
	for (unsigned i = 0; i < ARRAY_LEN(nodes); i++) {
		char request[32], *text;

		snprintf(request, sizeof(request), "stat /%s", nodes[i].name);
		text = fsx_debugfs(x, request);
		ck_assert_msg(strstr(text, nodes[i].want) != NULL, "%s", text);
		free(text);
	}
}
END_TEST

START_TEST(changes_touch_the_times_of_directory_and_child)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	const ino_nr_t d = tree_must_dir(x, EXT_ROOT_INO, "d"), f = tree_must_file(x, d, "f");
	struct fs_attr dir = tree_attr(x, d), file = tree_attr(x, f), now;

#define IS_LATER(a, b) ((a).tv_sec > (b).tv_sec || ((a).tv_sec == (b).tv_sec && (a).tv_nsec > (b).tv_nsec))
	ck_assert_int_eq(tree_link(x, f, d, "g"), 0);
	now = tree_attr(x, d);
	ck_assert(IS_LATER(now.mtime, dir.mtime) && IS_LATER(now.ctime, dir.ctime));
	dir = now;
	now = tree_attr(x, f);
	ck_assert(IS_LATER(now.ctime, file.ctime) && !IS_LATER(now.mtime, file.mtime));
	file = now;
	ck_assert_int_eq(tree_unlink(x, d, "g"), 0);
	ck_assert(IS_LATER(tree_attr(x, d).mtime, dir.mtime));
	ck_assert(IS_LATER(tree_attr(x, f).ctime, file.ctime));
	dir = tree_attr(x, d);
	file = tree_attr(x, f);
	ck_assert_int_eq(tree_rename(x, d, "f", EXT_ROOT_INO, "f", 0), 0);
	ck_assert(IS_LATER(tree_attr(x, d).mtime, dir.mtime));
	ck_assert(IS_LATER(tree_attr(x, f).ctime, file.ctime));
	/* a moved directory's own contents do not change */
	dir = tree_attr(x, d);
	ck_assert_int_gt(tree_dir(x, EXT_ROOT_INO, "e"), 0);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "d", (ino_nr_t)tree_find(x, EXT_ROOT_INO, "e"), "d", 0), 0);
	ck_assert(!IS_LATER(tree_attr(x, d).mtime, dir.mtime) && IS_LATER(tree_attr(x, d).ctime, dir.ctime));
	fsx_done(x);
}
END_TEST

static void set_flags(struct fsx *x, ino_nr_t ino, uint32_t flags)
{
	const struct fs_attr set = { .flags = flags };

	ck_assert_int_eq(fs_setattr(x->fs, ino, FS_SET_FLAGS, &set, NULL), 0);
}

START_TEST(immutable_and_append_only_things_keep_their_names)
{
	CLEANUP_FSX struct fsx *x = mounted(" -b 1024");
	const ino_nr_t d = tree_must_dir(x, EXT_ROOT_INO, "d"), f = tree_must_file(x, d, "f");

	set_flags(x, f, EXT_FL_IMMUTABLE);
	ck_assert_int_eq(tree_unlink(x, d, "f"), -EPERM);
	ck_assert_int_eq(tree_link(x, f, d, "g"), -EPERM);
	ck_assert_int_eq(tree_rename(x, d, "f", d, "g", 0), -EPERM);
	set_flags(x, f, 0);
	set_flags(x, d, EXT_FL_IMMUTABLE);
	ck_assert_int_eq(tree_file(x, d, "n"), -EPERM);
	ck_assert_int_eq(tree_unlink(x, d, "f"), -EPERM);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), -EPERM);
	set_flags(x, d, EXT_FL_APPEND);
	ck_assert_int_gt(tree_file(x, d, "n"), 0);
	ck_assert_int_eq(tree_unlink(x, d, "n"), -EPERM);
	set_flags(x, d, 0);
	ck_assert_int_eq(tree_unlink(x, d, "n"), 0);
	fsx_done(x);
}
END_TEST

START_TEST(an_unlinked_file_lives_until_it_is_forgotten)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	struct fs_attr a, b;

	ck_assert_int_eq(fs_mknod(x->fs, &tester, EXT_ROOT_INO, fs_name_of("f"), S_IFREG | 0600, 0, &a), 0);
	ck_assert_int_eq(tree_unlink(x, EXT_ROOT_INO, "f"), 0);
	ck_assert_int_eq(fs_getattr(x->fs, a.ino, &b), 0);
	ck_assert_uint_eq(b.nlink, 0);
	ck_assert_int_eq(tree_link(x, a.ino, EXT_ROOT_INO, "again"), -ENOENT);
	fs_forget(x->fs, a.ino, 1);
	ck_assert_int_eq(fs_getattr(x->fs, a.ino, &b), -ESTALE);
	fsx_done(x);
}
END_TEST

START_TEST(a_removed_directory_takes_no_new_names)
{
	CLEANUP_FSX struct fsx *x = mounted(_i ? ",inline_data" : "");
	struct fs_attr a;

	ck_assert_int_eq(fs_mkdir(x->fs, &tester, EXT_ROOT_INO, fs_name_of("d"), 0700, &a), 0);
	ck_assert_int_eq(tree_rmdir(x, EXT_ROOT_INO, "d"), 0);
	ck_assert_int_eq(tree_file(x, a.ino, "f"), -ENOENT);
	ck_assert_int_eq(tree_find(x, a.ino, "f"), -ENOENT);
	fs_forget(x->fs, a.ino, 1);
	fsx_done(x);
}
END_TEST

/* Rename: every pair of things ------------------------------------------------------------- */

enum thing { FILE_, EMPTY_DIR, FULL_DIR, SYMLINK_, NOTHING, NR_THINGS };

static void make_thing(struct fsx *x, ino_nr_t dir, const char *name, enum thing t)
{
	switch (t) {
	case FILE_:
		tree_must_file(x, dir, name);
		break;
	case EMPTY_DIR:
		tree_must_dir(x, dir, name);
		break;
	case FULL_DIR:
		tree_must_file(x, tree_must_dir(x, dir, name), "inner");
		break;
	case SYMLINK_:
		ck_assert_int_gt(tree_symlink(x, dir, name, "target"), 0);
		break;
	default:
		break;
	}
}

static bool thing_is_dir(enum thing t)
{
	return t == EMPTY_DIR || t == FULL_DIR;
}

static int want_rename(enum thing from, enum thing to, unsigned flags)
{
	if (from == NOTHING)
		return -ENOENT;
	if (to == NOTHING)
		return flags & FS_RENAME_EXCHANGE ? -ENOENT : 0;
	if (flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (flags & FS_RENAME_EXCHANGE)
		return 0;
	if (thing_is_dir(from) != thing_is_dir(to))
		return thing_is_dir(from) ? -ENOTDIR : -EISDIR;
	return to == FULL_DIR ? -ENOTEMPTY : 0;
}

static void check_links(struct fsx *x, ino_nr_t dir)
{
	struct tree_list l = tree_list_all(x, dir, 100);
	unsigned nr_subdirs = 0;

	for (unsigned i = 0; i < l.nr; i++)
		if (S_ISDIR(tree_attr(x, l.names[i].ino).mode)) {
			nr_subdirs++;
			ck_assert_int_eq(tree_find(x, l.names[i].ino, ".."), dir);
		}
	ck_assert_uint_eq(tree_attr(x, dir).nlink, 2 + nr_subdirs);
	tree_list_free(&l);
}

static void one_rename(struct fsx *x, ino_nr_t a, ino_nr_t b, enum thing from, enum thing to, unsigned flags)
{
	const int want = want_rename(from, to, flags);
	char name[32], new_name[32];
	int64_t from_ino, to_ino;
	int err;

	snprintf(name, sizeof(name), "from-%d-%d-%u-%u", from, to, flags, b);
	snprintf(new_name, sizeof(new_name), "to-%d-%d-%u-%u", from, to, flags, b);
	make_thing(x, a, name, from);
	make_thing(x, b, new_name, to);
	from_ino = tree_find(x, a, name);
	to_ino = tree_find(x, b, new_name);
	err = tree_rename(x, a, name, b, new_name, flags);
	ck_assert_msg(err == want, "%s to %s: %d, not %d", name, new_name, err, want);
	if (want) {
		ck_assert_int_eq(tree_find(x, a, name), from_ino);
		ck_assert_int_eq(tree_find(x, b, new_name), to_ino);
	} else {
		ck_assert_int_eq(tree_find(x, a, name), flags & FS_RENAME_EXCHANGE ? to_ino : -ENOENT);
		ck_assert_int_eq(tree_find(x, b, new_name), from_ino);
	}
	check_links(x, a);
	check_links(x, b);
}

START_TEST(every_thing_is_renamed_over_every_other_as_posix_says)
{
	static const unsigned all_flags[] = { 0, FS_RENAME_NOREPLACE, FS_RENAME_EXCHANGE };
	CLEANUP_FSX struct fsx *x = mounted(_i ? ",inline_data -b 1024" : " -b 1024");
	const ino_nr_t a = tree_must_dir(x, EXT_ROOT_INO, "a"), b = tree_must_dir(x, EXT_ROOT_INO, "b");

	for (unsigned f = 0; f < ARRAY_LEN(all_flags); f++)
		for (unsigned from = 0; from < NR_THINGS; from++)
			for (unsigned to = 0; to < NR_THINGS; to++) {
				one_rename(x, a, a, from, to, all_flags[f]);
				one_rename(x, a, b, from, to, all_flags[f]);
			}
	fsx_done(x);
}
END_TEST

START_TEST(a_directory_does_not_move_below_itself)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	const ino_nr_t a = tree_must_dir(x, EXT_ROOT_INO, "a"), b = tree_must_dir(x, a, "b"), c = tree_must_dir(x, b, "c");

	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "a", a, "x", 0), -EINVAL);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "a", c, "x", 0), -EINVAL);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "a", b, "c", FS_RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(tree_rename(x, b, "c", EXT_ROOT_INO, "a", FS_RENAME_EXCHANGE), -EINVAL);
	ck_assert_int_eq(tree_rename(x, b, "c", EXT_ROOT_INO, "a", 0), -ENOTEMPTY);
	ck_assert_int_eq(tree_rename(x, b, "c", EXT_ROOT_INO, "c", 0), 0);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "a", c, "x", 0), 0);
	ck_assert_int_eq(tree_find(x, a, ".."), c);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "c", c, "c", FS_RENAME_EXCHANGE | FS_RENAME_NOREPLACE), -EINVAL);
	fsx_done(x);
}
END_TEST

START_TEST(two_names_of_one_file_both_stay)
{
	CLEANUP_FSX struct fsx *x = mounted("");
	const ino_nr_t f = tree_must_file(x, EXT_ROOT_INO, "f");

	ck_assert_int_eq(tree_link(x, f, EXT_ROOT_INO, "g"), 0);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "f", EXT_ROOT_INO, "g", 0), 0);
	ck_assert_int_eq(tree_rename(x, EXT_ROOT_INO, "f", EXT_ROOT_INO, "f", 0), 0);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "f"), f);
	ck_assert_int_eq(tree_find(x, EXT_ROOT_INO, "g"), f);
	ck_assert_uint_eq(tree_attr(x, f).nlink, 2);
	fsx_done(x);
}
END_TEST

TCase *dir_name_tests(void)
{
	TCase *tc = tcase_create("names");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names_have_1_to_255_bytes_and_no_slash);
	tcase_add_loop_test(tc, dot_and_dotdot_can_be_looked_up, 0, 2);
	tcase_add_test(tc, what_is_no_directory_has_no_names);
	tcase_add_loop_test(tc, symbolic_links_of_every_length_keep_their_target, 0, 2);
	tcase_add_test(tc, special_files_are_those_that_debugfs_sees);
	tcase_add_test(tc, changes_touch_the_times_of_directory_and_child);
	tcase_add_test(tc, immutable_and_append_only_things_keep_their_names);
	tcase_add_test(tc, an_unlinked_file_lives_until_it_is_forgotten);
	tcase_add_loop_test(tc, a_removed_directory_takes_no_new_names, 0, 2);
	tcase_add_loop_test(tc, every_thing_is_renamed_over_every_other_as_posix_says, 0, 2);
	tcase_add_test(tc, a_directory_does_not_move_below_itself);
	tcase_add_test(tc, two_names_of_one_file_both_stay);
	return tc;
}
