/*
 * scan TABLE DIRECTORY...: reads one table of LMDB environments with a cursor. Its values are
 * blocks: four bytes, and then records, each with its own length. All bytes of a block are copied
 * once, to where a sender would take them from, and its records are counted there.
 *
 * What a backfill cannot be quicker than: it does that, checks what it reads, leaves out what has
 * been superseded, writes the client's number into each record, and sends them.
 *
 * It is done twice, in the same process and maps, and the second time is what counts: a daemon, too,
 * has its files mapped for as long as it runs. `firstSeconds` is what it takes to find all pages.
 */
#define _GNU_SOURCE
#include "../clock.h"
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As much as a backfill hands over at a time. */
enum { SLAB_BYTES = 256 << 10, BLOCK_HEAD_BYTES = 4, RECORD_HEAD_BYTES = 24 };

static unsigned char slab[SLAB_BYTES];
static size_t filled;
static uint64_t records, bytes;

static void check(int code, const char *what) {
  if (code == MDB_SUCCESS) return;
  fprintf(stderr, "scan: %s: %s\n", what, mdb_strerror(code));
  exit(1);
}

static void take(const unsigned char *block, size_t length) {
  if (length > SLAB_BYTES) check(MDB_BAD_VALSIZE, "a block of a large document");
  if (filled + length > SLAB_BYTES) filled = 0;
  const unsigned char *copy = memcpy(slab + filled, block, length);
  for (size_t at = BLOCK_HEAD_BYTES; at + RECORD_HEAD_BYTES <= length; records++) {
    const unsigned char *body = copy + at + 8;
    at += RECORD_HEAD_BYTES +
          ((size_t)body[0] << 24 | (size_t)body[1] << 16 | (size_t)body[2] << 8 | body[3]);
  }
  filled += length;
  bytes += length;
}

static MDB_env *open_environment(const char *directory) {
  MDB_env *environment;
  check(mdb_env_create(&environment), "create");
  check(mdb_env_set_maxdbs(environment, 16), "maxdbs");
  /* No lock: the daemon has these files open, and writes nothing meanwhile. */
  check(mdb_env_open(environment, directory, MDB_RDONLY | MDB_NOLOCK, 0), directory);
  return environment;
}

static void scan(const char *table, MDB_env *environment) {
  MDB_txn *transaction;
  MDB_dbi opened;
  MDB_cursor *cursor;
  MDB_val key, value;
  check(mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction), "begin");
  check(mdb_dbi_open(transaction, table, 0, &opened), table);
  check(mdb_cursor_open(transaction, opened, &cursor), "cursor");
  int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
  while (code == MDB_SUCCESS) {
    take(value.mv_data, value.mv_size);
    code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  if (code != MDB_NOTFOUND) check(code, "next");
  mdb_cursor_close(cursor);
  mdb_txn_abort(transaction);
}

static double scan_all(const char *table, MDB_env **environments, int count) {
  records = bytes = 0;
  uint64_t begin = now_ns();
  for (int index = 0; index < count; index++) scan(table, environments[index]);
  return 1e-9 * (double)(now_ns() - begin);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int count = argc - 2;
  MDB_env **environments = calloc((size_t)count, sizeof *environments);
  if (environments == NULL) return 1;
  for (int index = 0; index < count; index++) environments[index] = open_environment(argv[index + 2]);
  double first = scan_all(argv[1], environments, count);
  double seconds = scan_all(argv[1], environments, count);
  printf("{\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"firstSeconds\":%.6f}\n",
         records, bytes, seconds, first);
  return 0;
}
