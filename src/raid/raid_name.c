/* raid_name.c: levels, layouts and metadata versions by the names that mdadm has for them. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "raid/raid_int.h"

int raid_level_parse(const char *text, int *level)
{
	static const struct {
		const char *name;
		int level;
	} others[] = {
		{ "stripe", RAID_0 }, { "mirror", RAID_1 }, { "-1", RAID_LINEAR },
	};
	static const int levels[] = { RAID_LINEAR, RAID_0, RAID_1, RAID_4, RAID_5, RAID_6, RAID_10 };

	for (unsigned i = 0; i < ARRAY_LEN(levels); i++) {
		const char *name = raid_level_name(levels[i]);

		/* "raid5" and "5" */
		if (!strcasecmp(text, name) || (!strncmp(name, "raid", 4) && !strcmp(text, name + 4))) {
			*level = levels[i];
			return 0;
		}
	}
	for (unsigned i = 0; i < ARRAY_LEN(others); i++)
		if (!strcasecmp(text, others[i].name)) {
			*level = others[i].level;
			return 0;
		}
	log_error("RAID level \"%s\" is not one of linear, 0, 1, 4, 5, 6, 10", text);
	return -EINVAL;
}

const char *raid_level_name(int level)
{
	const struct raid_level *l = raid_level_find(level);

	return l ? l->name : "unknown level";
}

static const struct {
	const char *letters, *name;
	uint32_t layout;
} parity_layouts[] = {
	{ "ls", "left-symmetric", RAID_LAYOUT_LS },
	{ "la", "left-asymmetric", RAID_LAYOUT_LA },
	{ "rs", "right-symmetric", RAID_LAYOUT_RS },
	{ "ra", "right-asymmetric", RAID_LAYOUT_RA },
	{ "parity-first", "parity-first", 4 },
	{ "parity-last", "parity-last", 5 },
	{ "left-symmetric-6", "left-symmetric-6", 18 },
	{ "left-asymmetric-6", "left-asymmetric-6", 16 },
	{ "right-symmetric-6", "right-symmetric-6", 19 },
	{ "right-asymmetric-6", "right-asymmetric-6", 17 },
	{ "parity-first-6", "parity-first-6", 20 },
}, raid0_layouts[] = {
	{ "original", "original", RAID_LAYOUT_0_ORIGINAL },
	{ "alternate", "alternate", RAID_LAYOUT_0_ALTERNATE },
};

static int parse_parity(const char *text, int level, uint32_t *layout)
{
	for (unsigned i = 0; i < ARRAY_LEN(parity_layouts); i++)
		if ((!strcasecmp(text, parity_layouts[i].letters) || !strcasecmp(text, parity_layouts[i].name)) &&
		    (level == RAID_6 || parity_layouts[i].layout < 16)) {
			*layout = parity_layouts[i].layout;
			return 0;
		}
	return -EINVAL;
}

/* "n2", "f2", "o3", or longer as mdadm prints it: "near=2". */
static int parse_raid10(const char *text, uint32_t *layout)
{
	static const char *const long_names[] = { "near=", "far=", "offset=" };
	const char *count = text + 1;
	unsigned long n;
	char *end;

	for (unsigned i = 0; i < ARRAY_LEN(long_names); i++)
		if (!strncasecmp(text, long_names[i], strlen(long_names[i])))
			count = text + strlen(long_names[i]);
	if (*count < '0' || *count > '9')
		return -EINVAL;
	n = strtoul(count, &end, 10);
	if (*end || n < 1 || n > 255)
		return -EINVAL;
	switch (*text) {
	case 'n':
		*layout = (uint32_t)n | 1 << 8;
		return 0;
	case 'f':
		*layout = 1 | (uint32_t)n << 8;
		return 0;
	case 'o':
		*layout = 1 | (uint32_t)n << 8 | 1 << 16;
		return 0;
	default:
		return -EINVAL;
	}
}

static uint32_t layout_default(int level)
{
	switch (level) {
	case RAID_0:
		return RAID_LAYOUT_0_ORIGINAL;
	case RAID_5:
	case RAID_6:
		return RAID_LAYOUT_LS;
	case RAID_10:
		return 2 | 1 << 8;
	default:
		return 0;
	}
}

int raid_layout_parse(int level, const char *text, uint32_t *layout)
{
	int err = -EINVAL;

	if (!text) {
		*layout = layout_default(level);
		return 0;
	}
	if (level == RAID_5 || level == RAID_6)
		err = parse_parity(text, level, layout);
	else if (level == RAID_10 && *text)
		err = parse_raid10(text, layout);
	for (unsigned i = 0; level == RAID_0 && i < ARRAY_LEN(raid0_layouts); i++)
		if (!strcasecmp(text, raid0_layouts[i].name)) {
			*layout = raid0_layouts[i].layout;
			err = 0;
		}
	if (err)
		log_error("layout \"%s\" is not known for %s", text, raid_level_name(level));
	return err;
}

const char *raid_layout_name(int level, uint32_t layout, char buf[static 32])
{
	unsigned near = layout & 0xff, far = layout >> 8 & 0xff;

	snprintf(buf, 32, "%" PRIu32, layout);
	if (level == RAID_5 || level == RAID_6) {
		for (unsigned i = 0; i < ARRAY_LEN(parity_layouts); i++)
			if (parity_layouts[i].layout == layout)
				snprintf(buf, 32, "%s", parity_layouts[i].name);
	} else if (level == RAID_10 && far == 1) {
		snprintf(buf, 32, "near=%u", near);
	} else if (level == RAID_10) {
		const char *kind = layout >> 16 & 1 ? "offset" : "far";

		if (near > 1)
			snprintf(buf, 32, "near=%u, %s=%u", near, kind, far);
		else
			snprintf(buf, 32, "%s=%u", kind, far);
	} else if (level == RAID_0 && layout >= 1 && layout <= ARRAY_LEN(raid0_layouts)) {
		snprintf(buf, 32, "%s", raid0_layouts[layout - 1].name);
	} else if (level != RAID_0) {
		snprintf(buf, 32, "none");
	}
	return buf;
}

int raid_metadata_parse(const char *text, enum raid_metadata *out)
{
	static const struct {
		const char *name;
		enum raid_metadata metadata;
	} names[] = {
		{ "1.2", RAID_META_12 }, { "1", RAID_META_12 }, { "default", RAID_META_12 },
		{ "1.1", RAID_META_11 }, { "1.0", RAID_META_10 },
		{ "0.90", RAID_META_090 }, { "0.9", RAID_META_090 }, { "0", RAID_META_090 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(text, names[i].name)) {
			*out = names[i].metadata;
			return 0;
		}
	log_error("metadata version \"%s\" is not one of 0.90, 1.0, 1.1, 1.2", text);
	return -EINVAL;
}
