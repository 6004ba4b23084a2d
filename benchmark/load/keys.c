/* Which key an operation is for, and what is stored under it. */
#include "load.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOISE_BYTES = 1 << 20 };

static uint64_t key_count;
static uint64_t state[2];
static char *noise;
/* Zipfian: the terms of Gray et al., "Quickly generating billion-record synthetic databases". */
static double theta, zeta_n, alpha, eta;

uint64_t random_u64(void) { /* xoroshiro128+ */
  uint64_t one = state[0], other = state[1], result = one + other;
  other ^= one;
  state[0] = ((one << 24) | (one >> 40)) ^ other ^ (other << 16);
  state[1] = (other << 37) | (other >> 27);
  return result;
}

double random_unit(void) { return (double)(random_u64() >> 11) * 0x1p-53; }

/* splitmix64: spreads a number over all 64 bits. */
static uint64_t spread(uint64_t number) {
  number += UINT64_C(0x9e3779b97f4a7c15);
  number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
  return number ^ (number >> 31);
}

void keys_init(const struct plan *plan) {
  key_count = plan->keys;
  state[0] = spread(plan->seed);
  state[1] = spread(state[0]);
  noise = malloc(NOISE_BYTES + (size_t)plan->value_bytes);
  if (noise == NULL) die("no memory for values");
  for (size_t at = 0; at < NOISE_BYTES + (size_t)plan->value_bytes; at++) {
    noise[at] = (char)('!' + random_u64() % 90);
  }
  theta = plan->skew;
  if (theta == 0) return;
  for (uint64_t rank = 1; rank <= key_count; rank++) zeta_n += 1 / pow((double)rank, theta);
  alpha = 1 / (1 - theta);
  eta = (1 - pow(2.0 / (double)key_count, 1 - theta)) / (1 - (1 + pow(0.5, theta)) / zeta_n);
}

uint64_t next_key(void) {
  if (theta == 0) return (uint64_t)(random_unit() * (double)key_count);
  double share = random_unit(), scaled = share * zeta_n;
  uint64_t rank = scaled < 1                       ? 0
                  : scaled < 1 + pow(0.5, theta)   ? 1
                  : (uint64_t)((double)key_count * pow(eta * share - eta + 1, alpha));
  /* Otherwise the popular keys would lie side by side in the store. */
  return spread(rank) % key_count;
}

void write_key(char *to, uint64_t number) {
  memcpy(to, "key-", 4);
  for (int at = KEY_BYTES - 1; at >= 4; at--, number /= 10) to[at] = (char)('0' + number % 10);
}

const char *random_value(void) { return noise + random_u64() % NOISE_BYTES; }
