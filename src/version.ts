import { readFileSync } from 'node:fs'

/** Of the package this file ships in: `dist/src/version.js` lies two folders below it. */
const description = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { name: string; version: string }

/** The version of Holdfast that is running, such as `0.1.0`. */
export const version = description.version
