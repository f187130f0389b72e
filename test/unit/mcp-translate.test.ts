// Headers that repeat a body; results, errors and capabilities translated between legacy and modern
// revisions.
import { describe, expect, it } from 'vitest'
import { decodeHeaderValue, encodeHeaderValue, standardHeaders } from '../../src/mcp/envelope.ts'
import { isUsable, paramHeaderFields, paramHeadersOf } from '../../src/mcp/param-headers.ts'
import {
  bridgedClient,
  bridgedServer,
  canReceive,
  toLegacy,
  toLegacyError,
  toModern,
  toModernError,
  urlsOnly,
} from '../../src/mcp/translate.ts'

const annotated = (properties: object, more: object = {}) => ({
  name: 't',
  inputSchema: { type: 'object', properties, ...more },
})

describe('headers that repeat the body', () => {
  it.each([
    'plain',
    'with spaces inside',
    '',
    'tōkyō',
    ' led',
    'trailed ',
    'a\tb',
    'line\nbreak',
    '=?base64?YQ==?=',
    '=?base64?',
    '=?x?=',
  ])('encode and decode %j [C9]', (value) => {
    const sent = encodeHeaderValue(value)
    expect(sent).toMatch(/^[\x20-\x7e]*$/)
    expect(decodeHeaderValue(sent)).toBe(value)
  })

  it('are the method, the name and the annotated parameters at any depth [C8, C9]', () => {
    expect(standardHeaders('resources/read', { uri: 'test://ü' })).toEqual([
      ['mcp-protocol-version', '2026-07-28'],
      ['mcp-method', 'resources/read'],
      ['mcp-name', '=?base64?dGVzdDovL8O8?='],
    ])
    expect(standardHeaders('tools/list', { name: 'x' }).map(([name]) => name)).toEqual([
      'mcp-protocol-version',
      'mcp-method',
    ])
    const tool = annotated({
      region: { type: 'string', 'x-mcp-header': 'Region' },
      deep: {
        type: 'object',
        properties: {
          on: { type: 'boolean', 'x-mcp-header': 'On' },
          n: { type: 'integer', 'x-mcp-header': 'N' },
        },
      },
    })
    expect(
      paramHeaderFields(paramHeadersOf([tool]).get('t') ?? [], { region: 'eu', deep: { on: false, n: 0 } }),
    ).toEqual([
      ['mcp-param-region', 'eu'],
      ['mcp-param-on', 'false'],
      ['mcp-param-n', '0'],
    ])
    expect(
      paramHeaderFields(paramHeadersOf([tool]).get('t') ?? [], { region: null, deep: { on: {} } }),
    ).toEqual([])
  })

  it('make a tool unusable if its annotations are invalid [C9]', () => {
    const good = { type: 'string', 'x-mcp-header': 'A' }
    expect(isUsable(annotated({ a: good }))).toBe(true)
    expect(isUsable(annotated({ 'x-mcp-header': { type: 'string' } }))).toBe(true)
    expect(isUsable(annotated({ a: { type: 'string', default: { 'x-mcp-header': 'A' } } }))).toBe(true)
    expect(isUsable({ name: 'none' })).toBe(true)
    for (const bad of [
      annotated({ a: good, b: { type: 'string', 'x-mcp-header': 'a' } }),
      annotated({ a: { type: 'number', 'x-mcp-header': 'A' } }),
      annotated({ a: { type: 'string', 'x-mcp-header': 'not a token' } }),
      annotated({ a: { type: 'array', items: good } }),
      annotated({}, { anyOf: [{ properties: { a: good } }] }),
      annotated({}, { $defs: { a: good } }),
    ])
      expect(isUsable(bad)).toBe(false)
  })
})

describe('a translation between revisions', () => {
  it('results gain and lose the members of their revision [C13, C20]', () => {
    const server = { name: 's', version: '1' }
    expect(toModern('tools/call', { content: [], _meta: { a: 1 } }, server)).toEqual({
      content: [],
      resultType: 'complete',
      _meta: { a: 1, 'io.modelcontextprotocol/serverInfo': server },
    })
    expect(
      toLegacy('resources/read', {
        contents: [],
        resultType: 'complete',
        ttlMs: 5,
        cacheScope: 'public',
        _meta: { a: 1, 'io.modelcontextprotocol/serverInfo': server },
      }),
    ).toEqual({ contents: [], _meta: { a: 1 } })
    const tools = [
      { name: 'a', inputSchema: {}, outputSchema: { type: 'array' } },
      { name: 'b', inputSchema: {}, outputSchema: { type: 'object' } },
    ]
    expect(toLegacy('tools/list', { tools, resultType: 'complete' })).toEqual({
      tools: [{ name: 'a', inputSchema: {} }, tools[1]],
    })
    expect(
      toLegacy('tools/call', {
        content: [{ type: 'text', text: 'said' }],
        structuredContent: 3,
        resultType: 'complete',
      }),
    ).toEqual({ content: [{ type: 'text', text: 'said' }] })
  })

  it('error codes change, and other invalid parameters are not a missing resource [C20]', () => {
    expect(toModernError({ code: -32_002, message: 'gone', data: { uri: 'u' } })).toEqual({
      code: -32_602,
      message: 'gone',
      data: { uri: 'u' },
    })
    expect(toModernError({ code: -32_601, message: 'm' }).code).toBe(-32_601)
    expect(toLegacyError('resources/read', { code: -32_602, message: 'gone', data: { uri: 'u' } }).code).toBe(
      -32_002,
    )
    expect(toLegacyError('resources/read', { code: -32_602, message: 'wrong' }).code).toBe(-32_602)
    expect(toLegacyError('tools/call', { code: -32_602, message: 'wrong', data: { uri: 'u' } }).code).toBe(
      -32_602,
    )
  })

  it('only capabilities with a counterpart are offered [C20]', () => {
    const all = {
      tools: { listChanged: true },
      resources: { subscribe: true, listChanged: true },
      prompts: {},
      logging: {},
      completions: {},
      tasks: { list: {} },
      experimental: { x: {} },
      extensions: { y: {} },
    }
    expect(bridgedServer(all, { notices: true, watching: true })).toEqual({
      tools: { listChanged: true },
      resources: { subscribe: true, listChanged: true },
      prompts: {},
      logging: {},
      completions: {},
    })
    expect(bridgedServer(all, { notices: false, watching: false })).toEqual({
      tools: {},
      resources: {},
      prompts: {},
      logging: {},
      completions: {},
    })
    expect(bridgedServer(undefined, { notices: true, watching: true })).toEqual({})
    const client = bridgedClient({
      roots: { listChanged: true },
      sampling: { tools: {}, other: {} },
      elicitation: { form: {}, url: {} },
      tasks: {},
      experimental: {},
    })
    expect(client).toEqual({ roots: {}, sampling: { tools: {} }, elicitation: { form: {}, url: {} } })
    expect([urlsOnly(client), urlsOnly({ sampling: {} })]).toEqual([{ elicitation: { url: {} } }, {}])
  })

  it('a client can be asked only what it declared [C20]', () => {
    const form = { method: 'elicitation/create', params: { message: '' } }
    const url = { method: 'elicitation/create', params: { mode: 'url' } }
    expect([
      canReceive({ elicitation: {} }, form),
      canReceive({ elicitation: {} }, url),
      canReceive({ elicitation: { url: {} } }, form),
      canReceive({ elicitation: { url: {} } }, url),
    ]).toEqual([true, false, false, true])
    expect([
      canReceive({ roots: {} }, { method: 'roots/list' }),
      canReceive({ sampling: {} }, { method: 'roots/list' }),
      canReceive({ roots: {} }, { method: 'tools/list' }),
    ]).toEqual([true, false, false])
  })
})
