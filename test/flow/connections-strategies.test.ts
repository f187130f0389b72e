// What a server is shown instead of the caller's token, by the operator's choice: nothing, who is calling, an
// assertion, one secret for all, or a token of the person's or the gateway's.
import { createLocalJWKSet, decodeJwt, exportPKCS8, generateKeyPair, jwtVerify } from 'jose'
import type { JSONWebKeySet } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { logInThrough } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import {
  hostileProvider,
  openIdProvider,
  providerConfig,
  signInAtProvider,
  straightBack,
} from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'

const people = [
  { login: 'olga', claims: { sub: '1001', name: 'Olga', email: 'olga@corp.test', groups: ['staff'] } },
]

describe.each(runtimes)('%s', (_name, open) => {
  let echo: Upstream
  let far: FarServer
  let idp: RunningProvider
  let brief: RunningProvider
  let house: TestGateway
  let publicKey: CryptoKey
  beforeAll(async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    publicKey = pair.publicKey
    ;[echo, far, idp, brief] = await Promise.all([
      openUpstream(),
      openFarServer(),
      openIdProvider(people),
      hostileProvider(),
    ])
    house = await open({
      upstream: echo.url,
      config: {
        local_users: [ana],
        oauth_providers: {
          sso: providerConfig(idp),
          brief: { ...providerConfig(brief), issuer: `${brief.url}/expires-soon` },
        },
        mcp_services: {
          nothing: {
            url: echo.url,
            upstream_auth: { type: 'none' },
            identity: { preset: 'none', assertion: false },
          },
          named: {
            url: echo.url,
            identity: {
              preset: 'profile',
              headers: { 'X-Tenant': '${provider}-${login}' },
              assertion: false,
            },
          },
          asserted: { url: echo.url, identity: { preset: 'none' } },
          key: {
            url: echo.url,
            upstream_auth: { type: 'static', token: 'for-all', headers: { 'X-Api-Key': 'k-1' } },
          },
          company: { url: echo.url, oauth_provider: 'sso', upstream_auth: { type: 'idp_token' } },
          either: { url: echo.url, upstream_auth: { type: 'idp_token' } },
          own: { url: far.url, upstream_auth: { type: 'oauth' } },
          secret: {
            url: far.url,
            upstream_auth: {
              type: 'client_credentials',
              issuer: far.origin,
              client_id: 'gateway',
              client_secret: 'a secret + 100% of the gateway',
            },
          },
          signed: {
            url: far.url,
            upstream_auth: {
              type: 'client_credentials',
              issuer: far.origin,
              client_id: 'gateway',
              private_key: await exportPKCS8(pair.privateKey),
              token_endpoint_auth_method: 'private_key_jwt',
            },
          },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await Promise.all([echo.close(), far.close(), idp.close(), brief.close()])
  })

  const callerAt = async (service: string): Promise<Caller> =>
    callerOf(
      house,
      `${house.origin}/${service}/mcp`,
      await tokenOf(house, ana, `${house.origin}/${service}/mcp`),
    )
  const heardAt = async (caller: Caller): Promise<Record<string, string>> =>
    ((await (await caller.post(call())).json()) as { result: { headers: Record<string, string> } }).result
      .headers
  const about = (headers: Record<string, string>): string[] =>
    Object.keys(headers).filter((name) => /^(x-(user|mcp|api|tenant)|authorization|cookie)/.test(name))

  it('nothing [B5]', async () => {
    expect(about(await heardAt(await callerAt('nothing')))).toEqual([])
  })

  it('who is calling: a preset of headers and a free map', async () => {
    const headers = await heardAt(await callerAt('named'))
    expect(headers).toMatchObject({
      'x-user-id': 'local:ana',
      'x-user-email': 'ana@example.com',
      'x-user-name': 'Ana Example',
      'x-user-provider': 'local',
      'x-tenant': 'local-ana',
    })
    expect(headers).not.toHaveProperty('authorization')
  })

  it('an assertion that the server can verify, and only it', async () => {
    const headers = await heardAt(await callerAt('asserted'))
    expect(about(headers)).toEqual(['x-mcp-identity'])
    const keys = createLocalJWKSet(
      (await (await house.fetch(`${house.origin}/oauth/jwks`)).json()) as JSONWebKeySet,
    )
    const { payload } = await jwtVerify(headers['x-mcp-identity'] ?? '', keys, {
      audience: `${house.origin}/asserted/mcp`,
      issuer: house.origin,
      currentDate: new Date(decodeJwt(headers['x-mcp-identity'] ?? '').iat! * 1000),
    })
    expect(payload).toMatchObject({ service: 'asserted', user_id: 'ana', email: 'ana@example.com' })
  })

  it('one token or header for all', async () => {
    expect(await heardAt(await callerAt('key'))).toMatchObject({
      authorization: 'Bearer for-all',
      'x-api-key': 'k-1',
    })
  })

  it('the person’s own account at the upstream', async () => {
    const { caller } = await logInThrough(house, 'own')
    expect(await (await caller.post(call())).text()).toMatch(/access-\d+/)
  })

  it('a token that the gateway gets with its secret, escaped as forms are [D9]', async () => {
    const caller = await callerAt('secret')
    expect((await caller.post(call())).status).toBe(200)
    const asked = far.asked.findLast(({ path }) => path === '/token')
    expect(asked?.fields).toMatchObject({ grant_type: 'client_credentials', resource: far.url })
    expect(asked?.fields).not.toHaveProperty('client_secret')
    expect(atob((asked?.headers.authorization ?? '').slice(6))).toBe(
      'gateway:a+secret+%2B+100%25+of+the+gateway',
    )
  })

  it('a token that the gateway gets with its key [D9]', async () => {
    const caller = await callerAt('signed')
    expect((await caller.post(call())).status).toBe(200)
    const fields = far.asked.findLast(({ path }) => path === '/token')?.fields
    const { payload } = await jwtVerify(fields?.['client_assertion'] ?? '', publicKey, {
      issuer: 'gateway',
      subject: 'gateway',
    })
    expect([fields?.['client_assertion_type'], payload.aud, payload.jti?.length]).toEqual([
      'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      far.origin,
      expect.any(Number),
    ])
  })

  describe('the token of the person’s identity provider', () => {
    /** Signs in with a provider in a fresh browser, for a client of the service. */
    const callerVia = async (
      service: string,
      provider: string,
      way: (url: string) => Promise<string>,
    ): Promise<{ readonly caller: Caller; readonly signIn: () => Promise<void> }> => {
      const browser = createBrowser(house.fetch, house.origin)
      const signIn = async (url: string): Promise<void> => {
        const out = await browser.submit(await browser.go(url), `/login/${provider}`, {})
        await browser.go(await way(out.url))
      }
      const client = await register(house)
      const resource = `${house.origin}/${service}/mcp`
      const asking = authorizeUrl(house, client, { resource })
      await signIn(asking.url)
      const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
      const { access_token } = (await (await redeem(house, client, code, asking.verifier)).json()) as {
        access_token: string
      }
      return { caller: callerOf(house, resource, access_token), signIn: () => signIn('/login?prompt=login') }
    }
    const whose = async (authorization: string | undefined): Promise<unknown> =>
      (await fetch(`${idp.url}/me`, { headers: { authorization: authorization ?? '' } })).json()

    it('which the provider knows as theirs, renewed there when it ends', async () => {
      const { caller } = await callerVia('company', 'sso', (url) => signInAtProvider(url, 'olga'))
      const first = (await heardAt(caller))['authorization']
      expect(await whose(first)).toMatchObject({ sub: '1001' })
      expect(first).not.toContain(caller.token)
      // The provider's tokens live ten minutes; the gateway's own an hour.
      house.advance(599_000)
      const second = (await heardAt(caller))['authorization']
      expect(await whose(second)).toMatchObject({ sub: '1001' })
      expect(second).not.toBe(first)
      expect(JSON.stringify(house.log)).not.toContain((second ?? 'none').slice(7))
    })

    it('which a fresh sign-in brings back where it has ended and cannot be renewed', async () => {
      const { caller, signIn } = await callerVia('either', 'brief', straightBack)
      expect((await heardAt(caller))['authorization']).toBe('Bearer upstream-access-token')
      house.advance(61_000)
      const told = await (await caller.post(call(), { 'mcp-protocol-version': '2025-06-18' })).text()
      expect(told).toContain(
        `requires you to sign in again. Open this link in your browser, then try again: ${house.origin}/login?prompt=login`,
      )
      await signIn()
      expect((await heardAt(caller))['authorization']).toBe('Bearer upstream-access-token')
    })

    it('never somebody’s who signed in with a password here', async () => {
      const answer = await (await callerAt('either')).post(call())
      expect([answer.status, await answer.text()]).toEqual([
        502,
        expect.stringContaining('you signed in with a password'),
      ])
    })
  })
})
