/*
 * cmd_journal.c: osfs-lab journal: the ring of an image's journal, block by block: what is to be
 * replayed, and what older transactions have left around it. Nothing is written.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "journal/jbd2_file.h"
#include "lab.h"
#include "look/look.h"
#include "raid/raid.h"

static const char usage_text[] =
	"Usage: osfs-lab journal [-a] IMAGE|MEMBER...\n"
	"Walks the journal's ring from its tail on, a line a block: descriptors with the blocks they name,\n"
	"revokes, commits, with transactions and checksums. \">\" marks what a mount would replay.\n"
	"  -a, --all   also what is left of older transactions, all around the ring\n";

struct walk {
	struct look look;
	struct jbd2_file f;		/* the format alone */
	pblk_t *place;			/* of each block of the journal; 0: none */
	uint32_t nr_place;
	uint8_t *block, *copy;
	bool all;
	uint32_t seq;			/* of the transaction that is due */
	bool live;			/* replay has not come to its end */
	bool whole;			/* no wrong checksum in the transaction so far */
	uint32_t nr_live, nr_old, nr_bad;	/* committed transactions; blocks with wrong checksums */
};

static void say_fault(void *arg, const char *what)
{
	printf("fault: %s\n", what);
}

static bool take_piece(void *arg, const struct look_piece *p)
{
	struct walk *w = arg;

	for (uint32_t i = 0; p->kind == LOOK_DATA && i < p->nr && p->lblk + i < w->nr_place; i++)
		w->place[p->lblk + i] = p->pblk + i;
	return true;
}

static int read_block(struct walk *w, uint32_t lblk, void *buf)
{
	if (lblk < w->nr_place && w->place[lblk])
		return look_block(&w->look, w->place[lblk], buf);
	printf("fault: block %" PRIu32 " of the journal is not mapped\n", lblk);
	return -EUCLEAN;
}

/* Superblock ------------------------------------------------------------------------------------------ */

static void print_super(const struct walk *w)
{
	const struct jnl_disk_sb *sb = &w->f.sb;
	const char *csum = w->f.v3 ? "v3" : w->f.v2 ? "v2" : w->f.v1 ? "v1" : "none";

	printf("superblock (block 0): ring %" PRIu32 " to %" PRIu32 ", block size %" PRIu32 ", tail %" PRIu32
	       " of transaction %" PRIu32 ", errno %" PRId32 ", checksum %s%s%s%s\n", w->f.first, w->f.end - 1, w->f.block_bytes, be32_get(sb->s_start),
	       be32_get(sb->s_sequence), (int32_t)be32_get(sb->s_errno), csum, w->f.wide ? ", 64bit" : "",
	       jbd2_has_incompat(&w->f, JNL_INCOMPAT_ASYNC_COMMIT) ? ", async_commit" : "",
	       jbd2_has_incompat(&w->f, JNL_INCOMPAT_FAST_COMMIT) ? ", fast_commit" : "");
	if (!be32_get(sb->s_start))
		puts("the log is empty: nothing would be replayed");
}

static int load_super(struct walk *w)
{
	const struct jnl_disk_sb *sb = &w->f.sb;
	uint32_t maxlen, fc;
	int err = read_block(w, 0, w->block);

	if (err)
		return err;
	memcpy(&w->f.sb, w->block, sizeof(w->f.sb));
	if (be32_get(sb->s_header.h_magic) != JNL_MAGIC) {
		log_error("the journal's superblock has a wrong magic");
		return -EUCLEAN;
	}
	jbd2_file_settle(&w->f);
	maxlen = be32_get(sb->s_maxlen);
	fc = be32_get(sb->s_num_fc_blks) ? be32_get(sb->s_num_fc_blks) : JNL_DEFAULT_FC_BLOCKS;
	if (!jbd2_has_incompat(&w->f, JNL_INCOMPAT_FAST_COMMIT))
		fc = 0;
	w->f.first = be32_get(sb->s_first);
	w->f.end = maxlen - MIN(fc, maxlen);
	if (maxlen > w->nr_place || w->f.first < 1 || w->f.first >= w->f.end ||
	    (be32_get(sb->s_start) && (be32_get(sb->s_start) < w->f.first || be32_get(sb->s_start) >= w->f.end)) ||
	    be32_get(sb->s_blocksize) != w->f.block_bytes) {
		log_error("the journal's superblock has impossible values");
		return -EUCLEAN;
	}
	return 0;
}

/* The ring ------------------------------------------------------------------------------------------------ */

static const char *verdict(struct walk *w, bool ok)
{
	if (!w->f.v2 && !w->f.v3)
		return "";
	if (ok)
		return ", checksum ok";
	w->whole = false;
	w->nr_bad++;
	return ", CHECKSUM WRONG";
}

/* The copies that a descriptor names lie behind it; returns how many there are. */
static uint32_t print_tags(struct walk *w, uint32_t lblk, uint32_t seq)
{
	const uint8_t *at = w->block + sizeof(struct jnl_disk_header);
	const uint8_t *end = w->block + w->f.block_bytes - w->f.tail_bytes;
	uint32_t nr = 0;

	while (at + w->f.tag_bytes <= end) {
		const struct jbd2_tag t = jbd2_tag_load(&w->f, at);
		const uint32_t copy = jbd2_wrap(&w->f, (uint64_t)lblk + 1 + nr);
		const bool ok = !read_block(w, copy, w->copy) && jbd2_tag_checksum(&w->f, seq, w->copy) == t.checksum;

		nr++;
		printf("  %6" PRIu32 "    copy of block %" PRIu64 "%s%s%s\n", copy, t.pblk,
		       t.flags & JNL_TAG_ESCAPE ? ", escaped" : "", t.flags & JNL_TAG_DELETED ? ", deleted" : "", verdict(w, ok));
		at += w->f.tag_bytes + (t.flags & JNL_TAG_SAME_UUID ? 0 : JNL_UUID_BYTES);
		if (t.flags & JNL_TAG_LAST || nr >= w->f.end - w->f.first)
			break;
	}
	return nr;
}

static void print_revokes(const struct walk *w)
{
	struct jnl_disk_revoke r;
	uint32_t used;

	memcpy(&r, w->block, sizeof(r));
	used = MIN(be32_get(r.r_count), w->f.block_bytes - w->f.tail_bytes);
	for (uint32_t off = sizeof(r); off + w->f.revoke_bytes <= used; off += w->f.revoke_bytes) {
		be32 narrow;
		be64 wide = { 0 };

		memcpy(&narrow, w->block + off, sizeof(narrow));
		if (w->f.wide)
			memcpy(&wide, w->block + off, sizeof(wide));
		printf("            block %" PRIu64 "\n", w->f.wide ? be64_get(wide) : be32_get(narrow));
	}
}

static void print_commit(struct walk *w, uint32_t lblk, uint32_t seq)
{
	struct jnl_disk_commit c;
	char when[32] = "?";
	struct tm tm;
	time_t sec;

	memcpy(&c, w->block, sizeof(c));
	sec = (time_t)be64_get(c.h_commit_sec);
	if (gmtime_r(&sec, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%c %6" PRIu32 "  %" PRIu32 " commit, %s.%09" PRIu32 "%s\n", w->live ? '>' : ' ', lblk, seq, when,
	       be32_get(c.h_commit_nsec), verdict(w, jbd2_commit_ok(&w->f, w->block)));
	if (w->live && w->whole)
		w->nr_live++;
	else
		w->nr_old++;
	if (!w->whole)
		w->live = false;
	w->whole = true;
	w->seq = seq + 1;
}

/* What the block in w->block is, and what belongs to it; returns how many blocks that is. */
static uint32_t print_block(struct walk *w, uint32_t lblk)
{
	struct jnl_disk_header h;
	uint32_t seq, nr;

	memcpy(&h, w->block, sizeof(h));
	seq = be32_get(h.h_sequence);
	if (w->live && (be32_get(h.h_magic) != JNL_MAGIC || seq != w->seq)) {
		printf("---- replay ends at block %" PRIu32 ": no block of transaction %" PRIu32 "\n", lblk, w->seq);
		w->live = false;
		w->whole = true;
	}
	if (be32_get(h.h_magic) != JNL_MAGIC)
		return 1;
	switch (be32_get(h.h_blocktype)) {
	case JNL_DESCRIPTOR:
		printf("%c %6" PRIu32 "  %" PRIu32 " descriptor%s\n", w->live ? '>' : ' ', lblk, seq,
		       verdict(w, jbd2_tail_ok(&w->f, w->block)));
		nr = print_tags(w, lblk, seq);
		return nr + 1;
	case JNL_REVOKE:
		printf("%c %6" PRIu32 "  %" PRIu32 " revoke%s\n", w->live ? '>' : ' ', lblk, seq,
		       verdict(w, jbd2_tail_ok(&w->f, w->block)));
		print_revokes(w);
		return 1;
	case JNL_COMMIT:
		print_commit(w, lblk, seq);
		return 1;
	default:
		return 1;
	}
}

static void print_ring(struct walk *w)
{
	const uint32_t ring = w->f.end - w->f.first;
	uint32_t lblk = be32_get(w->f.sb.s_start), nr;

	w->seq = be32_get(w->f.sb.s_sequence);
	w->live = lblk != 0;
	w->whole = true;
	if (!lblk)
		lblk = w->f.first;
	for (uint32_t seen = 0; seen < ring && (w->live || w->all); seen += nr) {
		if (read_block(w, lblk, w->block))
			return;
		nr = print_block(w, lblk);
		lblk = jbd2_wrap(&w->f, (uint64_t)lblk + MIN(nr, ring));
	}
	printf("%" PRIu32 " transactions would be replayed", w->nr_live);
	if (w->all)
		printf(", %" PRIu32 " older ones are still to be seen", w->nr_old);
	printf("%s\n", w->nr_bad ? ", there are wrong checksums" : "");
}

static int print_journal(struct walk *w)
{
	const ino_nr_t ino = le32_get(w->look.super.s_journal_inum);
	struct look_inode inode;
	int err;

	if (!w->look.usable || !(w->look.compat & EXT_COMPAT_HAS_JOURNAL) || !ino) {
		log_error("there is no journal on it");
		return -ENOENT;
	}
	err = look_inode(&w->look, ino, &inode);
	if (err)
		return err;
	w->f.block_bytes = w->look.block_bytes;
	w->nr_place = (uint32_t)MIN(inode.size_bytes >> w->look.block_shift, w->look.nr_blocks);
	w->place = calloc(w->nr_place + (size_t)1, sizeof(*w->place));
	w->block = malloc(w->f.block_bytes);
	w->copy = malloc(w->f.block_bytes);
	err = w->place && w->block && w->copy ? look_map(&w->look, &inode, NULL, take_piece, w) : -ENOMEM;
	look_inode_done(&inode);
	if (!err)
		err = load_super(w);
	if (err)
		return err;
	print_super(w);
	print_ring(w);
	return 0;
}

/* Opening ---------------------------------------------------------------------------------------------------- */

struct volume {
	struct alloc *alloc;
	struct blk_dev *devs[RAID_MAX_MEMBERS];
	unsigned nr;
	struct raid *raid;
};

static int open_all(struct volume *v, char **names, unsigned nr)
{
	const struct blk_open_opts ro = { .read_only = true, .no_lock = true };
	struct raid_open_opts array = { .read_only = true, .quiet = true };
	struct raid_info info;
	int err = nr > RAID_MAX_MEMBERS ? -EINVAL : 0;

	for (; !err && v->nr < nr; v->nr += !err)
		err = blk_open(names[v->nr], &ro, &v->devs[v->nr]);
	if (err || (nr == 1 && raid_examine(v->devs[0], &info)))
		return err;
	err = alloc_new(&(struct alloc_opts){ 0 }, &v->alloc);
	array.alloc = v->alloc;
	if (!err)
		err = raid_assemble(v->devs, v->nr, &array, &v->raid);
	if (!err)
		v->nr = 0;	/* the array's */
	return err;
}

static void close_all(struct volume *v)
{
	if (v->raid)
		raid_free(v->raid);
	while (v->nr)
		blk_close(v->devs[--v->nr]);
	if (v->alloc)
		alloc_free(v->alloc);
}

int lab_cmd_journal(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct volume v = { .nr = 0 };
	struct walk w = { .all = false };
	int opt, err;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "ah", options, NULL)) != -1) {
		if (opt != 'a') {
			fputs(usage_text, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
		w.all = true;
	}
	if (optind == argc) {
		log_error("journal: of which image?");
		return 2;
	}
	err = open_all(&v, argv + optind, (unsigned)(argc - optind));
	if (!err)
		err = look_open(&w.look, look_source_dev(v.raid ? raid_dev(v.raid) : v.devs[0]), say_fault, NULL);
	if (!err) {
		err = print_journal(&w);
		look_close(&w.look);
	}
	free(w.place);
	free(w.block);
	free(w.copy);
	close_all(&v);
	return err ? 2 : w.nr_bad || w.look.nr_faults ? 1 : 0;
}
