// What a caller is shown of a list, entry by entry.
import { describe, expect, it } from 'vitest'
import { createTrim, hintOf } from '../../src/policy/lists.ts'
import type { Subject } from '../../src/ports/policy.ts'

const nameOf = (subject: Subject): string =>
  subject.kind === 'resource'
    ? subject.uri
    : subject.kind === 'template'
      ? subject.template
      : 'name' in subject
        ? subject.name
        : ''
const isShown = (subject: Subject): boolean => !nameOf(subject).includes('hidden')

const trimmed = (result: Readonly<Record<string, unknown>>) => {
  const learnt: unknown[] = []
  const trim = createTrim(isShown, (tools) => void learnt.push(...tools))
  return { shown: trim(result), learnt }
}

describe('a list', () => {
  it('keeps the order and the members of what may be used, and all of the result besides', () => {
    const a = { name: 'a', title: 'A', odd: { deep: [1] } }
    const { shown } = trimmed({
      tools: [{ name: 'hidden' }, a, { name: 'b' }],
      nextCursor: '',
      _meta: { x: 1 },
    })
    expect(shown).toEqual({ tools: [a, { name: 'b' }], nextCursor: '', _meta: { x: 1 } })
    expect(Object.keys(shown)).toEqual(['tools', 'nextCursor', '_meta'])
  })

  it('keeps its cursor when nothing is left on the page', () => {
    expect(trimmed({ prompts: [{ name: 'hidden' }], nextCursor: 'x' }).shown).toEqual({
      prompts: [],
      nextCursor: 'x',
    })
  })

  it('is learnt from before it is trimmed, with what tools say of themselves', () => {
    const { learnt } = trimmed({
      tools: [
        { name: 'hidden', annotations: { destructiveHint: true } },
        { name: 'a', annotations: { readOnlyHint: true, destructiveHint: true } },
      ],
    })
    expect(learnt).toEqual([
      { name: 'hidden', hint: 'execute' },
      { name: 'a', hint: 'read' },
    ])
  })

  it('leaves out what has no name, and what has the name of something else', () => {
    const { shown, learnt } = trimmed({
      tools: [
        { name: 'a' },
        { title: 'b' },
        { name: 1 },
        null,
        'c',
        ['d'],
        { name: 'e', title: 'one' },
        { name: 'a' },
        { name: 'e', title: 'two' },
      ],
    })
    expect(shown).toEqual({ tools: [{ name: 'a' }] })
    expect(learnt).toEqual([{ name: 'a', hint: undefined }])
  })

  it.each([
    [
      'resources',
      'uri',
      { resources: [{ uri: 'x://a' }, { uri: 'x://hidden' }, { name: 'x' }] },
      { resources: [{ uri: 'x://a' }] },
    ],
    [
      'templates',
      'uriTemplate',
      { resourceTemplates: [{ uriTemplate: 'x://{a}' }, { uriTemplate: 'x://hidden/{a}' }] },
      { resourceTemplates: [{ uriTemplate: 'x://{a}' }] },
    ],
  ])('of %s goes by %s', (_what, _key, result, expected) => {
    expect(trimmed(result).shown).toEqual(expected)
  })

  it('is kept by its caller alone, and for a minute at most', () => {
    expect(trimmed({ tools: [], cacheScope: 'public', ttlMs: 3_600_000 }).shown).toMatchObject({
      cacheScope: 'private',
      ttlMs: 60_000,
    })
    expect(trimmed({ tools: [], cacheScope: 'public', ttlMs: 5 }).shown).toMatchObject({
      cacheScope: 'private',
      ttlMs: 5,
    })
    expect(trimmed({ tools: [], cacheScope: 'public' }).shown).toMatchObject({
      cacheScope: 'private',
      ttlMs: 0,
    })
    expect(trimmed({ tools: [] }).shown).toEqual({ tools: [] })
  })

  it('names no page of a tool that its caller may not read', () => {
    const ui = (uri: string, visibility = ['model']) => ({
      ui: { resourceUri: uri, visibility },
      'ui/resourceUri': uri,
      other: 1,
    })
    const { shown } = trimmed({
      tools: [
        { name: 'a', _meta: ui('ui://a') },
        { name: 'b', _meta: ui('ui://hidden') },
        { name: 'c', _meta: { 'ui/resourceUri': 'ui://hidden' } },
      ],
    })
    expect(shown['tools']).toEqual([
      { name: 'a', _meta: ui('ui://a') },
      { name: 'b', _meta: { ui: { visibility: ['model'] }, other: 1 } },
      { name: 'c', _meta: {} },
    ])
  })

  it('that is none passes as it came', () => {
    const result = { content: [{ type: 'text', text: 'hidden' }] }
    expect(trimmed(result).shown).toBe(result)
  })
})

describe('what a tool says of itself', () => {
  it.each([
    [undefined, undefined],
    [{}, undefined],
    [{ readOnlyHint: true }, 'read'],
    [{ destructiveHint: false }, 'write'],
    [{ destructiveHint: true }, 'execute'],
    [{ readOnlyHint: false }, 'execute'],
    [{ readOnlyHint: false, destructiveHint: false }, 'write'],
    [{ readOnlyHint: 'true' }, undefined],
    [{ idempotentHint: true }, undefined],
  ])('%j needs %s', (annotations, expected) => {
    expect(hintOf({ annotations })).toBe(expected)
  })
})
