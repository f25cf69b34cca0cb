/*
 * layout.h: an array's layout as JSON: of a mounted array (the daemon) and of members that
 * nobody has mounted (osfsctl).
 *
 *	"level" "layout" "chunk_kib" "size_bytes"
 *	"members": a slot each: {"slot", "name", "state", "data_offset"}
 *	"others":  the same for spares and members that are left out
 *	"rows":    {"row", "offset": byte from where data begins on a member, "cells": ["0", "1", "P" ...]}
 *	"where":   of one byte of the volume: {"volume_byte", "chunk", "row",
 *		    "places": [{"slot", "name", "state", "readable", "image_byte"}],
 *		    "read": {"how": "direct" "copy" "solve" "lost", "slots": [...], "parity": "P" "Q" "PQ"}}
 */
#ifndef OSFS_DAEMON_LAYOUT_H
#define OSFS_DAEMON_LAYOUT_H

#include <jansson.h>

#include "raid/raid.h"

struct layout_ask {
	bool has_offset;
	uint64_t offset_bytes;	/* of the volume */
	unsigned nr_rows;	/* 0: as many as there is something new to see */
};

/* 0 and a new reference; -EINVAL: the offset is behind the end, or -ENOMEM. */
MUST_CHECK int layout_json(struct raid *r, const struct layout_ask *ask, json_t **out);
void layout_print(const json_t *layout, FILE *out);

#endif
