// Reading a JSON-RPC body: what the gateway judges is what every parser behind it will read.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/kit/bytes.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { errorId, readEnvelope } from '../../src/mcp/envelope.ts'
import { parseStrictJson } from '../../src/mcp/json-rpc.ts'

const read = (body: unknown) => readEnvelope(utf8(typeof body === 'string' ? body : JSON.stringify(body)))
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof Refusal) return error.code
    throw error
  }
  return 'passed'
}

describe('a message', () => {
  it('tells its kind, method, name and id', () => {
    const [call] = read({
      jsonrpc: '2.0',
      id: 'a',
      method: 'tools/call',
      params: { name: 'whoami', arguments: {} },
    }).messages
    expect(call).toMatchObject({
      kind: 'request',
      method: 'tools/call',
      name: 'whoami',
      mirrored: true,
      id: 'a',
    })
    expect(read({ jsonrpc: '2.0', method: 'notifications/initialized' }).messages[0]).toMatchObject({
      kind: 'notification',
      name: undefined,
      id: undefined,
    })
    expect(read({ jsonrpc: '2.0', id: 1, result: {} }).messages[0]).toMatchObject({
      kind: 'response',
      method: undefined,
    })
    expect(
      read({ jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri: 'file:///x' } }).messages[0],
    ).toMatchObject({ name: 'file:///x', mirrored: true })
    expect(
      read({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'file:///x' } })
        .messages[0],
    ).toMatchObject({ name: 'file:///x', mirrored: false })
    expect(
      read({ jsonrpc: '2.0', id: 1, method: 'constructor', params: { name: 'x' } }).messages[0],
    ).toMatchObject({ name: undefined, mirrored: false })
  })

  it('of a batch is read for each element, so that each can be judged [C4]', () => {
    const batch = read([
      { jsonrpc: '2.0', id: 1, method: 'ping' },
      { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'delete_everything' } },
    ])
    expect(batch.batch).toBe(true)
    expect(batch.messages.map(({ method, name }) => [method, name])).toEqual([
      ['ping', undefined],
      ['tools/call', 'delete_everything'],
    ])
    expect(errorId(batch)).toBeNull()
  })

  it('is refused as no JSON (-32700) or as no message (-32600)', () => {
    for (const body of ['', '{', 'nonsense', '{"a":1}{', '\uFEFF{}', 'NaN'])
      expect(codeOf(() => read(body))).toBe('mcp.parse')
    expect(codeOf(() => readEnvelope(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])))).toBe(
      'mcp.parse',
    )
    for (const body of [
      '1',
      '"x"',
      'null',
      '[1]',
      '[[{"method":"x"}]]',
      '{"method":5}',
      '{"method":null}',
      '{"method":["tools/call"]}',
    ])
      expect(codeOf(() => read(body))).toBe('mcp.invalid')
  })

  it('keeps only legal ids for errors about it (JSON-RPC 2.0 §4)', () => {
    for (const id of ['x', 7, 1.5, null])
      expect(errorId(read({ jsonrpc: '2.0', id, method: 'ping' }))).toBe(id)
    for (const id of [{}, [], true]) expect(errorId(read({ jsonrpc: '2.0', id, method: 'ping' }))).toBeNull()
  })
})

describe('a message that parsers read differently', () => {
  const twice = [
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","\\u006dethod":"tools/call"}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}',
    '{"jsonrpc":"2.0","id":1,"METHOD":"tools/call"}',
    '{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}',
    '{"id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}',
    '{"id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}',
    '{"id":1,"method":"tools/call","params":{"_meta":{"x":1,"x":2},"name":"a"}}',
    '{"id":1,"method":"tools/call","params":{"name":"a","arguments":{"path":"/tmp","path":"/etc"}}}',
    '{"id":1,"method":"tools/call","params":{"name":"a","ARGUMENTS":{}}}',
    '{"id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}}}',
    '[{"id":1,"method":"ping"},{"id":2,"method":"ping","method":"tools/call"}]',
    ' \n[ {"id":2,"method":"tools/call","params":{"name":"a","name":"b"}}]',
  ]
  // Pairs that Go's encoding/json, Java's and .NET's case-insensitive readers or Python's models by alias
  // take for one member.
  const folded = [
    '{"id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}',
    '{"id":1,"method":"tools/call","params":{"name":"a"},"param\\u017f":{"name":"b"}}',
    '{"id":1,"method":"tools/call","param\u017f":{"name":"b"}}',
    '{"id":1,"method":"ping","re\u017fult":{}}',
    '{"id":1,"j\u017fonrpc":"2.0","method":"ping"}',
    '{"id":1,"\u0130d":2,"method":"ping"}',
    '{"id":1,"\u0131d":2,"method":"ping"}',
    '{"id":1,"method":"tools/call","params":{"name":"a","argument\u017f":{}}}',
    '{"id":1,"method":"tasks/get","params":{"taskId":"a","ta\u017fkId":"b"}}',
    '{"id":1,"method":"tasks/get","params":{"taskId":"a","tas\u212aId":"b"}}',
    '{"id":1,"method":"tasks/get","params":{"taskId":"a","task_id":"b"}}',
    '{"id":1,"method":"tasks/get","params":{"taskId":"a","task-Id":"b"}}',
    '{"id":1,"method":"x","params":{"name":"a","reque\u017ftState":"b"}}',
    '{"id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","protocolver\u017fion":"2024-11-05"}}',
    '{"id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}}',
    '{"id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVer\u017fion":"2026-07-28"}}}',
    '{"id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/clientinfo":{}}}}',
    '{"id":1,"method":"x","params":{"_meta":{"progress_token":1}}}',
    '[{"id":1,"method":"ping"},{"id":2,"method":"ping","param\u017f":{"name":"b"}}]',
  ]
  it.each([...twice, ...folded])('is refused: %s', (body) => {
    expect(codeOf(() => read(body))).toBe('mcp.invalid')
  })

  it('is not confused with members that may repeat: those deep inside arguments and results, and text that looks like members', () => {
    const fine = [
      {
        id: 1,
        method: 'tools/call',
        params: {
          name: 'a',
          arguments: { name: 1, Name: 2, method: 'x', deep: { a: 1 }, params: { name: 1, _meta: { a: 1 } } },
        },
      },
      { id: 1, result: { method: 'x', Method: 'y' } },
      { id: 1, method: 'x', params: { text: '"method":"y","method":"z"', other: '\\","method":"' } },
      { id: 1, method: 'x', params: [{ name: 1 }, { name: 2 }] },
      '{"id":1,"method":"x","params":{"arguments":{"deep":{"a":1,"a":2}}}}',
    ]
    for (const body of fine) expect(codeOf(() => read(body))).toBe('passed')
  })

  it('is refused as a batch of none or of more than a hundred messages, in words (JSON-RPC 2.0 §6)', () => {
    const batch = (length: number) =>
      JSON.stringify(Array.from({ length }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' })))
    const said = (body: string): string | undefined => {
      try {
        return void read(body)
      } catch (error) {
        return (error as Refusal).say
      }
    }
    expect(said('[]')).toBe('A batch must contain at least one message.')
    expect(said(batch(100))).toBeUndefined()
    expect(said(batch(101))).toBe('A batch has at most 100 messages; this one has 101.')
    expect(said(`[${'{},'.repeat(1_300_000)}{}]`)).toBe(
      'A batch has at most 100 messages; this one has 1300001.',
    )
  })

  it('is refused with more members than any message has, and quickly', () => {
    const members = (count: number) =>
      `{"id":1,"method":"x","params":{${Array.from({ length: count }, (_, i) => `"${i.toString(36)}":0`).join(',')}}}`
    expect(codeOf(() => read(members(19_997)))).toBe('passed')
    expect(codeOf(() => read(members(19_998)))).toBe('mcp.invalid')
    expect(codeOf(() => read(members(400_000)))).toBe('mcp.invalid')
  })

  it('is refused when it nests deeper than any reader should follow', () => {
    expect(codeOf(() => read(`{"id":1,"method":"x","params":${'['.repeat(500)}${']'.repeat(500)}}`))).toBe(
      'mcp.invalid',
    )
    expect(codeOf(() => read(`{"id":1,"method":"x","params":${'['.repeat(150)}${']'.repeat(150)}}`))).toBe(
      'passed',
    )
  })
})

describe('strict JSON', () => {
  it('reads every value that JSON.stringify writes, as JSON.parse does', () => {
    const benign = fc
      .jsonValue({ maxDepth: 6 })
      .filter(
        (value) =>
          !(Array.isArray(value) && value.length === 0) &&
          !/"(jsonrpc|id|method|params|result|error|name|uri|arguments|taskid|_meta|ref|cursor|type)":/i.test(
            JSON.stringify(value),
          ),
      )
    fc.assert(
      fc.property(benign, (value) => {
        const text = JSON.stringify(value)
        expect(parseStrictJson(utf8(text))).toEqual(JSON.parse(text))
      }),
    )
  })
})
