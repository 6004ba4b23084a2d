/**
 * The end of a turn of the event loop: when everything has been run that the turn has brought. Who
 * does something once for many requests does it there, as the journal does.
 *
 * `setImmediate` from within a request comes later: requests are run among immediates, and one that
 * is asked for there has to wait for another turn, with another look at all sockets. There is one
 * end, as there is one event loop.
 */
const callbacks: (() => void)[] = []
/** What has been brought is being run, its end follows. */
let isRunning = false
let immediate: NodeJS.Immediate | undefined

/** Calls back once everything has been run that this turn has brought, as far as is known. */
export function atTurnEnd(callback: () => void): void {
  callbacks.push(callback)
  if (!isRunning) immediate ??= setImmediate(end)
}

/** The same, but before anything else happens when nothing is being run of a turn now. */
export function soonInTurn(callback: () => void): void {
  if (isRunning) callbacks.push(callback)
  else process.nextTick(callback)
}

/** Runs what a turn has brought, and then whatever waits for the end of it. */
export function runTurn(run: () => void): void {
  isRunning = true
  run()
  end()
}

function end(): void {
  if (immediate !== undefined) {
    clearImmediate(immediate)
    immediate = undefined
  }
  isRunning = true
  // They may ask for more.
  for (let i = 0; i < callbacks.length; i++) callbacks[i]!()
  callbacks.length = 0
  isRunning = false
}
