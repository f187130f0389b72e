// Turns refusals into answers: one refusal, drawn for the surface that asked (page, OAuth JSON, MCP, plain JSON).
import { Refusal } from './kit/refusal.ts'
import type { Pages, ProblemView } from './ports/pages.ts'

/** Who reads the answer: a person, an OAuth client, an MCP client, or anybody who fetches JSON. */
export type Surface = 'page' | 'oauth' | 'mcp' | 'json'

export interface Drawing {
  readonly surface: Surface
  readonly requestId: string
  /** What the caller said it reads (`Accept`). */
  readonly accept: string
  readonly pages: Pages
  readonly problemFor: (refusal: Refusal, requestId: string) => ProblemView
  /** `iss` of authorization errors (RFC 9207 §2). */
  readonly redirectTo: (uri: string, params: Readonly<Record<string, string>>) => string
}

const ascii = (text: string): string => text.replaceAll(/[^\x20-\x21\x23-\x5B\x5D-\x7E]/g, "'")

const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers } })

/** RFC 6749 §5.2 and §4.1.2.1: registered code, ASCII description, nothing else. */
const oauthBody = (refusal: Refusal) => ({ error: refusal.row.oauth, error_description: ascii(refusal.say) })

const rpcBody = (refusal: Refusal) => ({
  jsonrpc: '2.0',
  id: refusal.detail.rpcId ?? null,
  error: { code: refusal.row.rpc, message: refusal.say, data: refusal.detail.rpcData ?? { code: refusal.code } },
})

const wantsPage = (accept: string): boolean => !/application\/json/.test(accept) || /text\/html/.test(accept)

const challenged = (refusal: Refusal): boolean => refusal.row.status === 401 || refusal.row.status === 403

/** The answer to a refusal. Redirectable authorization errors go to the client only when the room validated its redirect URI. */
export const drawRefusal = (refusal: Refusal, drawing: Drawing): Response => {
  // RFC 9110 §10.2.3: who finds us unable is told when to try again; official clients keep their session then.
  const headers = { ...(refusal.row.status === 503 && { 'retry-after': '1' }), ...refusal.detail.headers }
  const { redirect } = refusal.detail
  if (redirect) {
    const params = { ...oauthBody(refusal), ...(redirect.state === undefined ? {} : { state: redirect.state }) }
    return new Response(null, { status: 303, headers: { location: drawing.redirectTo(redirect.uri, params), 'cache-control': 'no-store', ...headers } })
  }
  switch (drawing.surface) {
    case 'oauth':
      return json(refusal.row.status, oauthBody(refusal), { pragma: 'no-cache', ...headers })
    case 'mcp':
      return json(refusal.row.status, challenged(refusal) ? oauthBody(refusal) : rpcBody(refusal), headers)
    case 'json':
      return json(refusal.row.status, { ...oauthBody(refusal), code: refusal.code, request_id: drawing.requestId }, headers)
    case 'page': {
      if (!wantsPage(drawing.accept)) return json(refusal.row.status, { ...oauthBody(refusal), code: refusal.code, request_id: drawing.requestId }, headers)
      const page = drawing.pages.problem(drawing.problemFor(refusal, drawing.requestId))
      for (const [name, value] of Object.entries(headers)) page.headers.set(name, value)
      return page
    }
  }
}

/** What was thrown, as a refusal: anything that is not one is a fault of ours (at the token endpoint a transient one, so that no client logs its person out). */
export const asRefusal = (thrown: unknown, tokenEndpoint: boolean): Refusal => {
  if (thrown instanceof Refusal) return thrown
  const why = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  return tokenEndpoint ? new Refusal('storage.unavailable', why, { say: 'The gateway could not finish this request. Try again in a moment.', headers: { 'retry-after': '1' } }) : new Refusal('fault', why)
}
