// DPoP (RFC 9449) at the authorization server and at the services: whose tokens are bound to a key, nonces, and that
// each proof is accepted once.
import type { Config } from '../config/schema.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type RequestFacts, Refusal } from '../kit/refusal.ts'
import type { Audit, ProvenRequest } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory, Service } from '../ports/services.ts'
import { type AuthenticatedClient, type Client, isDpopOn } from './client.ts'
import {
  type ProofFault,
  type ReadProof,
  canonicalUrl,
  createVerifyProof,
  isFault,
  misuseOf,
  proofAlgorithms,
  readProof,
} from './dpop-proof.ts'

export type DpopMode = NonNullable<Service['dpop']>

export interface DpopDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'keys' | 'digest' | 'store' | 'counters' | 'es256Check'>
  readonly config: Pick<Config, 'dpop' | 'clients'>
  readonly directory: Pick<Directory, 'issuer' | 'origins' | 'host' | 'resolve'>
  readonly record: Audit
}

type Settings = NonNullable<Config['dpop']>

// Nonces (RFC 9449 §8): one for each minute, which every process of the gateway can work out for itself.

const nonceMs = 60_000
const nonceBytes = 18

interface JudgedNonce {
  /** Number of the minute that it belongs to; undefined: it counts no more, or never did. */
  readonly minute: number | undefined
  /** What the next proof should contain, where that is another one. */
  readonly newer: string | undefined
}

interface Nonces {
  current(): Promise<string>
  judge(nonce: unknown): Promise<JudgedNonce>
}

/** `of`: the process that they are good at; empty: all of them. */
const createNonces = ({ now, keys }: DpopDeps['runtime'], of: string): Nonces => {
  const made = new Map<number, string>()
  // A clock that was set back must not make good again what was forgotten meanwhile.
  let newest = 0
  const minute = (): number => (newest = Math.max(newest, Math.floor(now() / nonceMs)))
  const at = async (index: number): Promise<string> => {
    const known = made.get(index)
    if (known !== undefined) return known
    const mac = await keys.mac('dpop-nonce', `${of}.${index}`)
    if (!mac) throw new TypeError('the current root key is gone')
    const nonce = encodeBase64url(mac.subarray(0, nonceBytes))
    for (const before of made.keys()) if (before < index - 1) made.delete(before)
    made.set(index, nonce)
    return nonce
  }
  return {
    current: () => at(minute()),
    async judge(nonce) {
      const index = minute()
      const current = await at(index)
      if (nonce === current) return { minute: index, newer: undefined }
      const isLast = nonce === (await at(index - 1))
      return { minute: isLast ? index - 1 : undefined, newer: current }
    },
  }
}

// That each proof is accepted once.

/** What a proof was used for: it may be used for nothing else, and for this once. */
interface Use {
  readonly id: string
  /** Epoch ms after which no process accepts it. */
  readonly until: number
  readonly minute: number | undefined
}

/** False where it was remembered before. */
type Remember = (use: Use) => boolean | Promise<boolean>

/** Proofs of one minute. */
const mostRemembered = 200_000
const leewayMs = 60_000

const rememberInStore =
  ({ store, now }: DpopDeps['runtime']): Remember =>
  async ({ id, until }) =>
    (await store.put(`proof:${id}`, '', { ttlMs: Math.max(1, until - now()) + leewayMs, only: 'absent' })) !==
    undefined

/**
 * By the minute of their nonce, which is good for two minutes: what is older is forgotten at once. A process that
 * starts anew has other nonces, so nothing has to outlive it.
 */
export const createProofMemory = (most = mostRemembered): Remember => {
  const used = new Map<number, Set<string>>()
  return ({ id, minute = 0 }) => {
    const ids = used.get(minute) ?? new Set<string>()
    if (ids.has(id)) return false
    if (ids.size >= most)
      throw new Refusal('storage.unavailable', `${ids.size} proofs in a minute`, {
        say: 'Too many requests with DPoP proofs. Try again in a moment.',
        headers: { 'retry-after': '5' },
      })
    used.set(minute, ids.add(id))
    // One minute later than they end: a proof that was let through a moment ago is being remembered now.
    for (const before of used.keys()) if (before < minute - 3) used.delete(before)
    return true
  }
}

/** Whether one process owns the records: then it may remember the proofs of calls by itself. */
const remembersHere = ({ replay, nonce }: Settings, { counters }: DpopDeps['runtime']): boolean =>
  replay === 'memory' || (replay === 'auto' && nonce === 'required' && counters === undefined)

// What is judged of a proof at both places.

interface CheckedProof {
  readonly proof: ReadProof
  readonly minute: number | undefined
  /** For the next proof, where that is another one. */
  readonly newer: string | undefined
}

interface Wanted {
  readonly field: string | undefined
  readonly method: string
  readonly url: string
  readonly ath?: string
  readonly jkt?: string
}

interface Checks {
  check(wanted: Wanted): Promise<CheckedProof | ProofFault>
  use(checked: CheckedProof, url: string): Use
  /** For a refusal that asks for a proof: what the next one should contain. */
  fresh(): Promise<string | undefined>
}

const createChecks = (runtime: DpopDeps['runtime'], settings: Settings, own: string): Checks => {
  const nonces = settings.nonce === 'required' ? createNonces(runtime, own) : undefined
  const verify = createVerifyProof(runtime.es256Check)
  const windowMs = settings.window * 1000
  return {
    async check({ field, ...use }) {
      const proof = readProof(field, runtime.digest)
      if (isFault(proof)) return proof
      const misuse = misuseOf(proof, { ...use, now: runtime.now(), windowMs })
      if (misuse) return misuse
      const judged = await nonces?.judge(proof.nonce)
      if (judged && judged.minute === undefined)
        return { code: 'proof.nonce', why: proof.nonce === undefined ? 'no nonce' : 'nonce of another time' }
      return (await verify(proof))
        ? { proof, minute: judged?.minute, newer: judged?.newer }
        : { code: 'proof.signature', why: `key ${proof.jkt}` }
    },
    use: ({ proof: { jkt, htm, jti, issuedAt }, minute }, url) => ({
      // By key: nobody can use up the identifiers of others.
      id: runtime.digest(JSON.stringify([jkt, htm, url, jti])),
      until: issuedAt + windowMs,
      minute,
    }),
    fresh: async () => nonces?.current(),
  }
}

// The authorization server (RFC 9449 §5).

/** The proof of a token request, good but for its use. */
export interface TokenProof {
  readonly jkt: string
  /** The `DPoP-Nonce` of the answer. */
  readonly nonce: string | undefined
  /** Throws `proof.replayed`. */
  spend(client: Pick<Client, 'id'>): Promise<void>
}

/** A token endpoint and a service under one roof: what is asked of each by the other modules. */
export interface Dpop {
  /** What a client’s tokens for a service are. `client`: of the client itself, where it or the operator said so. */
  modeOf(client: DpopMode | undefined, service: Pick<Service, 'dpop'> | undefined): DpopMode
  /** The same by the ID of the client. */
  modeAt(clientId: string, service: Pick<Service, 'dpop'>): DpopMode
  /**
   * Undefined where no proof was sent. Throws `proof.*`. Nothing is used up: the client sends the same body again when
   * it is told of a nonce.
   */
  atTokenEndpoint(request: Request): Promise<TokenProof | undefined>
  /**
   * The thumbprint that the tokens for this resource are bound to; undefined: to none. Throws `proof.missing`.
   */
  bind(client: Client, resource: string, proof: TokenProof | undefined): string | undefined
  /**
   * The proof of a call. `request.nonce` is set where the caller needs another one; the fault, where it is none of this
   * call or was used before.
   */
  atResource(request: ProvenRequest | undefined, token: BoundToken): Promise<ProofFault | undefined>
  /** The same of a request to the operator’s own API; the nonce is the `DPoP-Nonce` of its answer. */
  atApi(
    request: Request,
    token: Omit<BoundToken, 'origin'>,
  ): Promise<{ readonly fault?: ProofFault | undefined; readonly nonce?: string | undefined }>
  /** For a challenge. */
  fresh(): Promise<string | undefined>
  /** As a challenge lists them. */
  readonly algorithms: string
}

export interface BoundToken {
  readonly jkt: string
  /** Digest of the token. */
  readonly ath: string
  /** The origin that the caller used. */
  readonly origin: string
  readonly facts: RequestFacts
}

/** The client with its proof used up where it is, and after what it proved its identity with. */
export const withProof = (client: AuthenticatedClient, proof: TokenProof): AuthenticatedClient => ({
  ...client,
  async spend() {
    await client.spend()
    await proof.spend(client)
  },
})

/** The origin that a caller of an endpoint used, as far as it is ours. */
const originUsed = ({ issuer, origins, host }: DpopDeps['directory'], request: Request): string => {
  const asked = (request.headers.get('host') ?? new URL(request.url).host).toLowerCase()
  return origins.find((origin) => new URL(origin).host === asked) ?? host(asked)?.origin ?? issuer
}

const createTokenProofs = (
  { runtime, directory, record }: DpopDeps,
  { check, use, fresh }: Checks,
): Dpop['atTokenEndpoint'] => {
  const remember = rememberInStore(runtime)
  return async (request) => {
    const field = request.headers.get('dpop')
    if (field === null) return undefined
    const url = canonicalUrl(originUsed(directory, request) + new URL(request.url).pathname) ?? ''
    const checked = await check({ field, method: request.method, url })
    if (isFault(checked)) {
      const nonce = await fresh()
      throw new Refusal(
        checked.code,
        checked.why,
        nonce === undefined ? {} : { headers: { 'dpop-nonce': nonce } },
      )
    }
    const { jkt } = checked.proof
    return {
      jkt,
      nonce: checked.newer,
      async spend({ id }) {
        if (await remember(use(checked, url))) return
        record({ event: 'proof.replayed', client: id, jkt })
        throw new Refusal('proof.replayed', `key ${jkt}`)
      },
    }
  }
}

// The services (RFC 9449 §7).

/** Faults that say nothing of the caller: it is told what to do, and does it. */
const ordinary: ReadonlySet<string> = new Set(['proof.missing', 'proof.nonce'])

const createCallProofs = (
  { runtime, record }: DpopDeps,
  settings: Settings,
  { check, use }: Checks,
): Dpop['atResource'] => {
  const remember = remembersHere(settings, runtime) ? createProofMemory() : rememberInStore(runtime)
  return async (request, { jkt, ath, origin, facts }) => {
    const tell = (found: ProofFault): ProofFault => {
      const told = { code: found.code, ...facts, jkt }
      if (found.code === 'proof.replayed') record({ event: 'proof.replayed', ...told })
      else if (!ordinary.has(found.code)) record({ event: 'proof.refused', ...told })
      return found
    }
    if (!request) return { code: 'proof.missing', why: 'no request' }
    const { method, target } = request.head
    const url = canonicalUrl(origin + (target.split('?', 1)[0] ?? '')) ?? ''
    const checked = await check({ field: request.inbound.proof, method, url, ath, jkt })
    if (isFault(checked)) return tell(checked)
    if (!(await remember(use(checked, url)))) return tell({ code: 'proof.replayed', why: `key ${jkt}` })
    request.nonce = checked.newer
    return undefined
  }
}

/** Undefined where the gateway has none. */
export const createDpop = (deps: DpopDeps): Dpop | undefined => {
  const { config, runtime, directory } = deps
  const settings = config.dpop
  if (!settings || !isDpopOn(config)) return undefined
  const own = remembersHere(settings, runtime) ? encodeBase64url(runtime.random(12)) : ''
  const checks = createChecks(runtime, settings, own)
  const modeOf: Dpop['modeOf'] = (client, service) => {
    const named = [client, service?.dpop]
    return (['required', 'off', 'optional'] as const).find((mode) => named.includes(mode)) ?? settings.mode
  }
  const atResource = createCallProofs(deps, settings, checks)
  return {
    modeOf,
    modeAt: (clientId, service) =>
      modeOf(Object.hasOwn(config.clients, clientId) ? config.clients[clientId]?.dpop : undefined, service),
    atTokenEndpoint: createTokenProofs(deps, checks),
    bind(client, resource, proof) {
      const mode = modeOf(client.dpop, directory.resolve(resource)?.service)
      if (mode === 'required' && !proof) throw new Refusal('proof.missing', `${client.id} at ${resource}`)
      return mode === 'off' ? undefined : proof?.jkt
    },
    atResource,
    async atApi(request, token) {
      const head = { method: request.method, target: new URL(request.url).pathname }
      const inbound = { proof: request.headers.get('dpop') ?? undefined }
      const proven: ProvenRequest = { head, inbound, nonce: undefined }
      const fault = await atResource(proven, { ...token, origin: originUsed(directory, request) })
      return { fault, nonce: proven.nonce }
    },
    fresh: checks.fresh,
    algorithms: proofAlgorithms.join(' '),
  }
}
