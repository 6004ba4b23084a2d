/*
 * The two protocols, as far as GET and SET need them: memcached's binary one (Binary Protocol,
 * memcached wiki) and RESP 2 (redis.io, "Redis serialization protocol").
 */
#include "load.h"
#include <stdio.h>
#include <string.h>

/* memcached: magic, opcode, key length (2), extras length, datatype, vbucket or status (2),
   body length (4), opaque (4), cas (8). */
enum { HEADER_BYTES = 24, SET_EXTRAS_BYTES = 8 };
enum { MAGIC_REQUEST = 0x80, MAGIC_RESPONSE = 0x81, OPCODE_GET = 0, OPCODE_SET = 1 };
enum { STATUS_SUCCESS = 0, STATUS_NOT_FOUND = 1 };

static const struct plan *plan;
static uint32_t crc_table[256];
/* What stands around key and value in RESP; the same for every key, as all are equally long. */
static char resp_get[64], resp_set[64], resp_value[32];

void protocol_init(const struct plan *of) {
  plan = of;
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    crc_table[byte] = crc;
  }
  snprintf(resp_get, sizeof resp_get, "*2\r\n$3\r\nGET\r\n$%d\r\n", KEY_BYTES);
  snprintf(resp_set, sizeof resp_set, "*3\r\n$3\r\nSET\r\n$%d\r\n", KEY_BYTES);
  snprintf(resp_value, sizeof resp_value, "\r\n$%d\r\n", plan->value_bytes);
}

size_t request_bytes_max(void) { return 128 + KEY_BYTES + (size_t)plan->value_bytes; }

/* As Couchbase's clients map keys: bits 16 to 30 of the CRC-32, modulo the number of vbuckets. */
static uint16_t vbucket_of(const char *key) {
  if (plan->vbuckets == 0) return 0;
  uint32_t crc = 0xffffffff;
  for (int at = 0; at < KEY_BYTES; at++) {
    crc = crc_table[(crc ^ (unsigned char)key[at]) & 255] ^ (crc >> 8);
  }
  return (uint16_t)((((crc ^ 0xffffffff) >> 16) & 0x7fff) % (unsigned)plan->vbuckets);
}

static void write_header(char *to, int opcode, int extras, size_t body) {
  memset(to, 0, HEADER_BYTES);
  to[0] = (char)MAGIC_REQUEST;
  to[1] = (char)opcode;
  to[3] = KEY_BYTES;
  to[4] = (char)extras;
  uint16_t vbucket = vbucket_of(to + HEADER_BYTES + extras);
  to[6] = (char)(vbucket >> 8);
  to[7] = (char)vbucket;
  for (int at = 0; at < 4; at++) to[8 + at] = (char)(body >> (8 * (3 - at)));
}

/* Puts text without its zero, and returns the place behind it. */
static char *put(char *to, const char *text) {
  size_t length = strlen(text);
  memcpy(to, text, length);
  return to + length;
}

size_t write_get(char *to, uint64_t key) {
  if (plan->protocol == PROTOCOL_MEMCACHED) {
    write_key(to + HEADER_BYTES, key);
    write_header(to, OPCODE_GET, 0, KEY_BYTES);
    return HEADER_BYTES + KEY_BYTES;
  }
  char *at = put(to, resp_get);
  write_key(at, key);
  return (size_t)(put(at + KEY_BYTES, "\r\n") - to);
}

size_t write_set(char *to, uint64_t key) {
  size_t value_bytes = (size_t)plan->value_bytes;
  if (plan->protocol == PROTOCOL_MEMCACHED) {
    char *at = to + HEADER_BYTES;
    memset(at, 0, SET_EXTRAS_BYTES);
    write_key(at + SET_EXTRAS_BYTES, key);
    memcpy(at + SET_EXTRAS_BYTES + KEY_BYTES, random_value(), value_bytes);
    size_t body = SET_EXTRAS_BYTES + KEY_BYTES + value_bytes;
    write_header(to, OPCODE_SET, SET_EXTRAS_BYTES, body);
    return HEADER_BYTES + body;
  }
  char *at = put(to, resp_set);
  write_key(at, key);
  at = put(at + KEY_BYTES, resp_value);
  memcpy(at, random_value(), value_bytes);
  return (size_t)(put(at + value_bytes, "\r\n") - to);
}

static size_t memcached_answer(const unsigned char *at, size_t available,
                               struct answer *answer) {
  if (available < HEADER_BYTES) return 0;
  if (at[0] != MAGIC_RESPONSE) die("this is no memcached answer");
  int status = at[6] << 8 | at[7];
  if (status == STATUS_NOT_FOUND) answer->missed = true;
  else if (status != STATUS_SUCCESS) answer->failed = true;
  uint32_t body = (uint32_t)at[8] << 24 | (uint32_t)at[9] << 16 | (uint32_t)at[10] << 8 | at[11];
  return HEADER_BYTES + body;
}

/* A status or an error is a line; a bulk string is a line with its length, and so many bytes. */
static size_t resp_answer(const char *at, size_t available, struct answer *answer) {
  const char *end = memchr(at, '\n', available);
  if (end == NULL) return 0;
  size_t line = (size_t)(end - at) + 1;
  if (*at == '-') answer->failed = true;
  if (*at != '$') return line;
  if (at[1] == '-') {
    answer->missed = true;
    return line;
  }
  size_t length = 0;
  for (const char *digit = at + 1; *digit != '\r'; digit++) {
    length = length * 10 + (size_t)(*digit - '0');
  }
  return line + length + 2;
}

size_t answer_length(const char *at, size_t available, struct answer *answer) {
  return plan->protocol == PROTOCOL_MEMCACHED
             ? memcached_answer((const unsigned char *)at, available, answer)
             : resp_answer(at, available, answer);
}
