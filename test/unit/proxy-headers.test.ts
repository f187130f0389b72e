// What an upstream may read: every field the caller wrote is judged in every spelling, and the gateway's own
// words cannot be imitated.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createRequestHeaders,
  droppedNames,
  droppedPrefixes,
  droppedWords,
  normalName,
} from '../../src/proxy/inbound-request.ts'

const read = createRequestHeaders(new Set(['x-team']))
const namesOf = (flat: readonly string[]): string[] =>
  flat.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())

/**
 * Names that carry an identity or an authority somewhere: those of the seeds, of proxies and of
 * identity-aware load balancers.
 */
const identityNames = [
  ...[
    'X-User-Id',
    'X-User-Sub',
    'X-User-Email',
    'X-User-Name',
    'X-User-Login',
    'X-User-Provider',
    'X-User-Avatar',
    'X-User-Groups',
    'X-User-Context',
    'X-User-Anything',
    'X-MCP-Identity',
    'X-Auth-Token',
  ],
  ...[
    'Remote-User',
    'X-Remote-User',
    'X-Forwarded-User',
    'X-Forwarded-Email',
    'X-Forwarded-Groups',
    'X-Forwarded-Preferred-Username',
    'X-Forwarded-Access-Token',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Forwarded-Proto',
    'Forwarded',
    'X-Real-IP',
  ],
  ...[
    'X-Auth-Request-User',
    'X-Auth-Request-Email',
    'X-Auth-Request-Groups',
    'X-Authenticated-User',
    'X-Amzn-Oidc-Identity',
    'X-Amzn-Oidc-Data',
    'X-Goog-Authenticated-User-Email',
    'X-Goog-Iap-Jwt-Assertion',
    'X-Ms-Client-Principal',
    'X-Ms-Client-Principal-Name',
  ],
  ...[
    'X-Pomerium-Jwt-Assertion',
    'X-Pomerium-Claim-Email',
    'Cf-Access-Jwt-Assertion',
    'Cf-Access-Authenticated-User-Email',
    'Cf-Connecting-IP',
    'True-Client-IP',
    'mcp-init-host',
    'router-key',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
  ],
  ...[
    'Authorization',
    'Cookie',
    'Proxy-Authorization',
    'X-Team',
    'X-Request-Id',
    'Host',
    'Transfer-Encoding',
    'Content-Length',
    'TE',
    'Upgrade',
    'Keep-Alive',
    'Mcp-Session-Id',
    'Last-Event-ID',
    'Origin',
  ],
]

/** The same name to some server: any case, underscores for hyphens. */
const spelling = fc
  .constantFrom(...identityNames)
  .chain((name) =>
    fc
      .array(fc.nat(3), { minLength: name.length, maxLength: name.length })
      .map((turns) =>
        [...name]
          .map((c, i) =>
            c === '-' && turns[i] === 0 ? '_' : (turns[i] ?? 0) % 2 === 0 ? c.toLowerCase() : c.toUpperCase(),
          )
          .join(''),
      ),
  )
const harmless = fc.constantFrom(
  'Accept',
  'User-Agent',
  'traceparent',
  'Mcp-Param-Region',
  'X-Custom',
  'Accept-Language',
)
const field = fc.tuple(fc.oneof(spelling, harmless), fc.constantFrom('root', '', 'admin, root', 'x'))

describe('the fields of a request', () => {
  it('that speak of identity never pass, in any spelling, however often and wherever they stand [B5] [H-L1, H-K1]', () => {
    const forbidden = new Set(identityNames.map(normalName))
    fc.assert(
      fc.property(fc.array(field, { maxLength: 40 }), (fields) => {
        const { forward } = read(fields.flat())
        for (const name of namesOf(forward)) expect(forbidden.has(normalName(name))).toBe(false)
        // What the gateway accepts and sends is its own to say.
        const expected = fields
          .filter(([name]) => !forbidden.has(normalName(name)) && !/^(?:accept|content[-_]type)$/i.test(name))
          .flat()
        expect(forward).toEqual(expected)
      }),
      { numRuns: 1000 },
    )
  })

  it('that claim something by a word of their name do not pass, whatever stands around it [H-L1]', () => {
    const claiming = [
      ...[
        'X-Authorization',
        'X-Impersonated-User',
        'X-Proxy-User',
        'X-Mcp-Api-Key',
        'X-Api-Key',
        'Api-Key',
        'ApiKey',
        'X_API_KEY',
        'X-Acting-User',
        'X-Tenant',
      ],
      ...[
        'X-Gateway-Roles',
        'My-Company-Email',
        'X-Internal-Auth',
        'X-Sso-Groups',
        'X-Session-Token',
        'X-Service-Account',
        'X-Webhook-Secret',
        'X-Admin-Override',
      ],
      ...[
        'X-Bearer',
        'X-Delegated-Subject',
        'X-Ssl-Certificate',
        'Service-Authorization',
        'X-Principal-Id',
        'X-User',
        'Userinfo',
      ],
    ]
    for (const name of claiming)
      expect(read([name, 'root', name.toLowerCase().replaceAll('-', '_'), 'root']).forward).toEqual([])
  })

  it('that only sound like it pass', () => {
    const sent = [
      'User-Agent',
      'Mcp-Param-User',
      'mcp-param-api-key',
      'X-Correlation-Id',
      'Idempotency-Key',
      'X-Stainless-Lang',
      'X-Trace',
      'Sentry-Trace',
      'X-Scoped',
      'Author',
      'X-Grouping',
      'X-Apikeyless',
    ]
    const flat = sent.flatMap((name) => [name, '1'])
    expect(read(flat).forward).toEqual(flat)
  })

  it('that the operator lets through pass in any spelling, but never those that the gateway writes', () => {
    const passing = createRequestHeaders(
      new Set(['x-team']),
      new Set(['x-api-key', 'x-team', 'authorization', 'connection']),
    )
    expect(
      passing([
        'X-Api-Key',
        '1',
        'x_api_key',
        '2',
        'X-Mcp-Api-Key',
        '3',
        'X-Team',
        '4',
        'Authorization',
        'Bearer x',
        'Connection',
        'close',
      ]).forward,
    ).toEqual(['X-Api-Key', '1', 'x_api_key', '2'])
  })

  it('that Connection lists end at this hop, and listing the gateway’s own words hurts nobody but the caller [H-K2]', () => {
    const { forward } = read([
      'Connection',
      'close, X-Custom , x_other,Accept',
      'X-Custom',
      '1',
      'X-Other',
      '2',
      'Accept',
      '*/*',
      'User-Agent',
      'a',
      'MCP-Protocol-Version',
      '2025-06-18',
    ])
    expect(forward).toEqual(['User-Agent', 'a', 'MCP-Protocol-Version', '2025-06-18'])
    const { versions } = read(['Connection', 'mcp-protocol-version', 'MCP-Protocol-Version', '2025-06-18'])
    expect(versions).toEqual(['2025-06-18'])
  })

  it('that the protocol needs pass as they came [C2] [C9] [C16]', () => {
    const sent = [
      'Mcp-Method',
      'tools/call',
      'Mcp-Name',
      '=?base64?eA==?=',
      'Mcp-Param-Region',
      'eu west',
      'mcp-param-OTHER',
      '',
      'traceparent',
      '00-a-b-01',
      'tracestate',
      'x=1',
      'baggage',
      'k=v',
      'X-Amzn-Trace-Id',
      'Root=1',
    ]
    expect(read(['Accept', '*/*', 'Content-Type', 'application/json; charset=utf-8', ...sent])).toMatchObject(
      { forward: sent, accept: '*/*', type: 'application/json; charset=utf-8' },
    )
  })

  it('that the gateway judges are read in their one spelling only', () => {
    const inbound = read([
      'MCP-PROTOCOL-VERSION',
      '2025-06-18',
      'mcp_protocol_version',
      '1999-01-01',
      'Mcp-Session-Id',
      'a',
      'MCP_SESSION_ID',
      'b',
      'authorization',
      'Bearer x',
      'Authorization',
      'Bearer y',
      'Last-Event-ID',
      '7',
      'content-type',
      'text/plain',
    ])
    expect(inbound).toMatchObject({
      versions: ['2025-06-18'],
      sessions: ['a'],
      authorization: ['Bearer x', 'Bearer y'],
      resume: '7',
      type: 'text/plain',
    })
  })

  it('are remembered by name without growing for ever', () => {
    const fresh = createRequestHeaders(new Set())
    for (let i = 0; i < 5000; i++)
      expect(fresh([`X-Made-Up-${i}`, '1', `X-User-${i}`, '2']).forward).toEqual([`X-Made-Up-${i}`, '1'])
  })

  it('are dropped by lists in one normal spelling', () => {
    for (const name of [...droppedNames, ...droppedPrefixes, ...droppedWords])
      expect(name).toBe(normalName(name))
  })
})
