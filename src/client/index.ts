/** The clients, as the package exports them: `import { DcpClient, KvClient } from 'holdfast'`. */
export { type ArrivedChange, type ChangeTaker } from './arrivals.ts'
export { Backoff, type BackoffOptions } from './backoff.ts'
export {
  isChange,
  isSystemEvent,
  type Change,
  type DcpEvent,
  type SeqnoAdvancedEvent,
  type SnapshotMarkerEvent,
  type StreamEndEvent,
} from './change.ts'
export { CollectionManager } from './collection-manager.ts'
export {
  defaultCollectionPath,
  parseCollectionPath,
  pathText,
  type CollectionPath,
} from './collection-path.ts'
export { type CollectionSelection } from './collection-selection.ts'
export {
  manifestJson,
  manifestOf,
  type CollectionsManifest,
  type ManifestCollection,
  type ManifestScope,
} from './collections-manifest.ts'
export {
  Connection,
  type ConnectionEvents,
  type ConnectionOptions,
  type Request,
} from './connection.ts'
export { DcpClient, type DcpStatistics } from './dcp-client.ts'
export { type DcpClientOptions, type RollbackDecision } from './dcp-options.ts'
export { ClientError, ServerError, type ClientErrorCode } from './errors.ts'
export { KvClient } from './kv-client.ts'
export { type Credentials } from './login.ts'
export {
  type CounterOptions,
  type CounterResult,
  type Document,
  type DocumentMeta,
  type Key,
  type KvClientOptions,
  type MutationOptions,
  type MutationResult,
  type RequestOptions,
  type StoreOptions,
  type WithMetaOptions,
} from './kv-options.ts'
export { NodeClient, type ClusterConfig, type NodeClientOptions } from './node-client.ts'
export { type TlsOptions } from './socket.ts'
export { type DcpState, type SavedPosition } from './stream-position.ts'
export { type CollectionEvent, type ScopeEvent } from './system-event.ts'
