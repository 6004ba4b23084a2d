/*
 * PostgreSQL's protocol (version 3.0), as far as one COPY needs it: after the start-up, messages
 * of a letter, a length (4) that counts itself, and a body; one `d` for each row.
 */
#include "sink.h"
#include <string.h>

static int server;
static bool was_asked;

static uint32_t get_u32(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void ask(void) {
  static const char query[] = "COPY documents TO STDOUT";
  char request[64] = {'Q', 0, 0, 0, (char)(4 + sizeof query)};
  memcpy(request + 5, query, sizeof query);
  send_all(server, request, 5 + sizeof query);
}

static size_t take(const unsigned char *at, size_t available, bool *is_over) {
  size_t taken = 0;
  while (available - taken >= 5) {
    const unsigned char *message = at + taken;
    size_t length = 1 + (size_t)get_u32(message + 1);
    if (available - taken < length) break;
    taken += length;
    if (message[0] == 'd') count_document();
    if (message[0] == 'E') die("the server refused it");
    if (message[0] != 'Z') continue;
    if (was_asked) *is_over = true;
    else ask();
    was_asked = true;
  }
  return taken;
}

void receive_copy(int from, const struct wish *wish) {
  (void)wish;
  server = from;
  static const char parameters[] = "user\0postgres\0database\0postgres\0";
  char request[64] = {0, 0, 0, (char)(8 + sizeof parameters), 0, 3, 0, 0};
  memcpy(request + 8, parameters, sizeof parameters);
  send_all(from, request, 8 + sizeof parameters);
  receive_messages(from, take);
}
