// DPoP (RFC 9449) at the authorization server and at the services: whose tokens are bound to a key, and what is asked of
// each proof. Nonces, and that each is accepted once, are in dpop-uses.ts.
import type { Config } from '../config/schema.ts'
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

import {
  type JudgedNonce,
  type ProofUse,
  type ProofUses,
  type ProofUsesDeps,
  createProofUses,
} from './dpop-uses.ts'

export type DpopMode = NonNullable<Service['dpop']>

export interface DpopDeps {
  readonly runtime: ProofUsesDeps & Pick<Runtime, 'digest' | 'es256Check'>
  readonly config: Pick<Config, 'dpop' | 'clients'>
  readonly directory: Pick<Directory, 'issuer' | 'origins' | 'host' | 'resolve'>
  readonly record: Audit
}

type Settings = NonNullable<Config['dpop']>

// What is judged of a proof at both places.

interface CheckedProof {
  readonly proof: ReadProof
  readonly judged: JudgedNonce | undefined
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
  use(checked: CheckedProof, url: string): ProofUse
  /** For a refusal that asks for a proof: what the next one should contain. */
  fresh(): Promise<string | undefined>
}

const createChecks = (runtime: DpopDeps['runtime'], settings: Settings, { nonces }: ProofUses): Checks => {
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
        ? { proof, judged, newer: judged?.newer }
        : { code: 'proof.signature', why: `key ${proof.jkt}` }
    },
    use: ({ proof: { jkt, htm, jti, issuedAt }, judged }, url) => ({
      // By key: nobody can use up the identifiers of others.
      id: runtime.digest(JSON.stringify([jkt, htm, url, jti])),
      until: issuedAt + windowMs,
      minute: judged?.minute,
      here: judged?.own ?? false,
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
  { directory, record }: DpopDeps,
  { check, use, fresh }: Checks,
  { inStore: remember }: ProofUses,
): Dpop['atTokenEndpoint'] => {
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
  { record }: Pick<DpopDeps, 'record'>,
  { check, use }: Checks,
  { remember }: ProofUses,
): Dpop['atResource'] => {
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
  const uses = createProofUses(runtime, settings)
  const checks = createChecks(runtime, settings, uses)
  const modeOf: Dpop['modeOf'] = (client, service) => {
    const named = [client, service?.dpop]
    return (['required', 'off', 'optional'] as const).find((mode) => named.includes(mode)) ?? settings.mode
  }
  const atResource = createCallProofs(deps, checks, uses)
  return {
    modeOf,
    modeAt: (clientId, service) =>
      modeOf(Object.hasOwn(config.clients, clientId) ? config.clients[clientId]?.dpop : undefined, service),
    atTokenEndpoint: createTokenProofs(deps, checks, uses),
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
