// Header and body of one request, judged as the reference server judges them: the SDK's own handler is the
// oracle.
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBase64, utf8 } from '../../src/kit/bytes.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { readEnvelope, validateHeaders, decodeHeaderValue } from '../../src/mcp/envelope.ts'
import { isModern, publishedVersions } from '../../src/mcp/revisions.ts'

const handler = createMcpHandler(() => {
  const server = new McpServer({ name: 'oracle', version: '1' })
  server.registerTool('whoami', { description: 'x' }, () => ({ content: [] }))
  return server
})

interface Case {
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
}

const ours = ({
  body,
  headers,
}: Case): { readonly code: number; readonly id: unknown; readonly data: unknown } | undefined => {
  try {
    validateHeaders(
      readEnvelope(utf8(JSON.stringify(body))),
      { version: headers['mcp-protocol-version'], method: headers['mcp-method'], name: headers['mcp-name'] },
      publishedVersions,
    )
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { code: error.row.rpc, id: error.detail.rpcId, data: error.detail.rpcData }
  }
  return undefined
}

const theirs = async ({ body, headers }: Case): Promise<{ status: number; code?: number; id?: unknown }> => {
  const response = await handler.fetch(
    new Request('http://localhost/mcp', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...headers,
      },
      body: JSON.stringify(body),
    }),
  )
  const text = await response.text()
  if (!response.headers.get('content-type')?.includes('json')) return { status: response.status }
  const answer = JSON.parse(text) as { id?: unknown; error?: { code: number } }
  return { status: response.status, ...(answer.error ? { code: answer.error.code } : {}), id: answer.id }
}

const modern = '2026-07-28'
const meta = {
  'io.modelcontextprotocol/protocolVersion': modern,
  'io.modelcontextprotocol/clientCapabilities': {},
}
const call = {
  jsonrpc: '2.0',
  id: 4,
  method: 'tools/call',
  params: { name: 'whoami', arguments: {}, _meta: meta },
}
const headers = { 'mcp-protocol-version': modern, 'mcp-method': 'tools/call', 'mcp-name': 'whoami' }
const without = <T extends object>(value: T, key: keyof T) =>
  Object.fromEntries(Object.entries(value).filter(([name]) => name !== key))

const disagreements: readonly (readonly [string, Case, number])[] = [
  ['no MCP-Protocol-Version', { body: call, headers: without(headers, 'mcp-protocol-version') }, -32020],
  [
    'another MCP-Protocol-Version',
    { body: call, headers: { ...headers, 'mcp-protocol-version': '2025-11-25' } },
    -32020,
  ],
  ['no Mcp-Method', { body: call, headers: without(headers, 'mcp-method') }, -32020],
  ['another Mcp-Method', { body: call, headers: { ...headers, 'mcp-method': 'tools/list' } }, -32020],
  ['Mcp-Method in another case', { body: call, headers: { ...headers, 'mcp-method': 'Tools/Call' } }, -32020],
  [
    'Mcp-Method twice',
    { body: call, headers: { ...headers, 'mcp-method': 'tools/call, tools/call' } },
    -32020,
  ],
  ['no Mcp-Name', { body: call, headers: without(headers, 'mcp-name') }, -32020],
  ['another Mcp-Name', { body: call, headers: { ...headers, 'mcp-name': 'other' } }, -32020],
  [
    'a malformed sentinel',
    { body: call, headers: { ...headers, 'mcp-name': '=?base64?d2hvYW1p!?=' } },
    -32020,
  ],
  [
    'a sentinel that is no UTF-8',
    { body: call, headers: { ...headers, 'mcp-name': '=?base64?/w==?=' } },
    -32020,
  ],
  [
    'initialize under a modern header',
    {
      body: { jsonrpc: '2.0', id: 4, method: 'initialize', params: { protocolVersion: '2025-11-25' } },
      headers: { 'mcp-protocol-version': modern },
    },
    -32020,
  ],
  ['no _meta', { body: { ...call, params: { name: 'whoami' } }, headers }, -32602],
  [
    '_meta without the version',
    {
      body: {
        ...call,
        params: { name: 'whoami', _meta: without(meta, 'io.modelcontextprotocol/protocolVersion') },
      },
      headers,
    },
    -32602,
  ],
  [
    '_meta without the capabilities',
    {
      body: {
        ...call,
        params: { name: 'whoami', _meta: without(meta, 'io.modelcontextprotocol/clientCapabilities') },
      },
      headers,
    },
    -32602,
  ],
  [
    'a version that is no text',
    {
      body: {
        ...call,
        params: { name: 'whoami', _meta: { ...meta, 'io.modelcontextprotocol/protocolVersion': 5 } },
      },
      headers,
    },
    -32602,
  ],
  [
    'a revision from the future',
    {
      body: {
        ...call,
        params: {
          name: 'whoami',
          _meta: { ...meta, 'io.modelcontextprotocol/protocolVersion': '2099-01-01' },
        },
      },
      headers: { ...headers, 'mcp-protocol-version': '2099-01-01' },
    },
    -32022,
  ],
]

describe('a 2026-07-28 request', () => {
  it.each(disagreements)(
    'with %s is refused with the code of the reference server and the id of the request [C8] [H-J13]',
    async (_name, one, code) => {
      expect(ours(one)).toMatchObject({ code, id: 4 })
      expect(await theirs(one)).toMatchObject({ status: 400, code, id: 4 })
    },
  )

  it('names the supported revisions when its own is not among them [C8]', () => {
    expect(ours(disagreements.at(-1)![1])?.data).toEqual({
      supported: publishedVersions.filter(isModern),
      requested: '2099-01-01',
    })
  })

  it.each([
    ['as the SDK sends it', { body: call, headers }],
    [
      'with spaces around the values',
      {
        body: call,
        headers: {
          'mcp-protocol-version': ` ${modern}\t`,
          'mcp-method': ' tools/call ',
          'mcp-name': '\twhoami ',
        },
      },
    ],
    [
      'with its name behind the sentinel',
      { body: call, headers: { ...headers, 'mcp-name': `=?base64?${encodeBase64(utf8('whoami'))}?=` } },
    ],
    [
      'without a name to mirror',
      {
        body: { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } },
        headers: { 'mcp-protocol-version': modern, 'mcp-method': 'tools/list' },
      },
    ],
    [
      'as a notification without an envelope',
      {
        body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 4 } },
        headers: { 'mcp-protocol-version': modern },
      },
    ],
  ] as const)('passes %s', async (_name, one) => {
    expect(ours(one)).toBeUndefined()
    expect((await theirs(one)).status).toBeLessThan(300)
  })

  it('is never an array [C4]', () => {
    for (const body of [[call], [{ jsonrpc: '2.0', id: 1, method: 'ping' }]]) {
      expect(() =>
        validateHeaders(
          readEnvelope(utf8(JSON.stringify(body))),
          { version: modern, method: undefined, name: undefined },
          publishedVersions,
        ),
      ).toThrow(Refusal)
    }
    expect(() =>
      validateHeaders(
        readEnvelope(utf8(JSON.stringify([call]))),
        { version: undefined, method: undefined, name: undefined },
        publishedVersions,
      ),
    ).toThrow(Refusal)
  })
})

describe('an earlier request', () => {
  it('is left to its server: mirrored headers mean nothing there, arrays pass [C2] [C4]', () => {
    const old = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami' } }
    for (const version of [undefined, '2025-03-26', '2025-06-18', '2025-11-25']) {
      for (const body of [
        old,
        [old, { ...old, id: '1' }],
        { jsonrpc: '2.0', id: 1, method: 'initialize', params: {} },
        { jsonrpc: '2.0', id: 1, result: {} },
      ]) {
        expect(() =>
          validateHeaders(
            readEnvelope(utf8(JSON.stringify(body))),
            { version, method: 'something/else', name: 'x' },
            publishedVersions,
          ),
        ).not.toThrow()
      }
    }
  })
})

describe('any combination of the standard headers and envelopes', () => {
  const pick = <T>(...values: T[]) => fc.constantFrom(...values)
  const combination = fc.record({
    method: pick('tools/call', 'tools/list', 'initialize', 'server/discover'),
    claim: pick<unknown>(undefined, modern, '2025-11-25', '2099-01-01', 7),
    capabilities: pick<unknown>({}, undefined, 'none'),
    name: pick<unknown>('whoami', undefined, 5),
    version: pick(undefined, modern, '2025-11-25', ''),
    mcpMethod: pick(undefined, 'tools/call', 'tools/list', 'TOOLS/LIST'),
    mcpName: pick(undefined, 'whoami', 'other', '=?base64?d2hvYW1p?=', '=?base64?x?='),
  })
  it('is refused here only with the code the reference server gives it, and lets nothing through that the server refuses as disagreement', async () => {
    await fc.assert(
      fc.asyncProperty(
        combination,
        async ({ method, claim, capabilities, name, version, mcpMethod, mcpName }) => {
          const _meta = {
            ...(claim === undefined ? {} : { 'io.modelcontextprotocol/protocolVersion': claim }),
            ...(capabilities === undefined
              ? {}
              : { 'io.modelcontextprotocol/clientCapabilities': capabilities }),
          }
          const one: Case = {
            body: {
              jsonrpc: '2.0',
              id: 9,
              method,
              params: { ...(name === undefined ? {} : { name }), _meta },
            },
            headers: {
              ...(version === undefined ? {} : { 'mcp-protocol-version': version }),
              ...(mcpMethod === undefined ? {} : { 'mcp-method': mcpMethod }),
              ...(mcpName === undefined ? {} : { 'mcp-name': mcpName }),
            },
          }
          const [mine, reference] = [ours(one), await theirs(one)]
          if (mine) expect([mine.code, reference.status]).toEqual([reference.code, 400])
          // A revision of the past in the envelope is for its server to refuse: no published rule says that a
          // gateway must.
          else if (claim !== '2025-11-25')
            expect([-32020, -32022].includes(reference.code ?? 0) && reference.status === 400).toBe(false)
        },
      ),
      { numRuns: 400 },
    )
  })
})

describe('mirrored values', () => {
  it('decode from the sentinel exactly, or not at all [C8]', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(decodeHeaderValue(`=?base64?${encodeBase64(utf8(text.toWellFormed()))}?=`)).toBe(
          text.toWellFormed(),
        )
      }),
    )
    expect(decodeHeaderValue('=?base64?')).toBe('=?base64?')
    expect(decodeHeaderValue('=?base64?=')).toBe('=?base64?=')
    for (const bad of ['=?base64?YQ?=', '=?base64?YQ===?=', '=?base64?Y Q=?=', '=?base64?_w==?='])
      expect(decodeHeaderValue(bad)).toBeUndefined()
  })
})

describe('revisions', () => {
  it('are named newest first, and only those from 2026-07-28 on are stateless', () => {
    expect(publishedVersions).toEqual(['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'])
    expect(publishedVersions.map(isModern)).toEqual([true, false, false, false, false])
  })
})
