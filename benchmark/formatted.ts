import { writeFileSync } from 'node:fs'
import { format, resolveConfig } from 'prettier'

/** Writes a file that the formatting check accepts. */
export async function writeFormatted(path: string, text: string): Promise<void> {
  const settings = await resolveConfig(path)
  writeFileSync(path, await format(text, { ...settings, filepath: path }))
}
