/* ctl_journal.c: the journal in answers of the control socket. */
#include "ctl.h"

#include "journal/jbd2.h"

static json_t *txn_json(const struct jbd2_txn_status *t)
{
	static const char *const states[] = { "committed", "committing", "running" };

	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "sequence", (json_int_t)t->seq, "state", states[t->state],
			 "start", (json_int_t)t->start, "length", (json_int_t)t->len, "blocks", (json_int_t)t->nr_blocks,
			 "revoked", (json_int_t)t->nr_revoked, "to_bring_home", (json_int_t)t->nr_left);
}

json_t *ctl_journal_json(struct fs *fs, bool with_ring)
{
	struct jbd2_status st;
	json_t *o, *list;

	if (!fs_journal_status_get(fs, &st))
		return NULL;
	o = json_pack("{s:s, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:s?}", "data", jnl_data_mode_name(st.data_mode),
		      "blocks", (json_int_t)(st.end - st.first), "used_blocks", (json_int_t)st.nr_used,
		      "used_percent", 100.0 * st.nr_used / (st.end - st.first), "commit_seconds", st.commit_msec / 1000.0,
		      "commits", (json_int_t)st.nr_commits, "logged_blocks", (json_int_t)st.nr_logged,
		      "checkpoints", (json_int_t)st.nr_checkpoints, "to_bring_home", (json_int_t)st.nr_to_bring_home,
		      "error", st.abort_err ? strerror(-st.abort_err) : NULL);
	if (!with_ring)
		return o;
	json_object_update_new(o, json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I}", "first", (json_int_t)st.first,
		"end", (json_int_t)st.end, "head", (json_int_t)st.head, "tail", (json_int_t)st.tail, "checksum",
		(json_int_t)st.checksum, "picture", st.picture, "largest_transaction", (json_int_t)st.max_txn));
	json_object_set_new(o, "used_by", json_pack("{s:I, s:I, s:I, s:I}", "descriptors", (json_int_t)st.nr_descriptors,
		"copies", (json_int_t)st.nr_copies, "revokes", (json_int_t)st.nr_revoke_blocks, "commits",
		(json_int_t)st.nr_records));
	json_object_set_new(o, "nr_transactions", json_integer((json_int_t)st.nr_txns));
	list = json_array();
	for (unsigned i = 0; i < st.nr_listed; i++)
		json_array_append_new(list, txn_json(&st.txns[i]));
	json_object_set_new(o, "transactions", list);
	return o;
}

int ctl_verb_journal(struct daemon *d, const json_t *args, json_t **result, char **error_text)
{
	(void)args;
	*result = d->fs ? ctl_journal_json(d->fs, true) : NULL;
	if (*result)
		return 0;
	*error_text = strdup(!d->fs ? "the volume is served as a file: no journal is in use" :
			     fs_is_read_only(d->fs) ? "no journal is in use: the filesystem is read-only" :
						      "the filesystem uses no journal");
	return -ENOENT;
}
