// "Did you mean": the nearest of a set of known words.
import { distance } from 'fastest-levenshtein'

const plain = (word: string): string => word.toLowerCase().replaceAll(/[_-]/g, '')

const letters = (word: string): string => [...word].sort().join('')

/**
 * Edits (insert, delete, replace) that turn one word into the other. Two letters that changed places count as one
 * edit: `ulr` is the commonest mistake there is, and half of a short word otherwise.
 */
const edits = (a: string, b: string): number => {
  const far = distance(a, b)
  return far === 2 && a.length === b.length && letters(a) === letters(b) ? 1 : far
}

/** The known word nearest to `word`, when it is near enough to be what was meant; case, `_` and `-` do not count. */
export const suggest = (word: string, known: Iterable<string>): string | undefined => {
  const wanted = plain(word)
  if (wanted === '' || wanted.length > 100) return undefined
  let best: string | undefined
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const other = plain(candidate)
    // The plural of a word is what was meant more often than its edit distance says.
    const far = Math.abs(other.length - wanted.length) >= least ? least : edits(wanted, other)
    if (far < least) [best, least] = [candidate, far]
  }
  return best
}

/** `; did you mean "url"?`, or nothing. */
export const didYouMean = (word: string, known: Iterable<string>): string => {
  const found = suggest(word, known)
  return found === undefined ? '' : `; did you mean "${found}"?`
}
