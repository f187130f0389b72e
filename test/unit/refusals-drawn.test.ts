// Every refusal on every surface: whoever reads it can name its code and its request, and nobody but the
// operator reads why.
import { describe, expect, it } from 'vitest'
import { renderRefusal } from '../../src/app.ts'
import { parseConfig } from '../../src/config/schema.ts'
import { Refusal, type RefusalCode, documentationAt, refusals } from '../../src/kit/refusal.ts'
import { createPages } from '../../src/pages/views.ts'
import { createRefuse } from '../../src/proxy/outcome.ts'
import { createCors } from '../../src/proxy/resolve.ts'
import type { Surface } from '../../src/ports/modules.ts'

const codes = Object.keys(refusals) as RefusalCode[]
const why = 'known to the operator alone: http://10.0.0.7:9000/internal'
const ascii = (text: string): string => text.replaceAll('"', "'").replaceAll('\u2019', "'")
const pages = createPages({ issuer: 'https://gw.test', version: '0' })
const drawn = (refusal: Refusal, surface: Surface, accept: string): Response =>
  renderRefusal(refusal, {
    surface,
    accept,
    requestId: 'r1',
    pages,
    redirectTo: (uri, params) => `${uri}?${new URLSearchParams(params)}`,
  })

const oauthOf = (code: RefusalCode) => ({
  error: refusals[code].oauth,
  error_description: ascii(refusals[code].say),
  code,
  request_id: 'r1',
})
const rpcOf = (code: RefusalCode, id: unknown) => ({
  jsonrpc: '2.0',
  id,
  error: { code: refusals[code].rpc, message: refusals[code].say, data: { code, request_id: 'r1' } },
})

describe.each(codes)('%s', (code) => {
  const refusal = new Refusal(code, why)

  it.each([
    ['oauth', 'application/json'],
    ['json', '*/*'],
    ['page', 'application/json'],
  ] as const)(
    'is an OAuth error with its code on the surface %s for who accepts %s [RFC 6749 §5.2]',
    async (surface, accept) => {
      const answer = drawn(refusal, surface, accept)
      expect([answer.status, await answer.json()]).toEqual([refusals[code].status, oauthOf(code)])
    },
  )

  it('is a JSON-RPC error with its code to an MCP client, and an OAuth error where it is about credentials', async () => {
    const answer = drawn(refusal, 'mcp', '*/*')
    const challenged = refusals[code].status === 401 || refusals[code].status === 403
    expect([answer.status, await answer.json()]).toEqual([
      refusals[code].status,
      challenged ? oauthOf(code) : rpcOf(code, null),
    ])
  })

  it('is a page that shows code and request id to a person', async () => {
    const answer = drawn(refusal, 'page', 'text/html')
    const text = await answer.text()
    expect([answer.status, text.includes('r1'), text.includes(code), text.includes('10.0.0.7')]).toEqual([
      refusals[code].status,
      true,
      true,
      false,
    ])
  })

  it('is the same on the proxied way: JSON-RPC, beside a challenge OAuth, and one line in the log', () => {
    const lines: unknown[][] = []
    const refuse = createRefuse({
      always: [],
      cors: createCors({ cors: parseConfig({}).cors, origins: ['https://gw.test'], debug: false }),
      log: (...line) => void lines.push(line),
    })
    const about = {
      rawHeaders: [],
      requestId: 'r1',
      rpcId: 7,
      method: 'POST',
      target: '/demo/mcp?key=1',
      ip: '192.0.2.1',
    }
    const plain = refuse(refusal, about)
    if (code === 'request.origin') expect(plain.body).toBe('Unauthorized origin')
    else expect(JSON.parse(plain.body)).toEqual(rpcOf(code, 7))
    expect(lines).toHaveLength(1)
    const challenged = refuse(new Refusal(code, why, { headers: { 'www-authenticate': 'Bearer' } }), about)
    if (code !== 'request.origin')
      expect(JSON.parse(challenged.body)).toEqual({ ...oauthOf(code), error_description: refusals[code].say })
    expect(challenged.body + plain.body).not.toContain('10.0.0.7')
  })

  it('tells a client by redirect no more than its error: a parameter named code would be an authorization code [RFC 6749 §4.1.2.1]', () => {
    const answer = drawn(
      new Refusal(code, why, { redirect: { uri: 'https://app.test/cb', state: 's' } }),
      'page',
      'text/html',
    )
    expect([...new URL(answer.headers.get('location') ?? '').searchParams.keys()]).toEqual([
      'error',
      'error_description',
      'state',
    ])
  })
})

describe('where the documentation is published', () => {
  const documentationOf = documentationAt('https://docs.example.com/postern/')
  const uri = 'https://docs.example.com/postern/reference/refusals.html#client.unknown'
  const refusal = new Refusal('client.unknown', why)
  const shown = (surface: Surface, accept: string, of = refusal): Response =>
    renderRefusal(of, {
      surface,
      accept,
      requestId: 'r1',
      pages,
      documentationOf,
      redirectTo: (to, params) => `${to}?${new URLSearchParams(params)}`,
    })

  it('JSON, pages and redirects link to what it says of the code [RFC 6749 §5.2, §4.1.2.1]', async () => {
    expect(await shown('oauth', 'application/json').json()).toEqual({
      ...oauthOf('client.unknown'),
      error_uri: uri,
    })
    expect(await shown('page', 'text/html').text()).toContain(
      `<a href="${uri}" rel="noreferrer">About this error</a>`,
    )
    const redirected = new Refusal('consent.denied', why, { redirect: { uri: 'https://app.test/cb' } })
    const location = shown('page', 'text/html', redirected).headers.get('location') ?? ''
    expect(new URL(location).searchParams.get('error_uri')).toBe(
      'https://docs.example.com/postern/reference/refusals.html#consent.denied',
    )
  })

  it('challenges of MCP endpoints do so too', () => {
    const refuse = createRefuse({
      cors: createCors({ cors: parseConfig({}).cors, origins: [], debug: false }),
      log: () => undefined,
      always: [],
      documentationOf,
    })
    const answer = refuse(new Refusal('token.expired', why, { headers: { 'www-authenticate': 'Bearer' } }), {
      rawHeaders: [],
      requestId: 'r1',
      rpcId: 7,
      method: 'POST',
      target: '/echo/mcp',
      ip: '127.0.0.1',
    })
    expect(JSON.parse(answer.body)).toEqual({
      ...oauthOf('token.expired'),
      error_uri: 'https://docs.example.com/postern/reference/refusals.html#token.expired',
    })
  })

  it('is a full URL in the configuration', () => {
    expect(parseConfig({ docs_url: 'https://docs.example.com/postern' }).docs_url).toBe(
      'https://docs.example.com/postern',
    )
    expect(() => parseConfig({ docs_url: 'javascript:alert(1)' })).toThrow('must be a full http')
  })
})
