// Calls of a tool that hide what they call: its name spelled otherwise, the message built otherwise, or both. First
// those that somebody thought of, then those that a seed makes; the same seed makes the same ones, so that a failure can
// be had again.

/** Needs `execute`, which nobody here has. */
export const hidden = 'delete_all'

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

export const asked = (params: string, id = '1', method = '"tools/call"'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":${method},"params":${params}}`
export const named = (name: string): string => `{"name":${name},"arguments":{}}`
const plainCall = asked(named(`"${hidden}"`))
export const harmless = asked(named('"search"'), '2')

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
export const disguises: readonly Disguise[] = [
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

export interface Disguised {
  readonly what: string
  readonly body: string
}

/** mulberry32: numbers from 0 to below 1. */
export const randomOf = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

type Random = () => number
const pick = <T>(random: Random, all: readonly T[]): T => all[Math.floor(random() * all.length)] as T

const invisible =
  '\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u202e\u0000\u0085\u00a0\u0301\u180e\u3164 \t\n'.split('')
const lookalikes: Readonly<Record<string, string>> = {
  a: 'а',
  e: 'е',
  i: 'і',
  l: 'ⅼ',
  d: 'ⅾ',
  n: 'ո',
  o: 'о',
  t: 'τ',
  v: 'ν',
}

const wideLetter = (letter: string): string => String.fromCodePoint((letter.codePointAt(0) ?? 0) + 0xfee0)
const at = (random: Random, name: string, change: (letter: string) => string): string => {
  const i = Math.floor(random() * name.length)
  return name.slice(0, i) + change(name[i] as string) + name.slice(i + 1)
}

/** Each makes another spelling that a careless server may take for the name. */
const spell: readonly ((name: string, random: Random) => string)[] = [
  (name, random) => at(random, name, (letter) => letter.toUpperCase()),
  (name, random) => at(random, name, (letter) => (/[!-~]/.test(letter) ? wideLetter(letter) : letter)),
  (name, random) => at(random, name, (letter) => lookalikes[letter] ?? `${letter}\u0332`),
  (name, random) => at(random, name, (letter) => letter + pick(random, invisible)),
  (name, random) => pick(random, invisible) + name,
  (name, random) => name + pick(random, invisible),
  (name) => name.toUpperCase(),
  (name) => name.replaceAll('_', '-'),
  (name) => encodeURIComponent(name).replaceAll(/[a-z_]/g, (c) => `%${c.charCodeAt(0).toString(16)}`),
  (name) => name.normalize('NFKD'),
  (name, random) => pick(random, ['./', 'tools/', 'server:', 'x\u0000', '../']) + name,
]

/** JSON text of the name; each letter may be an escape, which reads as the same name. */
const quoted = (name: string, random: Random): string =>
  `"${JSON.stringify(name)
    .slice(1, -1)
    .split('')
    .map((c) => (/[\w]/.test(c) && random() < 0.15 ? `\\u00${c.charCodeAt(0).toString(16)}` : c))
    .join('')}"`

interface Parts {
  readonly name: string
  readonly id: string
  readonly other: string
}

const modernMeta =
  '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
const callOf = ({ name, id }: Parts, method = '"tools/call"'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":${method},"params":{"name":${name},"arguments":{}}}`
const harmlessCall = ({ other }: Parts): string =>
  `{"jsonrpc":"2.0","id":"h","method":"tools/call","params":{"name":"${other}","arguments":{}}}`

/** Each builds the message otherwise. */
const build: readonly ((parts: Parts, random: Random) => string)[] = [
  (parts) => callOf(parts),
  (parts) => callOf(parts),
  (parts) => callOf(parts).replace('"arguments"', `${modernMeta},"arguments"`),
  (parts) => callOf(parts).replace(`"id":${parts.id},`, ''),
  (parts) => `[${callOf(parts)}]`,
  (parts) => `[[${callOf(parts)}]]`,
  (parts) => `[${harmlessCall(parts)},${callOf(parts)}]`,
  (parts) => `[${callOf(parts)},${harmlessCall(parts)}]`,
  (parts) => `[{"jsonrpc":"2.0","method":"notifications/initialized"},${callOf(parts)}]`,
  (parts) => callOf({ ...parts, name: `"${parts.other}","name":${parts.name}` }),
  (parts) => callOf({ ...parts, name: `${parts.name},"name":"${parts.other}"` }),
  (parts) => callOf({ ...parts, name: `"${parts.other}","Name":${parts.name}` }),
  (parts) => callOf({ ...parts, name: `[${parts.name}]` }),
  (parts) => callOf(parts).replace('"params"', `"params":{"name":"${parts.other}"},"params"`),
  (parts) => callOf(parts).replace('"method"', '"method":"ping","method"'),
  (parts) => callOf(parts).replace('"params"', '"result":{},"params"'),
  (parts, random) =>
    callOf(parts, pick(random, ['"tools\\/call"', '"\\u0074ools/call"', '"TOOLS/CALL"', '"tools/call "'])),
  (parts) => `\ufeff${callOf(parts)}`,
  (parts) => ` \r\n\t${callOf(parts)}\n`,
  (parts) => `${harmlessCall(parts)}\n${callOf(parts)}`,
  (parts) => callOf(parts).replace('"arguments"', '"task":{"ttl":1000},"arguments"'),
  (parts) => callOf(parts).replace('"arguments"', '"requestState":"x","inputResponses":{},"arguments"'),
]

const ids = ['1', '"1"', '0', '-1', '1.5', '1e3', 'null', '""', '{}', '[1]', '12345678901234567890']

/** `hidden`: the tool that is meant; `other`: one that may be called. */
export const disguisesOf = (
  seed: number,
  many: number,
  hidden: string,
  other: string,
): readonly Disguised[] => {
  const random = randomOf(seed)
  return Array.from({ length: many }, (_, i) => {
    let name = hidden
    for (let n = Math.floor(random() * 4); n > 0; n--) name = pick(random, spell)(name, random)
    const parts = { name: quoted(name, random), id: pick(random, ids), other }
    return { what: `seed ${seed}, number ${i}`, body: pick(random, build)(parts, random) }
  })
}
