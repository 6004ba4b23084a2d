/** Looks again and again, as what is waited for happens in another process. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  deadlineMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()}: not within ${deadlineMs} ms`)
    }
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
