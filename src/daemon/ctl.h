/*
 * ctl.h: the control socket of a mount: JSON, a line a request and a line a reply.
 *
 *	{"verb": "status", "args": ["…"]}
 *	{"ok": true, "result": {…}}    or    {"ok": false, "error": "…"}
 *
 * The socket lies in a directory that is its user's alone, and is named by the mount's device number: whoever
 * can stat a path on the mount finds it. Requests are served one after the other by one thread;
 * a peer that is another user, says too much, or keeps silent is sent away.
 */
#ifndef OSFS_DAEMON_CTL_H
#define OSFS_DAEMON_CTL_H

#include <jansson.h>

#include "daemon/daemon.h"

enum { CTL_MAX_LINE_BYTES = 64 << 10, CTL_TIMEOUT_MSEC = 5000, CTL_PATH_BYTES = 108 };

/* The socket's path for a device number; make: also the directory. -ENAMETOOLONG, -errno. */
MUST_CHECK int ctl_path(dev_t dev, bool make, char path[static CTL_PATH_BYTES]);
/* NULL and a message when no socket can be made: the mount goes on without. */
struct ctl *ctl_start(struct daemon *d, dev_t dev);
/* Stops the thread and removes the socket. Those who wait for the end of an unmount stay connected. */
void ctl_stop(struct ctl *c);
/* Tells them how it ended (0 or -errno), and frees. NULL is fine. */
void ctl_free(struct ctl *c, int err);

/*
 * A verb: 0 and *result (a new reference), or -errno with *error_text, which is freed by the
 * caller, or NULL for the plain name of the error. 1: the answer comes with ctl_free().
 */
struct ctl_verb {
	const char *name;
	int (*run)(struct daemon *d, const json_t *args, json_t **result, char **error_text);
};
extern const struct ctl_verb ctl_verbs[];	/* ends with a NULL name */

/* ctl_journal.c. NULL: no journal is in use. with_ring: also where what lies. */
json_t *ctl_journal_json(struct fs *fs, bool with_ring);
int ctl_verb_journal(struct daemon *d, const json_t *args, json_t **result, char **error_text);

/* ctl_raid.c: verbs about the array and its members. */
int ctl_verb_layout(struct daemon *d, const json_t *args, json_t **result, char **error_text);
int ctl_verb_disk(struct daemon *d, const json_t *args, json_t **result, char **error_text);
int ctl_verb_scrub(struct daemon *d, const json_t *args, json_t **result, char **error_text);
int ctl_verb_rebuild(struct daemon *d, const json_t *args, json_t **result, char **error_text);
/* ctl_explain.c */
int ctl_verb_explain(struct daemon *d, const json_t *args, json_t **result, char **error_text);
/* ctl_raid_status.c: a new reference. */
json_t *ctl_array_json(struct raid *r);

#endif
