/* scan_int.h: between scan.c and scan_print.c. */
#ifndef OSFS_DAEMON_SCAN_INT_H
#define OSFS_DAEMON_SCAN_INT_H

#include <jansson.h>
#include <stdio.h>

void scan_print(const json_t *result, FILE *out);

#endif
