/* test_fs_xattr.c: extended attributes and access control lists. */
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/rng.h"
#include "fs_files.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static void set(struct fsx *x, ino_nr_t ino, const char *name, const char *value)
{
	ck_assert_int_eq(fs_setxattr(x->fs, ino, name, value, strlen(value), 0), 0);
}

static void check_value(struct fsx *x, ino_nr_t ino, const char *name, const char *want)
{
	char buf[5000];
	const int len = fs_getxattr(x->fs, ino, name, buf, sizeof(buf));

	ck_assert_int_eq(len, (int)strlen(want));
	ck_assert_mem_eq(buf, want, (size_t)len);
}

static char *text_of(char c, size_t len)
{
	char *s = malloc(len + 1);

	memset(s, c, len);
	s[len] = '\0';
	return s;
}

/* Rules of the calls ------------------------------------------------------------------ */

START_TEST(the_calls_keep_the_rules_of_xattr7)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT);
	char buf[100], long_name[300];
	static char big[65537];
	ino_nr_t f;

	fsx_mount(x);
	f = file_new(x, "f");
	ck_assert_int_eq(fs_getxattr(x->fs, f, "user.a", buf, 100), -ENODATA);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", "v", 1, XATTR_REPLACE), -ENODATA);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", "v", 1, XATTR_CREATE), 0);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", "w", 1, XATTR_CREATE), -EEXIST);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", "word", 4, XATTR_REPLACE), 0);
	ck_assert_int_eq(fs_getxattr(x->fs, f, "user.a", buf, 3), -ERANGE);
	ck_assert_int_eq(fs_getxattr(x->fs, f, "user.a", NULL, 0), 4);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.empty", NULL, 0, 0), 0);
	ck_assert_int_eq(fs_getxattr(x->fs, f, "user.empty", buf, 100), 0);
	ck_assert_int_eq(fs_listxattr(x->fs, f, NULL, 0), 7 + 11);
	ck_assert_int_eq(fs_listxattr(x->fs, f, buf, 17), -ERANGE);
	ck_assert_int_eq(fs_listxattr(x->fs, f, buf, 18), 18);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.", "v", 1, 0), -EINVAL);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "other.a", "v", 1, 0), -EOPNOTSUPP);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "system.data", "v", 1, 0), -EOPNOTSUPP);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", big, sizeof(big), 0), -E2BIG);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.a", big, 5000, 0), -ENOSPC);
	memset(long_name, 'n', sizeof(long_name));
	memcpy(long_name, "user.", 5);
	long_name[sizeof(long_name) - 1] = '\0';
	ck_assert_int_eq(fs_setxattr(x->fs, f, long_name, "v", 1, 0), -ERANGE);
	check_value(x, f, "user.a", "word");
	ck_assert_int_eq(fs_removexattr(x->fs, f, "user.a"), 0);
	ck_assert_int_eq(fs_removexattr(x->fs, f, "user.a"), -ENODATA);
	fsx_done(x);
}
END_TEST

START_TEST(a_file_without_attributes_has_no_block_for_them)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT " -b 1024");
	char *big = text_of('b', 900);
	ino_nr_t f;
	uint64_t before;

	fsx_mount(x);
	f = file_new(x, "f");
	before = nr_free_blocks(x);
	set(x, f, "user.small", "in the inode");
	ck_assert_uint_eq(nr_free_blocks(x), before);
	set(x, f, "user.big", big);
	ck_assert_uint_eq(nr_free_blocks(x), before - 1);
	ck_assert_uint_eq(file_attr(x, f).nr_sects, 2);
	set(x, f, "user.big", "now small");
	ck_assert_uint_eq(nr_free_blocks(x), before);
	set(x, f, "user.big", big);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of("f")), 0);
	fs_forget(x->fs, f, 1);
	ck_assert_uint_eq(nr_free_blocks(x), before);
	fsx_done(x);
	free(big);
}
END_TEST

/* A model ------------------------------------------------------------------------------ */

static const char *const model_names[] = {
	"user.a", "user.b", "user.longer-name", "user.name-\xc3\xa4\xff", "trusted.t", "trusted.overlay.opaque",
	"security.selinux", "security.capability", "user.z", "user.1", "user.22", "user.333",
};
enum { NR_NAMES = ARRAY_LEN(model_names), VALUE_MAX = 3000, NR_STEPS = 1500 };

struct model {
	struct fsx *x;
	ino_nr_t ino;
	struct rng rng;
	int len[NR_NAMES];	/* -1: not there */
	uint8_t value[NR_NAMES][VALUE_MAX];
};

static void model_check(struct model *m)
{
	static uint8_t buf[VALUE_MAX + 1];
	char list[NR_NAMES * 64];
	int want_list = 0;

	for (unsigned i = 0; i < NR_NAMES; i++) {
		const int len = fs_getxattr(m->x->fs, m->ino, model_names[i], buf, sizeof(buf));

		if (m->len[i] < 0) {
			ck_assert_int_eq(len, -ENODATA);
			continue;
		}
		ck_assert_int_eq(len, m->len[i]);
		ck_assert_mem_eq(buf, m->value[i], (size_t)len);
		want_list += (int)strlen(model_names[i]) + 1;
	}
	ck_assert_int_eq(fs_listxattr(m->x->fs, m->ino, list, sizeof(list)), want_list);
}

static void model_step(struct model *m)
{
	const unsigned i = (unsigned)rng_below(&m->rng, NR_NAMES);
	static uint8_t value[VALUE_MAX];
	const unsigned max = rng_below(&m->rng, 4) ? 40 : rng_below(&m->rng, 4) ? 300 : VALUE_MAX;
	const size_t len = (size_t)rng_below(&m->rng, max);
	int err;

	if (rng_below(&m->rng, 4) == 0) {
		ck_assert_int_eq(fs_removexattr(m->x->fs, m->ino, model_names[i]), m->len[i] < 0 ? -ENODATA : 0);
		m->len[i] = -1;
		return;
	}
	rng_fill(&m->rng, value, len);
	err = fs_setxattr(m->x->fs, m->ino, model_names[i], value, len, 0);
	if (err) {	/* the old value stays */
		ck_assert_int_eq(err, -ENOSPC);
		ck_assert_uint_gt(len, 20);
		return;
	}
	memcpy(m->value[i], value, len);
	m->len[i] = (int)len;
}

static const char *const model_opts[] = {
	FSX_EXT " -b 4096",
	FSX_EXT ",^metadata_csum -b 1024",
	FSX_EXT ",inline_data -b 4096 -I 512",
	FSX_EXT " -b 4096 -I 128",
	FSX_EXT " -b 65536 -N 64",
};

START_TEST(random_changes_match_a_model)
{
	CLEANUP_FSX struct fsx *x = fsx_new("24m", model_opts[_i]);
	struct model *m = calloc(1, sizeof(*m));

	m->x = x;
	m->rng.state = 77 + (uint64_t)_i;
	memset(m->len, -1, sizeof(m->len));
	fsx_mount(x);
	m->ino = file_new(x, "f");
	for (unsigned i = 1; i <= NR_STEPS; i++) {
		model_step(m);
		model_check(m);
		if (i % (NR_STEPS / 5))
			continue;
		fsx_unmount(x);
		fsx_fsck(x);
		fsx_mount(x);
		m->ino = file_find(x, "f");
		model_check(m);
	}
	fsx_done(x);
	free(m);
}
END_TEST

START_TEST(attributes_and_inline_contents_share_the_inode)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",inline_data -b 4096");
	char contents[200], buf[200], name[16];
	ino_nr_t f;

	memset(contents, 'c', sizeof(contents));
	fsx_mount(x);
	f = file_new(x, "f");
	for (unsigned i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		set(x, f, name, "some value");
		file_write(x, f, i * 9, contents, 9);
		ck_assert_uint_eq(file_read(x, f, 0, buf, sizeof(buf)), (i + 1) * 9);
		ck_assert_mem_eq(buf, contents, (i + 1) * 9);
	}
	for (unsigned i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		check_value(x, f, name, "some value");
	}
	fsx_done(x);
}
END_TEST

/* Others' view -------------------------------------------------------------------------- */

START_TEST(debugfs_sees_what_we_set)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT " -b 4096");
	char *big = text_of('B', 2000), *text;
	ino_nr_t f;

	fsx_mount(x);
	f = file_new(x, "f");
	set(x, f, "user.word", "hello");
	set(x, f, "security.big", big);
	set(x, f, "trusted.t", "two");
	fsx_done(x);
	text = fsx_debugfs(x, "ea_list f");
	ck_assert_ptr_nonnull(strstr(text, "user.word"));
	ck_assert_ptr_nonnull(strstr(text, "security.big"));
	ck_assert_ptr_nonnull(strstr(text, "trusted.t"));
	free(text);
	text = fsx_debugfs(x, "ea_get -V f security.big");
	ck_assert_ptr_nonnull(strstr(text, big));
	free(text);
	text = fsx_debugfs(x, "ea_get f user.word");
	ck_assert_ptr_nonnull(strstr(text, "hello"));
	free(text);
	free(big);
}
END_TEST

START_TEST(we_see_what_debugfs_sets_and_can_change_it)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT " -b 1024");
	char request[1000], *big = text_of('d', 700);
	ino_nr_t f;

	fsx_mount(x);
	file_new(x, "f");
	fsx_unmount(x);
	fsx_debugfs_write(x, "ea_set f user.one first");
	fsx_debugfs_write(x, "ea_set f trusted.two second");
	snprintf(request, sizeof(request), "ea_set f user.big %s", big);
	fsx_debugfs_write(x, request);
	fsx_mount(x);
	f = file_find(x, "f");
	check_value(x, f, "user.one", "first");
	check_value(x, f, "trusted.two", "second");
	check_value(x, f, "user.big", big);
	set(x, f, "user.big", "small");
	set(x, f, "user.one", big);
	check_value(x, f, "user.big", "small");
	fsx_done(x);
	free(big);
}
END_TEST

/* Two files get one attribute block: as the kernel does it for equal attributes. */
static struct fsx *shared_new(void)
{
	struct fsx *x = fsx_new("16m", FSX_EXT ",^metadata_csum -b 1024 -I 128");
	char *text, request[100];
	const le32 two = le32_of(2);
	unsigned long block;

	fsx_mount(x);
	set(x, file_new(x, "f"), "user.a", "shared");
	set(x, file_find(x, "f"), "user.b", "too");
	file_new(x, "g");
	fsx_unmount(x);
	text = fsx_debugfs(x, "stat f");
	block = strtoul(strstr(text, "File ACL: ") + 10, NULL, 10);
	free(text);
	ck_assert_uint_gt(block, 0);
	snprintf(request, sizeof(request), "sif g file_acl %lu", block);
	fsx_debugfs_write(x, request);
	fsx_debugfs_write(x, "sif g blocks 2");
	fsx_poke(x, block * 1024 + 4, &two, sizeof(two));
	fsx_fsck(x);
	return x;
}

START_TEST(a_shared_block_is_copied_before_it_changes)
{
	CLEANUP_FSX struct fsx *x = shared_new();

	fsx_mount(x);
	set(x, file_find(x, "g"), "user.a", "own");
	check_value(x, file_find(x, "f"), "user.a", "shared");
	check_value(x, file_find(x, "g"), "user.a", "own");
	check_value(x, file_find(x, "g"), "user.b", "too");
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	set(x, file_find(x, "f"), "user.a", "alone now");
	fsx_done(x);
}
END_TEST

START_TEST(a_shared_block_is_freed_with_its_last_inode)
{
	CLEANUP_FSX struct fsx *x = shared_new();
	uint64_t before;

	fsx_mount(x);
	before = nr_free_blocks(x);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of(_i ? "f" : "g")), 0);
	ck_assert_uint_eq(nr_free_blocks(x), before);
	check_value(x, file_find(x, _i ? "g" : "f"), "user.a", "shared");
	fsx_unmount(x);
	fsx_fsck(x);
	fsx_mount(x);
	ck_assert_int_eq(fs_unlink(x->fs, EXT_ROOT_INO, fs_name_of(_i ? "g" : "f")), 0);
	ck_assert_uint_eq(nr_free_blocks(x), before + 1);
	fsx_done(x);
}
END_TEST

/* Damage ---------------------------------------------------------------------------------- */

static uint64_t attribute_block(struct fsx *x)
{
	char *text = fsx_debugfs(x, "stat f");
	const uint64_t block = strtoul(strstr(text, "File ACL: ") + 10, NULL, 10);

	free(text);
	return block;
}

static const struct damage {
	unsigned off;
	uint32_t word;
} damages[] = {
	{ 0, 0 },			/* magic */
	{ 4, 0 },			/* count of users */
	{ 8, 7 },			/* blocks */
	{ 32, 0xffffffff },		/* name length and value offset of the first entry */
	{ 36, 5 },			/* a value in an inode */
	{ 40, 0x7fffffff },		/* length of the value */
	{ 40, 0xfffffffd },
	{ 32 + 2, 0x00001f00 },		/* value over the entries */
};

START_TEST(a_damaged_attribute_block_is_told_and_not_followed)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT ",^metadata_csum -b 1024");
	const le32 word = le32_of(damages[_i].word);
	char *big = text_of('x', 300), buf[1000];
	ino_nr_t f;

	fsx_mount(x);
	f = file_new(x, "f");
	set(x, f, "user.big", big);
	set(x, f, "user.next", big);
	fsx_unmount(x);
	fsx_poke(x, attribute_block(x) * 1024 + damages[_i].off, &word, sizeof(word));
	x->opts.errors = FS_ERRORS_CONTINUE;
	fsx_mount(x);
	f = file_find(x, "f");
	fsx_log_clear();
	ck_assert_int_eq(fs_getxattr(x->fs, f, "user.big", buf, sizeof(buf)), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(fsx_log(), "attribute block"));
	ck_assert_int_eq(fs_listxattr(x->fs, f, buf, sizeof(buf)), -EUCLEAN);
	ck_assert_int_eq(fs_setxattr(x->fs, f, "user.c", big, 300, 0), -EUCLEAN);
	ck_assert_int_eq(fs_removexattr(x->fs, f, "user.big"), -EUCLEAN);
	fsx_unmount(x);
	free(big);
}
END_TEST

/* Access control lists ------------------------------------------------------------------------ */

struct acl {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry e[8];
};

static size_t acl_make(struct acl *a, unsigned nr, const unsigned (*e)[3])
{
	a->head.a_version = htole32(POSIX_ACL_XATTR_VERSION);
	for (unsigned i = 0; i < nr; i++)
		a->e[i] = (struct posix_acl_xattr_entry){ htole16((uint16_t)e[i][0]), htole16((uint16_t)e[i][1]),
			htole32(e[i][2]) };
	return sizeof(a->head) + nr * sizeof(a->e[0]);
}

#define NO_ID ((unsigned)ACL_UNDEFINED_ID)
static const unsigned full_acl[][3] = {
	{ ACL_USER_OBJ, 7, NO_ID }, { ACL_USER, 5, 1000 }, { ACL_USER, 6, 2000 }, { ACL_GROUP_OBJ, 5, NO_ID },
	{ ACL_GROUP, 1, 77 }, { ACL_MASK, 6, NO_ID }, { ACL_OTHER, 4, NO_ID },
};
static const unsigned small_acl[][3] = {
	{ ACL_USER_OBJ, 6, NO_ID }, { ACL_GROUP_OBJ, 4, NO_ID }, { ACL_OTHER, 0, NO_ID },
};

static void check_acl(struct fsx *x, ino_nr_t ino, const char *name, const struct acl *want, size_t len)
{
	struct acl got;

	ck_assert_int_eq(fs_getxattr(x->fs, ino, name, &got, sizeof(got)), (int)len);
	ck_assert_mem_eq(&got, want, len);
}

START_TEST(an_access_acl_changes_the_mode_and_reads_back)
{
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT);
	struct acl a;
	size_t len = acl_make(&a, ARRAY_LEN(full_acl), full_acl);
	char *text;
	ino_nr_t f;

	fsx_mount(x);
	f = file_new(x, "f");
	ck_assert_int_eq(fs_setxattr(x->fs, f, ACCESS, &a, len, 0), 0);
	ck_assert_uint_eq(file_attr(x, f).mode, S_IFREG | 0764);	/* the group's bits are the mask's */
	check_acl(x, f, ACCESS, &a, len);
	fsx_unmount(x);
	fsx_fsck(x);
	text = fsx_debugfs(x, "ea_list f");
	ck_assert_ptr_nonnull(strstr(text, "system.posix_acl_access"));
	free(text);
	fsx_mount(x);
	f = file_find(x, "f");
	check_acl(x, f, ACCESS, &a, len);
	len = acl_make(&a, ARRAY_LEN(small_acl), small_acl);
	ck_assert_int_eq(fs_setxattr(x->fs, f, ACCESS, &a, len, 0), 0);
	ck_assert_uint_eq(file_attr(x, f).mode, S_IFREG | 0640);
	ck_assert_int_eq(fs_getxattr(x->fs, f, ACCESS, NULL, 0), -ENODATA);	/* the mode says it all */
	fsx_done(x);
}
END_TEST

START_TEST(what_is_no_acl_is_refused)
{
	static const unsigned bad[][4][3] = {
		{ { ACL_USER_OBJ, 7, NO_ID }, { ACL_GROUP_OBJ, 7, NO_ID } },				/* no OTHER */
		{ { ACL_USER_OBJ, 9, NO_ID }, { ACL_GROUP_OBJ, 7, NO_ID }, { ACL_OTHER, 0, NO_ID } },
		{ { ACL_GROUP_OBJ, 7, NO_ID }, { ACL_USER_OBJ, 7, NO_ID }, { ACL_OTHER, 0, NO_ID } },
		{ { ACL_USER_OBJ, 7, NO_ID }, { ACL_USER, 7, 1 }, { ACL_GROUP_OBJ, 7, NO_ID }, { ACL_OTHER, 0, NO_ID } },
		{ { ACL_USER_OBJ, 7, NO_ID }, { 0x40, 7, NO_ID }, { ACL_GROUP_OBJ, 7, NO_ID }, { ACL_OTHER, 0, NO_ID } },
	};
	static const unsigned nr[] = { 2, 3, 3, 4, 4 };
	CLEANUP_FSX struct fsx *x = fsx_new("16m", FSX_EXT);
	struct acl a;
	ino_nr_t f;

	fsx_mount(x);
	f = file_new(x, "f");
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(fs_setxattr(x->fs, f, ACCESS, &a, acl_make(&a, nr[i], bad[i]), 0), -EINVAL);
	ck_assert_int_eq(fs_setxattr(x->fs, f, ACCESS, &a, 7, 0), -EINVAL);
	ck_assert_int_eq(fs_setxattr(x->fs, f, DEFAULT, &a, acl_make(&a, ARRAY_LEN(full_acl), full_acl), 0), -EACCES);
	fsx_done(x);
}
END_TEST

START_TEST(new_inodes_take_the_default_acl_of_their_directory)
{
	static const unsigned masked[][3] = {	/* full_acl with a mode of 0640 */
		{ ACL_USER_OBJ, 6, NO_ID }, { ACL_USER, 5, 1000 }, { ACL_USER, 6, 2000 }, { ACL_GROUP_OBJ, 5, NO_ID },
		{ ACL_GROUP, 1, 77 }, { ACL_MASK, 4, NO_ID }, { ACL_OTHER, 0, NO_ID },
	};
	CLEANUP_FSX struct fsx *x = fsx_new("16m", _i ? FSX_EXT ",inline_data" : FSX_EXT);
	const struct fs_cred root = {0};
	struct acl a, want;
	struct fs_attr dir, sub, f;
	const size_t len = acl_make(&a, ARRAY_LEN(full_acl), full_acl);

	acl_make(&want, ARRAY_LEN(masked), masked);
	fsx_mount(x);
	ck_assert_int_eq(fs_mkdir(x->fs, &root, EXT_ROOT_INO, fs_name_of("d"), 0755, &dir), 0);
	ck_assert_int_eq(fs_setxattr(x->fs, dir.ino, DEFAULT, &a, len, 0), 0);
	ck_assert_int_eq(fs_mkdir(x->fs, &root, dir.ino, fs_name_of("sub"), 0777, &sub), 0);
	check_acl(x, sub.ino, DEFAULT, &a, len);
	check_acl(x, sub.ino, ACCESS, &a, len);
	ck_assert_uint_eq(sub.mode, S_IFDIR | 0764);
	ck_assert_int_eq(fs_mknod(x->fs, &root, dir.ino, fs_name_of("f"), S_IFREG | 0640, 0, &f), 0);
	ck_assert_uint_eq(f.mode, S_IFREG | 0640);
	check_acl(x, f.ino, ACCESS, &want, len);
	ck_assert_int_eq(fs_getxattr(x->fs, f.ino, DEFAULT, NULL, 0), -ENODATA);
	fsx_done(x);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_xattr");
	TCase *tc = tcase_create("xattr");
	SRunner *r;
	int nr_failed;

	fsx_need_tools();
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, the_calls_keep_the_rules_of_xattr7);
	tcase_add_test(tc, a_file_without_attributes_has_no_block_for_them);
	tcase_add_loop_test(tc, random_changes_match_a_model, 0, ARRAY_LEN(model_opts));
	tcase_add_test(tc, attributes_and_inline_contents_share_the_inode);
	tcase_add_test(tc, debugfs_sees_what_we_set);
	tcase_add_test(tc, we_see_what_debugfs_sets_and_can_change_it);
	tcase_add_test(tc, a_shared_block_is_copied_before_it_changes);
	tcase_add_loop_test(tc, a_shared_block_is_freed_with_its_last_inode, 0, 2);
	tcase_add_loop_test(tc, a_damaged_attribute_block_is_told_and_not_followed, 0, ARRAY_LEN(damages));
	tcase_add_test(tc, an_access_acl_changes_the_mode_and_reads_back);
	tcase_add_test(tc, what_is_no_acl_is_refused);
	tcase_add_loop_test(tc, new_inodes_take_the_default_acl_of_their_directory, 0, 2);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	nr_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
