import { readManifest, writeManifest } from '../../storage/manifest-file.ts'
import { Collections, type CollectionsOptions } from './collections.ts'
import { ManifestHistory, type ManifestHistoryRecord } from './manifest-history.ts'

/** The collections of the bucket in this directory, whose manifest is kept there. */
export function openCollections(
  directory: string,
  options: Omit<CollectionsOptions, 'history' | 'store'>,
): Collections {
  const read = (json: unknown) => ManifestHistory.fromJSON(json as ManifestHistoryRecord)
  return new Collections({
    ...options,
    history: readManifest(directory, read),
    store: history => writeManifest(directory, history),
  })
}
