// What an endpoint of an authorization server said when it refused a request, as the operator may read it.
import { withoutQuery } from '../kit/urls.ts'

/** Longest part of somebody else's prose that is kept. */
const longest = 300

const members = ['error_description', 'message', 'detail', 'title', 'error'] as const

const plain = (text: string): string =>
  text
    .replaceAll(/<(script|style)[\s\S]*?<\/\1>|<[^>]*>/gi, ' ')
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, longest)

/** The sentence of an error answer: a member that holds prose, or the text itself without its markup. */
export const sentenceOf = (text: string): string => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) {
      const found = members
        .map((name) => (value as Readonly<Record<string, unknown>>)[name])
        .find((one) => typeof one === 'string' && one !== '')
      return plain(typeof found === 'string' ? found : text)
    }
  } catch {
    // No JSON: a page, or nothing.
  }
  return plain(text)
}

/** Form fields whose values must not come back into a log, even if the server repeats them. */
const secretFields = ['code', 'code_verifier', 'refresh_token', 'client_secret', 'client_assertion', 'token']

const without = (text: string, sent: URLSearchParams | undefined): string =>
  secretFields
    .flatMap((name) => sent?.get(name) ?? [])
    .reduce((kept, secret) => (secret === '' ? kept : kept.replaceAll(secret, '…')), text)

const errorMember = (text: string): string | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    const error =
      typeof value === 'object' && value !== null
        ? (value as Readonly<Record<string, unknown>>)['error']
        : undefined
    return typeof error === 'string' && error !== '' ? error : undefined
  } catch {
    return undefined
  }
}

/** An answer with a status that is no success. */
export interface EndpointError extends Error {
  readonly status: number
  /** RFC 6749 §5.2, RFC 7591 §3.2.2; undefined where the answer has none. */
  readonly error: string | undefined
}

const errorName = 'EndpointError'

/** `sent`: the form that was answered. */
export const endpointError = (
  url: string,
  status: number,
  text: string,
  sent?: URLSearchParams,
): EndpointError => {
  // Before anything is cut: of half a secret nothing would be found.
  const clean = without(text, sent)
  const [name, sentence] = [errorMember(clean)?.slice(0, 60), sentenceOf(clean)]
  const words = [name, sentence === '' || sentence === name ? undefined : `"${sentence}"`].filter(
    (word) => word !== undefined,
  )
  const error = new Error(
    `${withoutQuery(url)} answered ${status}${words.length > 0 ? `: ${words.join(' ')}` : ''}`,
  )
  return Object.assign(error, { name: errorName, status, error: errorMember(text) })
}

export const isEndpointError = (thrown: unknown): thrown is EndpointError =>
  thrown instanceof Error && thrown.name === errorName
