import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FolderSyncs } from './store/folder-syncs.ts'

const syncs = new FolderSyncs()

/**
 * Replaces a file in one step: whoever reads sees the old contents or the new ones, also after a
 * crash. Durable when it resolves. Folders on the way are made, for their owner alone.
 */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const folder = dirname(path)
  const aside = join(folder, `${randomUUID()}.tmp`)
  const make = () => open(aside, 'wx', 0o600)
  try {
    const file = await make().catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      await mkdir(folder, { recursive: true, mode: 0o700 })
      return await make()
    })
    try {
      await file.writeFile(bytes)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(aside, path)
  } catch (error) {
    await rm(aside, { force: true }).catch(() => {})
    throw error
  }
  await syncs.sync(folder)
}
