/*
 * loopback MESSAGES BYTES: sends so many messages of so many bytes each from one process to
 * another over a TCP connection, 64 KiB at a time: what a backfill's sockets allow.
 */
#define _GNU_SOURCE
#include "../clock.h"
#include "die.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10, BUFFER_BYTES = 1 << 20 };

static void send_to(const struct sockaddr_in *address, uint64_t bytes) {
  static char piece[PIECE_BYTES];
  memset(piece, 'x', sizeof piece);
  int to = socket(AF_INET, SOCK_STREAM, 0);
  if (to < 0 || connect(to, (const struct sockaddr *)address, sizeof *address) != 0) die("connect");
  while (bytes > 0) {
    ssize_t sent = send(to, piece, bytes < PIECE_BYTES ? bytes : PIECE_BYTES, MSG_NOSIGNAL);
    if (sent < 0) die("send");
    bytes -= (uint64_t)sent;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint64_t messages = strtoull(argv[1], NULL, 10), bytes = messages * strtoull(argv[2], NULL, 10);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0) die("bind");
  if (listen(listener, 1) != 0) die("listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  pid_t sender = fork();
  if (sender == 0) {
    send_to(&address, bytes);
    return 0;
  }
  int from = accept(listener, NULL, NULL);
  if (sender < 0 || from < 0) die("accept");
  static char buffer[BUFFER_BYTES];
  uint64_t begin = now_ns(), received = 0;
  for (ssize_t got; (got = recv(from, buffer, sizeof buffer, 0)) > 0;) received += (uint64_t)got;
  double seconds = 1e-9 * (double)(now_ns() - begin);
  waitpid(sender, NULL, 0);
  if (received != bytes) die("not everything has arrived");
  printf("{\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", messages, bytes,
         seconds);
  return 0;
}
