/* lab.h: the commands of osfs-lab; each is one file and one row in main.c. */
#ifndef OSFS_TOOLS_LAB_LAB_H
#define OSFS_TOOLS_LAB_LAB_H

/* argv[0] is the command's name. Return the exit status: 0, 1 found something wrong, 2 usage or trouble. */
int lab_cmd_crash(int argc, char **argv);
int lab_cmd_log(int argc, char **argv);
int lab_cmd_replay(int argc, char **argv);
int lab_cmd_journal(int argc, char **argv);

#endif
