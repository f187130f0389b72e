// JSON that is written again digit by digit as it was: arguments and results may hold numbers that no double can (JSON parse source text access, ECMAScript 2025).

const exact = JSON as unknown as {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown
  rawJSON(text: string): unknown
}

/** Written by `JSON.stringify`, the value is the same text; a number that a double cannot hold reads as an object. Throws SyntaxError. */
export const parseExactText = (text: string): unknown =>
  exact.parse(text, (_key, value, { source }) => (typeof value === 'number' && source !== undefined && String(value) !== source ? exact.rawJSON(source) : value))

export const parseExactly = (body: Uint8Array): unknown => parseExactText(new TextDecoder().decode(body))
