// The consent request: which client asks which person for what, and what that person allowed it before. It is
// established anew for the page and for the answer.
import type { Config } from '../config/schema.ts'
import { beforeRules, isEnough } from '../kit/levels.ts'
import { createRecords, personKey, servesProvider } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import {
  httpsHost,
  judgeRedirectUri,
  redirectHost,
  redirectMatches,
  withoutLoopbackPort,
} from '../kit/urls.ts'
import type { Blocks, BrowserSession, DescribeFlow, ServiceChoices, UpstreamStep } from '../ports/modules.ts'
import type { ConsentView } from '../ports/pages.ts'
import type { Consented, Person } from '../ports/people.ts'
import type { ConsentChoices, Denied } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address, FindAddress } from '../ports/services.ts'
import { apiTarget } from './api-tokens.ts'
import type { PendingRequest, PendingRequests, StoredRequest } from './authorization-requests.ts'
import { clientView, mayUseDevice } from './client.ts'
import type { Clients, FoundClient } from './clients.ts'
import { consentLevelsOf, ceilingOf } from './consented.ts'
import type { Grant } from './grant.ts'
import { tellClient } from './parameters.ts'

export interface ConsentRequest {
  readonly read: StoredRequest
  readonly pending: PendingRequest
  readonly address: Address
  readonly session: BrowserSession
  readonly person: Person
  /** Undefined: the service has no access rules, and the app may do what the person may. */
  readonly choices: ConsentChoices | undefined
}

/**
 * A consent request whose client was looked up again: what it says of itself may have changed since the
 * authorization request, and what it says now counts.
 */
export interface ConfirmedRequest extends ConsentRequest {
  readonly client: FoundClient
}

// What a person allowed before: per person, client, redirect URI and service, for the client as it described
// itself then, and for the scopes allowed then.

/** What is known of a consent request from before. */
export interface RememberedConsent {
  /** Scopes that this person allowed this client before. */
  readonly scopes: readonly string[]
  /** The client says something else of itself than when it was allowed. */
  readonly changed: boolean
  /** What they let it do; undefined: nothing, or nobody knows. */
  readonly before: Consented | undefined
  /** The same where they chose it: before there were rules, nobody did. */
  readonly consented: Consented | undefined
  /** Whether the person need not be asked again for these scopes. */
  readonly settles: boolean
}

export interface RememberedConsents {
  recall(request: ConsentRequest): Promise<RememberedConsent>
  /** Adds what was allowed now to what is remembered. `consented`: as of the grant. */
  keep(
    request: ConsentRequest,
    remembered: RememberedConsent,
    consented: Consented | undefined,
  ): Promise<void>
}

interface ConsentRecord {
  readonly client: string
  readonly scopes: readonly string[]
  readonly consented?: Consented
}

const rememberMs = 30 * 86_400_000

export interface RememberedConsentsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}

/**
 * Any program on a computer can listen on a loopback port or register a scheme, and take the name of a client
 * that does not prove who it is (RFC 8252 §8.6): its person is asked each time, and what was allowed before
 * only shows what is new. An https redirect URI leads to whoever holds the domain.
 */
const isProven = ({ pending }: ConsentRequest): boolean =>
  pending.redirectUri !== undefined &&
  (pending.client.proves || judgeRedirectUri(pending.redirectUri) === 'https')

/** What is remembered of a person, client, redirect URI and service, in either form. */
interface ConsentKey {
  readonly person: Person
  readonly clientId: string
  readonly redirectUri: string
  readonly resource: string
  readonly generation: string | undefined
}

/** Whoever was asked before the service had rules has chosen nothing of what the page offers now. */
const isLevelSettled = ({ choices, pending }: ConsentRequest, consented: Consented | undefined): boolean => {
  if (!choices) return true
  if (!consented) return false
  return pending.level === undefined || isEnough(consented.level, ceilingOf(choices, pending))
}

// The redirect URI counts in full where the record stands for the person, port included. Elsewhere the port,
// which a client may change each time, is left out.
const consentId = (
  { digest }: Pick<Runtime, 'digest'>,
  { person, clientId, redirectUri, resource, generation = '' }: ConsentKey,
  proven: boolean,
): string =>
  digest(
    JSON.stringify([
      person.provider,
      person.subject,
      clientId,
      proven ? redirectUri : withoutLoopbackPort(redirectUri),
      resource,
      generation,
    ]),
  )

/** The keys under which the consent to this grant may be remembered: whoever ends it is asked again. */
export const consentKeysOf = (
  runtime: Pick<Runtime, 'digest'>,
  { serviceGeneration: generation, redirectUri, ...grant }: Grant,
): readonly string[] =>
  redirectUri === undefined
    ? []
    : [true, false].map(
        (proven) => `consent:${consentId(runtime, { ...grant, redirectUri, generation }, proven)}`,
      )

export const createRememberedConsents = ({ runtime }: RememberedConsentsDeps): RememberedConsents => {
  const records = createRecords<ConsentRecord>(runtime, 'consent:', { remembered: 256 })
  /** Undefined where nothing is sent back: whoever asked from another device asks each time. */
  const idOf = ({ person, pending, address }: ConsentRequest, proven: boolean): string | undefined => {
    const { client, redirectUri, resource } = pending
    // Nor is anybody's answer about the operator's API: who administers with an app says so each time.
    if (redirectUri === undefined || address.service.id === apiTarget) return undefined
    const { generation } = address.service
    return consentId(runtime, { person, clientId: client.id, redirectUri, resource, generation }, proven)
  }

  return {
    async recall(request) {
      const { client, scopes: asked } = request.pending
      const proven = isProven(request)
      const id = idOf(request, proven)
      const kept = id === undefined ? undefined : (await records.get(id))?.value
      const changed = kept !== undefined && kept.client !== client.digest
      const stands = kept !== undefined && !changed
      const scopes = stands ? kept.scopes : []
      const consented = stands ? kept.consented : undefined
      return {
        scopes,
        changed,
        consented,
        before: stands ? (consented ?? { level: beforeRules, excluded: [] }) : undefined,
        settles:
          proven && asked.every((scope) => scopes.includes(scope)) && isLevelSettled(request, consented),
      }
    },
    async keep(request, remembered, consented) {
      const { client, scopes } = request.pending
      const record: ConsentRecord = {
        client: client.digest,
        scopes: [...new Set([...remembered.scopes, ...scopes])],
        ...(consented && { consented }),
      }
      const id = idOf(request, isProven(request))
      if (id !== undefined) await records.put(id, record, { ttlMs: rememberMs })
    },
  }
}

// The request, as it is shown and checked.

/**
 * Signing in for a pending request, and back to it; `again` asks although a session exists: for a fresh
 * sign-in, or for another account.
 */
export const loginPath = (id: string, again?: 'login' | 'switch'): string =>
  `/login?flow=${id}${again === 'switch' ? '&switch=1' : again === 'login' ? '&prompt=login' : ''}`

const wrongProvider = ({ id }: PendingRequest, { service }: Address, person: Person): Refusal =>
  new Refusal('person.wrong-provider', `${person.provider} at ${service.id}`, {
    page: {
      facts: [
        { name: 'Signed in as', value: person.email ?? person.login ?? person.subject },
        { name: 'Service', value: service.name },
      ],
      onward: { label: 'Use another account', href: loginPath(id, 'switch') },
    },
  })

/** The rules give this person nothing there: they are told who they are, and the client that access is denied. */
const noAccess = (
  { id, redirectUri, state, promptNone, client }: PendingRequest,
  { service }: Address,
  { person, denied }: { readonly person: Person; readonly denied: Denied },
): Refusal =>
  new Refusal('access.none', `${denied.code} at ${service.id}`, {
    ...(denied.code === 'policy.client' && { say: 'This app may not be used with this service.' }),
    ...(denied.rule !== undefined && { rule: denied.rule }),
    ...(redirectUri !== undefined && {
      redirect: {
        uri: redirectUri,
        ...(state !== undefined && { state }),
        ...(!promptNone && { ask: client.name }),
      },
    }),
    page: {
      facts: [
        { name: 'Signed in as', value: person.email ?? person.login ?? person.subject },
        { name: 'Service', value: service.name },
      ],
      onward: { label: 'Use another account', href: loginPath(id, 'switch') },
    },
  })

/** Whether its redirect URL may be shown, for an app that runs on another computer. */
export const mayCopy = (
  { redirectUri }: Pick<PendingRequest, 'redirectUri'>,
  { copy_redirect_url: offered }: Pick<Config, 'copy_redirect_url'>,
): boolean => offered && redirectUri !== undefined && judgeRedirectUri(redirectUri) === 'loopback'

const redirectView = (uri: string): NonNullable<ConsentView['redirect']> => {
  const kind = judgeRedirectUri(uri)
  return { uri, host: redirectHost(uri), loopback: kind === 'loopback', native: kind === 'native' }
}

/**
 * What the person is shown. `remembered`: what they allowed before.
 */
export const consentView = (
  consentRequest: ConsentRequest,
  remembered: RememberedConsent,
  csrf: string,
  config: Pick<Config, 'refresh_token_lifetime' | 'copy_redirect_url'>,
  upstream?: UpstreamStep,
): ConsentView => {
  const { pending, address, person, choices } = consentRequest
  const { id, name, description } = address.service
  return {
    client: clientView(pending.client),
    ...(pending.redirectUri !== undefined && { redirect: redirectView(pending.redirectUri) }),
    ...(pending.device && { device: pending.device }),
    service: { id, name, description, resource: address.resource },
    person,
    scopes: pending.scopes.map((scope) => ({ name: scope, fresh: !remembered.scopes.includes(scope) })),
    ...(remembered.changed
      ? { again: 'changed' as const }
      : remembered.scopes.length > 0 && { again: 'same' as const }),
    ...(pending.client.refreshable && { staysMs: config.refresh_token_lifetime * 1000 }),
    ...(mayCopy(pending, config) && { copyable: true }),
    ...(upstream && { upstream }),
    ...(choices && { access: consentLevelsOf(choices, pending, remembered.before) }),
    flow: pending.id,
    csrf,
    switchAccount: loginPath(pending.id, 'switch'),
  }
}

const addressOf = async (pending: PendingRequest, find: FindAddress): Promise<Address> => {
  const address = await find(pending.resource)
  if (!address) throw tellClient(pending, 'resource.unknown', pending.resource)
  return address
}

/**
 * Throws `resource.unknown` or `person.wrong-provider` when the request makes no sense any more, or not for
 * this person.
 */
export const consentRequestOf = async (
  read: StoredRequest,
  session: BrowserSession,
  {
    find,
    blocks,
    choices: choicesOf,
  }: {
    readonly find: FindAddress
    readonly blocks: Pick<Blocks, 'covers'>
    readonly choices: ServiceChoices
  },
): Promise<ConsentRequest> => {
  const { pending } = read
  const { person } = session
  const [address, out] = await Promise.all([
    addressOf(pending, find),
    blocks.covers(person, pending.clientId),
  ])
  if (out) {
    const code = out === 'blocked' ? 'access.blocked' : 'person.deactivated'
    throw tellClient(pending, code, `${personKey(person)} with ${pending.clientId}`)
  }
  if (!servesProvider(address.service, person.provider)) throw wrongProvider(pending, address, person)
  const choices = await choicesOf(address.service, {
    person,
    clientId: pending.clientId,
    redirectHost: pending.redirectUri === undefined ? '' : httpsHost(pending.redirectUri),
  })
  if (choices && 'allowed' in choices) throw noAccess(pending, address, { person, denied: choices })
  return { read, pending, address, session, person, choices }
}

/**
 * Throws `client.unknown`, `redirect.mismatch` when the client does not go by that redirect URI any more, or
 * `client.grant` when it may not be signed in to on another device any more.
 */
export const confirmClient = async (
  consentRequest: ConsentRequest,
  { clients, config }: { readonly clients: Clients; readonly config: Pick<Config, 'device'> },
): Promise<ConfirmedRequest> => {
  const { pending } = consentRequest
  const { redirectUri } = pending
  const client = await clients.find(pending.clientId)
  if (redirectUri === undefined) {
    if (!mayUseDevice(config, client)) throw new Refusal('client.grant', `${client.id} on a device`)
  } else if (!client.redirectUris.some((registered) => redirectMatches(registered, redirectUri)))
    throw new Refusal('redirect.mismatch', `${client.id}: ${redirectUri}`)
  return { ...consentRequest, client }
}

export interface DescribeDeps {
  readonly find: FindAddress
  readonly clients: Clients
  readonly pendingRequests: PendingRequests
}

export const createDescribeFlow =
  ({ find, clients, pendingRequests }: DescribeDeps): DescribeFlow =>
  async (id, request) => {
    const pending = await pendingRequests.peek(id, request)
    if (!pending) return undefined
    const address = await clients.approvals.guard(() => addressOf(pending, find), pending.client)
    const { redirectUri: uri, state } = pending
    return {
      client: clientView(pending.client),
      address,
      ...(uri !== undefined && { redirect: { uri, ...(state === undefined ? {} : { state }) } }),
    }
  }
