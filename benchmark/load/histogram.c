/*
 * Durations in buckets of two sizes at once: powers of two, each cut into 128 equal parts. A
 * duration is known within 1/128 of itself, whatever its size.
 */
#include "load.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PART_BITS = 7, PARTS = 1 << PART_BITS, POWERS = 64 - PART_BITS };

static uint64_t counts[(POWERS + 1) * PARTS];

static unsigned bucket_of(uint64_t ns) {
  if (ns < PARTS) return (unsigned)ns;
  unsigned power = 63u - (unsigned)__builtin_clzll(ns) - PART_BITS;
  return (power + 1) * PARTS + (unsigned)((ns >> power) - PARTS);
}

static uint64_t middle_of(unsigned bucket) {
  if (bucket < PARTS) return bucket;
  unsigned power = bucket / PARTS - 1;
  uint64_t low = (uint64_t)(bucket % PARTS + PARTS) << power;
  return low + ((UINT64_C(1) << power) >> 1);
}

void histogram_clear(void) { memset(counts, 0, sizeof counts); }

void histogram_add(uint64_t ns) { counts[bucket_of(ns)]++; }

void histogram_print(void) {
  const char *separator = "";
  putchar('[');
  for (unsigned bucket = 0; bucket < sizeof counts / sizeof *counts; bucket++) {
    if (counts[bucket] == 0) continue;
    printf("%s[%" PRIu64 ",%" PRIu64 "]", separator, middle_of(bucket), counts[bucket]);
    separator = ",";
  }
  putchar(']');
}
