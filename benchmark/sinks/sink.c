/* sink KIND PORT [VBUCKETS]: connects, receives everything, prints one line of JSON. */
#define _GNU_SOURCE
#include "../clock.h"
#include "sink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20 };

struct totals totals;

void die(const char *what) {
  fprintf(stderr, "sink: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

void send_all(int to, const void *bytes, size_t length) {
  for (size_t sent = 0; sent < length;) {
    ssize_t count = send(to, (const char *)bytes + sent, length - sent, MSG_NOSIGNAL);
    if (count < 0) die("send");
    sent += (size_t)count;
  }
}

size_t receive_some(int from, void *into, size_t room) {
  ssize_t got = recv(from, into, room, 0);
  if (got < 0) die("recv");
  totals.bytes += (uint64_t)got;
  return (size_t)got;
}

void count_document(void) {
  if (totals.documents++ == 0) totals.first_ns = now_ns();
}

void receive_messages(int from, take_messages *take) {
  unsigned char *buffer = malloc(BUFFER_BYTES);
  if (buffer == NULL) die("no memory");
  size_t filled = 0;
  for (bool is_over = false; !is_over;) {
    size_t got = receive_some(from, buffer + filled, BUFFER_BYTES - filled);
    if (got == 0) die("the server has closed the connection");
    filled += got;
    size_t taken = take(buffer, filled, &is_over);
    if (taken == 0 && filled == BUFFER_BYTES) die("a message that is too long");
    memmove(buffer, buffer + taken, filled - taken);
    filled -= taken;
  }
  free(buffer);
}

void receive_anything(int from, const struct wish *wish) {
  (void)wish;
  char *buffer = malloc(BUFFER_BYTES);
  if (buffer == NULL) die("no memory");
  while (receive_some(from, buffer, BUFFER_BYTES) > 0) continue;
  free(buffer);
}

static int open_connection(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int opened = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  if (opened < 0) die("socket");
  if (connect(opened, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
  setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return opened;
}

static const struct {
  const char *name;
  void (*receive)(int from, const struct wish *wish);
} kinds[] = {{"dcp", receive_dcp},
             {"redis", receive_redis},
             {"copy", receive_copy},
             {"anything", receive_anything}};

int main(int argc, char **argv) {
  if (argc < 3) die("sink KIND PORT [VBUCKETS]");
  struct wish wish = {.port = atoi(argv[2]), .vbuckets = argc > 3 ? atoi(argv[3]) : 0};
  for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
    if (strcmp(kinds[kind].name, argv[1]) != 0) continue;
    totals.begin_ns = now_ns();
    kinds[kind].receive(open_connection(wish.port), &wish);
    totals.end_ns = now_ns();
    printf("{\"documents\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"beginNs\":%" PRIu64
           ",\"firstNs\":%" PRIu64 ",\"endNs\":%" PRIu64 "}\n",
           totals.documents, totals.bytes, totals.begin_ns, totals.first_ns, totals.end_ns);
    return 0;
  }
  die("KIND: dcp, redis, copy or anything");
}
