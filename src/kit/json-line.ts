// JSON on one line, for every reader of lines.

// JSON leaves these as they are (RFC 8259 §7), but C1 controls drive terminals, and some readers end a line at U+0085, U+2028 or U+2029.
const splitting = /[\u007F-\u009F\u2028\u2029]/
const everySplitting = /[\u007F-\u009F\u2028\u2029]/g

/** The value as JSON of which no reader takes a part for another line or for a terminal's command. */
export const jsonLine = (value: unknown): string => {
  const text = JSON.stringify(value)
  return splitting.test(text) ? text.replaceAll(everySplitting, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`) : text
}
