/*
 * scan TABLE DIRECTORY...: walks over one table of LMDB environments with a cursor. Its values are
 * blocks: four bytes, and then records, each with its own length. It looks at the head of each.
 * What a backfill cannot be quicker than, as it does that and more.
 */
#define _GNU_SOURCE
#include "../clock.h"
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int code, const char *what) {
  if (code == MDB_SUCCESS) return;
  fprintf(stderr, "scan: %s: %s\n", what, mdb_strerror(code));
  exit(1);
}

static uint64_t records, bytes;

static void walk(const unsigned char *block, size_t length) {
  size_t at = 4;
  while (at + 24 <= length) {
    const unsigned char *body = block + at + 8;
    at += 24 + ((size_t)body[0] << 24 | (size_t)body[1] << 16 | (size_t)body[2] << 8 | body[3]);
    records++;
  }
  bytes += length;
}

static void scan(const char *table, const char *directory) {
  MDB_env *environment;
  MDB_txn *transaction;
  MDB_dbi opened;
  MDB_cursor *cursor;
  MDB_val key, value;
  check(mdb_env_create(&environment), "create");
  check(mdb_env_set_maxdbs(environment, 16), "maxdbs");
  /* No lock: the daemon has these files open, and writes nothing meanwhile. */
  check(mdb_env_open(environment, directory, MDB_RDONLY | MDB_NOLOCK, 0), directory);
  check(mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction), "begin");
  check(mdb_dbi_open(transaction, table, 0, &opened), table);
  check(mdb_cursor_open(transaction, opened, &cursor), "cursor");
  int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
  while (code == MDB_SUCCESS) {
    walk(value.mv_data, value.mv_size);
    code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  if (code != MDB_NOTFOUND) check(code, "next");
  mdb_cursor_close(cursor);
  mdb_txn_abort(transaction);
  mdb_env_close(environment);
}

int main(int argc, char **argv) {
  uint64_t begin = now_ns();
  for (int index = 2; index < argc; index++) scan(argv[1], argv[index]);
  printf("{\"operations\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", records, bytes,
         1e-9 * (double)(now_ns() - begin));
  return 0;
}
