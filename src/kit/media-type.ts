// A media type, read whole: what two readers could take for two different types is none (RFC 9110 §8.3.1).
// Not a library: those at hand accept what this refuses, such as quoted text that readers end at different places.
import { trimWhitespace } from './http.ts'

export interface MediaType {
  /** Type and subtype in lower case: `application/json`. */
  readonly essence: string
  /** Parameters by name, both in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

const essenceForm = /^[!#$%&'*+\-.^_`|~0-9a-z]+\/[!#$%&'*+\-.^_`|~0-9a-z]+$/
const tokenForm = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** A token, or one in quotes with spaces and the marks of a URL. Readers disagree where any other quoted text ends. */
const valueForm = /^(?:[!#$%&'*+\-.^_`|~0-9a-z]+|"[!#$%&'*+\-.^_`|~0-9a-z /:=?]*")$/
const longest = 256

/** Undefined for what is not one media type: several with commas between, a parameter without value or sent twice. */
export const readMediaType = (value: string): MediaType | undefined => {
  if (value.length > longest) return undefined
  const [essence = '', ...parts] = value.toLowerCase().split(';').map(trimWhitespace)
  if (!essenceForm.test(essence)) return undefined
  const parameters = new Map<string, string>()
  for (const part of parts) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const [name, text] = [part.slice(0, Math.max(0, equals)), part.slice(equals + 1)]
    if (!tokenForm.test(name) || !valueForm.test(text) || parameters.has(name)) return undefined
    parameters.set(name, text.startsWith('"') ? text.slice(1, -1) : text)
  }
  return { essence, parameters }
}

/** Whether it says UTF-8, in either spelling, or nothing: JSON has no other encoding (RFC 8259 §8.1). */
export const isUtf8 = ({ parameters }: MediaType): boolean => {
  const charset = parameters.get('charset')
  return charset === undefined || charset === 'utf-8' || charset === 'utf8'
}
