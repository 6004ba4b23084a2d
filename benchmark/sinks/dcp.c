/*
 * DCP, as far as receiving needs it. Every message begins with
 *
 *   magic, opcode, key length (2), extras length, datatype, vbucket or status (2),
 *   body length (4), opaque (4), cas (8)
 */
#include "sink.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 24, MAGIC_REQUEST = 0x80, MAGIC_RESPONSE = 0x81 };
enum {
  OPCODE_OPEN = 0x50,
  OPCODE_STREAM_REQUEST = 0x53,
  OPCODE_STREAM_END = 0x55,
  OPCODE_MUTATION = 0x57,
  OPCODE_ACKNOWLEDGE = 0x5d,
  OPCODE_CONTROL = 0x5e
};
enum { OPEN_AS_PRODUCER = 1, STREAM_DISK_ONLY = 2, STREAM_TO_LATEST = 4 };
enum { OPEN_EXTRAS = 8, STREAM_EXTRAS = 48, ACKNOWLEDGE_EXTRAS = 4 };
enum { WINDOW_BYTES = 20 << 20, ACKNOWLEDGE_AT = WINDOW_BYTES / 4 };

/* HELLO with one feature, collections: then a backfill is sent as it lies on disk. */
static const unsigned char hello[HEADER_BYTES + 2] = {
    [0] = MAGIC_REQUEST, [1] = 0x1f, [11] = 2, [HEADER_BYTES + 1] = 0x12};

static int server;
static int open_streams;
static uint32_t unacknowledged;

static void put_u32(unsigned char *to, uint32_t value) {
  for (int at = 0; at < 4; at++) to[at] = (unsigned char)(value >> (8 * (3 - at)));
}

static uint32_t get_u32(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void send_request(int opcode, int vbucket, const unsigned char *extras, size_t extras_length,
                         const char *key, const char *value) {
  unsigned char request[512] = {MAGIC_REQUEST, (unsigned char)opcode};
  size_t key_length = strlen(key), value_length = strlen(value);
  request[3] = (unsigned char)key_length;
  request[4] = (unsigned char)extras_length;
  request[6] = (unsigned char)(vbucket >> 8);
  request[7] = (unsigned char)vbucket;
  put_u32(request + 8, (uint32_t)(extras_length + key_length + value_length));
  unsigned char *at = request + HEADER_BYTES;
  memcpy(at, extras, extras_length);
  memcpy(at + extras_length, key, key_length);
  memcpy(at + extras_length + key_length, value, value_length);
  send_all(server, request, HEADER_BYTES + extras_length + key_length + value_length);
}

static void request_stream(int vbucket) {
  unsigned char extras[STREAM_EXTRAS] = {0};
  put_u32(extras, STREAM_DISK_ONLY | STREAM_TO_LATEST);
  memset(extras + 16, 0xff, 8); /* no end of its own */
  send_request(OPCODE_STREAM_REQUEST, vbucket, extras, sizeof extras, "", "");
}

static void acknowledge(size_t bytes) {
  unacknowledged += (uint32_t)bytes;
  if (unacknowledged < ACKNOWLEDGE_AT) return;
  unsigned char extras[ACKNOWLEDGE_EXTRAS];
  put_u32(extras, unacknowledged);
  send_request(OPCODE_ACKNOWLEDGE, 0, extras, sizeof extras, "", "");
  unacknowledged = 0;
}

static size_t take(const unsigned char *at, size_t available, bool *is_over) {
  size_t taken = 0;
  while (available - taken >= HEADER_BYTES) {
    const unsigned char *message = at + taken;
    size_t length = HEADER_BYTES + get_u32(message + 8);
    if (available - taken < length) break;
    taken += length;
    if (message[0] == MAGIC_RESPONSE) {
      if (message[6] != 0 || message[7] != 0) die("a request was refused");
      continue;
    }
    acknowledge(length);
    if (message[1] == OPCODE_MUTATION) count_document();
    if (message[1] == OPCODE_STREAM_END && --open_streams == 0) *is_over = true;
  }
  return taken;
}

void receive_dcp(int from, const struct wish *wish) {
  server = from;
  open_streams = wish->vbuckets;
  unsigned char extras[OPEN_EXTRAS] = {0};
  put_u32(extras + 4, OPEN_AS_PRODUCER);
  char name[32], window[16];
  snprintf(name, sizeof name, "sink-%d", (int)getpid());
  snprintf(window, sizeof window, "%d", WINDOW_BYTES);
  send_all(server, hello, sizeof hello);
  send_request(OPCODE_OPEN, 0, extras, sizeof extras, name, "");
  send_request(OPCODE_CONTROL, 0, NULL, 0, "connection_buffer_size", window);
  for (int vbucket = 0; vbucket < wish->vbuckets; vbucket++) request_stream(vbucket);
  receive_messages(from, take);
}
