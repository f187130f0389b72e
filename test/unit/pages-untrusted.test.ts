// What of a stranger's text survives on a page.
import { assert, constantFrom, oneof, property, string } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { leadsToClient, ownPath, readAddress, readName, readText } from '../../src/pages/layout.ts'
import { hostileNames } from '../pages/states.ts'

describe('a name that a client gave itself [H-B10]', () => {
  test('is shown as it is when it is honest, in any script', () => {
    for (const name of [
      'Claude Code',
      'ChatGPT',
      'Ünïcödé Ltd.',
      'Яндекс Музыка',
      '山田 太郎',
      'مساعد البرمجة',
      'Ελληνικά',
      'C++ (v2)',
    ])
      expect(readName(name, 'x')).toEqual({ text: name.normalize('NFKC'), cautions: [] })
  })

  test('loses direction overrides and invisible characters, and the reader is told', () => {
    const { text, cautions } = readName(hostileNames.override, 'x')
    expect(text).toBe('Claude gro.live official')
    expect(cautions).toHaveLength(1)
  })

  test('cannot wear the marks of the page itself', () => {
    expect(readName(hostileNames.badge, 'x').text).toBe('Verified domain claude.ai')
    expect(readName(hostileNames.badge, 'x').cautions).toHaveLength(1)
  })

  test('is cautioned about when letters of two alphabets stand in one word, or look-alikes stand for Latin letters', () => {
    expect(readName(hostileNames.lookalike, 'x').cautions[0]).toContain('Latin and Cyrillic')
    expect(readName('\u0430\u0440\u0440\u04CF\u0435', 'x').cautions[0]).toContain(
      'Cyrillic letters that look like Latin',
    )
    expect(readName('Cl\u03B1ude', 'x').cautions[0]).toContain('Latin and Greek')
  })

  test('keeps an emoji without a word about its joiners', () => {
    expect(readName('Ask \u2764\uFE0F', 'x').cautions).toEqual([])
    expect(readName('Team \u{1F468}\u200D\u{1F469}\u200D\u{1F467}', 'x').cautions).toEqual([])
  })

  test('reads plain when it was written in styled letters', () => {
    expect(readName('\u{1D402}\u{1D425}\u{1D41A}\u{1D42E}\u{1D41D}\u{1D41E}', 'x').text).toBe('Claude')
  })

  test('is one line of at most 48 visible characters, never empty, whatever it was', () => {
    assert(
      property(
        oneof(string({ unit: 'binary', maxLength: 300 }), constantFrom(...Object.values(hostileNames))),
        (raw) => {
          const { text } = readName(raw, 'An app without a name')
          expect([...text].length).toBeLessThanOrEqual(48)
          expect(text.length).toBeGreaterThan(0)
          expect(text).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\u200B-\u200F\u202A-\u202E\u2066-\u2069]/u)
          expect(text).not.toMatch(/\p{M}{4}/u)
        },
      ),
      { numRuns: 500 },
    )
    expect(readName(hostileNames.empty, 'An app without a name').text).toBe('An app without a name')
    expect(readName(hostileNames.lines, 'x').text).toBe('Claude Verified by your administrator')
  })

  test('of a megabyte is read in no time', () => {
    expect(readName('\u0301'.repeat(1_000_000), 'x').text.length).toBeLessThan(10)
    expect(readText(' '.repeat(1_000_000), 100)).toBe('')
  })
})

describe('an address', () => {
  test('is shown in the characters it travels in', () => {
    expect(readAddress('https://a.example/cb?x=1&y=%20')).toBe('https://a.example/cb?x=1&y=%20')
    expect(readAddress('https://a.example/\u202Ecb é \uD800')).toBe(
      'https://a.example/%E2%80%AEcb%20%C3%A9%20%EF%BF%BD',
    )
  })

  test('of this gateway never leads to another [H-P8]', () => {
    expect(ownPath('/login?flow=f&switch=1')).toBe('/login?flow=f&switch=1')
    for (const href of [
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'https:evil.example',
      'javascript:alert(1)',
      '',
      'login',
      '/\u2028/x',
    ])
      expect(ownPath(href)).toBe('/')
  })

  test('that leads back to a client never runs or reads something here [H-F3]', () => {
    for (const href of [
      'cursor://anysphere.cursor-mcp/oauth/callback?code=a&state=javascript:b',
      'com.example.app:/cb?code=a',
      'http://127.0.0.1:9/cb?x=1',
    ])
      expect(leadsToClient(href)).toBe(true)
    for (const href of [
      'javascript:alert(1)',
      'JavaScript://x/%0aalert(1)',
      'data:text/html,x',
      'file:///etc/passwd',
      'blob:https://x/y',
      'vbscript:x',
      'intent://x#Intent;end',
      'ms-msdt:/id',
      'x',
      '//evil',
      '',
    ])
      expect(leadsToClient(href)).toBe(false)
  })
})
