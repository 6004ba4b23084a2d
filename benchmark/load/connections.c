/*
 * Connections: requests go out, answers come in. The clock of a latency starts when an operation
 * was due, not when it could be sent ("coordinated omission"). Without a rate an operation is due
 * when the answer before it has made room.
 */
#define _GNU_SOURCE
#include "load.h"
#include "../clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers that a connection waits for at most, with a rate: behind by more, the run is void. */
enum { WAITING_MAX = 1 << 16, EVENTS = 256, INPUT_BYTES = 1 << 18, START_BYTES = 64 };

struct connection {
  int socket;
  /* When the operations that are not answered were due, oldest first: a ring. */
  uint64_t *due;
  unsigned oldest, newest;
  /* Requests that are not sent yet. */
  char *output;
  size_t output_from, output_to, output_size;
  /* The answer under way: bytes still to come and what it says, or its start, if that is too
     short to tell its length. */
  size_t still_to_come;
  struct answer answer;
  char start[START_BYTES];
  size_t start_bytes;
  bool waits_for_room;
};

struct totals totals;
static const struct plan *plan;
static struct connection *connections;
static int poller;
static char *input;
static uint64_t filled;
static bool counting;

static void watch(struct connection *of, int operation) {
  struct epoll_event event = {.events = EPOLLIN | (of->waits_for_room ? EPOLLOUT : 0),
                              .data.ptr = of};
  if (epoll_ctl(poller, operation, of->socket, &event) != 0) die("epoll_ctl");
}

static void flush(struct connection *of) {
  while (of->output_from < of->output_to) {
    ssize_t sent = send(of->socket, of->output + of->output_from,
                        of->output_to - of->output_from, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) die("send");
    of->output_from += (size_t)sent;
  }
  if (of->output_from == of->output_to) of->output_from = of->output_to = 0;
  bool waits = of->output_to > 0;
  if (waits == of->waits_for_room) return;
  of->waits_for_room = waits;
  watch(of, EPOLL_CTL_MOD);
}

static void make_room(struct connection *of, size_t bytes) {
  if (of->output_to + bytes <= of->output_size) return;
  memmove(of->output, of->output + of->output_from, of->output_to - of->output_from);
  of->output_to -= of->output_from;
  of->output_from = 0;
  if (of->output_to + bytes <= of->output_size) return;
  of->output_size = 2 * (of->output_to + bytes);
  of->output = realloc(of->output, of->output_size);
  if (of->output == NULL) die("no memory for requests");
}

static void add_request(struct connection *of, uint64_t due) {
  if (of->newest - of->oldest == WAITING_MAX) die("the server cannot keep up with this rate");
  make_room(of, request_bytes_max());
  char *to = of->output + of->output_to;
  bool is_set = plan->fill || random_unit() * (plan->gets + plan->sets) >= plan->gets;
  uint64_t key = plan->fill ? filled++ : next_key();
  of->output_to += is_set ? write_set(to, key) : write_get(to, key);
  of->due[of->newest++ % WAITING_MAX] = due;
  if (!counting) return;
  if (is_set) totals.sets++;
  else totals.gets++;
}

/* Without a rate: as many as the pipeline still takes. */
static void fill_pipeline(struct connection *of) {
  uint64_t now = now_ns();
  while (of->newest - of->oldest < (unsigned)plan->pipeline) {
    if (plan->fill && filled == plan->keys) break;
    add_request(of, now);
  }
  flush(of);
}

static void count_answer(struct connection *of, uint64_t now) {
  if (of->newest == of->oldest) die("an answer that nobody asked for");
  uint64_t due = of->due[of->oldest++ % WAITING_MAX];
  totals.failures += of->answer.failed;
  totals.answered_in_all++;
  if (!counting) return;
  totals.misses += of->answer.missed;
  totals.answered++;
  histogram_add(now - due);
}

/* Finds the length of the answer that begins with `start` and then `at`; false: not all of its
   header is here, and what there was is kept. */
static bool begin_answer(struct connection *of, const char *at, size_t available) {
  const char *from = at;
  size_t length = available;
  if (of->start_bytes > 0) {
    size_t room = START_BYTES - of->start_bytes;
    size_t taken = room < available ? room : available;
    memcpy(of->start + of->start_bytes, at, taken);
    from = of->start;
    length = of->start_bytes + taken;
  }
  of->answer = (struct answer){0};
  size_t answer = answer_length(from, length, &of->answer);
  if (answer > 0) {
    of->still_to_come = answer - of->start_bytes;
    of->start_bytes = 0;
    return true;
  }
  if (length >= START_BYTES) die("an answer that makes no sense");
  memmove(of->start, from, length);
  of->start_bytes = length;
  return false;
}

/* Takes what has arrived; an answer may come in any number of pieces. */
static void take(struct connection *of, const char *at, size_t available, uint64_t now) {
  while (available > 0) {
    if (of->still_to_come == 0 && !begin_answer(of, at, available)) return;
    size_t taken = of->still_to_come < available ? of->still_to_come : available;
    of->still_to_come -= taken;
    at += taken;
    available -= taken;
    if (of->still_to_come == 0) count_answer(of, now);
  }
}

static void receive(struct connection *of) {
  for (;;) {
    ssize_t got = recv(of->socket, input, INPUT_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) die("recv");
    if (got == 0) {
      errno = 0;
      die("the server has closed a connection");
    }
    take(of, input, (size_t)got, now_ns());
    if (got < INPUT_BYTES) return;
  }
}

void connections_open(const struct plan *of) {
  plan = of;
  poller = epoll_create1(0);
  input = malloc(INPUT_BYTES);
  connections = calloc((size_t)plan->connections, sizeof *connections);
  if (poller < 0 || input == NULL || connections == NULL) die("no memory for connections");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan->port)};
  if (inet_pton(AF_INET, plan->host, &address.sin_addr) != 1) die("--host: an IPv4 address");
  for (int index = 0; index < plan->connections; index++) {
    struct connection *one = &connections[index];
    one->due = malloc(WAITING_MAX * sizeof *one->due);
    one->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one->due == NULL || one->socket < 0) die("socket");
    if (connect(one->socket, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
    int yes = 1;
    setsockopt(one->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(one, EPOLL_CTL_ADD);
  }
}

/* Waits until something arrives, or until then. */
static void poll_until(uint64_t then) {
  struct epoll_event events[EVENTS];
  uint64_t now = now_ns(), wait = then > now ? then - now : 0;
  struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u),
                             .tv_nsec = (long)(wait % 1000000000u)};
  int count = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);
  if (count < 0 && errno != EINTR) die("epoll_pwait2");
  for (int index = 0; index < count; index++) {
    struct connection *one = events[index].data.ptr;
    if (events[index].events & ~(uint32_t)EPOLLOUT) receive(one);
    if (plan->rate == 0) fill_pipeline(one);
    else flush(one);
  }
}

static bool everything_answered(void) {
  for (int index = 0; index < plan->connections; index++) {
    if (connections[index].newest != connections[index].oldest) return false;
  }
  return true;
}

/* Stores every key once. */
static void fill(void) {
  counting = true;
  while (filled < plan->keys || !everything_answered()) poll_until(now_ns() + 1000000);
}

/* Without a rate. */
static void run_closed(uint64_t end) {
  while (now_ns() < end) poll_until(end);
}

static void run_at_rate(uint64_t begin, uint64_t end) {
  double gap = 1e9 / plan->rate;
  uint64_t sent = 0;
  unsigned turn = 0;
  for (;;) {
    uint64_t due = begin + (uint64_t)((double)sent * gap);
    if (due >= end) break;
    if (due > now_ns()) {
      poll_until(due);
      continue;
    }
    struct connection *one = &connections[turn++ % (unsigned)plan->connections];
    add_request(one, due);
    flush(one);
    sent++;
  }
  while (!everything_answered()) poll_until(now_ns() + 1000000);
}

void connections_run(void) {
  if (plan->rate == 0) {
    for (int index = 0; index < plan->connections; index++) fill_pipeline(&connections[index]);
  }
  if (plan->fill) return fill();
  uint64_t start = now_ns(), counted = start + (uint64_t)(plan->warmup_seconds * 1e9);
  uint64_t end = counted + (uint64_t)(plan->seconds * 1e9);
  for (int part = 0; part < 2; part++) {
    uint64_t from = part == 0 ? start : counted, to = part == 0 ? counted : end;
    counting = part == 1;
    if (plan->rate == 0) run_closed(to);
    else run_at_rate(from, to);
  }
}
