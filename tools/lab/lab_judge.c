/* lab_judge.c: see lab_judge.h. */
#include "lab_judge.h"

#include <stdlib.h>

#include "base/types.h"

static const struct {
	const char *name, *invariants;
} faults[LAB_NR_FAULTS] = {
	[LAB_OK] = { "ok", "" },
	[LAB_NOT_ASSEMBLED] = { "array not assembled", "S8" },
	[LAB_NOT_MOUNTED] = { "not mounted", "J3, J5" },
	[LAB_NOT_READ] = { "not readable", "J1, J3, S7" },
	[LAB_LOST] = { "durable change lost", "J3, J5, S7" },
	[LAB_MIXED] = { "operations in parts", "J1, J2, J3, J7" },
	[LAB_CONTENTS] = { "wrong contents", "J3 (ordered data), J6, S7" },
	[LAB_STALE] = { "stale contents", "J3 (ordered data), F4" },
	[LAB_NOT_WRITABLE] = { "not writable after recovery", "J5, J8" },
	[LAB_INCONSISTENT] = { "inconsistent", "J1, J3, J6, F3" },
	[LAB_PARITY] = { "redundancy does not agree", "S8, S12" },
	[LAB_WRONG_LOSS] = { "write hole", "none: it is open (crash and lost disk at once)" },
};

const char *lab_fault_name(enum lab_fault f)
{
	return faults[f].name;
}

const char *lab_fault_invariants(enum lab_fault f)
{
	return faults[f].invariants;
}

/* What is known at a cut -------------------------------------------------------------------------- */

struct bounds {
	size_t lo, hi;		/* trees */
};

/* Does this promise the names and attributes of everything up to its tree? */
static bool promises_metadata(const struct lab_event *e)
{
	switch (e->persist) {
	case LAB_PERSIST_SYNC:
	case LAB_PERSIST_FSYNC:
		return true;
	case LAB_PERSIST_FDATASYNC:
		return e->op->flags & LAB_OP_SIZE;
	case LAB_PERSIST_FSYNC_DIR:
		return e->op->flags & LAB_OP_NAMES;
	default:
		return false;
	}
}

static struct bounds bounds_at(const struct lab_run *r, size_t at)
{
	struct bounds b = { 0, 0 };

	for (size_t i = 0; i < r->nr_events; i++) {
		const struct lab_event *e = &r->events[i];

		if (e->at > at)
			continue;
		if (e->kind == LAB_EVENT_BEGIN)
			b.hi = MAX(b.hi, e->tree);
		else if (promises_metadata(e))
			b.lo = MAX(b.lo, e->tree);
	}
	return b;
}

/* From which tree on this file's contents are durable. */
static size_t data_safe_at(const struct lab_run *r, size_t at, const struct lab_node *n)
{
	size_t lo = 0;

	for (size_t i = 0; i < r->nr_events; i++) {
		const struct lab_event *e = &r->events[i];

		if (e->at > at || e->kind != LAB_EVENT_PERSIST)
			continue;
		if (e->persist == LAB_PERSIST_SYNC || (e->ino == n->ino && e->generation == n->generation))
			lo = MAX(lo, e->tree);
	}
	return lo;
}

/* Names and attributes ------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
	return !a || !b ? a == b : !strcmp(a, b);
}

/* least: a size from here on is right as well (an operation that was cut off). */
static const char *node_differs(const struct lab_node *want, const struct lab_node *found, uint64_t least)
{
	if (want->ino != found->ino || want->generation != found->generation)
		return "another inode";
	if (want->mode != found->mode)
		return "another mode";
	if (want->nlink != found->nlink)
		return "another link count";
	if (want->uid != found->uid || want->gid != found->gid)
		return "another owner";
	if (want->size_bytes != found->size_bytes &&
	    !(found->size_bytes >= least && found->size_bytes < want->size_bytes))
		return "another size";
	if (!same_text(want->xattrs, found->xattrs))
		return "other extended attributes";
	if (S_ISLNK(want->mode) && memcmp(want->data, found->data, (size_t)want->size_bytes))
		return "another target";
	return NULL;
}

/* The size from which on the file that tree nr's maker wrote may be found. */
static uint64_t least_size(const struct lab_run *r, size_t nr, size_t lo, const struct lab_node *want)
{
	const struct lab_op *op = nr ? r->makers[nr] : NULL;
	const struct lab_node *before;

	if (!op || nr <= lo || !(op->flags & LAB_OP_GROWS) || strcmp(op->file, want->path))
		return UINT64_MAX;
	before = lab_tree_find(&r->trees[nr - 1], want->path);
	return before ? before->size_bytes : 0;
}

/* The number of differences; the first of them is said on out. */
static unsigned tree_differs(const struct lab_run *r, size_t nr, size_t lo, const struct lab_tree *found, FILE *out)
{
	const struct lab_tree *want = &r->trees[nr];
	unsigned nr_diffs = 0;

	for (size_t i = 0; i < want->nr; i++) {
		const struct lab_node *w = &want->nodes[i], *f = lab_tree_find(found, w->path);
		const char *what = f ? node_differs(w, f, least_size(r, nr, lo, w)) : "missing";

		if (what && nr_diffs++ == 0 && out)
			fprintf(out, "%s: %s", w->path, what);
		if (what && f && nr_diffs == 1 && out && f->size_bytes != w->size_bytes)
			fprintf(out, " (%" PRIu64 " bytes, not %" PRIu64 ")", f->size_bytes, w->size_bytes);
	}
	for (size_t i = 0; i < found->nr; i++)
		if (!lab_tree_find(want, found->nodes[i].path) && nr_diffs++ == 0 && out)
			fprintf(out, "%s: should not be there", found->nodes[i].path);
	return nr_diffs;
}

/* The newest step whose tree this is; SIZE_MAX: none. */
static size_t find_step(const struct lab_run *r, const struct bounds *b, const struct lab_tree *found)
{
	for (size_t nr = b->hi + 1; nr-- > b->lo; )
		if (!tree_differs(r, nr, b->lo, found, NULL))
			return nr;
	return SIZE_MAX;
}

static enum lab_fault no_step(const struct lab_run *r, const struct bounds *b, const struct lab_tree *found, FILE *out)
{
	size_t nearest = b->lo;
	unsigned least = UINT32_MAX;
	const struct bounds older = { 0, b->lo };

	if (b->lo > 0 && find_step(r, &older, found) != SIZE_MAX) {
		fprintf(out, "durable changes are lost: the tree is that of step %zu, %zu is durable: ",
			find_step(r, &older, found), b->lo);
		tree_differs(r, b->lo, b->lo, found, out);
		fputc('\n', out);
		return LAB_LOST;
	}
	for (size_t nr = b->lo; nr <= b->hi; nr++) {
		const unsigned n = tree_differs(r, nr, b->lo, found, NULL);

		if (n < least) {
			least = n;
			nearest = nr;
		}
	}
	fprintf(out, "no step between %zu and %zu has such a tree; against step %zu, %u differences: ", b->lo, b->hi,
		nearest, least);
	tree_differs(r, nearest, b->lo, found, out);
	fputc('\n', out);
	return LAB_MIXED;
}

/* Contents ------------------------------------------------------------------------------------------ */

/* The bytes of a file in a tree from off on, zeroes behind its end; false: it has no sector there. */
static bool sector_of(const struct lab_node *n, uint64_t off, uint8_t sector[static SECT_BYTES])
{
	if (!n || off >= n->size_bytes)
		return false;
	memset(sector, 0, SECT_BYTES);
	memcpy(sector, n->data + off, (size_t)MIN((uint64_t)SECT_BYTES, n->size_bytes - off));
	return true;
}

static bool sector_is_right(const struct lab_run *r, const struct lab_node *f, uint64_t off, size_t lo, size_t hi)
{
	const size_t len = (size_t)MIN((uint64_t)SECT_BYTES, f->size_bytes - off);
	uint8_t want[SECT_BYTES];

	for (size_t nr = lo; nr <= hi; nr++)
		if (sector_of(lab_tree_find_inode(&r->trees[nr], f->ino, f->generation), off, want) &&
		    !memcmp(want, f->data + off, len))
			return true;
	return false;
}

/*
 * As with Linux, a truncate that was cut off may leave the old size, and zeroes behind the new one: in
 * the block that it would have ended in.
 */
static bool is_cut_off(const struct lab_run *r, const struct lab_node *f, uint64_t off, size_t step, size_t hi)
{
	const size_t len = (size_t)MIN((uint64_t)SECT_BYTES, f->size_bytes - off);

	for (size_t nr = step + 1; nr <= hi; nr++) {
		const struct lab_node *cut = lab_tree_find_inode(&r->trees[nr], f->ino, f->generation);
		const uint64_t block = r->cfg->block_bytes;
		uint8_t want[SECT_BYTES];

		if (!cut || !(r->makers[nr]->flags & LAB_OP_CUTS) || cut->size_bytes / block != off / block)
			continue;
		if (!sector_of(cut, off, want))
			memset(want, 0, sizeof(want));
		if (!memcmp(want, f->data + off, len))
			return true;
	}
	return false;
}

static enum lab_fault judge_file(const struct lab_run *r, size_t at, const struct bounds *b, size_t step,
				 const struct lab_node *f, FILE *out)
{
	size_t lo = data_safe_at(r, at, f), hi = b->hi;

	if (r->cfg->data_mode == JNL_DATA_JOURNAL)
		lo = hi = step;
	if (r->cfg->data_mode == JNL_DATA_WRITEBACK && lo < hi)
		return LAB_OK;
	for (uint64_t off = 0; off < f->size_bytes; off += SECT_BYTES) {
		const bool stale = f->size_bytes - off >= 64 && lab_is_stale(f->data + off);

		if (sector_is_right(r, f, off, lo, hi) ||
		    (r->cfg->data_mode == JNL_DATA_ORDERED && is_cut_off(r, f, off, step, hi)))
			continue;
		fprintf(out, "%s: byte %" PRIu64 " of %" PRIu64 ": %s; wanted as after a step from %zu to %zu, the names are of"
			" step %zu\n", f->path, off, f->size_bytes, stale ? "stale: nobody wrote that" : "wrong contents", lo, hi, step);
		if (!stale)
			fprintf(out, "  found: %.*s\n", (int)MIN((uint64_t)60, f->size_bytes - off),
				(const char *)f->data + off);
		return stale ? LAB_STALE : LAB_CONTENTS;
	}
	return LAB_OK;
}

static enum lab_fault judge_contents(const struct lab_run *r, size_t at, const struct bounds *b, size_t step,
				     const struct lab_tree *found, FILE *out)
{
	for (size_t i = 0; i < found->nr; i++) {
		enum lab_fault f;

		if (!S_ISREG(found->nodes[i].mode))
			continue;
		f = judge_file(r, at, b, step, &found->nodes[i], out);
		if (f != LAB_OK)
			return f;
	}
	return LAB_OK;
}

/* Steps that change contents alone have the same names: the contents may be of any of those. */
enum lab_fault lab_judge_tree(const struct lab_run *r, size_t at, const struct lab_tree *found, FILE *out)
{
	const struct bounds b = bounds_at(r, at);
	enum lab_fault first = LAB_OK;
	bool any = false;

	for (size_t step = b.hi + 1; step-- > b.lo; ) {
		char *said = NULL;
		size_t len = 0;
		FILE *mem;
		enum lab_fault f;

		if (tree_differs(r, step, b.lo, found, NULL))
			continue;
		mem = open_memstream(&said, &len);
		f = judge_contents(r, at, &b, step, found, mem ? mem : out);
		if (mem)
			fclose(mem);
		if (f != LAB_OK && !any)
			fputs(said ? said : "", out);
		free(said);
		if (f == LAB_OK)
			return LAB_OK;
		if (!any)
			first = f;
		any = true;
	}
	return any ? first : no_step(r, &b, found, out);
}
