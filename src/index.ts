// The package as a library: the core with its contracts, for a runtime or a store of your own.

export { faultText } from './config/tree.ts'
export { type Loaded, loadConfig } from './config/load.ts'
export type { Config } from './config/schema.ts'
export { createGateway, type Gateway, type GatewayOptions } from './gateway.ts'
export { createKeyRing, type KeyRing } from './kit/keyring.ts'
export { Refusal, type RefusalCode } from './kit/refusal.ts'
export type { Log, Outbound, Passwords, Runtime, RequestContext as Visit } from './ports/runtime.ts'
export type { Service } from './ports/services.ts'
export type { Cache, Entry, Mark, Store } from './ports/store.ts'
