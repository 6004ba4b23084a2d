#ifndef DIE_H
#define DIE_H

#include <stdio.h>
#include <stdlib.h>

/* Says what failed and why, and ends with 1. */
static inline void die(const char *what) {
  perror(what);
  exit(1);
}

#endif
