/*
 * Receivers of whole stores, one for each protocol: in C and as plain as can be, so that what is
 * measured is who sends. Each receives everything once, keeps nothing, and prints what it got.
 */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct totals {
  uint64_t documents, bytes;
  /* CLOCK_MONOTONIC, the same for all processes; the first is of the first document. */
  uint64_t begin_ns, first_ns, end_ns;
};

extern struct totals totals;

/* What was asked for on the command line; 0 where it was not told. */
struct wish {
  int port, vbuckets;
};

/* --- one for each protocol: from the connection to the last byte --- */

/* All vbuckets from seqno 0, from disk, with flow control. */
void receive_dcp(int from, const struct wish *wish);
/* A full synchronisation; documents are not told apart in it, and not counted. */
void receive_redis(int from, const struct wish *wish);
/* COPY documents TO STDOUT. */
void receive_copy(int from, const struct wish *wish);
/* Whatever comes, until the end. */
void receive_anything(int from, const struct wish *wish);

/* --- sink.c --- */

void die(const char *what);
void send_all(int to, const void *bytes, size_t length);
/* Waits for more; 0 at the end of the stream. */
size_t receive_some(int from, void *into, size_t room);
void count_document(void);

/* Messages that are cut into pieces as they arrive: returns how many of the bytes are whole
   messages that have been taken; the rest is shown again, with more behind it. */
typedef size_t take_messages(const unsigned char *at, size_t available, bool *is_over);
void receive_messages(int from, take_messages *take);

#endif
