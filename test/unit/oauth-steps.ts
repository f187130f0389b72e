// The steps of a login, for tests that are about what comes after them.
import {
  challengeOf,
  get,
  nonce,
  origin,
  post,
  postJson,
  run,
  verifier,
  type Outcome,
  type World,
} from './oauth-world.ts'

export interface Registered {
  readonly id: string
  readonly redirectUri: string
  readonly secret?: string
  readonly access: string
}

export const register = async (
  { handlers }: World,
  metadata: Record<string, unknown> = {},
): Promise<Registered> => {
  const sent = {
    client_name: 'Test app',
    redirect_uris: ['https://app.test/cb'],
    token_endpoint_auth_method: 'none',
    ...metadata,
  }
  const { status, body, text } = await run(handlers.register, postJson('/oauth/register', sent))
  if (status !== 201) throw new Error(`registration: ${text}`)
  const secret = body['client_secret'] as string | undefined
  return {
    id: body['client_id'] as string,
    redirectUri: (body['redirect_uris'] as string[])[0] as string,
    ...(secret !== undefined && { secret }),
    access: body['registration_access_token'] as string,
  }
}

/** A registered client that somebody has approved: it hears its errors (RFC 9700 §4.11.2). */
export const approved = async (world: World): Promise<Registered> => {
  const client = await register(world)
  await world.clients.approvals.keep({ id: client.id, name: 'Test app', kind: 'dynamic' }, client.redirectUri)
  return client
}

export const authorizeQuery = async (
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
): Promise<URLSearchParams> => {
  const params = {
    response_type: 'code',
    client_id: client.id,
    redirect_uri: client.redirectUri,
    state: 's-1',
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    ...more,
  }
  return new URLSearchParams(
    Object.entries(params).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
}

export const ask = async (
  { handlers }: World,
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
  headers: Record<string, string> = {},
): Promise<Outcome> =>
  run(handlers.authorize, get(`/oauth/authorize?${await authorizeQuery(client, more)}`, headers))

export const cookiesOf = (outcome: Pick<Outcome, 'headers'>): string =>
  outcome.headers
    .getSetCookie()
    .filter((line) => !/max-age=0/i.test(line))
    .map((line) => line.split(';')[0])
    .join('; ')

export interface Asked {
  readonly flow: string
  readonly cookie: string
  readonly csrf: string
  readonly page: Outcome
}

/** From the authorization request to the consent page. */
export const toConsent = async (
  world: World,
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
): Promise<Asked> => {
  const asked = await ask(world, client, more)
  const flow = asked.location?.searchParams.get('flow')
  if (!flow) throw new Error(`no flow: ${asked.status} ${asked.code} ${asked.location}`)
  const cookie = cookiesOf(asked)
  const page = await run(world.handlers.consentPage, get(`/oauth/consent?flow=${flow}`, { cookie }))
  return { flow, cookie, csrf: /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '', page }
}

export const decide = (
  { handlers }: World,
  { flow, cookie, csrf }: Asked,
  decision: string,
  headers: Record<string, string> = {},
): Promise<Outcome> =>
  run(
    handlers.decide,
    post(
      '/oauth/consent',
      { flow, csrf, decision },
      { cookie, origin, 'sec-fetch-site': 'same-origin', ...headers },
    ),
  )

/** A person allows the client; answers the code. */
export const codeFor = async (
  world: World,
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
): Promise<string> => {
  if (!world.who.session) world.signIn()
  const answer = await decide(world, await toConsent(world, client, { state: nonce(), ...more }), 'allow')
  const code = answer.location?.searchParams.get('code')
  if (!code) throw new Error(`no code: ${answer.status} ${answer.code} ${answer.text.slice(0, 300)}`)
  return code
}

export const exchange = (
  { handlers }: World,
  client: Pick<Registered, 'id' | 'redirectUri' | 'secret'>,
  code: string,
  more: Record<string, string> = {},
): Promise<Outcome> =>
  run(
    handlers.token,
    post('/oauth/token', {
      grant_type: 'authorization_code',
      code,
      client_id: client.id,
      redirect_uri: client.redirectUri,
      code_verifier: verifier,
      ...(client.secret !== undefined && { client_secret: client.secret }),
      ...more,
    }),
  )

export const refresh = (
  { handlers }: World,
  client: Pick<Registered, 'id'>,
  token: string,
  more: Record<string, string> = {},
): Promise<Outcome> =>
  run(
    handlers.token,
    post('/oauth/token', {
      grant_type: 'refresh_token',
      refresh_token: token,
      client_id: client.id,
      ...more,
    }),
  )

export interface LoggedIn {
  readonly client: Registered
  readonly access: string
  readonly refresh: string
}

export const logIn = async (
  world: World,
  metadata: Record<string, unknown> = {},
  more: Record<string, string | undefined> = {},
): Promise<LoggedIn> => {
  const client = await register(world, metadata)
  const { status, body, text } = await exchange(world, client, await codeFor(world, client, more))
  if (status !== 200) throw new Error(`token: ${text}`)
  return { client, access: body['access_token'] as string, refresh: body['refresh_token'] as string }
}
