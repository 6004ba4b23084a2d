/*
 * fsync FILE SECONDS BYTES: appends so many bytes and calls fdatasync, again and again: what one
 * writer of durable writes cannot be quicker than on this disk.
 */
#define _GNU_SOURCE
#include "../clock.h"
#include "die.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  size_t bytes = strtoull(argv[3], NULL, 10);
  char *record = malloc(bytes);
  int file = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
  if (record == NULL || file < 0) die(argv[1]);
  memset(record, 'x', bytes);
  uint64_t begin = now_ns(), end = begin + (uint64_t)(atof(argv[2]) * 1e9), count = 0;
  while (now_ns() < end) {
    if (write(file, record, bytes) != (ssize_t)bytes || fdatasync(file) != 0) die(argv[1]);
    count++;
  }
  printf("{\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", count,
         count * bytes, 1e-9 * (double)(now_ns() - begin));
  unlink(argv[1]);
  return 0;
}
