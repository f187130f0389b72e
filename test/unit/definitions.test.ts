// What is pinned of a tool: which differences of its definition count, and how they are shown to whoever approves.
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { changesOf, visibleText, wordRuns } from '../../src/admin/definition-changes.ts'
import { createDigest, definitionText, definitionsIn } from '../../src/policy/definitions.ts'

const digest = createDigest((text) => createHash('sha256').update(text).digest('base64url'))
const digestOf = (item: object, member = 'tools'): string | undefined =>
  definitionsIn(member, [{ name: 'a', ...item }], digest)?.[0]?.digest

const tool = {
  title: 'A',
  description: 'Does a.',
  inputSchema: {
    type: ['string', 'null'],
    required: ['x', 'y'],
    properties: { x: { type: ['number', 'string'], description: 'x' }, required: { type: 'string' } },
    $defs: { z: { allOf: [{ required: ['p', 'q'] }] } },
  },
  outputSchema: { type: 'object' },
  annotations: { readOnlyHint: true },
}

/** The same value with its members the other way round, in every level. */
const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, one]) => [key, reversed(one)]),
  )
}

describe('the digest of a definition', () => {
  it('does not depend on the order of members, nor of what is a set', () => {
    expect(digestOf(reversed(tool) as object)).toBe(digestOf(tool))
    const { inputSchema } = tool
    const { properties } = inputSchema
    const shuffled = {
      ...inputSchema,
      type: ['null', 'string'],
      required: ['y', 'x'],
      properties: { ...properties, x: { ...properties.x, type: ['string', 'number'] } },
      $defs: { z: { allOf: [{ required: ['q', 'p'] }] } },
    }
    expect(digestOf({ ...tool, inputSchema: shuffled })).toBe(digestOf(tool))
  })

  it('does not depend on icons and other metadata, nor on hints that say what their absence means', () => {
    expect(digestOf({ ...tool, icons: [{ src: 'https://x.example' }], _meta: { n: 1 } })).toBe(digestOf(tool))
    const said = { readOnlyHint: true, destructiveHint: true, idempotentHint: false, openWorldHint: true }
    expect(digestOf({ ...tool, annotations: said })).toBe(digestOf(tool))
    expect(digestOf({ annotations: {} })).toBe(digestOf({}))
  })

  it('changes with each member, known or not, and with the order of data', () => {
    const variants: object[] = [
      tool,
      ...Object.keys(tool).map((key) =>
        Object.fromEntries(Object.entries(tool).filter(([name]) => name !== key)),
      ),
      ...Object.keys(tool).map((key) => ({ ...tool, [key]: 'other' })),
      { ...tool, unknown: 1 },
      { ...tool, unknown: '1' },
      { ...tool, execution: { taskSupport: 'required' } },
      { ...tool, _meta: { ui: { resourceUri: 'ui://a' } } },
      { ...tool, _meta: { ui: { resourceUri: 'ui://b' } } },
      { ...tool, _meta: { 'ui/resourceUri': 'ui://a' } },
      ...['destructiveHint', 'idempotentHint', 'openWorldHint'].map((hint) => ({
        ...tool,
        annotations: {
          readOnlyHint: true,
          [hint]: hint === 'idempotentHint',
        },
      })),
      { ...tool, annotations: { readOnlyHint: true, title: 'A' } },
      { ...tool, inputSchema: { ...tool.inputSchema, default: { required: ['x', 'y'] } } },
      { ...tool, inputSchema: { ...tool.inputSchema, default: { required: ['y', 'x'] } } },
      { ...tool, inputSchema: { ...tool.inputSchema, enum: ['a', 'b'] } },
      { ...tool, inputSchema: { ...tool.inputSchema, enum: ['b', 'a'] } },
      { ...tool, description: 'Does a. ' },
      { ...tool, description: 'Does\u200b a.' },
      // Text that moved from one member to another.
      { ...tool, title: 'ADoes a.', description: '' },
      { ...tool, title: '', description: 'ADoes a.' },
      { ...tool, description: 'Does a.","title":"A' },
    ]
    const digests = variants.map((item) => digestOf(item))
    expect(digests.every((one) => /^sha256-[\w-]{43}$/.test(String(one)))).toBe(true)
    expect(new Set(digests).size).toBe(variants.length)
    expect(digestOf({ description: 'a' }, 'prompts')).not.toBe(digestOf({ description: 'a' }))
  })

  it('does not exist for what is too deep or too large, or is no valid text', () => {
    let deep: object = {}
    for (let i = 0; i < 70; i++) deep = { deep }
    for (const item of [
      { description: '\ud800' },
      { ['\udc00']: 1 },
      { inputSchema: deep },
      { description: 'x'.repeat(262_144) },
      { description: 'é'.repeat(140_000) },
      { maximum: JSON.rawJSON('1e999') },
    ])
      expect(digestOf(item)).toBeUndefined()
    expect(digestOf({ description: 'x'.repeat(262_000) })).toBe(
      'sha256-k2fzuoxseNmWtb00lxG9RgU8PDL4I4vUy7w0OjWi3BQ',
    )
    expect(digestOf({ description: 'x', icons: [{ src: 'x'.repeat(300_000) }] })).toBe(
      digestOf({ description: 'x' }),
    )
  })

  it('does not exist for different definitions of one name; equal ones are one', () => {
    const found = definitionsIn(
      'tools',
      [{ name: 'a', n: 1 }, { name: 'b' }, { name: 'a', n: 2 }, { name: 'b' }],
      digest,
    )
    expect(found?.map(({ name, digest: one }) => [name, one === undefined])).toEqual([
      ['a', true],
      ['b', false],
    ])
    const thrice = definitionsIn(
      'tools',
      [
        { name: 'a', n: 1 },
        { name: 'a', n: 2 },
        { name: 'a', n: 2 },
      ],
      digest,
    )
    expect(thrice?.map((one) => one.digest)).toEqual([undefined])
    expect(definitionsIn('tools', [null, 7, { name: 7 }, { nome: 'a' }], digest)).toEqual([])
    expect(definitionsIn('resources', [{ name: 'a' }], digest)).toBeUndefined()
  })

  it('does not exist behind the first 5,000 names of a list', () => {
    const list = Array.from({ length: 5_002 }, (_, i) => ({ name: `t${i}` }))
    const found = definitionsIn('tools', list, digest) ?? []
    expect([found[4_999]?.digest === undefined, found[5_000]?.digest, found.length]).toEqual([
      false,
      undefined,
      5_002,
    ])
  })

  it('is of the text that whoever approves is shown', () =>
    expect(JSON.parse(definitionText('tool', { name: 'a', ['__proto__']: 1, icons: [] }) ?? '')).toEqual(
      JSON.parse(
        '{"__proto__":1,"annotations":{"destructiveHint":true,"idempotentHint":false,"openWorldHint":true,"readOnlyHint":false},"name":"a"}',
      ),
    ))
})

describe('a change', () => {
  const none = { before: undefined, after: undefined }

  it('is shown word by word, with the unchanged words once', () => {
    expect(wordRuns('Reads a file.', 'Reads a secret file, always.')).toEqual([
      ['same', 'Reads a '],
      ['added', 'secret '],
      ['same', 'file'],
      ['added', ', always'],
      ['same', '.'],
    ])
    expect(wordRuns('', 'a b')).toEqual([['added', 'a b']])
    expect(wordRuns('a b', '')).toEqual([['removed', 'a b']])
    expect(wordRuns('', '')).toEqual([])
  })

  it('keeps both texts whole, whatever they are', () => {
    const words = ['a', 'b', ' ', 'c,', '\n', '\u202e', 'ß']
    // A plain generator, so that a failure can be repeated.
    let seed = 7
    const next = (most: number): number => (seed = (seed * 48_271) % 2_147_483_647) % most
    const random = (): string => Array.from({ length: next(12) }, () => words[next(words.length)]).join('')
    for (let i = 0; i < 300; i++) {
      const [before, after] = [random(), random()]
      const runs = wordRuns(before, after)
      const without = (gone: string): string => runs.map(([is, text]) => (is === gone ? '' : text)).join('')
      expect([without('added'), without('removed')]).toEqual([visibleText(before), visibleText(after)])
    }
  })

  it('of more words than anybody reads is one text in place of the other', () => {
    const [before, after] = ['a '.repeat(15_000), 'b '.repeat(15_000)]
    expect(wordRuns(before, after).map(([is]) => is)).toEqual(['removed', 'added'])
    const [one, other] = [
      Array.from({ length: 3_000 }, (_, i) => `a${i}`),
      Array.from({ length: 3_000 }, (_, i) => `b${i}`),
    ]
    expect(wordRuns(one.join(' '), other.join(' ')).length).toBeGreaterThan(1)
  })

  it('shows what nobody sees', () => {
    expect(visibleText('a\u202eb\u200bc\u00a0d\u2066\u{e0041}\u3164\n\u0000\ufe0f\u2800')).toBe(
      'a\\u{202e}b\\u{200b}c\\u{a0}d\\u{2066}\\u{e0041}\\u{3164}\\n\\u{0}\\u{fe0f}\\u{2800}',
    )
    expect(visibleText('\\u{202e}')).toBe('\\u{5c}u{202e}')
    expect(wordRuns('Do it.', 'Do\u200b it.')).toEqual([
      ['same', 'Do'],
      ['added', '\\u{200b}'],
      ['same', ' it.'],
    ])
    expect(
      JSON.stringify(changesOf({ name: 'a' }, { name: 'a', ['x\u202e']: ['\u2069'] }, none)),
    ).not.toMatch(/[\u202e\u2069]/u)
  })

  it('begins with hints that flipped and what follows from them, then has texts, then paths of schemas', () => {
    const before = {
      inputSchema: { properties: { 'a/b': { type: 'string' }, gone: {} }, required: ['a/b'] },
      description: 'Reads.',
      annotations: { readOnlyHint: false, title: 'R' },
    }
    const after = {
      inputSchema: { properties: { 'a/b': { type: 'number' }, more: { enum: [1] } }, required: ['a/b'] },
      description: 'Reads all.',
      annotations: { readOnlyHint: true, title: 'R' },
      extra: true,
    }
    expect(changesOf(before, after, { before: 'execute', after: 'read' })).toEqual([
      {
        path: '/annotations/readOnlyHint',
        is: 'changed',
        before: 'false',
        after: 'true',
        consequence: 'would need read instead of execute',
      },
      {
        path: '/description',
        is: 'changed',
        before: '"Reads."',
        after: '"Reads all."',
        words: [
          ['same', 'Reads'],
          ['added', ' all'],
          ['same', '.'],
        ],
      },
      {
        path: '/inputSchema/properties/a~1b/type',
        is: 'changed',
        before: '"string"',
        after: '"number"',
        words: expect.any(Array),
      },
      { path: '/inputSchema/properties/gone', is: 'removed', before: '{}' },
      { path: '/inputSchema/properties/more', is: 'added', after: '{"enum":[1]}' },
      { path: '/extra', is: 'added', after: 'true' },
    ])
  })

  it('of what was never approved is all of it', () =>
    expect(
      changesOf(undefined, { name: 'a', description: 'b' }, none).map(({ path, is }) => [path, is]),
    ).toEqual([
      ['/description', 'added'],
      ['/name', 'added'],
    ]))
})
