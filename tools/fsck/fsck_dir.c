/*
 * fsck_dir.c: pass 2 on one directory: blocks, entries, dots, names; what its entries say of
 * other inodes is entered when the directory has been looked at to its end.
 */
#include <stdlib.h>

#include "base/crc.h"
#include "fsck_int.h"

enum { DIRENT_MIN = 12, INLINE_PARENT = 4 };

struct name_slot {
	const struct ext_disk_dirent *de;	/* NULL: free */
	uint32_t hash;
};

struct dir_scratch {
	ARRAY_OF(ino_nr_t) refs;	/* inodes that entries name */
	struct name_slot *names;	/* open addressing */
	size_t nr_slots, cap_slots;
};

/* The directory at hand. */
struct look {
	struct worker *w;
	struct fsck *f;
	struct dir_scratch *s;
	struct dir_view *v;
	uint32_t chain;			/* at hand */
	uint32_t nr_entries;		/* of block 0 so far */
};

struct dir_scratch *dir_scratch_new(void)
{
	return calloc(1, sizeof(struct dir_scratch));
}

void dir_scratch_free(struct dir_scratch *s)
{
	if (!s)
		return;
	array_free(&s->refs);
	free(s->names);
	free(s);
}

static ino_nr_t dir_ino(const struct look *l)
{
	return l->v->d->ino;
}

static void dirty(struct look *l)
{
	fsck_view_chain_dirty(l->v, l->chain);
}

#define FIX_ENTRY(l, pr, de, ...)									\
	fsck_fix((l)->w, pr, .dir = dir_ino(l), .str = (de)->name, .str_len = (de)->name_len, __VA_ARGS__)

static void entry_clear(struct look *l, struct ext_disk_dirent *de)
{
	de->inode = le32_of(0);
	dirty(l);
}

/* Names that are there already ----------------------------------------------------------------- */

static bool names_begin(struct look *l)
{
	struct dir_scratch *s = l->s;
	const size_t bytes = l->v->d->is_inline ? 4096 : (size_t)l->v->nr << l->f->block_shift;
	size_t want = 64;

	while (want < bytes / 8)
		want *= 2;
	if (s->cap_slots < want) {
		free(s->names);
		s->names = malloc(want * sizeof(*s->names));
		s->cap_slots = s->names ? want : 0;
		if (!s->names) {
			atomic_store(&l->f->any_err, true);
			return false;
		}
	}
	s->nr_slots = want;
	memset(s->names, 0, want * sizeof(*s->names));
	return true;
}

static struct name_slot *name_slot(struct dir_scratch *s, const char *name, unsigned len)
{
	const uint32_t hash = crc32c(~0u, name, len);

	for (size_t i = hash & (s->nr_slots - 1);; i = (i + 1) & (s->nr_slots - 1)) {
		struct name_slot *n = &s->names[i];

		if (!n->de) {
			n->hash = hash;
			return n;
		}
		if (n->hash == hash && n->de->name_len == len && !memcmp(n->de->name, name, len))
			return n;
	}
}

/* Another name of the same length, by its last two characters. */
static void rename_twin(struct look *l, struct ext_disk_dirent *de)
{
	char name[256];

	memcpy(name, de->name, de->name_len);
	for (unsigned i = 0; i < 36 * 36; i++) {
		const char *digits = "0123456789abcdefghijklmnopqrstuvwxyz";
		const unsigned at = de->name_len - 1u;

		name[at] = digits[i % 36];
		if (at > 0)
			name[at - 1] = i < 36 ? '~' : digits[i / 36];
		if (!name_slot(l->s, name, de->name_len)->de && !fsck_name_is_dots(name, de->name_len)) {
			memcpy(de->name, name, de->name_len);
			name_slot(l->s, name, de->name_len)->de = de;
			dirty(l);
			l->v->rebuild |= l->v->d->is_hashed;
			fsck_fate(l->f, "directory %" PRIu32 ": the second of two equal names is now '%.*s'", dir_ino(l),
				  (int)de->name_len, de->name);
			return;
		}
	}
	entry_clear(l, de);
}

static void check_twin(struct look *l, struct ext_disk_dirent *de)
{
	struct name_slot *n = name_slot(l->s, de->name, de->name_len);

	if (!n->de)
		n->de = de;
	else if (n->de != de && FIX_ENTRY(l, P2_DUP_NAME, de, .ino = le32_get(de->inode)))
		rename_twin(l, de);
}

/* Entries -------------------------------------------------------------------------------------------- */

static unsigned type_of(const struct fsck *f, ino_nr_t ino)
{
	return atomic_load_explicit(&f->itype[ino], memory_order_relaxed) & FSCK_FT_MASK;
}

/* A number that pass 1 did not look at, since the group says that it was never used; is there an inode? */
static bool is_unseen(struct look *l, ino_nr_t ino)
{
	struct fsck *f = l->f;
	const uint32_t g = (ino - 1) / f->inodes_per_group;
	struct ext_disk_inode *raw;
	bool there;

	if ((ino - 1) % f->inodes_per_group < group_nr_used_inodes(f, g))
		return false;
	raw = calloc(1, f->inode_bytes + sizeof(*raw));
	there = raw && !fsck_inode_read(f, ino, raw) && le16_get(raw->i_links_count) && fsck_ft_of(le16_get(raw->i_mode)) &&
		fsck_inode_csum_ok(f, ino, raw);
	free(raw);
	return there;
}

static void check_unused(struct look *l, struct ext_disk_dirent *de)
{
	const ino_nr_t ino = le32_get(de->inode);
	const uint32_t g = (ino - 1) / l->f->inodes_per_group;

	if (l->f->restart)	/* a group was opened: pass 1 will look at it */
		return;
	if (is_unseen(l, ino)) {
		if (FIX_ENTRY(l, P2_UNINIT, de, .ino = ino, .group = g))
			fsck_group_open(l->f, g);
	} else if (FIX_ENTRY(l, P2_UNUSED, de, .ino = ino)) {
		entry_clear(l, de);
	}
}

static void check_name_bytes(struct look *l, struct ext_disk_dirent *de)
{
	bool bad = false;

	for (unsigned i = 0; i < de->name_len; i++)
		bad |= de->name[i] == '/' || de->name[i] == '\0';
	if (!bad || !FIX_ENTRY(l, P2_BAD_NAME, de, .ino = le32_get(de->inode)))
		return;
	for (unsigned i = 0; i < de->name_len; i++)
		if (de->name[i] == '/' || de->name[i] == '\0')
			de->name[i] = '_';
	dirty(l);
	l->v->rebuild |= l->v->d->is_hashed;
}

static void check_type(struct look *l, struct ext_disk_dirent *de)
{
	const unsigned want = dirent_type(l->f, type_of(l->f, le32_get(de->inode)));

	if (de->file_type != want &&
	    FIX_ENTRY(l, P2_FILETYPE, de, .ino = le32_get(de->inode), .num = de->file_type, .num2 = want)) {
		de->file_type = (uint8_t)want;
		dirty(l);
	}
}

static void check_entry(struct look *l, struct ext_disk_dirent *de)
{
	const struct fsck *f = l->f;
	const ino_nr_t ino = le32_get(de->inode);
	enum problem pr = NR_PROBLEMS;

	if (!ino)
		return;
	if (de->name_len == 0)
		pr = P2_NULL_NAME;
	else if (fsck_name_is_dots(de->name, de->name_len))
		pr = P2_DUP_DOT;
	else if (ino > f->nr_inodes || (ino != EXT_ROOT_INO && fsck_is_system_ino(f, ino)))
		pr = P2_BAD_INO;
	else if (ino == EXT_ROOT_INO)
		pr = P2_LINK_ROOT;
	else if (ino == dir_ino(l))
		pr = P2_LINK_SELF;
	if (pr != NR_PROBLEMS) {
		if (FIX_ENTRY(l, pr, de, .ino = ino))
			entry_clear(l, de);
		return;
	}
	if (!type_of(f, ino)) {
		check_unused(l, de);
		return;
	}
	check_name_bytes(l, de);
	check_type(l, de);
	check_twin(l, de);
	if (le32_get(de->inode))
		array_push(l->f, &l->s->refs, ino);
}

/* The first two of a directory's blocks. True: that is what it was. */
static bool check_dot(struct look *l, struct ext_disk_dirent *de, uint32_t rec_len)
{
	const bool is_dot = de->inode.raw && de->name_len == 1 && de->name[0] == '.';

	if (!is_dot) {
		if (fsck_fix(l->w, P2_NO_DOT, .dir = dir_ino(l)))
			l->v->rebuild = true;
		return de->inode.raw && de->name_len == 2 && fsck_name_is_dots(de->name, 2);	/* told below */
	}
	if (le32_get(de->inode) != dir_ino(l) && fsck_fix(l->w, P2_BAD_DOT, .dir = dir_ino(l), .ino = le32_get(de->inode))) {
		de->inode = le32_of(dir_ino(l));
		dirty(l);
	}
	if ((rec_len > DIRENT_MIN || de->name[1]) && fsck_fix(l->w, P2_DOT_FORM, .dir = dir_ino(l)))
		l->v->rebuild = true;
	if (de->file_type != dirent_type(l->f, EXT_FT_DIR) &&
	    FIX_ENTRY(l, P2_FILETYPE, de, .ino = dir_ino(l), .num = de->file_type, .num2 = dirent_type(l->f, EXT_FT_DIR))) {
		de->file_type = dirent_type(l->f, EXT_FT_DIR);
		dirty(l);
	}
	return true;
}

static bool check_dotdot(struct look *l, struct ext_disk_dirent *de)
{
	if (!de->inode.raw || de->name_len != 2 || !fsck_name_is_dots(de->name, 2)) {
		if (fsck_fix(l->w, P2_NO_DOTDOT, .dir = dir_ino(l)))
			l->v->rebuild = true;
		return false;
	}
	if (!l->w->suspect)
		l->v->d->dotdot = le32_get(de->inode);
	if (de->file_type != dirent_type(l->f, EXT_FT_DIR) &&
	    FIX_ENTRY(l, P2_FILETYPE, de, .ino = le32_get(de->inode), .num = de->file_type,
		      .num2 = dirent_type(l->f, EXT_FT_DIR))) {
		de->file_type = dirent_type(l->f, EXT_FT_DIR);
		dirty(l);
	}
	return true;
}

/* Salvage ---------------------------------------------------------------------------------------------- */

/* Could an entry begin here? Only what can hardly be anything else. */
static bool is_plausible(const struct look *l, const struct dir_chain *c, uint32_t off)
{
	const struct ext_disk_dirent *de = (const void *)(c->p + off);
	const ino_nr_t ino = le32_get(de->inode);

	if (off + DIRENT_MIN > c->len || !ino || ino > l->f->nr_inodes || !de->name_len ||
	    off + dirent_bytes(de->name_len) > c->len || !type_of(l->f, ino))
		return false;
	for (unsigned i = 0; i < de->name_len; i++)
		if (de->name[i] == '/' || !de->name[i])
			return false;
	if (fsck_name_is_dots(de->name, de->name_len))
		return l->chain == 0 && !l->v->d->is_inline && off == (de->name_len - 1u) * DIRENT_MIN;
	return !has_incompat(l->f, EXT_INCOMPAT_FILETYPE) || de->file_type == type_of(l->f, ino);
}

static uint32_t next_plausible(const struct look *l, const struct dir_chain *c, uint32_t off)
{
	while (off + DIRENT_MIN <= c->len && !is_plausible(l, c, off))
		off += 4;
	return off + DIRENT_MIN <= c->len ? off : c->len;
}

/* From off on (before: the entry before it, or NULL) the chain is made of what can be found. */
static void salvage(struct look *l, const struct dir_chain *c, uint32_t off, struct ext_disk_dirent *before,
		    uint32_t before_off)
{
	uint32_t at = next_plausible(l, c, off);
	unsigned nr = 0;

	if (at > off && !before) {
		/* Nothing at the very beginning: an unused entry, which needs room. */
		at = at < DIRENT_MIN ? next_plausible(l, c, DIRENT_MIN) : at;
		before = (struct ext_disk_dirent *)c->p;
		before_off = 0;
		memset(before, 0, 8);
	}
	if (before)
		before->rec_len = fsck_rec_len_of(at - before_off);
	while (at < c->len) {
		struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c->p + at);
		const uint32_t rec_len = fsck_rec_len(de, c->len - at);
		const uint32_t next = next_plausible(l, c, at + (rec_len ? rec_len : dirent_bytes(de->name_len)));

		de->rec_len = fsck_rec_len_of(next - at);
		at = next;
		nr++;
	}
	dirty(l);
	fsck_fate(l->f, "directory %" PRIu32 ", block %" PRIu32 ": %u entries found behind the damage", dir_ino(l),
		  l->chain, nr);
}

/* Chains and blocks --------------------------------------------------------------------------------------- */

static void check_chain(struct look *l, const struct dir_chain *c, bool has_dots)
{
	struct ext_disk_dirent *before = NULL;
	uint32_t rec_len, before_off = 0;
	unsigned nr = 0;

	for (uint32_t off = 0; off < c->len; off += rec_len, nr++) {
		struct ext_disk_dirent *de = (struct ext_disk_dirent *)(c->p + off);

		rec_len = fsck_rec_len(de, c->len - off);
		if (!rec_len) {
			if (!fsck_fix(l->w, P2_CORRUPT, .dir = dir_ino(l), .lblk = l->chain, .num = off))
				return;
			salvage(l, c, off, before, before_off);
			if (has_dots && nr < 2)
				l->v->rebuild = true;	/* they are made anew */
			if (before) {	/* off was the end of an entry that now reaches further */
				off = before_off;
				rec_len = fsck_rec_len(before, c->len - off);
				if (!rec_len)
					return;
				continue;
			}
			rec_len = fsck_rec_len(de, c->len);
			if (!rec_len)
				return;
		}
		if (!(has_dots && ((nr == 0 && check_dot(l, de, rec_len)) || (nr == 1 && check_dotdot(l, de)))))
			check_entry(l, de);
		before = de;
		before_off = off;
	}
	if (has_dots && nr < 2 && !l->v->rebuild && fsck_fix(l->w, P2_NO_DOTDOT, .dir = dir_ino(l)))
		l->v->rebuild = true;
}

/* True: there is a block to be looked at. */
static bool check_place(struct look *l, struct dir_block *b)
{
	const struct fsck_args at = { .dir = dir_ino(l), .lblk = b->lblk, .pblk = b->pblk };

	if (!b->pblk) {
		if (fsck_fix_args(l->w, P2_HOLE, &at)) {
			const int err = fsck_view_fill(l->f, l->v, b->lblk);

			if (err)
				fsck_failed(l->f, err);
			if (b->lblk == 0)
				l->v->rebuild = true;	/* dots */
			return !err;
		}
		return false;
	}
	if (!b->err)
		return true;
	if (!fsck_fix_args(l->w, P2_READ, &at))
		return false;
	b->err = 0;
	fsck_leaf_init(l->f, b->data);
	b->dirty = true;
	if (b->lblk == 0)
		l->v->rebuild = true;
	return true;
}

static void check_leaf_tail(struct look *l, struct dir_block *b)
{
	const struct fsck *f = l->f;
	const struct fsck_args at = { .dir = dir_ino(l), .lblk = b->lblk };

	if (!has_csum(f))
		return;
	if (!fsck_leaf_has_tail(f, b->data)) {
		if (fsck_fix_args(l->w, P2_NO_TAIL, &at))
			l->v->rebuild = true;
	} else if (!b->dirty && !fsck_leaf_csum_ok(f, l->v->d->seed, b->data) && fsck_fix_args(l->w, P2_CSUM, &at)) {
		b->dirty = true;
	}
}

static void check_block(struct look *l, uint32_t i)
{
	struct dir_block *b = &l->v->blocks[i];
	const bool was_whole = b->pblk && !b->err;
	struct dir_chain c;
	unsigned kind;

	l->chain = i;
	if (!check_place(l, b))
		return;
	kind = fsck_dir_block_kind(l->f, l->v, i);
	c = fsck_view_chain(l->f, l->v, i);
	if (!c.p || (i == 0 && !was_whole))
		return;		/* an empty leaf that was just made */
	check_chain(l, &c, i == 0);
	if (kind == DIR_LEAF && was_whole)
		check_leaf_tail(l, b);
}

static void check_inline(struct look *l)
{
	l->v->d->dotdot = le32_get(l->v->raw->i_block[0]);
	for (uint32_t i = 0; i < fsck_view_nr_chains(l->v); i++) {
		const struct dir_chain c = fsck_view_chain(l->f, l->v, i);

		l->chain = i;
		if (c.p)
			check_chain(l, &c, false);
	}
}

/* What it says of others ------------------------------------------------------------------------------------- */

static void count(struct fsck *f, ino_nr_t ino)
{
	uint16_t n = atomic_load_explicit(&f->icount[ino], memory_order_relaxed);

	while (n < UINT16_MAX && !atomic_compare_exchange_weak_explicit(&f->icount[ino], &n, n + 1, memory_order_relaxed,
									 memory_order_relaxed))
		;
}

static void name_dir(struct fsck *f, ino_nr_t child, ino_nr_t parent)
{
	struct fsck_dir *d = fsck_dir_find(f, child);
	ino_nr_t none = 0;

	if (!d || atomic_compare_exchange_strong(&d->parent, &none, parent))
		return;
	os_mutex_lock(&f->dup_lock);
	array_push(f, &f->conflicts, (struct fsck_conflict){ child, parent });
	os_mutex_unlock(&f->dup_lock);
}

static void apply(struct look *l)
{
	for (size_t i = 0; i < l->s->refs.nr; i++) {
		const ino_nr_t ino = l->s->refs.v[i];

		if (type_of(l->f, ino) == EXT_FT_DIR)
			name_dir(l->f, ino, dir_ino(l));
		else
			count(l->f, ino);
	}
}

void fsck_dir_check(struct worker *w, struct dir_view *v)
{
	struct look l = { .w = w, .f = w->f, .s = w->dir, .v = v };

	w->suspect = false;
	l.s->refs.nr = 0;
	if (!names_begin(&l))
		return;
	if (v->d->is_inline && v->raw)
		check_inline(&l);
	for (uint32_t i = 0; !v->d->is_inline && i < v->nr && !is_stopped(l.f) && !w->suspect; i++)
		check_block(&l, i);
	if (v->d->is_hashed && !v->rebuild && !w->suspect)
		fsck_htree_check(w, v);
	if (!w->suspect)
		apply(&l);	/* K4 */
}
