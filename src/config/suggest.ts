// "Did you mean": the nearest of a set of known words.

const plain = (word: string): string => word.toLowerCase().replaceAll(/[_-]/g, '')

/** Edits (insert, delete, replace, swap of neighbours) that turn one word into the other. */
const distance = (a: string, b: string): number => {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, (before[j - 2] as number) + 1)
      row.push(least)
    }
    before = last
    last = row
  }
  return last[b.length] as number
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
    const far = Math.abs(other.length - wanted.length) >= least ? least : distance(wanted, other)
    if (far < least) [best, least] = [candidate, far]
  }
  return best
}

/** `, did you mean "url"?`, or nothing. */
export const didYouMean = (word: string, known: Iterable<string>): string => {
  const found = suggest(word, known)
  return found === undefined ? '' : `, did you mean "${found}"?`
}
