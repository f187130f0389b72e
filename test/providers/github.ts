// GitHub as its documentation and its answers describe it, with its quirks; run as a process. Whoever the parameter
// `login` names is signed in there, and signs in at once. `/heard` tells what was asked. `/set` changes the
// organizations and teams of the account `leaver`; `gone` ends its tokens.
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Account {
  readonly user: Readonly<Record<string, unknown>>
  readonly emails?: readonly Readonly<Record<string, unknown>>[]
  readonly orgs?: readonly string[]
  /** `Organization/team-slug` */
  readonly teams?: readonly string[]
  readonly quirk?:
    | 'form'
    | 'no-type'
    | 'refused-code'
    | 'fewer-scopes'
    | 'sso'
    | 'limited'
    | 'cancels'
    | 'down'
}

const verified = (email: string, primary = true) => ({ email, primary, verified: true, visibility: null })
const noreply = { email: '583231+octocat@users.noreply.github.com', primary: false, verified: true }
const user = (id: unknown, login: string, more: object = {}) => ({
  id,
  login,
  name: null,
  email: null,
  avatar_url: `https://avatars.test/u/${String(id)}`,
  company: null,
  ...more,
})

const accounts: Record<string, Account> = {
  leaver: { user: user(12, 'leaver'), orgs: ['Acme'], teams: [] },
  octocat: {
    user: user(583231, 'octocat'),
    emails: [noreply, { ...verified('spare@else.test', false) }, verified('octo@corp.test')],
    orgs: ['Acme', 'open-source'],
    teams: ['Acme/platform'],
  },
  // The same account after its owner chose another username.
  renamed: { user: user(583231, 'octo-cat'), emails: [verified('octo@corp.test')] },
  // Public in the profile, and not verified: it is no address of theirs.
  boaster: {
    user: user(2, 'boaster', { email: 'ceo@corp.test', name: 'CEO' }),
    emails: [{ email: 'ceo@corp.test', primary: true, verified: false, visibility: 'public' }],
  },
  form: { user: user(3, 'form'), emails: [verified('form@corp.test')], quirk: 'form' },
  'no-type': { user: user(4, 'no-type'), emails: [verified('n@corp.test')], quirk: 'no-type' },
  'refused-code': { user: user(5, 'refused-code'), quirk: 'refused-code' },
  'fewer-scopes': { user: user(6, 'fewer-scopes'), orgs: ['Acme'], quirk: 'fewer-scopes' },
  sso: { user: user(7, 'sso'), orgs: ['open-source'], quirk: 'sso' },
  limited: { user: user(8, 'limited'), quirk: 'limited' },
  cancels: { user: user(9, 'cancels'), quirk: 'cancels' },
  down: { user: user(10, 'down'), quirk: 'down' },
  joiner: {
    user: user(11, 'joiner'),
    orgs: Array.from({ length: 130 }, (_, i) => `org-${i}`),
  },
  'no-id': { user: user(null, 'no-id') },
  'text-id': { user: user('583231', 'text-id') },
}

const client = { id: 'github-client', secret: 'github-client-secret' }
interface Grant {
  readonly account: Account
  readonly scopes: readonly string[]
}
const codes = new Map<string, Grant & { readonly redirect: string; readonly challenge: string }>()
const tokens = new Map<string, Grant>()
const heard: { authorize: Record<string, string>[]; token: Record<string, string>[]; api: string[] } = {
  authorize: [],
  token: [],
  api: [],
}
const secret = (start: string): string => `${start}_${randomBytes(18).toString('hex')}`

const json = (response: ServerResponse, value: unknown, status = 200, headers: object = {}): void =>
  void response
    .writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
    .end(JSON.stringify(value))

const authorize = (query: Record<string, string>, response: ServerResponse): void => {
  heard.authorize.push(query)
  const account = accounts[query['login'] ?? '']
  const { redirect_uri: redirect = '', code_challenge: challenge = '', scope = '', state = '' } = query
  if (!account || query['client_id'] !== client.id)
    return void response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>404</h1>')
  const back = new URL(redirect)
  back.searchParams.set('state', state)
  if (account.quirk === 'cancels') {
    back.searchParams.set('error', 'access_denied')
    back.searchParams.set('error_description', 'The user has denied your application access.')
    back.searchParams.set('error_uri', 'https://docs.github.com/')
  } else {
    const code = randomBytes(10).toString('hex')
    const asked = scope.split(/[ ,]+/)
    const scopes = account.quirk === 'fewer-scopes' ? ['read:user'] : asked
    codes.set(code, { account, scopes, redirect, challenge })
    back.searchParams.set('code', code)
  }
  response.writeHead(302, { location: back.href }).end()
}

/** Every error comes with 200, and JSON is for those who ask for it. */
const token = (form: Record<string, string>, accept: string, response: ServerResponse): void => {
  heard.token.push(form)
  const grant = codes.get(form['code'] ?? '')
  const say = (members: Record<string, string>): void => {
    if (accept.includes('json') && grant?.account.quirk !== 'form') return json(response, members)
    response
      .writeHead(200, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' })
      .end(new URLSearchParams(members).toString())
  }
  const error = (name: string, description: string): void =>
    say({ error: name, error_description: description, error_uri: 'https://docs.github.com/' })
  if (form['client_id'] !== client.id || form['client_secret'] !== client.secret)
    return error('incorrect_client_credentials', 'The client_id and/or client_secret passed are incorrect.')
  const challenge = createHash('sha256')
    .update(form['code_verifier'] ?? '')
    .digest('base64url')
  if (!grant || grant.account.quirk === 'refused-code' || grant.challenge !== challenge)
    return error('bad_verification_code', 'The code passed is incorrect or expired.')
  if (form['redirect_uri'] !== grant.redirect)
    return error('redirect_uri_mismatch', 'The redirect_uri MUST match the registered callback URL.')
  codes.delete(form['code'] ?? '')
  const value = secret('gho')
  tokens.set(value, grant)
  say({
    access_token: value,
    scope: grant.scopes.join(','),
    ...(grant.account.quirk === 'no-type' ? {} : { token_type: 'bearer' }),
  })
}

const needed: Readonly<Record<string, readonly string[]>> = {
  '/user': [],
  '/user/emails': ['user:email', 'user'],
  '/user/orgs': ['read:org', 'user'],
  '/user/teams': ['read:org'],
}

const listed = ({ emails = [], orgs = [], teams = [] }: Account, path: string): readonly unknown[] => {
  if (path === '/user/emails') return emails
  if (path === '/user/orgs') return orgs.map((login, id) => ({ login, id, description: null }))
  return teams.map((team, id) => {
    const [login, slug] = team.split('/')
    return { id, slug, name: `The ${slug} team`, organization: { login } }
  })
}

const api = (path: string, url: URL, { headers }: IncomingMessage, response: ServerResponse): void => {
  heard.api.push(path)
  if (!headers['user-agent'])
    return void response.writeHead(403).end('Request forbidden by administrative rules.')
  const grant = tokens.get(/^bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '')
  const scopes = needed[path]
  if (!grant) return json(response, { message: 'Bad credentials', status: '401' }, 401)
  const { account } = grant
  if (account.quirk === 'down')
    return void response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Unicorn!</h1>')
  if (account.quirk === 'limited')
    return json(response, { message: 'API rate limit exceeded' }, 403, { 'x-ratelimit-remaining': '0' })
  if (!scopes || (scopes.length > 0 && !scopes.some((scope) => grant.scopes.includes(scope))))
    return json(response, { message: 'Not Found' }, 404)
  if (path === '/user') return json(response, account.user)
  const size = Number(url.searchParams.get('per_page') ?? 30)
  const first = (Number(url.searchParams.get('page') ?? 1) - 1) * size
  json(
    response,
    listed(account, path).slice(first, first + size),
    200,
    account.quirk === 'sso' ? { 'x-github-sso': 'partial-results; organizations=21955855,20582480' } : {},
  )
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk as string
  return body
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const work = async (): Promise<void> => {
    const form = Object.fromEntries(new URLSearchParams(await bodyOf(request)))
    if (url.pathname === '/login/oauth/authorize')
      return authorize(Object.fromEntries(url.searchParams), response)
    if (url.pathname === '/login/oauth/access_token' && request.method === 'POST')
      return token(form, request.headers.accept ?? '', response)
    if (url.pathname === '/set') {
      const gone = url.searchParams.has('gone')
      const orgs = url.searchParams.getAll('org')
      accounts['leaver'] = { user: user(12, 'leaver'), orgs, teams: [] }
      for (const [value, grant] of tokens)
        if (grant.account.user['id'] === 12) {
          if (gone) tokens.delete(value)
          else tokens.set(value, { ...grant, account: accounts['leaver'] })
        }
      return json(response, {})
    }
    if (url.pathname.startsWith('/api/v3/')) return api(url.pathname.slice(7), url, request, response)
    return json(response, url.pathname === '/heard' ? heard : { message: 'Not Found' })
  }
  work().catch((error: unknown) => response.destroy(error as Error))
})

server.listen(0, '127.0.0.1', () =>
  console.log(
    JSON.stringify({
      event: 'listening',
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      client_id: client.id,
      client_secret: client.secret,
    }),
  ),
)
process.once('SIGTERM', () => process.exit(0))
