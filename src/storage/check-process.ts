/**
 * Checks an environment in a process of its own: LMDB ends the process when it comes to a page
 * that it cannot make sense of. Prints what is wrong, or nothing.
 *
 *   check-process DIRECTORY MAP-SIZE
 */
import { checkEnvironment } from './check.ts'
import { openEnvironment } from './environment.ts'

const [directory, mapSize] = process.argv.slice(2)
const environment = openEnvironment({
  directory: directory!,
  mapSizeBytes: Number(mapSize),
  readerSlotsMax: 1,
})
const [problem] = checkEnvironment(environment, 1)
if (problem !== undefined) process.stdout.write(problem)
await environment.close()
