// Which known word is taken for the one that was meant.
import { describe, expect, it } from 'vitest'
import { didYouMean, suggest } from '../../src/config/shape.ts'

const known = ['url', 'scopes', 'issuer', 'timeout', 'client_id', 'client_secret', 'pass_headers']

describe('the word that was meant', () => {
  it.each([
    ['a letter too many', 'scoopes', 'scopes'],
    ['a letter that is missing', 'isuer', 'issuer'],
    ['another letter', 'timeoat', 'timeout'],
    ['two letters that changed places, in a short word', 'ulr', 'url'],
    ['two letters that changed places, in a long word', 'timeuot', 'timeout'],
    ['other case and other separators', 'Client-ID', 'client_id'],
    ['the singular', 'pass_header', 'pass_headers'],
  ])('is found with %s', (_, word, meant) => expect(suggest(word, known)).toBe(meant))

  it.each([
    ['nothing is near', 'storage'],
    ['a short word has two wrong letters', 'uri2'],
    ['nothing was written', '__'],
    ['it is longer than any key', 'url'.repeat(40)],
  ])('is nowhere when %s', (_, word) => expect(suggest(word, known)).toBeUndefined())

  it('is the first of two that are as near', () => expect(suggest('url3', ['url1', 'url2'])).toBe('url1'))
  it('ends a message, or adds nothing to it', () =>
    expect([didYouMean('ulr', known), didYouMean('storage', known)]).toEqual(['; did you mean "url"?', '']))
})
