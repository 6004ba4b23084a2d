import { breakLock } from '../backup/lock.ts'
import { Repository } from '../backup/repository.ts'
import { withStore } from './archive-access.ts'
import type { RepositoryPlace } from './archive-options.ts'
import type { Surroundings } from './surroundings.ts'

export async function unlockRepository(
  options: RepositoryPlace,
  world: Surroundings,
): Promise<void> {
  await withStore(options, world, async store => {
    const repository = await Repository.open(store, options.repo)
    const holder = await breakLock(store, repository.name)
    const text = holder === undefined ? 'it was not locked' : `unlocked; it was: ${holder}`
    world.stdout.write(`${text}\n`)
  })
}
