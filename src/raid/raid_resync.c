/* raid_resync.c: after an unclean stop: redundancy is made to agree with the data again. */
#include "base/log.h"
#include "raid/raid_int.h"

int raid_resync(struct raid *r)
{
	uint64_t end = r->level->resync_end(&r->geom), pos = r->resync_sect, nr_changed = 0;
	int err = 0;

	/* Where md had come to is in units of its own on levels without stripes. */
	if (!r->geom.nr_parity)
		pos = 0;
	log_info("array %s was not stopped cleanly: resynchronising", blk_name(&r->dev));
	while (pos < end) {
		err = r->level->resync(r, &pos, &nr_changed);
		if (err) {
			log_error("array %s: resync failed at sector %" PRIu64 " of %" PRIu64 ": %s", blk_name(&r->dev), pos,
				  end, strerror(-err));
			return err;
		}
	}
	log_info("array %s resynchronised, %" PRIu64 " sectors differed", blk_name(&r->dev), nr_changed);
	LOCK_GUARD(&r->lock);
	r->resync_sect = MD_SECT_MAX;
	return 0;
}
