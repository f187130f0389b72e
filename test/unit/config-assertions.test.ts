// Issuers of assertions in the configuration: what would let in more than one reads in it is refused at the start.
import { describe, expect, it } from 'vitest'
import { faultsOf, warningsOf } from './config-world.ts'

const base = `issuer: http://localhost:8080
mcp_services: { jira: { url: http://localhost:3001/mcp } }
oauth_providers: { okta: { issuer: "https://acme.okta.example", client_id: x, client_secret: y } }
service_accounts: { nightly: { services: [jira] } }
clients:
  app: { name: App, redirect_uris: ["https://app.example/cb"], token_endpoint_auth_method: client_secret_post, client_secret: Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0A }
  public: { name: Public, redirect_uris: ["https://app.example/cb"] }
access: { allow: [{ everyone: true, permissions: [read] }] }
assertion_issuers:
`
const acme = '  acme: { type: id_jag, issuer: "https://acme.okta.example", provider: okta, clients: [app] }\n'
const rule = '{ claims: { repository_id: "7", ref: refs/heads/main }, service_account: nightly }'
const actions = (more: string, rules = rule): string =>
  `  actions: { type: workload, issuer: "https://ci.example", rules: [${rules}]${more} }\n`
const told = async (text: string): Promise<readonly string[]> =>
  (await faultsOf(base + text)).map((fault) => fault.replace(/^config\.yaml:\d+:\d+ /, ''))

describe('issuers of assertions', () => {
  it('are accepted as the guide writes them, and a client of theirs needs no redirect URI', async () => {
    const text = acme + actions('')
    expect(await told(text)).toEqual([])
    const alone = base.replace('App, redirect_uris: ["https://app.example/cb"],', 'App,')
    expect([await faultsOf(alone + text), await warningsOf(alone + text)]).toEqual([[], []])
  })

  const rows: readonly (readonly [string, string, RegExp])[] = [
    [
      'the gateway itself',
      acme.replace('https://acme.okta.example', 'http://localhost:8080/'),
      /issuer – is this gateway/,
    ],
    ['plain http', acme.replace('https://acme', 'http://acme'), /issuer – must use https/],
    [
      'one issuer twice',
      acme + acme.replace('acme:', 'again:'),
      /again – has the same issuer, type and tenant as assertion_issuers\.acme/,
    ],
    [
      'two tenants with one provider',
      acme + acme.replace('acme:', 'again:').replace('okta,', 'okta, tenant: b,'),
      /again\.provider – is also that of assertion_issuers\.acme, which is another tenant/,
    ],
    [
      'a rule that pins nothing',
      actions('', '{ claims: { iss: "https://ci.example", sub: "*" }, service_account: nightly }'),
      /must pin a claim/,
    ],
    [
      'a name that goes on',
      actions('', '{ claims: { ref: "refs/heads/main*" }, service_account: nightly }'),
      /claims\.ref – must not end a part of the value with \*/,
    ],
    [
      'an owner that goes on',
      actions('', '{ claims: { sub: "repo:acme*/app" }, service_account: nightly }'),
      /claims\.sub – must not end a part/,
    ],
    [
      'an unknown account',
      actions('', rule.replace('nightly', 'nightlo')),
      /names "nightlo", which is not in service_accounts; did you mean "nightly"/,
    ],
    ['no rules', '  actions: { type: workload, issuer: "https://ci.example" }\n', /actions – needs rules/],
    ['keys of the other type', actions(', provider: okta'), /provider – cannot be used with type: workload/],
    [
      'a client that does not authenticate',
      acme.replace('[app]', '[public]'),
      /names "public", which does not authenticate/,
    ],
    ['an unknown client', acme.replace('[app]', '[ap]'), /names "ap", which is not in clients/],
    ['no provider', acme.replace(' provider: okta,', ''), /acme – needs provider/],
    [
      'an unknown provider',
      acme.replace('provider: okta', 'provider: okto'),
      /names "okto", which is not in oauth_providers/,
    ],
    ['a private key', actions(', jwks: { keys: [{ kty: EC, d: x }] }'), /is part of a private key/],
    [
      'two sources of keys',
      actions(', jwks_uri: "https://ci.example/k", jwks: { keys: [{ kty: EC }] }'),
      /has both jwks_uri and jwks/,
    ],
    [
      'a trust domain without keys',
      `  mesh: { type: workload, trust_domain: prod.example, rules: [${rule}] }\n`,
      /mesh – needs jwks_uri, jwks or issuer/,
    ],
    ['administration', acme.replace('clients: [app]', 'clients: [app], permissions: [admin]'), /permissions/],
  ]
  it.each(rows)('are refused: %s', async (_what, text, wanted) => {
    const faults = await told(text)
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(wanted)
  })
})
