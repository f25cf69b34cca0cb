/* dump_journal.c: the journal's superblock, and what the log holds, transaction by transaction. */
#include <stdlib.h>

#include "base/log.h"
#include "dump/dump.h"
#include "journal/jbd2_file.h"

struct log {
	struct dump *d;
	struct jbd2_file f;		/* the format alone: no device, no runs */
	struct look_inode inode;
	struct jbd2_map place;		/* block of the journal: block of the filesystem */
	uint32_t maxlen;
	uint8_t *block;
};

static bool take_piece(void *arg, const struct look_piece *p)
{
	struct log *g = arg;

	for (uint32_t i = 0; p->kind == LOOK_DATA && i < p->nr; i++)
		if (jbd2_map_put(&g->place, p->lblk + i, p->pblk + i))
			return false;
	return true;
}

static int log_block(struct log *g, uint32_t lblk, void *buf)
{
	const uint64_t *pblk = jbd2_map_get(&g->place, lblk);

	if (pblk)
		return look_block(&g->d->look, *pblk, buf);
	look_fault(&g->d->look, "journal: block %" PRIu32 " is not mapped", lblk);
	return -EUCLEAN;
}

/* Superblock ---------------------------------------------------------------------------------- */

static void put_features(struct out *o, const struct jnl_disk_sb *sb)
{
	static const char *const incompat[] = { "journal_incompat_revoke", "journal_64bit", "journal_async_commit",
						"journal_checksum_v2", "journal_checksum_v3", "fast_commit" };
	const uint32_t bits = be32_get(sb->s_feature_incompat);
	char text[256] = "";

	if (be32_get(sb->s_feature_compat) & JNL_COMPAT_CHECKSUM)
		strcat(text, " journal_checksum");
	for (unsigned i = 0; i < ARRAY_LEN(incompat); i++)
		if (bits & 1u << i)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", incompat[i]);
	out_text(o, "features", "Journal features", "%s", *text ? text + 1 : "(none)");
	if (bits & ~(uint32_t)JNL_INCOMPAT_ALL || be32_get(sb->s_feature_ro_compat))
		out_fault(o, "the journal has features that osfs does not know");
}

static void put_super(struct log *g)
{
	const struct jnl_disk_sb *sb = &g->f.sb;
	struct out *o = &g->d->out;

	out_num(o, "blocktype", "Journal superblock version", be32_get(sb->s_header.h_blocktype), "%u",
		be32_get(sb->s_header.h_blocktype) == JNL_SB_V1 ? 1 : 2);
	put_features(o, sb);
	out_u64(o, "blocksize", "Journal block size", be32_get(sb->s_blocksize));
	out_u64(o, "maxlen", "Total journal blocks", be32_get(sb->s_maxlen));
	out_u64(o, "first", "Journal first block", be32_get(sb->s_first));
	out_num(o, "sequence", "Journal sequence", be32_get(sb->s_sequence), "0x%08" PRIx32, be32_get(sb->s_sequence));
	out_u64(o, "start", "Journal start", be32_get(sb->s_start));
	if (be32_get(sb->s_errno))
		out_num(o, "errno", "Journal errno", be32_get(sb->s_errno), "%d", (int32_t)be32_get(sb->s_errno));
	if (be32_get(sb->s_num_fc_blks))
		out_u64(o, "fc_blocks", "Fast commit length", be32_get(sb->s_num_fc_blks));
	if (be32_get(sb->s_head))
		out_u64(o, "head", "Journal head", be32_get(sb->s_head));
}

/* What the log reckons with. False: it cannot be walked. */
static bool check_super(struct log *g)
{
	const struct jnl_disk_sb *sb = &g->f.sb;
	struct look *l = &g->d->look;
	const uint32_t first = be32_get(sb->s_first), start = be32_get(sb->s_start);
	uint32_t nr_fc = 0;

	if (be32_get(sb->s_blocksize) != l->block_bytes) {
		look_fault(l, "journal: s_blocksize is %" PRIu32 ", blocks have %" PRIu32, be32_get(sb->s_blocksize), l->block_bytes);
		return false;
	}
	if (jbd2_has_incompat(&g->f, JNL_INCOMPAT_FAST_COMMIT))
		nr_fc = be32_get(sb->s_num_fc_blks) ? be32_get(sb->s_num_fc_blks) : (uint32_t)JNL_DEFAULT_FC_BLOCKS;
	g->f.first = first;
	g->f.end = be32_get(sb->s_maxlen) > nr_fc ? be32_get(sb->s_maxlen) - nr_fc : 0;
	if (g->f.end > g->place.nr || first == 0 || first >= g->f.end || (start && (start < first || start >= g->f.end))) {
		look_fault(l, "journal: s_maxlen %" PRIu32 ", s_first %" PRIu32 ", s_start %" PRIu32 " do not fit a file of %zu blocks",
			   be32_get(sb->s_maxlen), first, start, g->place.nr);
		return false;
	}
	return true;
}

/* The log --------------------------------------------------------------------------------------- */

struct txn {
	uint32_t seq, start, nr_blocks, nr_descriptors, nr_copies, nr_revokes;
	bool bad;
};

static uint32_t count_tags(const struct log *g)
{
	const uint8_t *at = g->block + sizeof(struct jnl_disk_header), *end = g->block + g->f.block_bytes - g->f.tail_bytes;
	uint32_t nr = 0;

	while (at + g->f.tag_bytes <= end) {
		const struct jbd2_tag t = jbd2_tag_load(&g->f, at);

		nr++;
		at += g->f.tag_bytes + (t.flags & JNL_TAG_SAME_UUID ? 0 : JNL_UUID_BYTES);
		if (t.flags & JNL_TAG_LAST)
			break;
	}
	return nr;
}

static uint32_t count_revokes(struct log *g, const struct txn *t)
{
	struct jnl_disk_revoke r;
	uint32_t used;

	memcpy(&r, g->block, sizeof(r));
	used = be32_get(r.r_count);
	if (used < sizeof(r) || used > g->f.block_bytes) {
		look_fault(&g->d->look, "journal: transaction %" PRIu32 ": a revoke block of %" PRIu32 " bytes", t->seq, used);
		return 0;
	}
	return (used - (uint32_t)sizeof(r)) / g->f.revoke_bytes;
}

static void put_txn(struct log *g, const struct txn *t, const struct jnl_disk_commit *c)
{
	const int64_t sec = c ? (int64_t)be64_get(c->h_commit_sec) : 0;

	out_row(&g->d->out, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I}", "sequence", (json_int_t)t->seq, "start", (json_int_t)t->start,
				      "blocks", (json_int_t)t->nr_blocks, "descriptors", (json_int_t)t->nr_descriptors, "copies",
				      (json_int_t)t->nr_copies, "revoked", (json_int_t)t->nr_revokes, "committed", c != NULL, "commit_time",
				      (json_int_t)sec),
		"%10" PRIu32 "  at %" PRIu32 ": %" PRIu32 " blocks: %" PRIu32 " descriptors, %" PRIu32 " copies, %" PRIu32 " revoked%s", t->seq,
		t->start, t->nr_blocks, t->nr_descriptors, t->nr_copies, t->nr_revokes, c ? "" : ", not committed");
}

/* One block of a transaction; how many it and what follows it take, 0: the log ends here. */
static uint32_t take_block(struct log *g, struct txn *t, bool *committed)
{
	uint32_t nr;

	*committed = false;
	switch (jbd2_header_type(g->block, t->seq)) {
	case JNL_DESCRIPTOR:
		t->bad |= !jbd2_tail_ok(&g->f, g->block);
		nr = count_tags(g);
		t->nr_descriptors++;
		t->nr_copies += nr;
		return nr + 1;
	case JNL_REVOKE:
		t->bad |= !jbd2_tail_ok(&g->f, g->block);
		t->nr_revokes += count_revokes(g, t);
		return 1;
	case JNL_COMMIT:
		t->bad |= !jbd2_commit_ok(&g->f, g->block);
		*committed = true;
		return 1;
	default:
		return 0;
	}
}

static void put_log(struct log *g)
{
	const uint32_t ring = g->f.end - g->f.first;
	uint32_t lblk = be32_get(g->f.sb.s_start), seen = 0;
	struct txn t = { .seq = be32_get(g->f.sb.s_sequence), .start = lblk };

	if (!lblk) {
		out_line(&g->d->out, "(the log is empty)");
		return;
	}
	while (!log_block(g, lblk, g->block)) {
		bool committed;
		const uint32_t nr = take_block(g, &t, &committed);

		if (!nr)
			break;
		seen += nr;
		if (nr > ring || seen > ring) {
			look_fault(&g->d->look, "journal: the log has no end");
			break;
		}
		t.nr_blocks += nr;
		lblk = jbd2_wrap(&g->f, (uint64_t)lblk + nr);
		if (!committed)
			continue;
		put_txn(g, &t, (const struct jnl_disk_commit *)g->block);
		if (t.bad)
			look_fault(&g->d->look, "journal: transaction %" PRIu32 ": a checksum does not match", t.seq);
		t = (struct txn){ .seq = t.seq + 1, .start = lblk };
	}
	if (t.nr_blocks)
		put_txn(g, &t, NULL);
}

static int show(struct log *g)
{
	struct look *l = &g->d->look;
	int err = look_map(l, &g->inode, NULL, take_piece, g);

	if (err)
		return err;
	out_u64(&g->d->out, "inode", "Journal inode", g->inode.ino);
	out_u64(&g->d->out, "file_blocks", "Blocks of the file", g->place.nr);
	if (log_block(g, 0, g->block))
		return 0;
	memcpy(&g->f.sb, g->block, sizeof(g->f.sb));
	if (be32_get(g->f.sb.s_header.h_magic) != JNL_MAGIC) {
		look_fault(l, "journal: its superblock has the magic %#" PRIx32, be32_get(g->f.sb.s_header.h_magic));
		return 0;
	}
	jbd2_file_settle(&g->f);
	put_super(g);
	if (!check_super(g))
		return 0;
	out_list(&g->d->out, "transactions", "Transactions to be replayed:");
	put_log(g);
	out_end(&g->d->out);
	return 0;
}

int dump_journal(struct dump *d)
{
	struct log g = { .d = d };
	const uint32_t ino = le32_get(d->look.super.s_journal_inum);
	int err;

	if (!(d->look.compat & EXT_COMPAT_HAS_JOURNAL)) {
		log_error("the filesystem has no journal");
		return -ENOENT;
	}
	if (le32_get(d->look.super.s_journal_dev) && !ino) {
		log_error("the journal is on another device");
		return -EOPNOTSUPP;
	}
	g.f.block_bytes = d->look.block_bytes;
	g.block = malloc(d->look.block_bytes);
	err = g.block ? look_inode(&d->look, ino, &g.inode) : -ENOMEM;
	if (!err)
		err = show(&g);
	jbd2_map_fini(&g.place);
	look_inode_done(&g.inode);
	free(g.block);
	return err == -EINVAL ? 0 : err;
}
