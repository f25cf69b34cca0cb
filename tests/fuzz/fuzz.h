/*
 * fuzz.h: hostile images. An input is a short script of damage that is done to one of a few sound
 * images; checksums are put right again, so that the damage reaches who reads the fields.
 *
 *	byte 0   which image (of those the harness takes)
 *	byte 1   top three bits 0: checksums stay wrong
 *	then     16 bytes an operation, see fuzz_damage.c
 *
 * Any bytes are a script, so libFuzzer changes scripts (fuzz_main.c), and replay (replay.c) makes
 * them from seeds or reads them from files. A harness fails by what the sanitizers see, by taking
 * too long, by an error that is none (a positive result), or by more log lines than LOG_MAX.
 */
#ifndef OSFS_TESTS_FUZZ_FUZZ_H
#define OSFS_TESTS_FUZZ_FUZZ_H

#include "blk/blk.h"
#include "fs/ext_disk.h"

enum {
	FUZZ_HEAD_BYTES = 2,
	FUZZ_OP_BYTES = 16,
	FUZZ_OPS_MAX = 32,
	FUZZ_LOG_MAX = 20000,		/* lines an input */
	FUZZ_TIME_SEC = 20,		/* an input, with sanitizers, on a busy machine */
};

/* What can be damaged. */
enum fuzz_class {
	FUZZ_SUPER, FUZZ_DESC, FUZZ_BLOCK_BITMAP, FUZZ_INODE_BITMAP, FUZZ_INODE, FUZZ_DIR, FUZZ_MAP, FUZZ_EXTENT, FUZZ_XATTR,
	FUZZ_JOURNAL, FUZZ_NR_CLASSES
};
struct fuzz_target {
	enum fuzz_class class;
	uint64_t off;			/* bytes into the image */
	uint32_t len;
	uint32_t nr;			/* group, or inode */
	pblk_t pblk;
};

struct fuzz_image {
	const char *name;
	uint8_t *bytes;			/* sound */
	uint64_t nr_bytes;
	struct fuzz_target *targets;	/* sorted by class */
	unsigned nr_targets, first[FUZZ_NR_CLASSES + 1];
};
/* All images of the directory that the environment's OSFS_FUZZ_IMAGES names, once. */
const struct fuzz_image *fuzz_image_find(const char *name);

/* fuzz_damage.c: the damaged image as a device of its own; NULL: the script is too short. */
struct blk_dev *fuzz_damaged(const struct fuzz_image *img, const uint8_t *data, size_t size, unsigned classes);
/* The same operations on any bytes. */
void fuzz_damage_bytes(uint8_t *bytes, size_t len, const uint8_t *op);

struct fuzz_harness {
	const char *name;
	void (*run)(const uint8_t *data, size_t size);
};
extern const struct fuzz_harness fuzz_harnesses[];	/* ends with a NULL name */
const struct fuzz_harness *fuzz_harness_find(const char *name);
/* One input: log lines are counted and kept from the terminal, time is taken. */
void fuzz_run(const struct fuzz_harness *h, const uint8_t *data, size_t size);
/* Ends the process as a failure. */
#define fuzz_fail(...) fuzz_die(__func__, __VA_ARGS__)
void fuzz_die(const char *where, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));
/* An -errno that a call on a damaged image may have; more than that is our own mistake. */
void fuzz_check_err(int err, const char *call);

void fuzz_assemble(const uint8_t *data, size_t size);	/* fuzz_raid.c */
void fuzz_mount(const uint8_t *data, size_t size);	/* fuzz_fs.c */
void fuzz_journal(const uint8_t *data, size_t size);
void fuzz_dir(const uint8_t *data, size_t size);
void fuzz_extent(const uint8_t *data, size_t size);
void fuzz_look(const uint8_t *data, size_t size);	/* fuzz_look.c */
void fuzz_fsck(const uint8_t *data, size_t size);	/* fuzz_fsck.c */
void fuzz_sick(const uint8_t *data, size_t size);

#endif
