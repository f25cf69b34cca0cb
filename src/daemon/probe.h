/*
 * probe.h: what libblkid sees on a block device: a filesystem, or a partition table
 * with what its partitions hold. For people; osfs itself trusts only what it reads.
 *
 * libblkid wants a file. It gets a sparse one in memory with the ends of the device and
 * the beginning of each partition, so that an array that nobody has mounted can be looked
 * at as well as an image.
 */
#ifndef OSFS_DAEMON_PROBE_H
#define OSFS_DAEMON_PROBE_H

#include <jansson.h>

#include "blk/blk.h"

/*
 * A new object:
 *	"type", "label", "uuid"		of what lies on the whole device; type null: nothing known
 *	"offset"			byte where its magic was found
 *	"table"				"gpt", "dos" ...: instead of type
 *	"partitions"			array of {"number", "offset", "size_bytes", "type", "label", "uuid"}
 * NULL after a message (I/O error, no memory).
 */
json_t *probe_device(struct blk_dev *d);
/* "ext4 filesystem 'home'", "gpt partition table at byte 512, 2 partitions", "nothing that is known". */
void probe_print(const json_t *found, FILE *out);
/* Something at all. */
bool probe_knows(const json_t *found);
/* ext2, ext3 or ext4: what osfs mounts. */
bool probe_is_ext(const json_t *found);

#endif
