// What a WWW-Authenticate field says (RFC 9110 §11.6.1) of a Bearer login: where its metadata is (RFC 9728 §5.1), which scopes it wants (RFC 6750 §3).

export interface Challenge {
  /** URL of the protected resource metadata, as sent. */
  readonly metadata: string | undefined
  /** Undefined where the challenge names none. */
  readonly scopes: readonly string[] | undefined
  readonly error: string | undefined
}

const longest = 8192
const piece = /[\s,=]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y

/** Words of a scope value, each of the characters that RFC 6749 §3.3 allows. */
export const scopeWords = (text: string): readonly string[] => [...new Set(text.split(' '))].filter((word) => /^[\x21\x23-\x5B\x5D-\x7E]+$/.test(word)).slice(0, 100)

/** The parameters of the first Bearer challenge of one field; undefined when there is none. */
const bearerOf = (field: string): ReadonlyMap<string, string> | undefined => {
  let scheme = ''
  let found: Map<string, string> | undefined
  piece.lastIndex = 0
  for (let match = piece.exec(field); match && match[0] !== ''; match = piece.exec(field)) {
    const [, name = '', quoted, plain] = match
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain
    if (value === undefined) {
      if (found) break
      scheme = name.toLowerCase()
      if (scheme === 'bearer') found = new Map()
    } else if (scheme === 'bearer' && found && !found.has(name.toLowerCase())) found.set(name.toLowerCase(), value)
  }
  return found
}

/** The Bearer challenge among the fields of an answer; undefined when the server asks for something else, or for nothing. */
export const readChallenge = (fields: readonly string[]): Challenge | undefined => {
  for (const field of fields) {
    const parameters = field.length > longest ? undefined : bearerOf(field)
    if (!parameters) continue
    const scopes = scopeWords(parameters.get('scope') ?? '')
    return { metadata: parameters.get('resource_metadata'), scopes: scopes.length > 0 ? scopes : undefined, error: parameters.get('error') }
  }
  return undefined
}
