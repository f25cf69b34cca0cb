/* raid_member.c: members that fail, leave, join and are replaced while the array runs. */
#include "base/log.h"
#include "raid/raid_int.h"

static int refuse(struct raid *r, const char *what)
{
	log_error("array %s: %s is not supported yet", blk_name(&r->dev), what);
	return -EOPNOTSUPP;
}

int raid_member_fail(struct raid *r, int dev_nr)
{
	return refuse(r, "setting a member faulty");
}

int raid_member_remove(struct raid *r, int dev_nr, struct blk_dev **dev)
{
	*dev = NULL;
	return refuse(r, "removing a member");
}

int raid_member_add(struct raid *r, struct blk_dev *dev, enum raid_add how, int *dev_nr)
{
	*dev_nr = -1;
	return refuse(r, "adding a member");
}

int raid_member_replace(struct raid *r, int dev_nr, int spare_nr)
{
	return refuse(r, "replacing a member");
}

int raid_member_write_mostly(struct raid *r, int dev_nr, bool on)
{
	return refuse(r, "write-mostly");
}
