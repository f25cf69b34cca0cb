/*
 * plant.h: bugs that a test can switch on, one at a time, to see that the crash lab finds them.
 *
 * Only files that a test program compiles for itself with -DOSFS_PLANT have them; everywhere else
 * PLANTED() is the constant false, and nothing of them is in what is built.
 */
#ifndef OSFS_BASE_PLANT_H
#define OSFS_BASE_PLANT_H

enum plant {
	PLANT_NONE,
	PLANT_NO_COMMIT_FLUSH,		/* J3: the commit record does not wait for the log */
	PLANT_NO_ORDERED_DATA,		/* J3: nor the data of new blocks */
	PLANT_NO_REVOKE,		/* J6: freed metadata blocks are not revoked */
	PLANT_NO_EVENTS,		/* S7: a write is acknowledged before superblocks say who missed it */
	PLANT_NO_ORPHAN,		/* unlinked open files are not put on the orphan list */
	PLANT_NO_TAIL_FLUSH,		/* J5: the tail moves before what it leaves behind is at home */
	PLANT_NO_BITMAP,		/* S12: bits of the write-intent bitmap are set in memory only */
	PLANT_NR
};

#ifdef OSFS_PLANT
extern enum plant plant_now;		/* of the test program */
#define PLANTED(bug) (plant_now == (bug))
#else
#define PLANTED(bug) false
#endif

#endif
