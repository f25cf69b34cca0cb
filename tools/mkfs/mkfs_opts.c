/* mkfs_opts.c: mke2fs's letters and md's long names. */
#include "config.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "base/log.h"
#include "base/size.h"
#include "fs/fs.h"
#include "mkfs_int.h"

enum {
	FEATURES_COMPAT = EXT_COMPAT_HAS_JOURNAL | EXT_COMPAT_EXT_ATTR | EXT_COMPAT_DIR_INDEX,
	FEATURES_INCOMPAT = EXT_INCOMPAT_FILETYPE | EXT_INCOMPAT_FLEX_BG,
	FEATURES_RO_COMPAT = EXT_RO_COMPAT_SPARSE_SUPER | EXT_RO_COMPAT_LARGE_FILE | EXT_RO_COMPAT_HUGE_FILE |
			     EXT_RO_COMPAT_DIR_NLINK | EXT_RO_COMPAT_EXTRA_ISIZE | EXT_RO_COMPAT_METADATA_CSUM,
	/* What can be asked for beyond the defaults. */
	MORE_INCOMPAT = EXT_INCOMPAT_EXTENTS | EXT_INCOMPAT_INLINE_DATA | EXT_INCOMPAT_LARGEDIR | EXT_INCOMPAT_CSUM_SEED,
	MORE_RO_COMPAT = EXT_RO_COMPAT_GDT_CSUM,
};

static const char usage_text[] =
	"Usage: mkfs.osfs [OPTION]... MEMBER...\n"
	"Makes an ext4 filesystem on an image file or block device, or on an md array of several.\n"
	"\n"
	"Array (md's names):\n"
	"  --level=LEVEL         0, 1, 4, 5, 6, 10 or linear (also --raid=); default 5 with\n"
	"                        three or more members, 1 with two\n"
	"  --raid-devices=N      active members; the default is all but the spares\n"
	"  --spare-devices=N     the last N members are spares\n"
	"  --chunk=KIB           chunk size (128)\n"
	"  --layout=LAYOUT       ls la rs ra; n2 f2 o2 ... for RAID 10\n"
	"  --metadata=VERSION    1.2 (default), 1.1, 1.0 or 0.90\n"
	"  --name=NAME --uuid=UUID   of the array\n"
	"  --bitmap=internal|none --bitmap-chunk=KIB   write-intent bitmap; default none below\n"
	"                        100 GiB\n"
	"  --write-mostly        members named behind it are read only in need (RAID 1)\n"
	"  --assume-clean        members are not zeroed: parity is right only where it is written\n"
	"  --size=SIZE           size of image files that do not exist yet (k, m, g, t)\n"
	"Filesystem (mke2fs's letters):\n"
	"  -b BYTES  block size          -i BYTES  bytes per inode     -N COUNT  inodes\n"
	"  -I BYTES  inode size          -m PERCENT reserved for root  -L LABEL  volume label\n"
	"  -U UUID   (clear, random, time or a UUID)                   -O [^]FEATURE[,...]\n"
	"  -J size=MIB  size of the journal      -j  as -O has_journal\n"
	"  -E stride=BLOCKS,stripe_width=BLOCKS,root_owner[=UID:GID],discard,nodiscard\n"
	"  -d DIR    fill the filesystem with the tree below DIR\n"
	"  -F  overwrite what is there   -n  only show what would be made   -q  quiet\n"
	"  -V  version                   -h  this help\n"
	"A member named 'missing' leaves its slot empty.\n";

enum {
	OPT_MEMBER = 1,		/* an argument that is no option, in its place (getopt's "-") */
	OPT_LEVEL = 256, OPT_DEVICES, OPT_SPARES, OPT_CHUNK, OPT_LAYOUT, OPT_METADATA, OPT_NAME, OPT_UUID, OPT_SIZE,
	OPT_BITMAP, OPT_BITMAP_CHUNK, OPT_WRITE_MOSTLY, OPT_ASSUME_CLEAN,
};

static const struct option long_options[] = {
	{ "level", required_argument, NULL, OPT_LEVEL },
	{ "raid", required_argument, NULL, OPT_LEVEL },
	{ "raid-devices", required_argument, NULL, OPT_DEVICES },
	{ "spare-devices", required_argument, NULL, OPT_SPARES },
	{ "chunk", required_argument, NULL, OPT_CHUNK },
	{ "layout", required_argument, NULL, OPT_LAYOUT },
	{ "metadata", required_argument, NULL, OPT_METADATA },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "uuid", required_argument, NULL, OPT_UUID },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "bitmap", required_argument, NULL, OPT_BITMAP },
	{ "bitmap-chunk", required_argument, NULL, OPT_BITMAP_CHUNK },
	{ "write-mostly", no_argument, NULL, OPT_WRITE_MOSTLY },
	{ "assume-clean", no_argument, NULL, OPT_ASSUME_CLEAN },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "force", no_argument, NULL, 'F' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ NULL, 0, NULL, 0 },
};

/* A size option within bounds, or a message that names the option. */
static int parse_bounded(const char *option, const char *text, uint64_t unit, uint64_t min, uint64_t max,
			 uint64_t *out)
{
	if (size_parse_in(text, unit, out)) {
		log_error("%s: '%s' is not a number", option, text);
		return -EINVAL;
	}
	if (*out < min || *out > max) {
		log_error("%s: %s is not between %" PRIu64 " and %" PRIu64, option, text, min / unit, max / unit);
		return -EINVAL;
	}
	return 0;
}

static int parse_uuid(const char *option, const char *text, uint8_t out[16])
{
	char hex[33];
	unsigned n = 0;

	if (!strcmp(text, "random"))
		uuid_generate(out);
	else if (!strcmp(text, "time"))
		uuid_generate_time(out);
	else if (!strcmp(text, "clear"))
		memset(out, 0, 16);
	else if (uuid_parse(text, out)) {
		/* md writes its UUIDs as four groups of eight digits with colons. */
		for (const char *p = text; *p; p++)
			if (isxdigit((unsigned char)*p) && n < 32)
				hex[n++] = *p;
			else if (*p != ':' && *p != '-')
				n = 33;
		if (n != 32) {
			log_error("%s: '%s' is not a UUID", option, text);
			return -EINVAL;
		}
		hex[32] = 0;
		for (unsigned i = 0; i < 16; i++) {
			const char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };

			out[i] = (uint8_t)strtoul(pair, NULL, 16);
		}
	}
	return 0;
}

static bool name_is(const char *list, size_t len, const char *name)
{
	return name && strlen(name) == len && !memcmp(list, name, len);
}

/* The bit of a feature name in one of the three sets, or 0. */
static uint32_t feature_find(char set, const char *name, size_t len)
{
	/* mke2fs knows this one by two names. */
	if (set == 'r' && (name_is(name, len, "uninit_bg") || name_is(name, len, "gdt_csum")))
		return EXT_RO_COMPAT_GDT_CSUM;
	for (unsigned bit = 0; bit < 32; bit++)
		if (name_is(name, len, fs_feature_name(set, 1u << bit)))
			return 1u << bit;
	return 0;
}

static int feature_apply(struct mkfs_opts *o, const char *name, size_t len, bool on)
{
	struct {
		char set;
		uint32_t *bits, known;
	} sets[] = {
		{ 'c', &o->compat, FEATURES_COMPAT },
		{ 'i', &o->incompat, FEATURES_INCOMPAT | MORE_INCOMPAT },
		{ 'r', &o->ro_compat, FEATURES_RO_COMPAT | MORE_RO_COMPAT },
	};

	for (unsigned i = 0; i < ARRAY_LEN(sets); i++) {
		const uint32_t bit = feature_find(sets[i].set, name, len);

		if (!bit)
			continue;
		if (on && !(sets[i].known & bit)) {
			log_error("-O %.*s: mkfs.osfs does not make this feature", (int)len, name);
			return -EINVAL;
		}
		*sets[i].bits = on ? *sets[i].bits | bit : *sets[i].bits & ~bit;
		return 0;
	}
	log_error("-O %.*s: no such feature", (int)len, name);
	return -EINVAL;
}

int mkfs_features_parse(struct mkfs_opts *o, const char *list)
{
	while (*list) {
		size_t len = strcspn(list, ", ");
		const bool on = *list != '^';
		int err = 0;

		if (!on)
			list++, len--;
		if (name_is(list, len, "none"))
			o->compat = o->incompat = o->ro_compat = 0;
		else if (len)
			err = feature_apply(o, list, len, on);
		if (err)
			return err;
		list += len;
		list += strspn(list, ", ");
	}
	/* The two kinds of group checksums exclude each other; the newer one wins. */
	if (o->ro_compat & EXT_RO_COMPAT_METADATA_CSUM)
		o->ro_compat &= ~(uint32_t)EXT_RO_COMPAT_GDT_CSUM;
	return 0;
}

static int extended_apply(struct mkfs_opts *o, char *word)
{
	char *value = strchr(word, '=');
	uint64_t n;

	if (value)
		*value++ = 0;
	if (!strcmp(word, "discard") || !strcmp(word, "nodiscard")) {
		o->discard = *word == 'd';
		return 0;
	}
	if (!strcmp(word, "root_owner")) {
		unsigned uid = getuid(), gid = getgid();

		if (value && sscanf(value, "%u:%u", &uid, &gid) != 2) {
			log_error("-E root_owner: '%s' is not UID:GID", value);
			return -EINVAL;
		}
		o->root_uid = uid;
		o->root_gid = gid;
		return 0;
	}
	if (!strcmp(word, "lazy_itable_init") || !strcmp(word, "lazy_journal_init"))
		return 0;	/* tables are holes or zeroed at once: nothing is left to be lazy about */
	if ((!strcmp(word, "stride") || !strcmp(word, "stripe_width") || !strcmp(word, "stripe-width")) && value) {
		if (parse_bounded(word, value, 1, 0, UINT32_MAX, &n))
			return -EINVAL;
		if (!strcmp(word, "stride"))
			o->stride_blocks = (uint32_t)MIN(n, (uint64_t)UINT16_MAX);
		else
			o->stripe_width_blocks = (uint32_t)n;
		return 0;
	}
	log_error("-E %s: unknown or without its value", word);
	return -EINVAL;
}

/* -J: naming a size asks for a journal. */
static int journal_parse(struct mkfs_opts *o, const char *list)
{
	static const char key[] = "size=";

	if (strncmp(list, key, strlen(key))) {
		log_error("-J %s: only size=MIB is understood; the journal lies in the filesystem", list);
		return -EINVAL;
	}
	o->compat |= EXT_COMPAT_HAS_JOURNAL;
	return parse_bounded("-J size", list + strlen(key), 1 << 20, 1 << 20, 40000ull << 20, &o->journal_bytes);
}

static int extended_parse(struct mkfs_opts *o, char *list)
{
	for (char *word = strtok(list, ","); word; word = strtok(NULL, ","))
		if (extended_apply(o, word))
			return -EINVAL;
	return 0;
}

static int bitmap_option(struct mkfs_opts *o, const char *text)
{
	if (!strcmp(text, "internal")) {
		o->raid.bitmap = RAID_BITMAP_INTERNAL;
	} else if (!strcmp(text, "none")) {
		o->raid.bitmap = RAID_BITMAP_NONE;
	} else {
		log_error("--bitmap: '%s' is neither internal nor none", text);
		return -EINVAL;
	}
	return 0;
}

static int array_option(struct mkfs_opts *o, int c, const char *text)
{
	uint64_t n;
	int err;

	switch (c) {
	case OPT_LEVEL:
		o->level_set = true;
		return raid_level_parse(text, &o->raid.level);
	case OPT_DEVICES:
		err = parse_bounded("--raid-devices", text, 1, 1, RAID_MAX_MEMBERS, &n);
		o->nr_disks = (unsigned)n;
		return err;
	case OPT_SPARES:
		err = parse_bounded("--spare-devices", text, 1, 0, RAID_MAX_MEMBERS, &n);
		o->nr_spares = (unsigned)n;
		return err;
	case OPT_CHUNK:
		err = parse_bounded("--chunk", text, 1024, 4096, 4 << 20, &n);
		if (!err && !is_pow2(n)) {
			log_error("--chunk: %s KiB is not a power of two", text);
			return -EINVAL;
		}
		o->raid.chunk_sects = (uint32_t)(n >> SECT_SHIFT);
		return err;
	case OPT_LAYOUT:
		o->layout_text = text;
		return 0;
	case OPT_METADATA:
		return raid_metadata_parse(text, &o->raid.metadata);
	case OPT_BITMAP:
		return bitmap_option(o, text);
	case OPT_BITMAP_CHUNK:
		err = parse_bounded("--bitmap-chunk", text, 1024, 4096, 1ull << 31, &n);
		if (!err && !is_pow2(n)) {
			log_error("--bitmap-chunk: %s KiB is not a power of two", text);
			return -EINVAL;
		}
		o->raid.bitmap_chunk_bytes = (uint32_t)n;
		return err;
	case OPT_ASSUME_CLEAN:
		o->assume_clean = true;
		return 0;
	case OPT_NAME:
		if (strlen(text) >= sizeof(o->raid.name)) {
			log_error("--name: '%s' is longer than %zu bytes", text, sizeof(o->raid.name) - 1);
			return -EINVAL;
		}
		strcpy(o->raid.name, text);
		return 0;
	case OPT_UUID:
		return parse_uuid("--uuid", text, o->raid.uuid);
	default:
		return parse_bounded("--size", text, 1, 64 << 10, 1ull << 60, &o->image_bytes);
	}
}

static int fs_option(struct mkfs_opts *o, int c, char *text)
{
	uint64_t n = 0;
	char *end;
	int err = 0;

	switch (c) {
	case 'b':
		err = parse_bounded("-b", text, 1, EXT_MIN_BLOCK_BYTES, EXT_MAX_BLOCK_BYTES, &n);
		if (!err && !is_pow2(n)) {
			log_error("-b: %s is not a power of two", text);
			err = -EINVAL;
		}
		o->block_bytes = (uint32_t)n;
		return err;
	case 'I':
		err = parse_bounded("-I", text, 1, 128, 65536, &n);
		if (!err && !is_pow2(n)) {
			log_error("-I: %s is not a power of two", text);
			err = -EINVAL;
		}
		o->inode_bytes = (uint32_t)n;
		return err;
	case 'i':
		err = parse_bounded("-i", text, 1, 1024, 64 << 20, &n);
		o->inode_ratio = (uint32_t)n;
		return err;
	case 'N':
		return parse_bounded("-N", text, 1, 16, UINT32_MAX, &o->nr_inodes);
	case 'm':
		o->reserved_percent = strtod(text, &end);
		if (end == text || *end || !(o->reserved_percent >= 0 && o->reserved_percent <= 50)) {
			log_error("-m: '%s' is not a percentage from 0 to 50", text);
			return -EINVAL;
		}
		return 0;
	case 'L':
		if (strlen(text) > 16) {
			log_error("-L: '%s' is longer than 16 bytes", text);
			return -EINVAL;
		}
		o->label = text;
		return 0;
	case 'U':
		o->uuid_set = true;
		return parse_uuid("-U", text, o->uuid);
	case 'O':
		return mkfs_features_parse(o, text);
	case 'E':
		return extended_parse(o, text);
	case 'J':
		return journal_parse(o, text);
	case 'j':
		o->compat |= EXT_COMPAT_HAS_JOURNAL;
		return 0;
	case 'd':
		o->populate_dir = text;
		return 0;
	case 'F':
		o->force = true;
		return 0;
	case 'n':
		o->dry_run = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	default:
		return -EINVAL;	/* getopt has said it */
	}
}

/* What the members' number and the options imply together. */
static int settle_array(struct mkfs_opts *o)
{
	if (o->nr_members == 0) {
		log_error("no member given; see mkfs.osfs -h");
		return -EINVAL;
	}
	if (!o->level_set && (o->nr_members > 1 || o->nr_disks > 1)) {
		o->level_set = true;
		o->raid.level = o->nr_members - o->nr_spares >= 3 ? RAID_5 : RAID_1;
	}
	if (!o->level_set) {
		if (o->nr_spares || o->layout_text) {
			log_error("--spare-devices and --layout need --level");
			return -EINVAL;
		}
		return 0;
	}
	if (o->nr_spares >= o->nr_members) {
		log_error("%u members with %u spares leave none for data", o->nr_members, o->nr_spares);
		return -EINVAL;
	}
	if (!o->nr_disks)
		o->nr_disks = o->nr_members - o->nr_spares;
	if (o->nr_disks + o->nr_spares != o->nr_members) {
		log_error("--raid-devices=%u and --spare-devices=%u need %u members, %u are given", o->nr_disks,
			  o->nr_spares, o->nr_disks + o->nr_spares, o->nr_members);
		return -EINVAL;
	}
	o->raid.nr_disks = o->nr_disks;
	return raid_layout_parse(o->raid.level, o->layout_text, &o->raid.layout);
}

static int check_write_mostly(const struct mkfs_opts *o)
{
	for (unsigned i = 0; i < o->nr_members; i++)
		if (o->write_mostly[i] && o->raid.level != RAID_1) {
			log_error("--write-mostly: %s has no other copy to read from, only RAID 1 has", o->members[i]);
			return -EINVAL;
		}
	return 0;
}

int mkfs_opts_parse(int argc, char **argv, struct mkfs_opts *o)
{
	bool write_mostly = false;
	int c;

	*o = (struct mkfs_opts){
		.raid.metadata = RAID_META_12,
		.compat = FEATURES_COMPAT,
		.incompat = FEATURES_INCOMPAT,
		.ro_compat = FEATURES_RO_COMPAT,
		.reserved_percent = 5,
		.discard = true,
	};
	optind = 0;	/* start afresh: the daemon may call us after its own getopt */
	while ((c = getopt_long(argc, argv, "-b:I:i:N:m:L:U:O:E:J:d:jFnqVh", long_options, NULL)) != -1) {
		int err;

		if (c == 'h') {
			fputs(usage_text, stdout);
			return 2;
		}
		if (c == 'V') {
			printf("mkfs.osfs %s\n", PACKAGE_VERSION);
			return 2;
		}
		if (c == OPT_MEMBER) {
			if (o->nr_members < RAID_MAX_MEMBERS)
				o->write_mostly[o->nr_members] = write_mostly;
			argv[1 + o->nr_members++] = optarg;	/* behind what has been read */
			continue;
		}
		if (c == OPT_WRITE_MOSTLY) {
			write_mostly = true;
			continue;
		}
		err = c >= OPT_LEVEL ? array_option(o, c, optarg) : fs_option(o, c, optarg);
		if (err)
			return 1;
	}
	o->members = argv + 1;
	for (int i = optind; i < argc; i++) {	/* behind "--" */
		if (o->nr_members < RAID_MAX_MEMBERS)
			o->write_mostly[o->nr_members] = write_mostly;
		argv[1 + o->nr_members++] = argv[i];
	}
	if (o->nr_members > RAID_MAX_MEMBERS) {
		log_error("%u members; %d is the most", o->nr_members, RAID_MAX_MEMBERS);
		return 1;
	}
	return settle_array(o) || check_write_mostly(o) ? 1 : 0;
}
