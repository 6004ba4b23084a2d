export * from './mechanism.ts'
export * from './plain.ts'
export * from './scram-keys.ts'
export * from './scram-messages.ts'
