// Patterns of names and URIs: `*` any characters, `?` one, `\` takes what follows as it is. The whole string
// must match, with its case. In URIs `*` stops at `/` and `**` does not.

/** One character, or a wildcard. */
type Token = { readonly text: string } | 'one' | 'any' | 'any-in-segment'

export interface Glob {
  readonly text: string
  readonly tokens: readonly Token[]
}

/** Undefined for a pattern that ends with a lone `\`. `uri`: `*` stops at `/`. */
export const parseGlob = (text: string, uri = false): Glob | undefined => {
  const tokens: Token[] = []
  const characters = [...text]
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] as string
    if (character === '\\') {
      const next = characters[++i]
      if (next === undefined) return undefined
      tokens.push({ text: next })
    } else if (character === '?') tokens.push('one')
    else if (character === '*') {
      const double = characters[i + 1] === '*'
      while (characters[i + 1] === '*') i++
      tokens.push(double || !uri ? 'any' : 'any-in-segment')
    } else tokens.push({ text: character })
  }
  return { text, tokens }
}

/** Of a pattern that was checked when it was read. */
export const globOf = (text: string, uri = false): Glob => parseGlob(text, uri) ?? { text, tokens: [] }

export const isLiteral = ({ tokens }: Glob): boolean => tokens.every((token) => typeof token === 'object')

const takes = (token: Token | undefined, character: string, uri: boolean): boolean =>
  token === 'one' ? !(uri && character === '/') : typeof token === 'object' && token.text === character

/**
 * Two pointers and the last wildcards, so that no pattern takes more than length times length. A wildcard that
 * stops at `/` is given up for the one before it that does not.
 */
export const matches = ({ tokens }: Glob, subject: string, uri = false): boolean => {
  const text = [...subject]
  let [t, c] = [0, 0]
  let wide: { t: number; c: number } | undefined
  let narrow: { t: number; c: number } | undefined
  for (;;) {
    const token = tokens[t]
    if (token === 'any') {
      wide = { t: ++t, c }
      narrow = undefined
    } else if (token === 'any-in-segment') narrow = { t: ++t, c }
    else if (c < text.length && takes(token, text[c] as string, uri)) {
      t++
      c++
    } else if (c === text.length && t === tokens.length) return true
    else if (narrow && narrow.c < text.length && text[narrow.c] !== '/') {
      ;[t, c] = [narrow.t, ++narrow.c]
    } else if (wide && wide.c < text.length) {
      narrow = undefined
      ;[t, c] = [wide.t, ++wide.c]
    } else return false
  }
}

// A deny pattern sees more than the exact name: servers are careless about case and about characters that
// nobody sees.

/** Cf, Cc and Z: invisible characters, controls, spaces. */
const unseen = /[\p{Cf}\p{Cc}\p{Z}]/gu

/** NFKC once more, because lower case can undo it. */
export const foldedName = (name: string): string =>
  name.normalize('NFKC').toLowerCase().normalize('NFKC').replaceAll(unseen, '')

/**
 * The form that RFC 3986 §6.2.2 and §6.2.3 call equivalent: case of scheme and host, unreserved characters
 * decoded, dot segments removed, default port dropped. What is no URL stays as it is, but for the escapes.
 */
export const normalizedUri = (uri: string): string => {
  const decoded = uri.replaceAll(/%([0-9a-f]{2})/gi, (escape, hex: string) => {
    const character = String.fromCharCode(Number.parseInt(hex, 16))
    return /[A-Za-z0-9\-._~]/.test(character) ? character : escape.toUpperCase()
  })
  const parts = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(.*)$/is.exec(decoded)
  if (!parts) return decoded.replace(/^[a-z][a-z0-9+.-]*:/i, (scheme) => scheme.toLowerCase())
  const [, scheme = '', authority = '', path = '', rest = ''] = parts
  const defaults: Readonly<Record<string, string>> = { http: ':80', https: ':443', ws: ':80', wss: ':443' }
  const lower = scheme.toLowerCase()
  const host = authority.toLowerCase()
  const port = defaults[lower]
  return `${lower}://${port !== undefined && host.endsWith(port) ? host.slice(0, -port.length) : host}${withoutDots(path)}${rest}`
}

/** RFC 3986 §5.2.4. */
const withoutDots = (path: string): string => {
  const kept: string[] = []
  const segments = path.split('/')
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1
    if (segment === '..') {
      if (kept.length > 1) kept.pop()
      if (last) kept.push('')
    } else if (segment !== '.') kept.push(segment)
    else if (last) kept.push('')
  })
  return kept.join('/')
}

// Templates of resources (RFC 6570): an expression may become anything.

const templateTokens = (template: string): readonly Token[] =>
  template
    .split(/(\{[^{}]*\})/)
    .flatMap((part): readonly Token[] =>
      part.startsWith('{') && part.endsWith('}') ? ['any'] : [...part].map((text) => ({ text })),
    )

const meet = (one: Token, other: Token): boolean =>
  typeof one !== 'object' || typeof other !== 'object' || one.text === other.text

const isWild = (token: Token | undefined): boolean => token === 'any' || token === 'any-in-segment'

/** Whether some expansion of the template matches the pattern; that `*` stops at `/` is left out of account. */
export const canMeet = ({ tokens }: Glob, template: string): boolean => {
  const others = templateTokens(template)
  // Which beginnings of the template some beginning of the pattern can match, token by token.
  const closed = (row: boolean[]): boolean[] => {
    for (let j = 1; j <= others.length; j++) row[j] ||= row[j - 1] === true && isWild(others[j - 1])
    return row
  }
  let row = closed([true, ...others.map(() => false)])
  for (const token of tokens) {
    const next: boolean[] = [isWild(token) && row[0] === true]
    for (let j = 1; j <= others.length; j++) {
      const other = others[j - 1] as Token
      next[j] =
        (row[j - 1] === true && meet(token, other)) ||
        (isWild(token) && (row[j] === true || next[j - 1] === true)) ||
        (isWild(other) && (row[j] === true || next[j - 1] === true))
    }
    row = closed(next)
  }
  return row[others.length] === true
}

/** Whether every expansion of the template is denied: what stands before its first expression is already. */
export const coversTemplate = ({ tokens }: Glob, template: string): boolean => {
  const [head = ''] = template.split('{', 1)
  if (head === template) return false
  const before = tokens.slice(0, -1)
  if (tokens.at(-1) !== 'any' || before.some((token) => typeof token !== 'object')) return false
  const prefix = before.map((token) => (token as { readonly text: string }).text).join('')
  return head.startsWith(prefix) || normalizedUri(head).startsWith(prefix)
}
