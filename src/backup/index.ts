/** Backups of buckets, for programs: what the command line does. */
export { compressionNames, type CompressionName } from './archive/compression-name.ts'
export { type BackupDocument } from './archive/documents.ts'
export { backupNamed } from './chain.ts'
export { checkStore, type ProbeEvent, type StoreCheckResult } from './check/check-store.ts'
export {
  detailsOf,
  unfinishedDetailsOf,
  type BackupDetails,
  type UnfinishedDetails,
} from './details.ts'
export { recordKindName } from './archive/record.ts'
export { readKeyFile, type Secret } from './archive/repository-key.ts'
export { BackupError, type BackupErrorCode } from './errors.ts'
export {
  examine,
  type DocumentVersion,
  type ExamineOptions,
  type ExamineResult,
} from './examine/examine.ts'
export { documentValueOf } from './examine/document-value.ts'
export { breakLock } from './lock.ts'
export { merge, type MergeEvent, type MergeResult } from './merge/merge.ts'
export { remove, type RemoveEvent, type RemoveResult } from './remove/remove.ts'
export { Repository, type ListedBackup } from './repository.ts'
export { backUp, type BackupOptions } from './run/backup.ts'
export { type BackupEvent } from './run/context.ts'
export { restore, type RestoreEvent, type RestoreOptions } from './restore/restore.ts'
export { verify, type VerifyEvent, type VerifyOptions, type VerifyResult } from './verify/verify.ts'
export { type ObjectStore } from './store/object-store.ts'
export { openStore, type StoreOptions } from './store/open-store.ts'
export { untilStopped } from './until-stopped.ts'
