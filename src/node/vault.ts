// Vault or OpenBao on Node: the requests of stores/vault.ts, and what can be trusted of the server.
import type { VaultSettings } from '../config/storage-keys.ts'
import { Refusal } from '../kit/refusal.ts'
import type { StoredRecords, SweptStore } from '../ports/store.ts'
import { createMeta } from '../stores/meta.ts'
import {
  type VaultDriver,
  type VaultRequests,
  type VaultSecret,
  createVaultRecords,
  createVaultStore,
} from '../stores/vault.ts'
import { type Failure, unavailable } from './remote-store.ts'
import { type Look, createChecks } from './store-checks.ts'
import {
  type VaultAnswer,
  type VaultClient,
  type VaultClientOptions,
  VaultError,
  createVaultClient,
} from './vault-client.ts'

// The requests of one operation.

/** Beyond it a folder is too much for one answer. */
const mostNames = 10_000

interface DataAnswer {
  readonly data?: {
    readonly data?: unknown
    readonly version?: number
    readonly metadata?: { readonly version: number; readonly created_time: string }
  }
}

const secretIn = ({ body }: VaultAnswer): VaultSecret | undefined => {
  const { data } = body as DataAnswer
  // Deleted: 404 with what is known of the version.
  if (!data?.metadata) return undefined
  const { version, created_time: created } = data.metadata
  return { data: data.data ?? null, version, createdAt: Date.parse(created) }
}

const casMissed = /check-and-set parameter did not match/
const errorsIn = ({ body }: VaultAnswer): string => {
  const { errors } = body as { readonly errors?: readonly string[] }
  return errors?.join('; ') ?? ''
}

const unexpected = (answer: VaultAnswer, what: string): VaultError =>
  new VaultError({ kind: 'refused', why: `Vault answered ${answer.status} to ${what}: ${errorsIn(answer)}` })

const requestsOf = (
  client: VaultClient,
  { mount_point: mount, path_prefix: prefix }: VaultSettings,
  signal: AbortSignal,
): VaultRequests => ({
  async read(path) {
    const answer = await client.call('GET', `${mount}/data/${prefix}/${path}`, { signal })
    if (answer.status === 200 || answer.status === 404) return secretIn(answer)
    throw unexpected(answer, 'a read')
  },
  async write(path, data, cas) {
    const body = { options: { cas }, data }
    const answer = await client.call('POST', `${mount}/data/${prefix}/${path}`, { body, signal })
    if (answer.status === 200) return (answer.body as DataAnswer).data?.version
    if (answer.status === 400 && casMissed.test(errorsIn(answer))) return undefined
    throw unexpected(answer, 'a write')
  },
  async keepOne(path) {
    const body = { max_versions: 1 }
    await client.call('POST', `${mount}/metadata/${prefix}/${path}`, { body, signal })
  },
  async remove(path) {
    await client.call('DELETE', `${mount}/metadata/${prefix}/${path}`, { signal })
  },
  async names(folder) {
    const path = folder === '' ? prefix : `${prefix}/${folder}`
    const answer = await client.call('GET', `${mount}/metadata/${path}?list=true`, { signal })
    const { data } = answer.body as { readonly data?: { readonly keys?: readonly string[] } }
    const { keys = [] } = data ?? {}
    if (keys.length > mostNames)
      throw new VaultError({
        kind: 'refused',
        why: `${mount}/${path} holds more than ${mostNames} names: a store in Vault is for some thousand grants. Use Redis or PostgreSQL`,
      })
    return keys
  },
  now: client.now,
  passing: (why) => new VaultError({ kind: 'passes', why }),
})

// Operations: each has its time, and one repetition that finds what the first try left.

const failureOf = (error: unknown): Failure | undefined =>
  error instanceof VaultError ? error.failure : undefined

/** Of an operation, of both tries together, and the least of the second, ms. Operations that wait at once. */
const [operationMs, allMs, leastMs, mostWaiting] = [800, 900, 100, 1000]

const createDriver = (client: VaultClient, options: VaultStoreOptions): VaultDriver => {
  const { settings, timer, random } = options
  const clock = (): number => performance.now()
  let waiting = 0
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void timer(ms, resolve))
  const attempt = async <T>(operation: (requests: VaultRequests) => Promise<T>, ms: number): Promise<T> => {
    const late = new AbortController()
    const cancel = timer(ms, () => late.abort())
    try {
      // Nothing is sent after its time: whoever asked has been told that it failed.
      return await operation(requestsOf(client, settings, late.signal))
    } finally {
      cancel()
    }
  }
  const run: VaultDriver = async (operation) => {
    const began = clock()
    try {
      return await attempt(operation, operationMs)
    } catch (error) {
      const failure = failureOf(error)
      if (!failure) throw error
      if (failure.kind === 'refused') throw unavailable(failure.why)
      if (failure.kind === 'passes') await pause(20 + (60 * (random(1)[0] as number)) / 255)
      const left = Math.max(leastMs, Math.min(operationMs, allMs - (clock() - began)))
      return attempt(operation, left).catch((second: unknown) => {
        throw unavailable(failureOf(second)?.why ?? failure.why)
      })
    }
  }
  return async (operation) => {
    if (waiting >= mostWaiting) throw unavailable(`${waiting} operations wait for the storage already`)
    waiting++
    try {
      return await run(operation)
    } finally {
      waiting--
    }
  }
}

// What can be trusted of the server.

const faultsOf = async (client: VaultClient, settings: VaultSettings): Promise<readonly string[]> => {
  const { status } = await client.health()
  if (status === 501) return ['Vault is not initialised: run `vault operator init`']
  if (status === 503) return ['Vault is sealed: unseal it']
  const { mount_point: mount } = settings
  const answer = await client.call('GET', `sys/internal/ui/mounts/${mount}`)
  const { data } = answer.body as {
    readonly data?: { readonly type?: string; readonly options?: { readonly version?: string } | null }
  }
  return data?.type === 'kv' && data.options?.version === '2'
    ? []
    : [
        `there is no KV engine, version 2, at ${mount}: run \`vault secrets enable -path=${mount} -version=2 kv\`, or set storage.vault.mount_point`,
      ]
}

const tokenWarnings = (token: Readonly<Record<string, unknown>>): Omit<Look, 'offsetMs'> => {
  const { policies, num_uses: uses } = token as {
    readonly policies?: readonly string[]
    readonly num_uses?: number
  }
  return {
    faults:
      (uses ?? 0) > 0
        ? ['the token of Vault may be used a limited number of times: create one without -use-limit']
        : [],
    unsafe: policies?.includes('root')
      ? ['the gateway has a root token of Vault: create one with the policy of the guide']
      : [],
  }
}

const look = async (client: VaultClient, settings: VaultSettings): Promise<Look> => {
  try {
    const faults = await faultsOf(client, settings)
    if (faults.length > 0) return { faults, unsafe: [], offsetMs: 0 }
    return { ...tokenWarnings(await client.lookup()), offsetMs: client.offset() }
  } catch (error) {
    throw error instanceof VaultError ? unavailable(error.failure.why) : error
  }
}

/** Where another server than the one that wrote answers a read, a code could be used twice. */
const requireReadAfterWrite = async (
  run: VaultDriver,
  random: VaultStoreOptions['random'],
): Promise<void> => {
  const path = `~probe/${Buffer.from(random(9)).toString('hex')}`
  for (let i = 0; i < 3; i++) {
    const isSeen = await run(async (requests) => {
      await requests.write(path, { n: i }, i)
      return (await requests.read(path))?.version === i + 1
    })
    if (!isSeen)
      throw unavailable(
        'a standby of Vault answers reads with old data: set storage.vault.url to the active server, or `disable_standby_reads = true` (OpenBao)',
      )
  }
  await run((requests) => requests.remove(path))
}

// The store.

export interface VaultStoreOptions extends VaultClientOptions {
  /** Version of the gateway. */
  readonly product: string
}

interface OpenedVaultStore {
  /** The server, in messages. */
  readonly location: string
  readonly store: SweptStore
  readonly records: StoredRecords
  /** Looks at the server again, as it does every minute by itself, and logs what has become of it. */
  readonly check: () => Promise<void>
  readonly close: () => void
}

/** Rejects with `Refusal('storage.unavailable')` when the server cannot be reached, or must not be used. */
export const openVaultStore = async (options: VaultStoreOptions): Promise<OpenedVaultStore> => {
  const { settings, random, log, product, now } = options
  const { url = '', mount_point: mount, path_prefix: prefix } = settings
  const location = `${url.replace(/\/$/, '')} (${mount}/${prefix})`
  const client = createVaultClient(options)
  const run = createDriver(client, options)
  const store = createVaultStore(run, { random })
  const checks = createChecks({
    look: () => look(client, settings),
    meta: createMeta(store, { shards: 1, product, now }),
    ...{ server: 'Vault', location, requirePersistence: false, log },
  })
  try {
    await checks.start()
    await requireReadAfterWrite(run, random)
  } catch (error) {
    client.close()
    throw error instanceof Refusal ? unavailable(`${location}: ${error.why}`) : error
  }
  const stopChecking = checks.every()
  return {
    location,
    store,
    records: createVaultRecords(run),
    check: checks.again,
    close() {
      stopChecking()
      client.close()
    },
  }
}
