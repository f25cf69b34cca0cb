/* test_fs_hash.c: hashes of names are those that debugfs computes. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "fs/fs_int.h"
#include "fs_fixture.h"

enum { NR_NAMES = 60 };

struct sample {
	char name[EXT_NAME_MAX + 1];
	size_t len;
};

/* Anything that debugfs takes on a line: no quotes, blanks, or controls; bytes above 127 too. */
static void make_name(struct rng *rng, struct sample *s)
{
	s->len = 1 + (rng_below(rng, 4) ? rng_below(rng, 40) : rng_below(rng, EXT_NAME_MAX));
	for (size_t i = 0; i < s->len; i++)
		s->name[i] = (char)(rng_below(rng, 3) ? 'a' + rng_below(rng, 26) : 0xa1 + rng_below(rng, 0x5d));
	s->name[s->len] = '\0';
}

/* What debugfs says, one line a name. */
static char *ask_debugfs(const struct sample *samples, unsigned version, const char *seed)
{
	char path[] = "/tmp/osfs-hash-XXXXXX";
	const int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	char *text;

	ck_assert_ptr_nonnull(f);
	for (unsigned i = 0; i < NR_NAMES; i++)
		fprintf(f, "dx_hash -h %u %s%s %s\n", version, seed ? "-s " : "", seed ? seed : "", samples[i].name);
	fclose(f);
	text = fsx_shell(NULL, "debugfs -f %s 2>/dev/null | LC_ALL=C sed -n 's/^Hash of .* is \\(0x.*\\) (minor \\(.*\\))$/\\1 \\2/p'",
			 path);
	unlink(path);
	return text;
}

static void compare(uint64_t rng_seed, const char *seed_text, const uint32_t seed[static 4], uint8_t version)
{
	struct rng rng = { rng_seed };
	struct sample samples[NR_NAMES];
	char *text, *at;

	for (unsigned i = 0; i < NR_NAMES; i++)
		make_name(&rng, &samples[i]);
	text = at = ask_debugfs(samples, version, seed_text);
	for (unsigned i = 0; i < NR_NAMES; i++) {
		const uint32_t want_major = (uint32_t)strtoul(at, &at, 0), want_minor = (uint32_t)strtoul(at, &at, 0);
		uint32_t major, minor;

		ck_assert_int_eq(fs_hash_name(seed, version, (struct fs_name){ samples[i].name, samples[i].len }, &major,
					      &minor), 0);
		ck_assert_msg(major == want_major && minor == want_minor, "version %u, seed %ju, name %u '%s': %x %x, not %x %x",
			      version, (uintmax_t)rng_seed, i, samples[i].name, major, minor, want_major, want_minor);
	}
	free(text);
}

START_TEST(hashes_without_a_seed_are_those_of_debugfs)
{
	const uint32_t seed[4] = { 0 };

	compare(10 + (uint64_t)_i, NULL, seed, (uint8_t)_i);
}
END_TEST

START_TEST(hashes_with_a_seed_are_those_of_debugfs)
{
	const uint8_t bytes[16] = { 0xde, 0xad, 0xbe, 0xef, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3, 4 };
	uint32_t seed[4];

	for (unsigned i = 0; i < 4; i++) {
		le32 word;

		memcpy(&word, bytes + 4 * i, sizeof(word));
		seed[i] = le32_get(word);
	}
	compare(20 + (uint64_t)_i, "deadbeef-1032-5476-98ba-dcfe01020304", seed, (uint8_t)_i);
}
END_TEST

START_TEST(an_unknown_version_is_refused)
{
	const uint32_t seed[4] = { 0 };
	uint32_t major, minor;

	ck_assert_int_eq(fs_hash_name(seed, EXT_HASH_SIPHASH, fs_name_of("x"), &major, &minor), -EOPNOTSUPP);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_hash");
	TCase *tc = tcase_create("names");
	SRunner *sr;
	int failed;

	fsx_need_tools();
	tcase_add_loop_test(tc, hashes_without_a_seed_are_those_of_debugfs, EXT_HASH_LEGACY, EXT_HASH_SIPHASH);
	tcase_add_loop_test(tc, hashes_with_a_seed_are_those_of_debugfs, EXT_HASH_LEGACY, EXT_HASH_SIPHASH);
	tcase_add_test(tc, an_unknown_version_is_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
