// Text from elsewhere on its way into the log: without what could drive a terminal, without credentials, and no longer than is read.

// Controls, and characters that turn the reading direction or end a line.
const driving = /[\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u2028-\u202E\u2066-\u2069]+/g

const secretWords = String.raw`(?:\w*token|code|state|password|passwd|client_secret|secret|api[_-]?key|code_verifier|\w*assertion)`

/** Credentials as they appear in prose of other programs: a JWT, an Authorization value, userinfo of a URL, a parameter that carries a secret. */
const credentials: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]{10,}\.[\w-]+(?:\.[\w-]*)*/g, '[redacted]'],
  [/\b(Bearer|Basic|DPoP) +[A-Za-z0-9\-._~+/]{8,}=*/gi, '$1 [redacted]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi, '$1[redacted]@'],
  [new RegExp(`(["']${secretWords}["']\\s*:\\s*)(?:"[^"]*"|'[^']*')`, 'gi'), '$1[redacted]'],
  [new RegExp(`(\\b${secretWords}=)(?:"[^"]*"|'[^']*'|[A-Za-z0-9\\-._~+/%]{8,})`, 'gi'), '$1[redacted]'],
  // After a colon prose is likelier than a secret, which is long and has a figure in it.
  [new RegExp(`(\\b${secretWords}:\\s*)(?=[A-Za-z\\-._~+/]*\\d)[A-Za-z0-9\\-._~+/]{16,}`, 'gi'), '$1[redacted]'],
]

/** `most`: characters. */
export const logText = (text: string, most = 500): string => {
  // What is cut away need not be looked at, and a credential at the edge must not survive in part.
  let clean = text.slice(0, most * 2).replaceAll(driving, ' ')
  for (const [shape, instead] of credentials) clean = clean.replaceAll(shape, instead)
  clean = clean.trim()
  return clean.length > most ? `${clean.slice(0, most - 1)}…` : clean
}
