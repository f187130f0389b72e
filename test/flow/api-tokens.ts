// The operator's own API as a protected resource: which tokens are good there, and which never are.
import { expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, redeem } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import type { RuntimeGateway } from '../runtimes/runtimes.ts'
import { config, secrets } from './programs.ts'

type Json = Readonly<Record<string, unknown>>

interface ApiWorld {
  readonly gateway: RuntimeGateway
  readonly admin: Administrator
}

const { people, ops, idle } = config.clients
const peopleClient = { id: 'people', redirectUri: 'https://people.example/cb', secret: people.client_secret }

export const apiTokens = (world: () => ApiWorld): void => {
  const at = (path: string) => `${world().gateway.origin}${path}`
  const browserOf = () => createBrowser(world().gateway.fetch, world().gateway.origin)
  const asking = (resource = at('/api')) => authorizeUrl(world().gateway, peopleClient, { resource })
  const tokensFor = async (who = ana, browser: Browser = browserOf()) => {
    const asked = asking()
    const back = await allow(browser, asked.url, who, { decision: 'allow' })
    const code = back.searchParams.get('code') ?? ''
    const answer = await redeem(world().gateway, peopleClient, code, asked.verifier)
    return (await answer.json()) as { access_token: string; refresh_token: string; scope: string }
  }
  const api = async (
    token: string,
    path = '/api/blocks',
    {
      method = 'GET',
      headers = {},
      ...more
    }: Omit<RequestInit, 'headers'> & { headers?: Record<string, string> } = {},
  ) => {
    const answer = await world().gateway.fetch(at(path), {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...more,
    })
    const text = await answer.text()
    const body = text.startsWith('{') ? (JSON.parse(text) as Json) : {}
    return { status: answer.status, code: body['code'], challenge: answer.headers.get('www-authenticate') }
  }
  const ask = async (fields: Record<string, string>) => {
    const answer = await world().gateway.fetch(at('/oauth/token'), form(fields))
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const clientCredentials = (client_id: string, client_secret: string, resource = at('/api')) =>
    ask({ grant_type: 'client_credentials', client_id, client_secret, resource })

  it('is found like every other resource, and asked for by an administrator’s app', async () => {
    const refused = await world().gateway.fetch(at('/api/grants'))
    const metadata = at('/.well-known/oauth-protected-resource/api')
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer resource_metadata="${metadata}", scope="admin"`,
    ])
    expect(await (await world().gateway.fetch(metadata)).json()).toEqual({
      resource: at('/api'),
      resource_name: 'API of this gateway',
      authorization_servers: [world().gateway.origin],
      scopes_supported: ['admin'],
      bearer_methods_supported: ['header'],
      resource_documentation: at('/api/openapi.json'),
    })
    const browser = browserOf()
    const { access_token: token, refresh_token, scope } = await tokensFor(ana, browser)
    expect(scope).toBe('admin')
    expect((await api(token)).status).toBe(200)
    // No cookie, no form token.
    const block = { method: 'POST', body: JSON.stringify({ client: 'gone' }) }
    const json = { headers: { 'content-type': 'application/json' } }
    expect((await api(token, '/api/blocks', { ...block, ...json })).status).toBe(201)
    expect((await api(token, '/api/blocks?client=gone', { method: 'DELETE' })).status).toBe(204)
    // What was allowed once is asked again, although the client proves who it is.
    const page = await browser.go(asking().url)
    expect(page.body).toContain('Administer this gateway as you')
    const renewed = await ask({
      grant_type: 'refresh_token',
      refresh_token,
      client_id: 'people',
      client_secret: people.client_secret,
      resource: at('/api'),
    })
    expect((await api(String(renewed.body['access_token']))).status).toBe(200)
    const { status } = await callerOf(world().gateway, at('/ruled/mcp'), token).post({})
    expect(status).toBe(401)
    await world().admin.ask('DELETE', '/api/grants?user=local:ana&client=people')
    world().gateway.advance(1000)
    expect(await api(token)).toMatchObject({ status: 401, code: 'token.revoked' })
  })

  it('never is a cookie of an administrator counted beside a token [H-W74]', async () => {
    const cookieOf = async (who: typeof ana) => {
      const { browser } = await signInAs(world().gateway, who)
      return [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    }
    const [administrator, other] = [await cookieOf(ana), await cookieOf(yamada)]
    const { access_token: token } = await tokensFor()
    expect(await api(token, '/api/blocks', { headers: { cookie: other } })).toMatchObject({ status: 200 })
    for (const bad of ['x', `${token}x`])
      expect(await api(bad, '/api/blocks', { headers: { cookie: administrator } })).toMatchObject({
        status: 401,
        code: 'token.malformed',
      })
    const basicHeader = { cookie: administrator, authorization: 'Basic eDp5' }
    expect((await api('', '/api/blocks', { headers: basicHeader })).status).toBe(401)
  })

  it('never is a token for a service good at the API [H-W75]', async () => {
    const token = await tokenOf(world().gateway, ana, at('/ruled/mcp'))
    expect(await api(token)).toMatchObject({
      status: 401,
      code: 'token.audience',
      challenge: expect.stringContaining('Bearer error="invalid_token", resource_metadata="') as string,
    })
    const ofAccount = await clientCredentials('post', secrets.post, at('/ruled/mcp'))
    expect(await api(String(ofAccount.body['access_token']))).toMatchObject({ code: 'token.audience' })
  })

  it('never gives a token to who is no administrator', async () => {
    const browser = browserOf()
    const page = await browser.go(asking().url)
    const denied = await browser.submit(page, '/login', {
      username: yamada.username,
      password: yamada.password,
    })
    expect([denied.status, /Administer this gateway/.test(denied.body)]).toEqual([403, false])
  })

  it('takes a service account that the operator named, and no other', async () => {
    const answer = await clientCredentials('ops', ops.client_secret)
    expect(answer.body['scope']).toBe('admin')
    expect((await api(String(answer.body['access_token']))).status).toBe(200)
    expect((await clientCredentials('idle', idle.client_secret)).body).toMatchObject({
      error: 'invalid_target',
      code: 'account.service',
    })
  })
}
