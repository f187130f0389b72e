// What a request of a login came to, as steps of a flow: read from its URL, the events and the refusal that it left,
// and the head of its answer. Of requests and answers only what is named here is kept.
import { withoutQuery } from '../kit/urls.ts'
import type { FlowFacts, FlowStep, FlowStepKind } from '../ports/flow-record.ts'
import type { AuditEvent } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type FlowAbout, defined, facts, text, texts } from './steps.ts'

/** A request of a login, while it is handled. */
export interface Watched {
  readonly step: FlowStepKind
  readonly url: URL
  /** Family of the program that asked. */
  readonly agent: string
  flow?: string
  about: FlowAbout
  readonly events: AuditEvent[]
  /** Fields of its line in the log. */
  refused?: Readonly<Record<string, unknown>>
}

const routes: readonly (readonly [methods: string, path: RegExp, step: FlowStepKind])[] = [
  ['POST', /^(?:\/oauth)?\/register$/, 'register'],
  ['GET POST', /^(?:\/oauth)?\/authorize$/, 'authorize'],
  ['POST', /^\/oauth\/device(?:_authorization)?$/, 'device'],
  ['GET POST', /^\/login$/, 'sign-in'],
  ['GET', /^\/$/, 'sign-in'],
  ['POST', /^\/login\/[^/]+$/, 'provider-redirect'],
  ['GET', /^(?:\/oauth\/callback(?:\/[^/]+)?|\/callback|\/authorize\/callback)$/, 'provider-callback'],
  ['GET POST', /^\/oauth\/consent$/, 'consent'],
  ['GET', /^\/connect\/callback(?:\/[^/]+)?$/, 'upstream-connect'],
  ['POST', /^(?:\/oauth)?\/token$/, 'token'],
]

/** Steps before an app is known: they belong to a flow as far as address, program and time tell. */
export const earlySteps: ReadonlySet<FlowStepKind> = new Set([
  'probe',
  'challenge',
  'preflight',
  'resource-metadata',
  'server-metadata',
])

const wellKnown =
  /(?:^|\/)\.well-known\/(oauth-protected-resource|oauth-authorization-server|openid-configuration)(?=\/|$)/

/** What a program read before anybody knew it, and the path that it asked about; `/` where it named none. */
const discoveryOf = (
  pathname: string,
): { readonly step: FlowStepKind; readonly path: string } | undefined => {
  const [found, name] = wellKnown.exec(pathname) ?? []
  if (found === undefined) return undefined
  const step = name === 'oauth-protected-resource' ? 'resource-metadata' : 'server-metadata'
  return { step, path: pathname.replace(found, '').replace(/\/$/, '') || '/' }
}

export const discoveredPath = ({ pathname }: URL): string => discoveryOf(pathname)?.path ?? '/'

const browsers = /\b(Edg|OPR|Firefox|Chrome|Safari)\b/

/** The family of a program by its User-Agent, which is untrusted. */
export const agentOf = (userAgent: string | null | undefined): string => {
  const [product = ''] = /^[\w.-]{1,40}/.exec(userAgent ?? '') ?? []
  return (product === 'Mozilla' ? (browsers.exec(userAgent ?? '')?.[1] ?? product) : product).toLowerCase()
}

export const stepOf = (method: string, url: URL): FlowStepKind | undefined => {
  const { pathname, searchParams } = url
  const discovered = pathname.includes('/.well-known/') ? discoveryOf(pathname) : undefined
  if (discovered) return method === 'GET' ? discovered.step : method === 'OPTIONS' ? 'preflight' : undefined
  if (method === 'OPTIONS')
    return /^(?:\/oauth)?\/(?:register|token)$/.test(pathname) ? 'preflight' : undefined
  const step = routes.find(
    ([methods, path]) => methods.split(' ').includes(method) && path.test(pathname),
  )?.[2]
  return pathname === '/' && !searchParams.has('t') ? undefined : step
}

const authorizeRequest = ({ searchParams }: URL, digest: Runtime['digest']): FlowFacts => {
  const kept = (name: string): string | undefined => text(searchParams.get(name))
  const secret = (name: string): string | undefined => {
    const value = searchParams.get(name)
    return value === null || value === '' ? undefined : `‹${digest(value).slice(0, 12)}›`
  }
  const address = (name: string): string | undefined => {
    const value = kept(name)
    return value === undefined ? undefined : withoutQuery(value)
  }
  return facts({
    client_id: kept('client_id'),
    redirect_uri: address('redirect_uri'),
    resource: address('resource'),
    scope: kept('scope'),
    prompt: kept('prompt'),
    response_type: kept('response_type'),
    code_challenge_method: kept('code_challenge_method'),
    code_challenge: secret('code_challenge'),
    state: secret('state'),
  })
}

const eventOf = ({ events }: Watched, ...names: readonly string[]): AuditEvent | undefined =>
  events.find(({ event }) => names.includes(event))

/** Where the metadata names another path: only a client of MCP 2025-03-26 guesses this one. */
const guessedPath = ({ pathname }: URL): string | undefined =>
  pathname.startsWith('/oauth/') ? undefined : pathname

export const requestFacts = (watched: Watched, digest: Runtime['digest']): FlowFacts => {
  const { step, url } = watched
  const agent = text(watched.agent)
  if (earlySteps.has(step)) return facts({ path: text(url.pathname), agent })
  if (step === 'authorize') return facts({ ...authorizeRequest(url, digest), path: guessedPath(url) })
  if (step === 'provider-callback') return facts({ error: text(url.searchParams.get('error')) })
  if (step === 'token') return facts({ agent, path: guessedPath(url) })
  if (step !== 'register') return {}
  const registered = eventOf(watched, 'client.registered')
  return facts({
    client_name: text(registered?.['name']),
    redirect_uris: texts(registered?.['redirect_uris']),
    token_endpoint_auth_method: text(registered?.['method']),
    agent,
    path: guessedPath(url),
  })
}

// What a request came to: none, or some steps.

export interface Came {
  readonly step: FlowStepKind
  readonly result: FlowStep['result']
  readonly code?: FlowStep['code'] | undefined
  readonly answer?: FlowFacts
}

const signedIn = (watched: Watched, step: FlowStepKind): readonly Came[] => {
  const event = eventOf(watched, 'sign-in')
  return event ? [{ step, result: 'done', answer: facts({ provider: text(event['provider']) }) }] : []
}

const grantedFacts = (event: AuditEvent): FlowFacts =>
  facts({ scopes: texts(event['scopes']), how: text(event['how']) })

const connecting = (watched: Watched): readonly Came[] => {
  const begun = eventOf(watched, 'connection.begun')
  if (begun)
    return [{ step: 'upstream-connect', result: 'asked', answer: facts({ to: text(begun['issuer']) }) }]
  return eventOf(watched, 'connection.made') ? [{ step: 'upstream-connect', result: 'done' }] : []
}

/** Apps with a scheme of their own are gone back to from a page. */
const redirected = ({ status, headers }: Response): FlowFacts =>
  status === 303 ? facts({ to: URL.parse(headers.get('location') ?? '')?.origin }) : { shown: 'return page' }

/** A device gets its tokens without either. */
const codeSent = (response: Response): readonly Came[] => [
  { step: 'code', result: 'done' },
  { step: 'redirect', result: 'done', answer: redirected(response) },
]

const consented = (watched: Watched, response: Response): readonly Came[] => {
  const { status } = response
  const allowed = eventOf(watched, 'consent.allowed')
  if (allowed)
    return [
      { step: 'consent', result: 'done', answer: grantedFacts(allowed) },
      ...(eventOf(watched, 'device.approved') ? [] : codeSent(response)),
    ]
  if (eventOf(watched, 'consent.denied')) {
    const code = eventOf(watched, 'device.reported') ? 'device.reported' : 'consent.denied'
    return [{ step: 'consent', result: 'refused', code }]
  }
  const connect = connecting(watched)
  if (connect.length > 0) return connect
  return status === 200 ? [{ step: 'consent', result: 'asked', answer: { shown: 'consent page' } }] : []
}

const tokened = (watched: Watched): readonly Came[] => {
  const issued = eventOf(watched, 'grant.issued')
  if (issued) {
    const kind = text(issued['kind'])
    return [{ step: 'token', result: 'done', answer: { ...grantedFacts(issued), ...defined({ kind }) } }]
  }
  const refreshed = eventOf(watched, 'grant.refreshed')
  return refreshed ? [{ step: 'refresh', result: 'done', answer: grantedFacts(refreshed) }] : []
}

const signIn = (watched: Watched, { status }: Response): readonly Came[] => {
  if (eventOf(watched, 'sign-in.failed'))
    return [{ step: 'sign-in', result: 'refused', code: 'sign-in.failed' }]
  const done = signedIn(watched, 'sign-in')
  if (done.length > 0) return done
  return status === 200 ? [{ step: 'sign-in', result: 'asked', answer: { shown: 'sign-in page' } }] : []
}

const registered = (watched: Watched): readonly Came[] => {
  const event = eventOf(watched, 'client.registered')
  return event
    ? [{ step: 'register', result: 'done', answer: facts({ client_id: text(event['client']) }) }]
    : []
}

const sentToProvider = (watched: Watched, { status, headers }: Response): readonly Came[] => {
  const direct = signedIn(watched, 'sign-in')
  if (direct.length > 0 || status !== 303) return direct
  const to = URL.parse(headers.get('location') ?? '')?.origin
  return [{ step: 'provider-redirect', result: 'asked', answer: facts({ to }) }]
}

/** Whether the client is one that describes itself at its own URL. */
const isDocument = (client: unknown): client is string =>
  typeof client === 'string' && client.startsWith('https://')

const documentRead = (url: URL, came: Omit<Came, 'step'>): readonly Came[] => {
  const client = url.searchParams.get('client_id')
  if (!isDocument(client)) return []
  return [
    {
      ...came,
      step: 'client-document',
      answer: facts({ from: text(URL.parse(client)?.host), ...came.answer }),
    },
  ]
}

const authorized = ({ url }: Watched, { status }: Response): readonly Came[] =>
  status === 303 ? [...documentRead(url, { result: 'done' }), { step: 'authorize', result: 'done' }] : []

const cameThrough: Readonly<
  Partial<Record<FlowStepKind, (watched: Watched, response: Response) => readonly Came[]>>
> = {
  register: registered,
  ...Object.fromEntries([...earlySteps].map((step) => [step, () => [{ step, result: 'done' }]])),
  authorize: authorized,
  device: (watched) => (eventOf(watched, 'device.started') ? [{ step: 'device', result: 'done' }] : []),
  'sign-in': signIn,
  'provider-redirect': sentToProvider,
  // Upstream authorization servers may return to the same path.
  'provider-callback': (watched) => [...signedIn(watched, 'provider-callback'), ...connecting(watched)],
  consent: consented,
  'upstream-connect': connecting,
  token: tokened,
}

export const cameTo = (watched: Watched, response: Response): readonly Came[] => {
  const { step, refused } = watched
  if (!refused) return cameThrough[step]?.(watched, response) ?? []
  const code = refused['refusal'] as FlowStep['code']
  const refreshing = step === 'token' && code?.startsWith('refresh.') === true
  const came = { result: 'refused', code, answer: facts({ why: text(refused['why']) }) } as const
  if (step !== 'authorize') return [{ ...came, step: refreshing ? 'refresh' : step }]
  if (code?.startsWith('client.document')) return documentRead(watched.url, came)
  const known = code?.startsWith('client.') ? [] : documentRead(watched.url, { result: 'done' })
  return [...known, { ...came, step }]
}

/** What the events and the refusal say of the flow as a whole. */
export const aboutOf = (watched: Watched, serviceOf: (resource: string) => string | undefined): FlowAbout => {
  let about = watched.about
  const read = (from: Readonly<Record<string, unknown>>): void => {
    const resource = from['resource']
    about = {
      ...about,
      ...defined({
        client: text(from['client']),
        person: text(from['person']),
        grant: text(from['grant']),
        service: text(from['service']) ?? (typeof resource === 'string' ? serviceOf(resource) : undefined),
      }),
    }
  }
  for (const event of watched.events) read(event)
  if (watched.refused) read(watched.refused)
  const name = text(eventOf(watched, 'client.registered')?.['name'])
  return { ...about, ...(name !== undefined && { clientName: name }) }
}
