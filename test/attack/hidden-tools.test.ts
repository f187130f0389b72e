// A tool that a caller may not use is not called, however its name is written and wherever the call stands.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'

/** Needs `execute`, which nobody here has. */
const hidden = 'delete_all'

interface Disguise {
  readonly what: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

const letters = hidden.split('')
const each = (change: (letter: string, i: number) => string): string[] =>
  letters.map((_, at) => letters.map((letter, i) => (i === at ? change(letter, i) : letter)).join(''))

const upper = (letter: string): string => letter.toUpperCase()
const wide = (letter: string): string => String.fromCodePoint((letter.codePointAt(0) ?? 0) + 0xfee0)
const mathematical = (letter: string): string =>
  letter === '_' ? '\uff3f' : String.fromCodePoint(0x1d41a + (letter.codePointAt(0) ?? 0) - 97)
const similar: Readonly<Record<string, string>> = {
  a: '\u0430',
  e: '\u0435',
  l: '\u217c',
  d: '\u217e',
  t: '\u03c4',
}
const unseen = [
  '\u200b',
  '\u200d',
  '\u2060',
  '\ufeff',
  '\u00ad',
  '\u200e',
  '\u202e',
  '\u0000',
  '\t',
  '\n',
  ' ',
  '\u00a0',
  '\u0301',
  '/',
  '.',
]

/** Spellings that a careless server may take for the name. */
const spellings: readonly string[] = [
  ...each(upper),
  ...each(wide),
  ...each(mathematical),
  ...each((letter) => similar[letter] ?? `${letter}\u0332`),
  ...unseen.flatMap((mark) => [
    ...letters.map((_, at) => hidden.slice(0, at) + mark + hidden.slice(at)),
    hidden + mark,
  ]),
  hidden.toUpperCase(),
  'Delete_All',
  'deleteAll',
  'delete-all',
  'delete all',
  'delete__all',
  'ruled:delete_all',
  'ruled__delete_all',
  'tools/delete_all',
  `search\u0000${hidden}`,
  `search,${hidden}`,
  encodeURIComponent(hidden).replaceAll('_', '%5F'),
  'delete%5Fall',
  '\\u0064elete_all',
  `"${hidden}"`,
  `{"name":"${hidden}"}`,
  'search/../delete_all',
  `${hidden}${' '.repeat(300)}`,
]

const asked = (params: string, id = '1', method = '"tools/call"'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":${method},"params":${params}}`
const named = (name: string): string => `{"name":${name},"arguments":{}}`
const plainCall = asked(named(`"${hidden}"`))
const harmless = asked(named('"search"'), '2')

/** The name with each of its letters as an escape, by itself and all together; JSON reads the same name. */
const escaped = (letter: string): string => `\\u${(letter.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
const escapes = [
  ...each(escaped),
  letters.map(escaped).join(''),
  letters.map((one) => escaped(one).replace('\\u00', '\\u00')).join(''),
]

const modern =
  '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
const modernHeaders = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call' }

const bodies: readonly (readonly [what: string, body: string, headers?: Readonly<Record<string, string>>])[] =
  [
    ...escapes.map((name, i) => [`escape ${i}`, asked(named(`"${name}"`))] as const),
    ...[
      '\\u0074ools/call',
      'tools\\/call',
      'TOOLS/CALL',
      'tools/Call',
      ' tools/call',
      'tools/call ',
      'tools//call',
      'tools/call\\u0000',
    ].map((method) => [`method ${method}`, asked(named(`"${hidden}"`), '1', `"${method}"`)] as const),
    ...['1', '"1"', '0', '-1', '1.5', '1e3', 'null', '""', 'true', '{}', '[]', '12345678901234567890'].map(
      (id) => [`id ${id}`, asked(named(`"${hidden}"`), id)] as const,
    ),
    ['no id', plainCall.replace('"id":1,', '')],
    ['two names, the first', asked(`{"name":"${hidden}","name":"search","arguments":{}}`)],
    ['two names, the last', asked(`{"name":"search","name":"${hidden}","arguments":{}}`)],
    ['a name in capitals beside it', asked(`{"name":"search","Name":"${hidden}","arguments":{}}`)],
    ['a name with a long s beside it', asked(`{"name":"search","param\u017f":"x","NAME":"${hidden}"}`)],
    ['two params', plainCall.replace('"params"', `"params":${named('"search"')},"params"`)],
    ['params in capitals', harmless.replace('"params"', `"Params":${named(`"${hidden}"`)},"params"`)],
    ['two methods', plainCall.replace('"method"', '"method":"ping","method"')],
    [
      'another method first',
      plainCall
        .replace('"method"', '"Method":"tools/call","method"')
        .replace('"tools/call","params"', '"ping","params"'),
    ],
    ['a name that is a list', asked(named(`["${hidden}"]`))],
    ['a name that is an object', asked(named(`{"toString":"${hidden}"}`))],
    ['a list of params', asked(`["${hidden}"]`)],
    ['a result beside it', plainCall.replace('"params"', '"result":{},"params"')],
    ['an error beside it', plainCall.replace('"params"', '"error":{"code":1,"message":""},"params"')],
    ['white space around', ` \n\t${plainCall}\r\n `],
    ['a byte order mark', `\ufeff${plainCall}`],
    ['a second message behind it', `${harmless}\n${plainCall}`],
    ['a comment', `/* */${plainCall}`],
    ['a trailing comma', plainCall.replace('}}', '},}')],
    ['single quotes', plainCall.replaceAll('"', "'")],
    ['a batch of one', `[${plainCall}]`],
    ['a batch behind a harmless call', `[${harmless},${plainCall}]`],
    ['a batch before a harmless call', `[${plainCall},${harmless}]`],
    ['a batch in a batch', `[[${plainCall}]]`],
    [
      'a batch behind a notification',
      `[{"jsonrpc":"2.0","method":"notifications/initialized"},${plainCall}]`,
    ],
    ['a batch of many', `[${Array.from({ length: 50 }, () => harmless).join(',')},${plainCall}]`],
    ...[
      'text/plain',
      'application/JSON',
      'application/json; charset=utf-8',
      'application/json;charset=utf-16',
      'application/json-rpc',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'text/event-stream',
      'application/json, text/plain',
      '',
    ].map((type) => [`type ${type}`, plainCall, { 'content-type': type }] as const),
    ...['identity', 'gzip', 'GZIP', 'deflate', 'br', 'utf-8'].map(
      (coding) => [`coding ${coding}`, plainCall, { 'content-encoding': coding }] as const,
    ),
    ...['search', hidden, '=?base64?c2VhcmNo?=', ''].flatMap((name) => [
      [`Mcp-Name ${name}`, plainCall, { 'mcp-name': name, 'mcp-method': 'tools/call' }] as const,
      [
        `modern Mcp-Name ${name}`,
        asked(`{"name":"${hidden}","arguments":{},${modern}}`),
        { ...modernHeaders, 'mcp-name': name },
      ] as const,
      [
        `lying Mcp-Method ${name}`,
        asked(`{"name":"${hidden}","arguments":{},${modern}}`),
        { ...modernHeaders, 'mcp-method': 'tools/list', 'mcp-name': name },
      ] as const,
    ]),
    ...['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28', '1999-01-01', 'x'].flatMap(
      (version) => [
        [`revision ${version}`, plainCall, { 'mcp-protocol-version': version }] as const,
        [
          `a batch in revision ${version}`,
          `[${harmless},${plainCall}]`,
          { 'mcp-protocol-version': version },
        ] as const,
      ],
    ),
    ...['x-http-method-override', 'x-original-url', 'x-forwarded-uri', 'x-mcp-tool', 'mcp-param-name'].map(
      (name) => [`header ${name}`, plainCall, { [name]: 'search' }] as const,
    ),
    ['a task', asked(`{"name":"${hidden}","arguments":{},"task":{"ttl":1000}}`)],
    ['a round trip', asked(`{"name":"${hidden}","arguments":{},"requestState":"x","inputResponses":{}}`)],
  ]

/** Each spelling as it is, as a modern call, and in a batch; and everything else that a call can hide behind. */
const disguises: readonly Disguise[] = [
  ...spellings.flatMap((name): readonly Disguise[] => {
    const text = JSON.stringify(name)
    const what = `the name ${text}`
    return [
      { what, body: asked(named(text)) },
      {
        what: `${what}, modern`,
        body: asked(`{"name":${text},"arguments":{},${modern}}`),
        headers: { ...modernHeaders, 'mcp-name': `=?base64?${Buffer.from(name).toString('base64')}?=` },
      },
      {
        what: `${what}, in a batch`,
        body: `[${harmless},${asked(named(text))}]`,
        headers: { 'mcp-protocol-version': '2025-03-26' },
      },
    ]
  }),
  ...bodies.map(([what, body, headers = {}]) => ({ what, body, headers })),
]

interface Asked {
  readonly method: string
  readonly params?: { readonly name?: unknown }
}
const harmlessMethods = new Set(['tools/list', 'ping', 'notifications/initialized'])

describe.each(runtimes)('%s', (_where, open) => {
  let upstream: RuledUpstream
  let gateway: TestGateway
  const callers: Caller[] = []

  beforeAll(async () => {
    upstream = await openRuledUpstream()
    const rules = [
      { everyone: true as const, permissions: ['write' as const] },
      {
        everyone: true as const,
        permissions: ['admin' as const],
        deny: [{ tools: ['delete_*'] }],
      },
      { everyone: true as const, permissions: ['admin' as const], tools: { 'delete_*': 'deny' as const } },
      {
        everyone: true as const,
        deny: [
          { tools: ['query'], when: { sql: { glob: '*DROP*' } } },
          { tools: ['query'], when: { 'more.table': 'a' } },
        ],
      },
    ]
    gateway = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        mcp_services: Object.fromEntries(
          rules.map((access, i) => [`ruled${i}`, { url: upstream.url, access }]),
        ),
      },
    })
    for (const i of rules.keys()) {
      const url = `${gateway.origin}/ruled${i}/mcp`
      callers.push(callerOf(gateway, url, await tokenOf(gateway, ana, url)))
    }
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await upstream?.close()
  })

  it('never reaches the server in 1,000 disguises', async () => {
    expect(disguises.length * 3).toBeGreaterThan(1_000)
    upstream.heard.length = 0
    for (const caller of callers.slice(0, 3))
      for (const { what, body, headers = {} } of disguises) {
        await (await caller.post(body, headers)).text()
        const heard = upstream.heard.flatMap(({ body: text }) => [JSON.parse(text) as Asked].flat())
        const other = heard.filter(
          ({ method, params }) =>
            !harmlessMethods.has(method) && !(method === 'tools/call' && params?.name === 'search'),
        )
        expect([what, other]).toEqual([what, []])
        upstream.heard.length = 0
      }
  }, 120_000)

  it.each([
    ['an argument in capitals beside it', '{"sql":"select 1","SQL":"DROP x"}'],
    ['an argument with a long s beside it', '{"sql":"select 1","\u017fql":"DROP x"}'],
    ['an argument twice', '{"sql":"select 1","sql":"DROP x"}'],
    ['an argument of an argument twice', '{"sql":"select 1","more":{"table":"b","table":"a"}}'],
    ['no argument', '{}'],
    ['another type', '{"sql":["DROP x"],"more":{"table":"b"}}'],
    ['an escape', '{"sql":"\u0044ROP x","more":{"table":"b"}}'],
  ])('never passes a rule about arguments with %s', async (_what, args) => {
    upstream.heard.length = 0
    const caller = callers[3] as Caller
    await (await caller.post(asked(`{"name":"query","arguments":${args}}`))).text()
    expect(upstream.called()).toEqual([])
    const open = '{"sql":"select 1","more":{"table":"b"}}'
    await (await caller.post(asked(`{"name":"query","arguments":${open}}`))).text()
    expect(upstream.called()).toEqual(['query'])
  })

  it('lets what the caller may use through all the same', async () => {
    upstream.heard.length = 0
    const [caller] = callers
    await (await caller?.post(harmless))?.text()
    expect(upstream.called()).toEqual(['search'])
  })
})
