// Patterns of names and URIs.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canMeet,
  coversTemplate,
  foldedName,
  globOf,
  matches,
  normalizedUri,
  parseGlob,
} from '../../src/policy/globs.ts'

describe('a pattern', () => {
  it.each([
    ['get_*', 'get_issue', true],
    ['get_*', 'get_', true],
    ['get_*', 'Get_issue', false],
    ['get_?', 'get_a', true],
    ['get_?', 'get_ab', false],
    ['*', '', true],
    ['*a*b', 'xaxbxb', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['?', '😀', true],
  ])('%s matches the name %s: %s', (pattern, name, expected) => {
    expect(matches(globOf(pattern), name)).toBe(expected)
  })

  it.each([
    ['file:///a/*', 'file:///a/b', true],
    ['file:///a/*', 'file:///a/b/c', false],
    ['file:///a/**', 'file:///a/b/c', true],
    ['file:///**/c', 'file:///a/b/c', true],
    ['file:///*/c', 'file:///a/b/c', false],
    ['file:///**/b*/c', 'file:///a/b/bb/c', true],
    ['a?c', 'a/c', false],
  ])('%s matches the URI %s: %s', (pattern, uri, expected) => {
    expect(matches(globOf(pattern, true), uri, true)).toBe(expected)
  })

  it('cannot end with a backslash that escapes nothing', () => {
    expect(parseGlob('a\\')).toBeUndefined()
    expect(parseGlob('a\\\\')?.tokens).toEqual([{ text: 'a' }, { text: '\\' }])
  })

  it('says the same as the regular expression that it could be written as', () => {
    const part = fc.constantFrom('a', 'b', '/', '*', '**', '?')
    const text = fc.array(fc.constantFrom('a', 'b', '/')).map((list) => list.join(''))
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), text, fc.boolean(), (parts, subject, uri) => {
        const pattern = parts.join('')
        const source = pattern.replaceAll(/\*+|\?/g, (word) =>
          word === '?' ? (uri ? '[^/]' : '.') : uri && word.length === 1 ? '[^/]*' : '.*',
        )
        expect(matches(globOf(pattern, uri), subject, uri)).toBe(new RegExp(`^${source}$`).test(subject))
      }),
      { numRuns: 3000 },
    )
  })
})

describe('what a rule that denies sees', () => {
  it.each([
    ['Delete_Project', 'delete_project'],
    ['de\u200blete_project', 'delete_project'],
    ['\uff44elete_project', 'delete_project'],
    ['delete project ', 'deleteproject'],
    ['\ufb01le', 'file'],
  ])('%s is %s', (name, folded) => {
    expect(foldedName(name)).toBe(folded)
  })

  it.each([
    ['FILE:///a/b', 'file:///a/b'],
    ['https://A.example:443/x', 'https://a.example/x'],
    ['https://a.example/x/../y/./z', 'https://a.example/y/z'],
    ['https://a.example/%7Euser/%2f', 'https://a.example/~user/%2F'],
    ['https://a.example/..', 'https://a.example/'],
    ['urn:A:b', 'urn:A:b'],
  ])('%s is %s', (uri, normal) => {
    expect(normalizedUri(uri)).toBe(normal)
  })
})

describe('a template', () => {
  it.each([
    ['db://**', 'db://{table}/{row}', true],
    ['db://users/**', 'db://{table}/{row}', false],
    ['db://users/**', 'db://users/{row}', true],
    ['db://users/**', 'db://user{x}', false],
  ])('%s denies every expansion of %s: %s', (pattern, template, expected) => {
    expect(coversTemplate(globOf(pattern, true), template)).toBe(expected)
  })

  it.each([
    ['db://users/*', 'db://{table}/{row}', true],
    ['db://users/1', 'db://users/{row}', true],
    ['db://users/*', 'db://orders/{row}', false],
    ['*/x', '{a}y', false],
    ['**', 'anything', true],
  ])('%s allows some expansion of %s: %s', (pattern, template, expected) => {
    expect(canMeet(globOf(pattern, true), template)).toBe(expected)
  })
})
