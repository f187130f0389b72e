// A gateway with issuers of assertions of each kind, a person whom a company knows, and what tests ask of them.
import { afterAll, beforeAll } from 'vitest'
import { type AssertionIssuer, openAssertionIssuer } from '../providers/assertion-issuer.ts'
import { type Administrator, signInAs } from './administrator.ts'
import { type Browser, createBrowser } from './browser.ts'
import { form } from './login.ts'
import { ana, callerOf } from './people.ts'
import { type RuledUpstream, openRuledUpstream } from './ruled-upstream.ts'
import type { RuntimeGateway, TestGatewayOptions } from './runtimes.ts'

export type Json = Readonly<Record<string, unknown>>
export interface Answer {
  readonly status: number
  readonly body: Json
}

export const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const secrets = {
  desk: 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe',
  other: 'Zt5rM8kW1xQ7pLc4vNb9yHs2dFg6jUaE',
}
const scimToken = 'Ym5rT2vX8qLc3wKz7pHd4sGf9jNb6uAe'
export const bea = 'bea@corp.test'
const tool = (name: string) => ({
  jsonrpc: '2.0',
  id: 7,
  method: 'tools/call',
  params: { name, arguments: {} },
})

const secret = (client_secret: string) => ({
  name: 'Desk',
  token_endpoint_auth_method: 'client_secret_post' as const,
  client_secret,
})

const configOf = (company: string, platform: string, mesh: Json, upstream: string) => ({
  admins: ['local:ana'],
  local_users: [ana],
  mcp_services: {
    ruled: { url: upstream },
    second: { url: upstream },
    keyed: { url: upstream, dpop: 'required' as const },
    open: { url: upstream, auth_required: false },
  },
  flows: {},
  dpop: { nonce: 'off' as const },
  oauth_providers: {
    corp: { type: 'mock' as const, allowed_domains: ['corp.test'] },
    open: { type: 'mock' as const, allowed_domains: ['corp.test'] },
    staff: {
      issuer: 'https://staff.example',
      client_id: 'gateway',
      scim_token: scimToken,
      allowed_domains: ['corp.test'],
    },
  },
  access: {
    allow: [
      { groups: ['service:ci'], services: ['ruled'], permissions: ['write' as const] },
      { people: ['local:ana'], permissions: ['admin' as const] },
      {
        people: [`corp:${bea}`, 'open:new', 'staff:cleo'],
        services: ['ruled', 'second', 'keyed'],
        permissions: ['write' as const],
      },
    ],
  },
  service_accounts: { nightly: { name: 'Nightly', groups: ['ci'], services: ['ruled'] } },
  clients: {
    desk: secret(secrets.desk),
    other: secret(secrets.other),
    open: { name: 'Open', redirect_uris: ['https://open.example/cb'] },
  },
  assertion_issuers: {
    corp: {
      type: 'id_jag' as const,
      issuer: company,
      allow_origins: [company],
      provider: 'corp',
      clients: ['desk'],
      permissions: ['write' as const],
      token_lifetime: '10m',
    },
    anyone: {
      type: 'id_jag' as const,
      issuer: company,
      tenant: 'new',
      allow_origins: [company],
      provider: 'open',
      accounts: 'create' as const,
      actors: true,
      clients: ['desk', 'other'],
      services: ['second'],
    },
    pushed: {
      type: 'id_jag' as const,
      issuer: company,
      tenant: 'staff',
      allow_origins: [company],
      provider: 'staff',
      clients: ['desk'],
    },
    actions: {
      type: 'workload' as const,
      issuer: platform,
      allow_origins: [platform],
      rules: [
        {
          claims: { repository_id: '7123', ref: 'refs/heads/main', 'kubernetes.io/namespace': 'ci' },
          service_account: 'nightly',
        },
        { claims: { sub: 'repo:acme/*:release', repository_id: '7123' }, service_account: 'nightly' },
      ],
    },
    mesh: {
      type: 'workload' as const,
      trust_domain: 'prod.example',
      replay: 'until_expiry' as const,
      jwks: { keys: [mesh] },
      rules: [{ claims: { sub: 'spiffe://prod.example/ns/ci/sa/nightly' }, service_account: 'nightly' }],
    },
  },
})

export const idJag = { typ: 'oauth-id-jag+jwt' }

/** Opened before the tests of the suite that asks for it, and closed after them. */
export const assertionWorld = (open: (options: TestGatewayOptions) => Promise<RuntimeGateway>) => {
  let company: AssertionIssuer
  let platform: AssertionIssuer
  let mesh: AssertionIssuer
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let admin: Administrator
  let browser: Browser
  let moved = 0
  beforeAll(async () => {
    ;[company, platform, mesh, upstream] = await Promise.all([
      openAssertionIssuer(),
      openAssertionIssuer('RS256'),
      openAssertionIssuer(),
      openRuledUpstream(),
    ])
    gateway = await open({
      upstream: upstream.url,
      config: configOf(company.url, platform.url, mesh.key.jwk, upstream.url),
    })
    admin = await signInAs(gateway, ana)
    browser = createBrowser(gateway.fetch, gateway.origin)
    await browser.submit(await browser.go('/login'), '/login/corp', { email: bea, name: 'Bea' })
  }, 120_000)
  afterAll(async () => {
    await gateway.close()
    await Promise.all([company, platform, mesh, upstream].map((one) => one.close()))
  })

  const advance = (ms: number): void => {
    moved += ms
    gateway.advance(ms)
  }
  const now = () => Math.floor((Date.now() + moved) / 1000)
  const resource = (id = 'ruled') => `${gateway.origin}/${id}/mcp`
  const ask = async (fields: Readonly<Record<string, string>>, proof?: string): Promise<Answer> => {
    const init = form({ grant_type: grantType, ...fields })
    const answer = await gateway.fetch(`${gateway.origin}/oauth/token`, {
      ...init,
      headers: { ...(init.headers as Record<string, string>), ...(proof !== undefined && { dpop: proof }) },
    })
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const claims = (more: Json = {}): Json => ({
    aud: gateway.origin,
    sub: bea,
    client_id: 'desk',
    jti: crypto.randomUUID(),
    iat: now(),
    exp: now() + 300,
    ...more,
  })
  const desk = { client_id: 'desk', client_secret: secrets.desk }
  const signed = (more: Json = {}, header: Json = {}) =>
    company.sign({ resource: resource(), ...claims(more) }, { ...idJag, ...header })
  const send = (assertion: string, fields: Readonly<Record<string, string>> = {}) =>
    ask({ ...desk, assertion, ...fields })
  const redeem = async (more: Json = {}, fields: Readonly<Record<string, string>> = {}) =>
    send(await signed(more), fields)
  const job = (more: Json = {}): Json => ({
    aud: gateway.origin,
    sub: 'repo:acme/app:ref:refs/heads/main',
    repository_id: '7123',
    ref: 'refs/heads/main',
    'kubernetes.io': { namespace: 'ci' },
    jti: crypto.randomUUID(),
    iat: now(),
    exp: now() + 600,
    ...more,
  })
  const run = async (more: Json = {}, fields: Readonly<Record<string, string>> = {}) =>
    ask({ assertion: await platform.sign(job(more)), ...fields })
  const token = ({ body }: Answer): string => String(body['access_token'])
  const read = (access: string) =>
    JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString()) as Json
  const call = async (access: string, name = 'search', id = 'ruled') => {
    const answer = await callerOf(gateway, resource(id), access).post(tool(name))
    const text = await answer.text()
    return {
      status: answer.status,
      body: text === '' ? {} : (JSON.parse(text) as { error?: { data?: Json } }),
    }
  }
  /** As the provider provisions its users. */
  const provision = async (method: string, path: string, body: Json): Promise<Json> => {
    const answer = await gateway.fetch(`${gateway.origin}/admin/scim/staff/v2/${path}`, {
      method,
      headers: { 'authorization': `Bearer ${scimToken}`, 'content-type': 'application/scim+json' },
      body: JSON.stringify(body),
    })
    return (await answer.json()) as Json
  }
  const lastEvent = (event: string) => gateway.log.findLast((line) => line.event === event)?.fields

  return {
    advance,
    now,
    resource,
    ask,
    claims,
    desk,
    signed,
    send,
    redeem,
    job,
    run,
    token,
    read,
    call,
    lastEvent,
    provision,
    get company() {
      return company
    },
    get platform() {
      return platform
    },
    get mesh() {
      return mesh
    },
    get upstream() {
      return upstream
    },
    get gateway() {
      return gateway
    },
    get browser() {
      return browser
    },
    get admin() {
      return admin
    },
  }
}
