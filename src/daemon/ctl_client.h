/* ctl_client.h: asking the daemon of a mount, for osfsctl and osfs umount. */
#ifndef OSFS_DAEMON_CTL_CLIENT_H
#define OSFS_DAEMON_CTL_CLIENT_H

#include <jansson.h>

#include "base/types.h"

/*
 * Sends one request to the daemon that serves path (the mount point or anything below it).
 * 0 and *result, a new reference; -errno after a message; -ENOENT: no osfs serves it (no message).
 */
MUST_CHECK int ctl_ask(const char *path, const char *verb, json_t *args, json_t **result);

#endif
