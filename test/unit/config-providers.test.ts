// Identity providers by type: what they are settled to, and what is refused.
import { describe, expect, it } from 'vitest'
import { apiOf } from '../../src/identity/providers/github.ts'
import { configOf, faultsOf } from './config-world.ts'

const yaml = (provider: object, rest: object = {}): string =>
  JSON.stringify({ oauth_providers: { github: provider }, ...rest })
const client = { client_id: 'Iv1.a', client_secret: 'gh-secret' }
const settled = async (provider: object, rest: object = {}) =>
  (await configOf(yaml(provider, rest))).oauth_providers['github']

describe('GitHub', () => {
  it('needs a client alone', async () =>
    expect(await settled(client)).toMatchObject({
      type: 'github',
      name: 'GitHub',
      issuer: 'https://github.com/login/oauth',
      scopes: ['read:user', 'user:email'],
    }))

  it('is an OpenID provider where an issuer is written, as before', async () =>
    expect(await settled({ ...client, issuer: 'https://dex.example.com' })).toMatchObject({
      type: 'openid',
      issuer: 'https://dex.example.com',
      scopes: ['openid', 'email', 'profile'],
    }))

  it('Enterprise has its own host', async () =>
    expect(await settled({ ...client, base_url: 'https://git.example.com/' })).toMatchObject({
      issuer: 'https://git.example.com/login/oauth',
    }))

  it.each([
    ['https://github.com', 'https://api.github.com'],
    ['https://acme.ghe.com', 'https://api.acme.ghe.com'],
    ['https://git.example.com', 'https://git.example.com/api/v3'],
  ])('%s has its API at %s', (base, api) => expect(apiOf(base)).toBe(api))

  it.each([
    ['allowed_groups', { allowed_groups: ['acme'] }, {}],
    [
      'a rule of a service',
      {},
      { mcp_services: { a: { url: 'https://a.test', access: { groups: ['acme'] } } } },
    ],
    [
      'a declared group',
      {},
      {
        mcp_services: { a: { url: 'https://a.test', access: { everyone: true } } },
        access: { groups: { staff: { from: { github: ['acme'] } } } },
      },
    ],
    [
      'a header',
      {},
      { mcp_services: { a: { url: 'https://a.test', identity: { headers: { 'X-Teams': '${groups}' } } } } },
    ],
  ])('is asked for organizations and teams where they decide: %s', async (_, more, rest) =>
    expect((await settled({ ...client, ...more }, rest))?.scopes).toEqual([
      'read:user',
      'user:email',
      'read:org',
    ]),
  )

  it.each<[object, string]>([
    [{ client_id: 'a' }, 'oauth_providers.github – needs client_secret: GitHub has no public clients'],
    [
      { ...client, groups_claim: 'roles' },
      'groups_claim – has no meaning for a provider of type github: remove it, or change `type`',
    ],
    [
      { ...client, type: 'openid', issuer: 'https://i.example.com', allowed_logins: ['a'] },
      'allowed_logins – has no meaning for a provider of type openid: remove it, or change `type`',
    ],
    [
      { ...client, base_url: 'https://git.example.com/git' },
      'base_url – must have no path: GitHub Enterprise is the root of its host',
    ],
    [{ ...client, base_url: 'http://git.example.com' }, 'base_url – must use https'],
    [
      { ...client, scopes: ['read:user'], allowed_groups: ['acme'] },
      'scopes – must include "read:org": without it GitHub does not tell groups',
    ],
    [
      { ...client, scopes: ['read:user'], allowed_domains: ['corp.test'] },
      'scopes – must include "user:email": without it GitHub does not tell verified addresses',
    ],
    [{ ...client, allowed_groups: ['Acme'] }, 'allowed_groups[0] – must be in lower case'],
    [{ ...client, allowed_logins: ['@me'] }, 'allowed_logins[0] – must be a GitHub username'],
    [
      { ...client, extra_params: { allowed_logins: 'me' } },
      'is a provider setting, not a parameter: move it to oauth_providers.github.allowed_logins',
    ],
  ])('never starts with %j', async (provider, fault) => {
    const faults = await faultsOf(yaml(provider))
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(fault)
  })

  it('of a public gateway never lets in the whole world; GitHub Enterprise is not the world', async () => {
    const publicly = { issuer: 'https://mcp.example.com' }
    expect(await faultsOf(yaml(client, publicly))).toEqual([
      expect.stringContaining('lets anyone with an account there sign in'),
    ])
    expect(await faultsOf(yaml({ ...client, base_url: 'https://git.example.com' }, publicly))).toEqual([])
    expect(await faultsOf(yaml({ ...client, allowed_logins: [] }, publicly))).toEqual([])
  })
})

describe('plain OAuth 2.0', () => {
  const urls = {
    authorization_url: 'https://login.example.com/authorize',
    token_url: 'https://login.example.com/token',
    userinfo_url: 'https://api.example.com/me',
  }
  const custom = (provider: object, rest: object = {}): string =>
    JSON.stringify({ oauth_providers: { custom: { client_id: 'a', ...provider } }, ...rest })
  const oauth2 = async (provider: object) => (await configOf(custom(provider))).oauth_providers['custom']

  it('is what three URLs say', async () =>
    expect(await oauth2(urls)).toMatchObject({
      type: 'oauth2',
      issuer: 'https://login.example.com',
      scopes: [],
      claim_paths: {
        subject: ['id', 'sub', 'user_id'],
        login: ['login', 'username', 'preferred_username'],
        name: ['name', 'display_name', 'username'],
        email: ['email'],
        email_verified: ['email_verified', 'verified_email'],
        avatar: ['avatar_url', 'picture', 'profile_image_url'],
      },
    }))

  it('reads the members that the operator names, and no others in their place', async () =>
    expect((await oauth2({ ...urls, claims: { subject: 'data.id' } }))?.claim_paths).toMatchObject({
      subject: ['data.id'],
      email: ['email'],
    }))

  it.each<[object, string]>([
    [
      { authorization_url: urls.authorization_url },
      'oauth_providers.custom – needs token_url and userinfo_url, because its type is oauth2',
    ],
    [
      { type: 'oauth2' },
      'needs authorization_url and token_url and userinfo_url, because its type is oauth2',
    ],
    [{ ...urls, token_url: 'http://login.example.com/token' }, 'token_url – must use https'],
    [{ ...urls, userinfo_url: 'https://a:b@api.example.com/me' }, 'userinfo_url – must not have a query'],
    [
      { ...urls, token_endpoint_auth_method: 'client_secret_basic' },
      'token_endpoint_auth_method – has no meaning without client_secret',
    ],
    [{ ...urls, claims: { id: 'x' } }, 'claims.id – is not a known setting'],
    [
      { issuer: 'https://i.example.com', claims: { subject: 'x' } },
      'claims – has no meaning for a provider of type openid',
    ],
  ])('never starts with %j', async (provider, fault) => {
    const faults = await faultsOf(custom(provider))
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(fault)
  })

  it('of a public gateway never lets in whoever can make an account there', async () =>
    expect(await faultsOf(custom(urls, { issuer: 'https://mcp.example.com' }))).toEqual([
      expect.stringContaining(
        'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails, allowed_logins or allowed_groups',
      ),
    ]))
})

describe('a well-known provider', () => {
  const tenant = '5c1a3b0e-8a7e-4a57-9f0e-0d8f0c1f2a3b'
  const one = (provider: object, id = 'sso'): string =>
    JSON.stringify({ oauth_providers: { [id]: { client_id: 'app 1', ...provider } } })
  const loaded = async (provider: object, id = 'sso') =>
    (await configOf(one(provider, id))).oauth_providers[id]

  it.each<[object, object]>([
    [{ type: 'google' }, { issuer: 'https://accounts.google.com', name: 'Google' }],
    [
      { type: 'entra', tenant },
      { issuer: `https://login.microsoftonline.com/${tenant}/v2.0`, name: 'Microsoft' },
    ],
    [
      { type: 'okta', domain: 'corp.okta.com' },
      { issuer: 'https://corp.okta.com', name: 'Okta' },
    ],
    [{ type: 'auth0', domain: 'corp.eu.auth0.com' }, { issuer: 'https://corp.eu.auth0.com/' }],
    [
      { type: 'cloudflare-access', domain: 'corp.cloudflareaccess.com' },
      { issuer: 'https://corp.cloudflareaccess.com/cdn-cgi/access/sso/oidc/app%201' },
    ],
    [{ type: 'keycloak', issuer: 'https://id.example.com/realms/a' }, { type: 'keycloak' }],
    [{ issuer: 'https://corp.okta.com/oauth2/default' }, { type: 'okta', name: 'Okta' }],
    [{ issuer: `https://login.microsoftonline.com/${tenant}/v2.0` }, { type: 'entra' }],
    [
      { issuer: 'https://corp.cloudflareaccess.com/cdn-cgi/access/sso/oidc/a' },
      { type: 'cloudflare-access' },
    ],
    [{ issuer: 'https://evil.test/accounts.google.com' }, { type: 'openid' }],
    [{ issuer: 'https://okta.com.evil.test' }, { type: 'openid' }],
  ])('%j is settled to %j', async (provider, wanted) => expect(await loaded(provider)).toMatchObject(wanted))

  it('is asked for groups where they decide, and where the provider has a scope for them', async () => {
    const scopes = async (provider: object) =>
      (await loaded({ ...provider, allowed_groups: ['a'] }))?.scopes.includes('groups')
    expect(await scopes({ type: 'okta', domain: 'corp.okta.com' })).toBe(true)
    expect(await scopes({ issuer: 'https://corp.okta.com/oauth2/default' })).toBe(false)
    expect(await scopes({ type: 'cloudflare-access', domain: 'corp.cloudflareaccess.com' })).toBe(true)
    expect(await scopes({ issuer: 'https://id.example.com' })).toBe(false)
    expect((await loaded({ type: 'okta', domain: 'corp.okta.com' }))?.scopes).not.toContain('groups')
  })

  it.each<[object, string]>([
    [
      { type: 'entra' },
      'needs `issuer`, the URL below which the provider publishes /.well-known/openid-configuration, or `tenant`',
    ],
    [{ type: 'okta' }, ', or `domain`'],
    [{ type: 'keycloak' }, 'needs `issuer`'],
    [{ type: 'okta', domain: 'https://corp.okta.com' }, 'domain – must be a host name'],
    [
      { type: 'entra', tenant, issuer: 'https://login.microsoftonline.com/x/v2.0' },
      'tenant – cannot be combined with `issuer`: keep one of the two',
    ],
    [
      { type: 'entra', tenant: 'organizations', allowed_tenants: ['corp.test'] },
      'allowed_tenants[0] – must be the ID of a tenant',
    ],
    [
      { type: 'okta', domain: 'corp.okta.com', allowed_tenants: ['a'] },
      'allowed_tenants – has no meaning for a provider of type okta',
    ],
  ])('never starts with %j', async (provider, fault) => {
    const faults = await faultsOf(one(provider))
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(fault)
  })

  it('never lets every Microsoft account of the world in', async () => {
    const publicly = (more: object) =>
      faultsOf(
        JSON.stringify({
          issuer: 'https://mcp.example.com',
          oauth_providers: { sso: { type: 'entra', tenant: 'organizations', client_id: 'a', ...more } },
        }),
      )
    expect(await publicly({})).toEqual([expect.stringContaining('lets anyone with an account there sign in')])
    expect(await publicly({ allowed_tenants: [tenant] })).toEqual([])
  })
})

describe('single_provider', () => {
  const two = (single: boolean): string =>
    JSON.stringify({
      single_provider: single,
      oauth_providers: {
        google: { client_id: 'a', client_secret: 'b' },
        github: { client_id: 'a', client_secret: 'c' },
      },
    })

  it('never starts with two, and says so as the gateway did that could have one alone', async () => {
    expect(await faultsOf(two(true))).toEqual([
      expect.stringContaining(
        "Only one OAuth provider can be configured per gateway instance. Found 2 providers: ['google', 'github']. Please configure only one provider due to OAuth 2.1 resource parameter constraints",
      ),
    ])
    expect(await faultsOf(two(false))).toEqual([])
  })
})

describe('a mock', () => {
  const at = (issuer: string, more: object = {}): string =>
    JSON.stringify({ issuer, oauth_providers: { dev: { type: 'mock', ...more } } })

  it('never starts on a gateway that others can reach, unless that is written [H-U12]', async () => {
    expect(await faultsOf(at('http://localhost:8080'))).toEqual([])
    expect(await faultsOf(at('https://mcp.example.com'))).toEqual([
      expect.stringContaining(
        'oauth_providers.dev – is a mock, with which anyone can sign in as anyone: it is allowed only for a gateway on localhost. If this is intended, set allow_insecure_mock: true',
      ),
    ])
    expect(await faultsOf(at('https://mcp.example.com', { allowed_emails: ['a@corp.test'] }))).toHaveLength(1)
    expect(await faultsOf(at('https://mcp.example.com', { allow_insecure_mock: true }))).toEqual([])
  })

  it.each(['client_id', 'client_secret', 'issuer', 'redirect_path'])('has no %s', async (key) => {
    const value = key === 'issuer' ? 'https://i.example.com' : key === 'redirect_path' ? '/callback' : 'x'
    expect(await faultsOf(at('http://localhost:8080', { [key]: value }))).toEqual([
      expect.stringContaining(`oauth_providers.dev.${key} – has no meaning for a provider of type mock`),
    ])
  })

  it('alone needs no client', async () =>
    expect(
      await faultsOf(JSON.stringify({ oauth_providers: { sso: { issuer: 'https://i.example.com' } } })),
    ).toEqual([expect.stringContaining('oauth_providers.sso – needs client_id')]))
})
