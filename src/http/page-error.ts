/** A page that cannot be had, with the status and the body that say why. */
export class PageError extends Error {
  readonly statusCode: number
  /** Text, or what becomes JSON. */
  readonly body: string | object

  constructor(statusCode: number, body: string | object) {
    super(typeof body === 'string' ? body : JSON.stringify(body))
    this.statusCode = statusCode
    this.body = body
  }
}

/** In the words that clients look for. */
export function notFound(): PageError {
  return new PageError(404, 'Requested resource not found.')
}

/** A form that is refused: what is wrong, by field; `_` is about none in particular. */
export function refusedForm(errors: Readonly<Record<string, string>>): PageError {
  return new PageError(400, { errors, summaries: {} })
}
