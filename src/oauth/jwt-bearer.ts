// grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer (RFC 7523 §2.1): an assertion is exchanged for a token, for a
// person by an ID-JAG and for a program by a token of its platform. Everything is checked before anything is used up;
// there is no refresh token, and the next assertion brings back what was ended.
import type { Config } from '../config/schema.ts'
import { aboutRequest } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import {
  type Assertion,
  type Audience,
  type ListedIssuer,
  idJagType,
  issuerOf,
  readAssertion,
  refuse,
  typeOf,
  verifyAssertion,
} from './assertion.ts'
import type { AuthenticatedClient } from './client.ts'
import type { Clients } from './clients.ts'
import type { Grant } from './grant.ts'
import { type Accepted, type IdJagDeps, acceptIdJag, checkIdJagClient, idJagClaims } from './id-jag.ts'
import { type IssuerKeys, createIssuerKeys } from './issuer-keys.ts'
import { endpoints } from './metadata.ts'
import { type GrantHandler, type TokenRequest, factsOf, one, tokenResponse } from './parameters.ts'
import { issueSilently, silentGrant, silentGrantId } from './silent-grant.ts'
import { subjectOf } from './tokens.ts'
import { acceptWorkload, workloadClaims, workloadClient } from './workload.ts'

export interface JwtBearerDeps extends IdJagDeps {
  readonly runtime: Pick<
    Runtime,
    'now' | 'keys' | 'digest' | 'random' | 'store' | 'outbound' | 'cache' | 'defer'
  >
  readonly config: IdJagDeps['config'] & Pick<Config, 'assertion_issuers'>
  readonly directory: IdJagDeps['directory'] & Pick<Directory, 'origins'>
  readonly limit: Limit
}

const isIdJag = (text: string): boolean => {
  try {
    return typeOf(readAssertion(text)) === idJagType
  } catch {
    return false
  }
}

/** A program that proves what it is by its assertion alone. */
export const nobody: AuthenticatedClient = {
  id: '',
  name: '',
  kind: 'registered',
  redirectUris: [],
  authMethod: 'none',
  grantTypes: [],
  proven: false,
  digest: () => '',
  spend: () => Promise.resolve(),
}

/** The client of such a request: a workload has none, and one that says who it is must be known. */
export const assertingClient = (
  clients: Pick<Clients, 'authenticate'>,
  request: Request,
  form: URLSearchParams,
): Promise<AuthenticatedClient> => {
  const says = ['client_id', 'client_secret', 'client_assertion'].some((name) => form.get(name))
  const isAlone = !says && !request.headers.has('authorization')
  return isAlone && !isIdJag(form.get('assertion') ?? '')
    ? Promise.resolve(nobody)
    : clients.authenticate(request, form)
}

export const listedIssuers = ({
  assertion_issuers: issuers,
}: Pick<Config, 'assertion_issuers'>): readonly ListedIssuer[] =>
  Object.entries(issuers).map(([id, entry]) => ({ id, entry }))

/** What an issuer must name as the one for whom its assertion is. */
const audienceOf = (
  { issuer }: Pick<Directory, 'issuer'>,
  { type, audience, audiences }: ListedIssuer['entry'],
): Audience => {
  const own = [issuer, `${issuer}/`]
  if (type === 'id_jag') return { any: own, contains: false }
  const { path, alias } = endpoints.token
  const any = [...own, issuer + path, issuer + alias, ...(audience === undefined ? [] : [audience])]
  return { any, contains: audiences === 'contains' }
}

/** The assertion, verified as far as that is alike for all. Throws `assertion.*` or `client.grant`. */
export const verified = async (
  { config, directory, runtime }: Pick<JwtBearerDeps, 'config' | 'directory' | 'runtime'>,
  keys: IssuerKeys,
  text: string,
  { client, signed }: Pick<TokenRequest, 'client'> & { readonly signed?: (issuer: ListedIssuer) => void },
): Promise<Assertion> => {
  const read = readAssertion(text)
  if (typeOf(read) === idJagType) checkIdJagClient(client)
  const issuer = issuerOf(read, listedIssuers(config), directory.origins)
  return verifyAssertion(text, read, issuer, keys, {
    audience: audienceOf(directory, issuer.entry),
    required: issuer.entry.type === 'id_jag' ? idJagClaims : workloadClaims,
    now: runtime.now(),
    signed,
  })
}

const usedMs = 120_000

/** Its use, where it is good once: the look before everything else, and the record after it. */
export const createUse = ({ store, digest, now }: JwtBearerDeps['runtime'], assertion: Assertion) => {
  const { claims, signed, expiresAt, issuer } = assertion
  const { type, replay } = issuer.entry
  const id = digest(JSON.stringify([issuer.id, claims['iss'], claims['jti'] ?? signed]))
  const key = `jti:${id}`
  const isOnce = type === 'id_jag' || replay === 'once'
  const used = (): Refusal => refuse('assertion.replayed', `jti ${id}`)
  return {
    id,
    async look(): Promise<void> {
      if (isOnce && (await store.get(key))) throw used()
    },
    async spend(): Promise<void> {
      const ttlMs = Math.max(1, expiresAt - now()) + usedMs
      if (isOnce && !(await store.put(key, '1', { ttlMs, only: 'absent' }))) throw used()
    },
  }
}

/** Seconds. A token of a program outlives its assertion by no more than that still lives. */
const lifetimeOf = ({ tokens, runtime }: JwtBearerDeps, { issuer, expiresAt }: Assertion): number => {
  const left = issuer.entry.type === 'id_jag' ? Infinity : (2 * (expiresAt - runtime.now())) / 1000
  return Math.max(1, Math.floor(Math.min(tokens.expiresIn, issuer.entry.token_lifetime, left)))
}

/** What the trail says of the assertion, as soon as its issuer has signed it; never the assertion. */
const factsOfAssertion = ({ issuer, subject }: Assertion, jti: string) => ({
  kind: issuer.entry.type,
  issuer: issuer.id,
  subject,
  jti,
})

const issue = async (
  deps: JwtBearerDeps,
  request: TokenRequest,
  assertion: Assertion,
  { permitted, scopes, most, actor }: Accepted,
): Promise<{ readonly grant: Grant; readonly answer: Parameters<typeof tokenResponse>[1] }> => {
  const { person, address } = permitted
  const { issuer } = assertion
  const actors = actor === undefined ? [] : [actor]
  const parts = [issuer.id, request.client.id, subjectOf({ person }), address.resource, ...actors]
  const identity = { client: request.client, kind: issuer.entry.type, parts }
  const lifetime = lifetimeOf(deps, assertion)
  const jkt = request.bind(address.resource)
  if (jkt === undefined && assertion.claims['cnf'] !== undefined)
    throw refuse('assertion.proof', `no proofs at ${address.service.id}`)
  const { grant, access } = await issueSilently(deps, request, person, {
    id: silentGrantId(deps.runtime, identity),
    make(before) {
      const flow = (before?.state === 'live' ? before.flow : undefined) ?? request.begin()
      return {
        ...silentGrant(deps, identity, permitted, before),
        issuer: issuer.id,
        ...(actors.length > 0 && { actor: actors }),
        ...(flow !== undefined && { flow }),
      }
    },
    sign: (grant) => deps.tokens.access(grant, scopes, jkt, { lifetime, most }),
  })
  return { grant, answer: { access, scopes, jkt, expiresIn: lifetime } }
}

/** The request as the one of the program, whatever client has sent it. */
const asProgram = (request: TokenRequest, id: string): TokenRequest => ({
  ...request,
  client: { ...request.client, id: workloadClient(id), name: id },
})

interface Progress {
  /** Whoever has signed the assertion. */
  issuer?: ListedIssuer
  facts: Readonly<Record<string, unknown>>
}

const exchange = async (
  deps: JwtBearerDeps,
  keys: IssuerKeys,
  sent: TokenRequest,
  progress: Progress,
): Promise<Response> => {
  const text = one(sent.form, 'assertion')
  if (text === undefined)
    throw new Refusal('request.malformed', 'assertion missing', { say: 'assertion is required.' })
  const assertion = await verified(deps, keys, text, {
    client: sent.client,
    signed: (signer) => (progress.issuer = signer),
  })
  const { issuer } = assertion
  const isProgram = issuer.entry.type === 'workload'
  const request = isProgram ? asProgram(sent, issuer.id) : sent
  const use = createUse(deps.runtime, assertion)
  progress.facts = { ...factsOfAssertion(assertion, use.id), client: request.client.id }
  await deps.limit('assertions', isProgram ? `issuer ${issuer.id}` : `client ${request.client.id}`)
  const accepted = await (isProgram ? acceptWorkload : acceptIdJag)(deps, assertion, request)
  progress.facts = {
    ...progress.facts,
    person: subjectOf(accepted.permitted),
    service: accepted.permitted.address.service.id,
  }
  await use.look()
  const { grant, answer } = await issue(deps, request, assertion, accepted)
  await use.spend()
  const { scopes, rule, actor } = accepted
  deps.record({
    event: 'assertion.accepted',
    ...progress.facts,
    ...factsOf(grant, request),
    scopes,
    rule,
    actor,
  })
  deps.record({ event: 'grant.issued', kind: grant.kind, scopes, ...factsOf(grant, request) })
  return tokenResponse(deps.tokens, answer)
}

/** Writes the refusal into the trail, and throws what its caller is progress. */
const refused = async (
  { record, limit }: JwtBearerDeps,
  refusal: Refusal,
  { facts, issuer }: Progress,
  { client, context, begin }: TokenRequest,
): Promise<never> => {
  await limit('refused-assertions', { ip: context.ip })
  const said = {
    ...(client.id !== '' && { client: client.id }),
    ...(issuer && { kind: issuer.entry.type, issuer: issuer.id }),
    ...facts,
    refusal: refusal.code,
    why: refusal.why,
    ip: context.ip,
    request_id: context.requestId,
  }
  if (refusal.code === 'assertion.replayed') record({ event: 'assertion.replayed', ...said })
  else record({ event: 'assertion.refused', ...said })
  // Whoever the issuer has named is somebody whose attempt is worth a record of its own.
  if (Object.keys(facts).length > 0) begin()
  const { person, service } = facts as { readonly person?: string; readonly service?: string }
  throw aboutRequest(refusal, { person, service })
}

export const createJwtBearerGrant = (deps: JwtBearerDeps): GrantHandler => {
  const keys = createIssuerKeys(deps)
  return async (request) => {
    const progress: Progress = { facts: {} }
    try {
      return await exchange(deps, keys, request, progress)
    } catch (error) {
      if (error instanceof Refusal && error.row.status < 500) return refused(deps, error, progress, request)
      throw error
    }
  }
}
