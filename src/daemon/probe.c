/* probe.c: see probe.h. */
#include "probe.h"

#include <blkid/blkid.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "json_get.h"

enum { ENDS_BYTES = 1 << 20, PART_HEAD_BYTES = 128 << 10 };

/* Copies bytes of the device to the same place of the file. */
static int copy_piece(struct blk_dev *d, int fd, uint64_t off, uint64_t len)
{
	const uint64_t dev_bytes = blk_nr_sects(d) << SECT_SHIFT;
	char *buf;
	int err;

	off = ALIGN_DOWN(off, (uint64_t)SECT_BYTES);
	if (off >= dev_bytes)
		return 0;
	len = MIN(len, dev_bytes - off);
	buf = malloc(len);
	if (!buf)
		return -ENOMEM;
	err = blk_read(d, off >> SECT_SHIFT, buf, len);
	if (err)
		log_error("%s: cannot be read at byte %" PRIu64 ": %s", blk_name(d), off, strerror(-err));
	else if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
		err = -ENOMEM;
	free(buf);
	return err;
}

static void set_value(json_t *o, const char *key, blkid_probe pr, const char *name)
{
	const char *value = NULL;
	json_t *text = NULL;

	if (!blkid_probe_lookup_value(pr, name, &value, NULL))
		text = json_string(value);	/* NULL: a label that is not UTF-8 */
	json_object_set_new(o, key, text ? text : json_null());
}

static void set_number(json_t *o, const char *key, blkid_probe pr, const char *name)
{
	const char *value = NULL;

	if (!blkid_probe_lookup_value(pr, name, &value, NULL))
		json_object_set_new(o, key, json_integer(strtoll(value, NULL, 10)));
}

/* The filesystem (or array member, or swap ...) between two bytes of the file. */
static void probe_range(int fd, uint64_t off, uint64_t len, json_t *out)
{
	blkid_probe pr = blkid_new_probe();

	if (pr && !blkid_probe_set_device(pr, fd, (blkid_loff_t)off, (blkid_loff_t)len)) {
		blkid_probe_enable_superblocks(pr, 1);
		blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
							      BLKID_SUBLKS_MAGIC);
		blkid_do_safeprobe(pr);
		set_value(out, "type", pr, "TYPE");
		set_value(out, "label", pr, "LABEL");
		set_value(out, "uuid", pr, "UUID");
		set_number(out, "offset", pr, "SBMAGIC_OFFSET");
	}
	blkid_free_probe(pr);
}

static void add_partition(struct blk_dev *d, int fd, blkid_partition part, json_t *list)
{
	const uint64_t dev_bytes = blk_nr_sects(d) << SECT_SHIFT;
	const uint64_t off = (uint64_t)blkid_partition_get_start(part) << SECT_SHIFT;
	const uint64_t len = (uint64_t)blkid_partition_get_size(part) << SECT_SHIFT;
	json_t *o = json_object();

	if (off < dev_bytes && len && !copy_piece(d, fd, off, PART_HEAD_BYTES))
		probe_range(fd, off, MIN(len, dev_bytes - off), o);
	json_object_set_new(o, "number", json_integer(blkid_partition_get_partno(part)));
	json_object_set_new(o, "offset", json_integer((json_int_t)off));
	json_object_set_new(o, "size_bytes", json_integer((json_int_t)len));
	json_array_append_new(list, o);
}

static void probe_table(struct blk_dev *d, int fd, json_t *out)
{
	blkid_probe pr = blkid_new_probe();
	json_t *list = json_array();
	blkid_partlist parts;

	if (!pr || blkid_probe_set_device(pr, fd, 0, 0))
		goto out;
	blkid_probe_enable_superblocks(pr, 0);
	blkid_probe_enable_partitions(pr, 1);
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
	if (blkid_do_safeprobe(pr))
		goto out;
	set_value(out, "table", pr, "PTTYPE");
	set_number(out, "offset", pr, "PTMAGIC_OFFSET");
	parts = blkid_probe_get_partitions(pr);
	for (int i = 0; parts && i < blkid_partlist_numof_partitions(parts); i++)
		add_partition(d, fd, blkid_partlist_get_partition(parts, i), list);
	json_object_set(out, "partitions", list);
out:
	json_decref(list);
	blkid_free_probe(pr);
}

json_t *probe_device(struct blk_dev *d)
{
	const uint64_t bytes = blk_nr_sects(d) << SECT_SHIFT;
	const int fd = memfd_create("osfs-probe", MFD_CLOEXEC);
	json_t *out = json_object();
	int err = fd < 0 || ftruncate(fd, (off_t)bytes) ? -errno : 0;

	if (!err)
		err = copy_piece(d, fd, 0, ENDS_BYTES);
	if (!err && bytes > ENDS_BYTES)
		err = copy_piece(d, fd, MAX(bytes - ENDS_BYTES, (uint64_t)ENDS_BYTES), ENDS_BYTES);
	if (!err) {
		probe_range(fd, 0, bytes, out);
		if (json_is_null(json_object_get(out, "type")))
			probe_table(d, fd, out);
	}
	if (fd >= 0)
		close(fd);
	if (!err)
		return out;
	if (err != -EIO)
		log_error("%s: cannot be looked at: %s", blk_name(d), strerror(-err));
	json_decref(out);
	return NULL;
}

static void print_filesystem(const json_t *o, FILE *out)
{
	const char *label = get_text(o, "label"), *uuid = get_text(o, "uuid");

	if (!*get_text(o, "type")) {
		fputs("nothing that is known", out);
		return;
	}
	fprintf(out, "%s", get_text(o, "type"));
	if (*label)
		fprintf(out, " '%s'", label);
	if (*uuid)
		fprintf(out, " (%s)", uuid);
}

void probe_print(const json_t *found, FILE *out)
{
	const json_t *p;
	size_t i;

	if (!*get_text(found, "table")) {
		print_filesystem(found, out);
		return;
	}
	fprintf(out, "%s partition table at byte %lld, which osfs does not mount", get_text(found, "table"),
		get_number(found, "offset"));
	json_array_foreach(json_object_get(found, "partitions"), i, p) {
		fprintf(out, "\n            partition %lld at byte %lld, %lld bytes: ", get_number(p, "number"),
			get_number(p, "offset"), get_number(p, "size_bytes"));
		print_filesystem(p, out);
	}
}

bool probe_knows(const json_t *found)
{
	return *get_text(found, "type") || *get_text(found, "table");
}

bool probe_is_ext(const json_t *found)
{
	const char *type = get_text(found, "type");

	return !strncmp(type, "ext", 3) && type[3] >= '2' && type[3] <= '4' && !type[4];
}
