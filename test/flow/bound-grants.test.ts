// Each grant gives tokens that are bound to the key of its request, where one came: devices, service accounts, and
// what is exchanged. Codes and refresh tokens are in test/attack/bound-tokens.test.ts.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, person } from '../runtimes/login.ts'
import { type Prover, createProver } from '../runtimes/proofs.ts'
import { type RuntimeGateway, openInProcess } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

type Json = Readonly<Record<string, unknown>>

const secret = 'Rk6wN1cX8vP4qT9bZ3mH7sJ2yD5gL0fA'
const redirect_uris = ['http://127.0.0.1:5000/cb']
const confidential = {
  token_endpoint_auth_method: 'client_secret_post' as const,
  client_secret: secret,
}
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code'
const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange' as const
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'

let upstream: Upstream
let gateway: RuntimeGateway
let key: Prover
let nonce = ''
beforeAll(async () => {
  upstream = await openUpstream()
  key = await createProver()
  gateway = await openInProcess({
    upstream: upstream.url,
    config: {
      dpop: {},
      device: { clients: ['tv'] },
      admins: ['service:operator'],
      service_accounts: { nightly: { services: ['echo'] }, operator: { services: ['/api'] } },
      clients: {
        tv: { name: 'Television' },
        assistant: { name: 'Assistant', redirect_uris },
        agent: { name: 'Agent', grant_types: [exchangeGrant], ...confidential },
        ops: {
          name: 'Operations',
          grant_types: ['client_credentials'],
          service_account: 'operator',
          ...confidential,
        },
        job: {
          name: 'Job',
          grant_types: ['client_credentials'],
          service_account: 'nightly',
          dpop: 'required',
          ...confidential,
        },
      },
      token_exchange: [{ client: 'agent', subject_clients: ['assistant'], services: ['echo'] }],
    },
  })
})
afterAll(async () => {
  await gateway.close()
  await upstream.close()
})

const resource = () => `${gateway.origin}/echo/mcp`
const tokenUrl = () => `${gateway.origin}/oauth/token`
const ask = async (fields: Record<string, string>, by?: Prover) => {
  const init = form(fields)
  const dpop = by && { dpop: await by.proof({ url: tokenUrl(), nonce }) }
  const headers = { ...(init.headers as Record<string, string>), ...dpop }
  const answer = await gateway.fetch(tokenUrl(), { ...init, headers })
  nonce = answer.headers.get('dpop-nonce') ?? nonce
  return { status: answer.status, body: (await answer.json()) as Json }
}
beforeEach(async () => void (await ask({ grant_type: 'refresh_token' }, key)))

const boundTo = ({ body }: { readonly body: Json }) => {
  const [, claims = ''] = String(body['access_token']).split('.')
  const { cnf } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { cnf?: { jkt: string } }
  return [body['token_type'], cnf?.jkt]
}

const signedIn = async () => {
  const browser = createBrowser(gateway.fetch, gateway.origin)
  const page = await browser.go(`${gateway.origin}/login`)
  await browser.submit(page, '/login', { username: person.username, password: person.password })
  return browser
}

it('a device that comes with a proof gets bound tokens, and refreshes with the same key alone', async () => {
  const started = await gateway.fetch(
    `${gateway.origin}/oauth/device_authorization`,
    form({ client_id: 'tv', resource: resource() }),
  )
  const { device_code, user_code } = (await started.json()) as Record<string, string>
  const browser = await signedIn()
  const page = await browser.submit(await browser.go(`${gateway.origin}/device`), '/device', {
    user_code: user_code ?? '',
  })
  await browser.submit(page, '/oauth/consent', { decision: 'allow' })
  const fields = { grant_type: deviceGrant, device_code: device_code ?? '', client_id: 'tv' }
  const tokens = await ask(fields, key)
  expect(boundTo(tokens)).toEqual(['DPoP', key.jkt])
  const refresh_token = String(tokens.body['refresh_token'])
  const again = { grant_type: 'refresh_token', refresh_token, client_id: 'tv' }
  expect((await ask(again)).body['code']).toBe('refresh.key')
  expect(boundTo(await ask(again, key))).toEqual(['DPoP', key.jkt])
})

it('a service account whose client must come with a proof gets no bearer token', async () => {
  const fields = { grant_type: 'client_credentials', client_id: 'job', client_secret: secret }
  expect(await ask(fields)).toMatchObject({
    status: 400,
    body: { error: 'invalid_dpop_proof', code: 'proof.missing' },
  })
  expect(boundTo(await ask(fields, key))).toEqual(['DPoP', key.jkt])
  const other = await createProver('EdDSA')
  expect(boundTo(await ask(fields, other))).toEqual(['DPoP', other.jkt])
})

it('what is exchanged is bound to the key of the client that exchanges it, or to none', async () => {
  const app = { id: 'assistant', redirectUri: redirect_uris[0] ?? '' }
  const asking = authorizeUrl(gateway, app, { resource: resource() })
  const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url)
  const code = {
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') ?? '',
    redirect_uri: app.redirectUri,
    client_id: app.id,
    code_verifier: asking.verifier,
  }
  const subject = await ask(code, key)
  const fields = {
    grant_type: exchangeGrant,
    client_id: 'agent',
    client_secret: secret,
    subject_token: String(subject.body['access_token']),
    subject_token_type: accessToken,
    resource: resource(),
  }
  const other = await createProver()
  expect(boundTo(await ask(fields, other))).toEqual(['DPoP', other.jkt])
  expect(boundTo(await ask(fields))).toEqual(['Bearer', undefined])
})

it('a client that uses tokens without a key binds them with its first proof', async () => {
  const app = { id: 'assistant', redirectUri: redirect_uris[0] ?? '' }
  const asking = authorizeUrl(gateway, app, { resource: resource() })
  const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url)
  const plain = await ask({
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') ?? '',
    redirect_uri: app.redirectUri,
    client_id: app.id,
    code_verifier: asking.verifier,
  })
  expect(boundTo(plain)).toEqual(['Bearer', undefined])
  const fields = (token: unknown) => ({
    grant_type: 'refresh_token',
    refresh_token: String(token),
    client_id: app.id,
  })
  const first = plain.body['refresh_token']
  const renewed = await ask(fields(first))
  // The lost answer is asked for again, now with a key: its successor is bound from here on.
  const again = await ask(fields(first), key)
  expect(boundTo(again)).toEqual(['DPoP', key.jkt])
  expect(again.body['refresh_token']).toBe(renewed.body['refresh_token'])
  for (const token of [first, renewed.body['refresh_token']])
    expect((await ask(fields(token))).body['code']).toBe('refresh.key')
  expect(boundTo(await ask(fields(again.body['refresh_token']), key))).toEqual(['DPoP', key.jkt])
})

it('the API takes bound tokens, and its answers bring the next nonce, whatever they say', async () => {
  let ahead = 0
  const now = () => Date.now() + ahead
  const advance = (ms: number): void => {
    ahead += ms
    gateway.advance(ms)
  }
  const api = `${gateway.origin}/api`
  const call = async (path: string, token: string, used: string) => {
    const url = `${api}${path}`
    const dpop = await key.proof({ url, method: 'GET', token, nonce: used, now: now() })
    const headers = { authorization: `DPoP ${token}`, dpop }
    const answer = await gateway.fetch(url, { headers })
    return { status: answer.status, next: answer.headers.get('dpop-nonce') }
  }
  // Early in a minute, so that the next one is not over while this goes on.
  advance(61_000 - (Date.now() % 60_000))
  const fields = { grant_type: 'client_credentials', client_id: 'ops', client_secret: secret, resource: api }
  const prove = async (used?: string) => {
    const init = form(fields)
    const dpop = await key.proof({ url: tokenUrl(), nonce: used, now: now() })
    return gateway.fetch(tokenUrl(), { ...init, headers: { ...(init.headers as object), dpop } })
  }
  const current = (await prove()).headers.get('dpop-nonce') ?? ''
  const token = String(((await (await prove(current)).json()) as Json)['access_token'])
  expect(await call('/blocks', token, current)).toEqual({ status: 200, next: null })
  advance(60_000)
  const later = await call('/blocks', token, current)
  expect(later).toEqual({ status: 200, next: expect.stringMatching(/^[\w-]{24}$/) })
  expect(later.next).not.toBe(current)
  expect(await call('/service-accounts/nobody', token, current)).toEqual({ status: 404, next: later.next })
  expect(await call('/blocks', token, later.next ?? '')).toEqual({ status: 200, next: null })
})
