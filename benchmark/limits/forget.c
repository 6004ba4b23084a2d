/*
 * forget FILE...: asks the kernel to drop these files from the page cache, which needs no
 * privilege for pages that are written and that nobody has mapped. Prints how many bytes stayed.
 */
#define _GNU_SOURCE
#include "die.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t resident_pages(int file, size_t bytes, size_t page) {
  if (bytes == 0) return 0;
  void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
  size_t pages = (bytes + page - 1) / page, resident = 0;
  unsigned char *seen = malloc(pages);
  if (map == MAP_FAILED || seen == NULL || mincore(map, bytes, seen) != 0) die("mincore");
  for (size_t index = 0; index < pages; index++) resident += seen[index] & 1;
  free(seen);
  munmap(map, bytes);
  return resident;
}

int main(int argc, char **argv) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), stayed = 0;
  for (int index = 1; index < argc; index++) {
    int file = open(argv[index], O_RDONLY);
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0) die(argv[index]);
    /* What is not on disk yet cannot be dropped. */
    if (fdatasync(file) != 0) die("fdatasync");
    if (posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) die("posix_fadvise");
    stayed += page * resident_pages(file, (size_t)about.st_size, page);
    close(file);
  }
  printf("{\"bytes\":%zu}\n", stayed);
  return 0;
}
