import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes names in folders durable. Many files are put into a folder at a time: while one sync runs,
 * all who come wait for one more, together.
 */
export class FolderSyncs {
  readonly #running = new Map<string, Promise<void>>()
  readonly #waiting = new Map<string, Promise<void>>()

  /** Resolves when every name that is in the folder now would be there after a crash. */
  sync(folder: string): Promise<void> {
    const running = this.#running.get(folder)
    if (!running) return this.#start(folder)
    let next = this.#waiting.get(folder)
    if (!next) {
      const again = () => {
        this.#waiting.delete(folder)
        return this.#start(folder)
      }
      next = running.then(again, again)
      this.#waiting.set(folder, next)
    }
    return next
  }

  /** Makes a folder, with those on the way to it, so that all of them would be there after a crash. */
  async make(folder: string): Promise<void> {
    const first = await mkdir(folder, { recursive: true })
    if (first === undefined) return
    for (let at = folder; at.length >= first.length; at = dirname(at)) await this.sync(dirname(at))
  }

  #start(folder: string): Promise<void> {
    const work = syncFolder(folder).finally(() => this.#running.delete(folder))
    this.#running.set(folder, work)
    return work
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
