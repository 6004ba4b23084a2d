import { OperatorError } from '../errors.ts'

/** Settings that cannot be served with; nothing was opened yet. The message is one line. */
export class ConfigError extends OperatorError {
  constructor(message: string, options?: ErrorOptions) {
    super('config', message, 'holdfastd --help lists every setting', options)
    this.name = 'ConfigError'
  }
}
