// What an authorization request must satisfy, one named check after the other. The order is the security model: until the redirect URI is known to be the
// client's, an error may only be shown to the person (RFC 6749 §4.1.2.1); afterwards it is told to the client.
import { Refusal, type RefusalCode, type RefusalDetail } from '../kit/refusal.ts'
import { redirectMatches, withoutQuery } from '../kit/urls.ts'
import type { Address, Directory, FindAddress } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import { one } from './parameters.ts'

/** What the checks have established so far. Each check may rely on those before it. */
export interface AuthorizeDraft {
  readonly params: URLSearchParams
  readonly now: number
  client: Client
  redirectUri: string
  redirectSent: boolean
  state?: string
  challenge: string
  address: Address
  scopes: readonly string[]
  prompt: ReadonlySet<string>
  signedInSince?: number
}

export type Check = (draft: AuthorizeDraft) => Promise<void> | void

export const emptyDraft = (params: URLSearchParams, now: number): AuthorizeDraft =>
  ({
    params,
    now,
    redirectUri: '',
    redirectSent: false,
    challenge: '',
    scopes: [],
    prompt: new Set<string>(),
  }) as unknown as AuthorizeDraft

/** A refusal that the client is told, at the redirect URI that was found to be its own. */
export const tellClient = (
  { redirectUri, state }: Pick<AuthorizeDraft, 'redirectUri' | 'state'>,
  code: RefusalCode,
  why: string,
  detail: RefusalDetail = {},
): Refusal =>
  new Refusal(code, why, { ...detail, redirect: { uri: redirectUri, ...(state !== undefined && { state }) } })

const onceOnly = [
  'response_type',
  'response_mode',
  'scope',
  'state',
  'code_challenge',
  'code_challenge_method',
  'prompt',
  'max_age',
  'request',
  'request_uri',
  'registration',
] as const

const parametersOnce: Check = (draft) => {
  const states = draft.params.getAll('state')
  // Echoed exactly as sent (RFC 6749 §4.1.2), also beside the other errors; of two states neither can be.
  if (states.length === 1 && states[0]) draft.state = states[0]
  const repeated = onceOnly.find((name) => draft.params.getAll(name).length > 1)
  if (repeated)
    throw tellClient(draft, 'request.repeated', repeated, {
      say: `The parameter ${repeated} was sent more than once.`,
    })
}

// OpenID Connect Core §6, §7.2.1: each would make the gateway fetch or believe something of the sender's choosing.
const noRequestObject: Check = (draft) => {
  if (draft.params.get('request')) throw tellClient(draft, 'request.object', 'request')
  if (draft.params.get('request_uri')) throw tellClient(draft, 'request.object-uri', 'request_uri')
  if (draft.params.get('registration')) throw tellClient(draft, 'request.registration', 'registration')
}

const responseType: Check = (draft) => {
  const type = one(draft.params, 'response_type')
  if (type === undefined)
    throw tellClient(draft, 'request.malformed', 'response_type missing', {
      say: 'response_type is required.',
    })
  if (type !== 'code') throw tellClient(draft, 'response.type', type.slice(0, 100))
  const mode = one(draft.params, 'response_mode')
  if (mode !== undefined && mode !== 'query') throw tellClient(draft, 'response.mode', mode.slice(0, 100))
}

// RFC 7636 §4.3, OAuth 2.1 §4.1.1: always, for every client; without a method the default would be plain, which we do not offer.
const pkce: Check = (draft) => {
  const challenge = one(draft.params, 'code_challenge')
  const method = one(draft.params, 'code_challenge_method')
  if (challenge === undefined) throw tellClient(draft, 'pkce.missing', 'no code_challenge')
  if (method !== 'S256') throw tellClient(draft, 'pkce.method', `${method}`.slice(0, 100))
  if (!/^[\w-]{43}$/.test(challenge))
    throw tellClient(draft, 'pkce.challenge', `${challenge.length} characters`)
  draft.challenge = challenge
}

const promptAndAge: Check = (draft) => {
  const prompt = new Set((one(draft.params, 'prompt') ?? '').split(' ').filter(Boolean))
  if (prompt.has('none') && prompt.size > 1)
    throw tellClient(draft, 'request.malformed', 'prompt none with others', {
      say: 'prompt=none allows no other prompt.',
    })
  draft.prompt = prompt
  const maxAge = one(draft.params, 'max_age')
  if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge))
    throw tellClient(draft, 'request.malformed', 'max_age', { say: 'max_age must be a number of seconds.' })
  // OpenID Connect Core §3.1.2.1; select_account asks for the sign-in page, which is where an account is chosen.
  if (prompt.has('login') || prompt.has('select_account')) draft.signedInSince = draft.now
  else if (maxAge !== undefined) draft.signedInSince = draft.now - Number(maxAge) * 1000
}

export interface AuthorizeChecksDeps {
  readonly clients: Clients
  readonly directory: Pick<Directory, 'only'>
  readonly find: FindAddress
}

/** The checks in their order. The first two decide where an error may be shown. */
export const authorizeChecks = ({ clients, directory, find }: AuthorizeChecksDeps): readonly Check[] => {
  const clientKnown: Check = async (draft) => {
    const id = one(draft.params, 'client_id')
    if (id === undefined) throw new Refusal('client.unknown', 'client_id missing')
    draft.client = await clients.find(id)
  }

  const redirectRegistered: Check = (draft) => {
    const { redirectUris, id } = draft.client
    const sent = one(draft.params, 'redirect_uri')
    // OAuth 2.1 §4.1.1: it may be left out where only one was ever registered.
    const redirectUri = sent ?? (redirectUris.length === 1 ? redirectUris[0] : undefined)
    if (
      redirectUri === undefined ||
      !redirectUris.some((registered) => redirectMatches(registered, redirectUri))
    ) {
      const asked = sent === undefined ? '(none)' : withoutQuery(sent)
      const facts = [
        { name: 'Client', value: id },
        ...redirectUris.map((value) => ({ name: 'Registered', value })),
        { name: 'Requested', value: asked },
      ]
      throw new Refusal('redirect.mismatch', `${id}: ${asked}`, { page: { facts } })
    }
    draft.redirectUri = redirectUri
    draft.redirectSent = sent !== undefined
  }

  // RFC 8707 §2. Without one the request means the only service there is: several clients in use never send it.
  const resourceKnown: Check = async (draft) => {
    const named = draft.params.getAll('resource').filter(Boolean)
    const found = named.length === 0 ? [directory.only] : await Promise.all(named.map(find))
    const [address] = found
    if (!address || found.some((other) => other?.service.id !== address.service.id))
      throw tellClient(draft, 'resource.unknown', named.slice(0, 5).map(withoutQuery).join(' '))
    if (!address.service.authRequired)
      throw tellClient(draft, 'resource.unknown', `${address.service.id} needs no token`)
    draft.address = address
  }

  // RFC 6749 §3.3: none asked means the service's own; of others what we have. Clients ask for openid or profile out of habit, and an error would end the login.
  const scopeGranted: Check = (draft) => {
    const asked = new Set((one(draft.params, 'scope') ?? '').split(' ').filter(Boolean))
    const known = draft.address.service.scopes.filter((scope) => asked.has(scope))
    const scopes = known.length > 0 ? known : draft.address.service.scopes
    draft.scopes = asked.has('offline_access') ? [...scopes, 'offline_access'] : scopes
  }

  return [
    clientKnown,
    redirectRegistered,
    parametersOnce,
    noRequestObject,
    responseType,
    pkce,
    promptAndAge,
    resourceKnown,
    scopeGranted,
  ]
}
