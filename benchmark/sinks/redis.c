/*
 * A replica's full synchronisation (redis.io, "Replication"): PSYNC is answered with a line, and
 * a snapshot between two copies of a mark of 40 bytes, `$EOF:mark` and `mark`.
 */
#include "sink.h"
#include <string.h>

enum { MARK_BYTES = 40, LINE_BYTES = 256, BUFFER_BYTES = 1 << 20 };

static void read_line(int from, char *line) {
  size_t length = 0;
  do {
    if (length == LINE_BYTES - 1) die("a line that is too long");
    if (receive_some(from, line + length, 1) == 0) die("the server has closed the connection");
    /* Empty lines keep the connection alive until the snapshot begins. */
    if (length > 0 || line[0] != '\n') length++;
  } while (length == 0 || line[length - 1] != '\n');
  line[length] = '\0';
  if (line[0] == '-') die(line);
}

static void ask(int server, const char *request, char *line) {
  send_all(server, request, strlen(request));
  read_line(server, line);
}

void receive_redis(int from, const struct wish *wish) {
  (void)wish;
  static char buffer[MARK_BYTES + BUFFER_BYTES];
  char line[LINE_BYTES], mark[MARK_BYTES];
  ask(from, "REPLCONF capa eof capa psync2\r\n", line);
  ask(from, "PSYNC ? -1\r\n", line);
  if (strncmp(line, "+FULLRESYNC", 11) != 0) die(line);
  read_line(from, line);
  if (strncmp(line, "$EOF:", 5) != 0) die("no snapshot without a file: repl-diskless-sync");
  memcpy(mark, line + 5, MARK_BYTES);
  /* The last bytes so far stay at the front, as the mark may come in two pieces. */
  do {
    size_t got = receive_some(from, buffer + MARK_BYTES, BUFFER_BYTES);
    if (got == 0) die("the server has closed the connection");
    memmove(buffer, buffer + got, MARK_BYTES);
  } while (memcmp(buffer, mark, MARK_BYTES) != 0);
}
