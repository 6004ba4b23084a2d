/** What the machine allows: small programs in C that do one thing and no more. */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cProgram, runForJson, type CProgram } from '../c-program.ts'

export interface Limit {
  readonly operations: number
  readonly bytes: number
  readonly seconds: number
}

/** A cursor over the table of blocks in these LMDB environments, and over the records in each. */
export async function scanLimit(table: string, directories: readonly string[]): Promise<Limit> {
  return await measure(scanProgram(), [table, ...directories])
}

/** Messages from one process to another over loopback. */
export async function loopbackLimit(messages: number, bytes: number): Promise<Limit> {
  return await measure(plain('loopback'), [messages, bytes])
}

/** Appending and syncing, one record at a time. */
export async function fsyncLimit(file: string, seconds: number, bytes: number): Promise<Limit> {
  return await measure(plain('fsync'), [file, seconds, bytes])
}

async function measure(program: CProgram, args: readonly (string | number)[]): Promise<Limit> {
  return (await runForJson(await cProgram(program), args.map(String))) as Limit
}

function plain(name: string): CProgram {
  return { name, sources: [`limits/${name}.c`] }
}

/**
 * With the LMDB that the npm package brings as sources: Debian's liblmdb has an older layout of
 * pages and cannot read its files.
 */
function scanProgram(): CProgram {
  const entry = fileURLToPath(import.meta.resolve('lmdb'))
  const lmdb = join(dirname(entry), 'dependencies/lmdb/libraries/liblmdb')
  const parts = ['mdb.c', 'midl.c', 'chacha8.c'].map(file => join(lmdb, file))
  return {
    name: 'scan',
    sources: ['limits/scan.c', ...parts],
    libraries: ['pthread'],
    // Others' sources have their own idea of what deserves a warning.
    flags: ['-std=gnu11', '-w', '-DMDB_MAXKEYSIZE=0', `-I${lmdb}`],
  }
}
