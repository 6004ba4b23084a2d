import type { Frame } from '../frame.ts'

/**
 * The body of an error on a connection with HELLO xerror: what went wrong, and a reference that the
 * server's log repeats.
 *
 * ```
 * value {"error":{"context":"…","ref":"…"}}   datatype json
 * ```
 */
export interface ErrorContext {
  context?: string
  ref?: string
}

export function encodeErrorContext(error: ErrorContext): Buffer {
  return Buffer.from(JSON.stringify({ error }))
}

/** `undefined` for a body of any other form, such as memcached's texts. */
export function decodeErrorContext(frame: Frame): ErrorContext | undefined {
  let body: unknown
  try {
    body = JSON.parse(frame.value().toString())
  } catch {
    return undefined
  }
  const error = member(body, 'error')
  if (typeof error !== 'object' || error === null) return undefined
  const context = member(error, 'context')
  const ref = member(error, 'ref')
  return {
    ...(typeof context === 'string' && { context }),
    ...(typeof ref === 'string' && { ref }),
  }
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Readonly<Record<string, unknown>>)[name]
}
