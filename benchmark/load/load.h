/*
 * A load driver: what its files share. One process, one thread, one epoll loop over many
 * connections; in C, because it has to be quicker than the servers that it measures.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum protocol { PROTOCOL_MEMCACHED, PROTOCOL_RESP };

/* What is asked for on the command line. */
struct plan {
  const char *host;
  int port;
  enum protocol protocol;
  int connections;
  /* Requests under way on a connection at most, when `rate` is 0. */
  int pipeline;
  /* Operations a second over all connections, sent whether or not others have been answered;
     0: each answer makes room for the next request. */
  double rate;
  double warmup_seconds, seconds;
  /* Store every key once, in order, and end. */
  bool fill;
  uint64_t keys;
  /* 0: every key as likely as any other; otherwise the exponent of a zipfian distribution. */
  double skew;
  int value_bytes;
  /* Of `gets + sets` operations so many are of that kind. */
  int gets, sets;
  /* memcached only: keys are mapped to so many vbuckets; 0: all in vbucket 0. */
  int vbuckets;
  uint64_t seed;
};

void die(const char *what);

/* --- keys.c: which key, which operation, which value --- */

enum { KEY_BYTES = 16 };

void keys_init(const struct plan *plan);
uint64_t random_u64(void);
/* A uniform number in [0, 1). */
double random_unit(void);
/* The number of the key that the next operation is for. */
uint64_t next_key(void);
void write_key(char *to, uint64_t number);
/* `value_bytes` of noise, different at almost every call; valid until the end. */
const char *random_value(void);

/* --- protocol.c: requests written, answers recognised --- */

/* What an answer says. */
struct answer {
  bool missed, failed;
};

void protocol_init(const struct plan *plan);
/* The most that a request takes. */
size_t request_bytes_max(void);
/* Writes a request and returns its length. */
size_t write_get(char *to, uint64_t key);
size_t write_set(char *to, uint64_t key);
/* How long the answer at `at` is, with `available` bytes of it here, and what it says; 0 if its
   length cannot be told yet. */
size_t answer_length(const char *at, size_t available, struct answer *answer);

/* --- histogram.c: durations --- */

void histogram_clear(void);
void histogram_add(uint64_t ns);
/* As a JSON array of pairs: a duration in ns and how often it was seen; within 0.8 %. */
void histogram_print(void);

/* --- connections.c --- */

struct totals {
  /* Sent and answered after the warm-up. */
  uint64_t gets, sets, answered, misses;
  /* At any time. */
  uint64_t answered_in_all, failures;
};

extern struct totals totals;

void connections_open(const struct plan *plan);
void connections_run(void);

#endif
