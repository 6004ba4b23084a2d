/* load: puts operations on a server and prints one line of JSON about it. */
#define _GNU_SOURCE
#include "load.h"
#include "../clock.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void die(const char *what) {
  fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static const struct option options[] = {
    {"host", required_argument, NULL, 'h'},       {"port", required_argument, NULL, 'p'},
    {"protocol", required_argument, NULL, 'P'},   {"connections", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'd'},   {"rate", required_argument, NULL, 'r'},
    {"warmup", required_argument, NULL, 'w'},     {"seconds", required_argument, NULL, 's'},
    {"fill", no_argument, NULL, 'f'},             {"keys", required_argument, NULL, 'k'},
    {"skew", required_argument, NULL, 'z'},       {"value-bytes", required_argument, NULL, 'v'},
    {"gets", required_argument, NULL, 'g'},       {"sets", required_argument, NULL, 't'},
    {"vbuckets", required_argument, NULL, 'b'},   {"seed", required_argument, NULL, 'S'},
    {NULL, 0, NULL, 0}};

static enum protocol protocol_named(const char *name) {
  if (strcmp(name, "memcached") == 0) return PROTOCOL_MEMCACHED;
  if (strcmp(name, "resp") == 0) return PROTOCOL_RESP;
  die("--protocol: memcached or resp");
  return PROTOCOL_RESP;
}

static struct plan read_plan(int argc, char **argv) {
  struct plan plan = {.host = "127.0.0.1", .port = 11211, .connections = 1, .pipeline = 1,
                      .seconds = 10, .keys = 1000000, .value_bytes = 256, .gets = 1, .seed = 1};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
      case 'h': plan.host = optarg; break;
      case 'p': plan.port = atoi(optarg); break;
      case 'P': plan.protocol = protocol_named(optarg); break;
      case 'c': plan.connections = atoi(optarg); break;
      case 'd': plan.pipeline = atoi(optarg); break;
      case 'r': plan.rate = atof(optarg); break;
      case 'w': plan.warmup_seconds = atof(optarg); break;
      case 's': plan.seconds = atof(optarg); break;
      case 'f': plan.fill = true; break;
      case 'k': plan.keys = strtoull(optarg, NULL, 10); break;
      case 'z': plan.skew = atof(optarg); break;
      case 'v': plan.value_bytes = atoi(optarg); break;
      case 'g': plan.gets = atoi(optarg); break;
      case 't': plan.sets = atoi(optarg); break;
      case 'b': plan.vbuckets = atoi(optarg); break;
      case 'S': plan.seed = strtoull(optarg, NULL, 10); break;
      default: exit(2);
    }
  }
  bool is_whole = plan.connections > 0 && plan.pipeline > 0 && plan.keys > 1 &&
                  plan.value_bytes > 0 && plan.gets + plan.sets > 0;
  if (!is_whole) die("connections, pipeline, keys, value-bytes and gets or sets must be more than 0");
  return plan;
}

static double processor_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
  struct plan plan = read_plan(argc, argv);
  keys_init(&plan);
  protocol_init(&plan);
  connections_open(&plan);
  errno = 0;
  uint64_t begin = now_ns();
  double processor = processor_seconds();
  connections_run();
  double elapsed = 1e-9 * (double)(now_ns() - begin);
  double share = (processor_seconds() - processor) / elapsed;
  printf("{\"operations\":%" PRIu64 ",\"operationsInAll\":%" PRIu64 ",\"gets\":%" PRIu64 ",\"sets\":%" PRIu64
         ",\"misses\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"seconds\":%.6f"
         ",\"processorShare\":%.6f,\"latenciesNs\":",
         totals.answered, totals.answered_in_all, totals.gets, totals.sets, totals.misses, totals.failures,
         plan.fill ? elapsed : plan.seconds, share);
  histogram_print();
  puts("}");
  return 0;
}
