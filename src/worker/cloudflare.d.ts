// The part of the Workers runtime that this project uses, as Cloudflare documents it
// (developers.cloudflare.com/workers/runtime-apis).

interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void
  passThroughOnException(): void
}

interface DurableObjectId {
  toString(): string
}

/** One object: its fetch handler, and every public method of its class as a call that answers a promise. */
type DurableObjectStub<T = unknown> = Fetcher & {
  [K in Exclude<keyof T, 'fetch' | 'alarm'>]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never
}

interface DurableObjectGetOptions {
  /** Where the object should be made, if it is not there yet. */
  readonly locationHint?: string
}

interface DurableObjectNamespace<T = unknown> {
  idFromName(name: string): DurableObjectId
  /** Drawn at random; nobody can guess it. */
  newUniqueId(): DurableObjectId
  /** Throws for a text that is no id of this namespace. */
  idFromString(id: string): DurableObjectId
  get(id: DurableObjectId, options?: DurableObjectGetOptions): DurableObjectStub<T>
  getByName(name: string, options?: DurableObjectGetOptions): DurableObjectStub<T>
  /** The objects of one jurisdiction; a name means another object in each. */
  jurisdiction(jurisdiction: string): DurableObjectNamespace<T>
}

type SqlValue = string | number | null | ArrayBuffer

interface SqlCursor<Row extends Record<string, SqlValue>> extends Iterable<Row> {
  toArray(): Row[]
  one(): Row
  readonly rowsRead: number
  readonly rowsWritten: number
}

interface SqlStorage {
  exec<Row extends Record<string, SqlValue> = Record<string, SqlValue>>(
    query: string,
    ...values: SqlValue[]
  ): SqlCursor<Row>
  readonly databaseSize: number
}

interface DurableObjectStorage {
  readonly sql: SqlStorage
  transactionSync<T>(closure: () => T): T
  /** Epoch milliseconds, or null when none is set. */
  getAlarm(): Promise<number | null>
  setAlarm(time: number | Date): Promise<void>
  deleteAlarm(): Promise<void>
  deleteAll(): Promise<void>
}

interface DurableObjectState {
  readonly id: DurableObjectId
  readonly storage: DurableObjectStorage
  waitUntil(work: Promise<unknown>): void
  blockConcurrencyWhile<T>(callback: () => Promise<T>): Promise<T>
  /**
   * The object may leave memory while the socket stays open; what comes on it wakes the object by its
   * `webSocket…` methods.
   */
  acceptWebSocket(socket: WorkerSocket, tags?: readonly string[]): void
  getWebSockets(tag?: string): WorkerSocket[]
  setWebSocketAutoResponse(pair: WebSocketRequestResponsePair): void
  /** Ends the object at once; what was written stays. */
  abort(reason?: string): void
}

interface KVNamespace {
  get(key: string): Promise<string | null>
  put(
    key: string,
    value: string,
    options?: { readonly expirationTtl?: number; readonly expiration?: number },
  ): Promise<void>
  delete(key: string): Promise<void>
}

interface RateLimit {
  limit(options: { readonly key: string }): Promise<{ readonly success: boolean }>
}

interface Fetcher {
  fetch(request: Request): Promise<Response>
}

/** The runtime's own WebSocket: it answers pings by itself, and must be accepted before it speaks. */
interface WorkerSocket {
  accept(): void
  send(text: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  addEventListener(
    type: 'close',
    listener: (event: { readonly code: number; readonly reason: string }) => void,
  ): void
  addEventListener(type: 'error', listener: () => void): void
}

/** A text that the platform answers by itself on sockets that may hibernate. */
interface WebSocketRequestResponsePair {
  readonly request: string
  readonly response: string
}

declare const WebSocketRequestResponsePair: new (
  request: string,
  response: string,
) => WebSocketRequestResponsePair

declare const WebSocketPair: new () => { readonly 0: WorkerSocket; readonly 1: WorkerSocket }

interface Response {
  readonly webSocket: WorkerSocket | null
}

interface ResponseInit {
  webSocket?: WorkerSocket | null
}

declare module 'cloudflare:workers' {
  export abstract class DurableObject<Env = unknown> {
    protected readonly ctx: DurableObjectState
    protected readonly env: Env
    constructor(ctx: DurableObjectState, env: Env)
    fetch?(request: Request): Response | Promise<Response>
    alarm?(): void | Promise<void>
    webSocketMessage?(socket: WorkerSocket, message: string | ArrayBuffer): void | Promise<void>
    webSocketClose?(socket: WorkerSocket, code: number, reason: string, clean: boolean): void | Promise<void>
    webSocketError?(socket: WorkerSocket, error: unknown): void | Promise<void>
  }
  export const waitUntil: (work: Promise<unknown>) => void
}

// What the Worker uses of nodejs_compat, so that its type check knows nothing else of Node.

declare module 'node:crypto' {
  export function hash(algorithm: 'sha256', text: string, encoding: 'base64url'): string
  interface Hash {
    update(text: string): Hash
    digest(): Uint8Array
    digest(encoding: 'hex'): string
  }
  export function createHash(algorithm: 'sha256'): Hash
  export function createHmac(algorithm: 'sha256', key: Uint8Array): Hash
  type Jwk = Readonly<Record<'kty' | 'crv' | 'x' | 'y', string>>
  type PrivateJwk = Jwk & Readonly<Record<'d', string>>
  interface JwkInput<T> {
    readonly key: T
    readonly format: 'jwk'
    readonly dsaEncoding: 'ieee-p1363'
  }
  export function sign(algorithm: 'sha256', data: Uint8Array, key: JwkInput<PrivateJwk>): Uint8Array
  export function verify(
    algorithm: 'sha256',
    data: Uint8Array,
    key: JwkInput<Jwk>,
    signature: Uint8Array,
  ): boolean
  export function generateKeyPairSync(
    type: 'ec',
    options: { readonly namedCurve: 'P-256' },
  ): { readonly privateKey: { export(options: { readonly format: 'jwk' }): PrivateJwk } }
  export function scrypt(
    password: Uint8Array,
    salt: Uint8Array,
    keylen: number,
    cost: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number },
    answer: (error: Error | null, key: Uint8Array) => void,
  ): void
}
