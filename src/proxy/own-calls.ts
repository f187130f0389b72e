// A message that came on a line, as a call of its own at the service's Streamable HTTP address: every check, credential, second try and record of a call holds for it too.
import { utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { standardHeaders } from '../mcp/mirrors.ts'
import { metaOf, paramsOf, type Rpc } from '../mcp/rpc.ts'
import type { Admission, Admit, Fetch, Head, ReadBody } from '../ports/calls.ts'
import type { Lines } from '../ports/lines.ts'
import { carryOut } from './carry-out.ts'

export interface OwnCallsDeps {
  readonly admit: Admit
  readonly lines: Lines
}

/** Whose message it is: the request that opened the line, or that brought the message. */
export interface Bearer {
  readonly head: Head
  /** Of the address that was used. */
  readonly path: string
}

export interface OwnCall {
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly session: string | undefined
  /** Revision that the session settled on. */
  readonly version: string | undefined
  /** Id of the last event heard, when a stream is opened again. */
  readonly resume?: string | undefined
  readonly body?: string
  /** What the body says. */
  readonly message?: Rpc
  readonly signal: AbortSignal
}

/** The revision that a message says it is of; undefined for those of revisions with sessions. */
export const claimedVersion = (message: Rpc | undefined): string | undefined => {
  const claim = message && metaOf(message)[metaKeys.version]
  return typeof claim === 'string' ? claim : undefined
}

/** What a request of 2026-07-28 says beside its body (SEP-2243): a line has no headers, so they are written for it. */
const mirrored = (message: Rpc, version: string): string[] =>
  standardHeaders(String(message['method']), paramsOf(message)).flatMap(([name, value]) => [name, name === 'mcp-protocol-version' ? version : value])

/** Rejects with every refusal of a call. */
export type AskOwn = (bearer: Bearer, call: OwnCall) => Promise<Response>

/** What described the other request's body, session and answer; the call says its own. */
const replaced = new Set(
  'accept accept-encoding content-type content-length content-encoding transfer-encoding expect mcp-session-id mcp-protocol-version mcp-method mcp-name last-event-id'.split(' '),
)

const fieldsOf = (came: readonly string[], { method, session, version, resume, message }: OwnCall): string[] => {
  const claimed = claimedVersion(message)
  const fields: string[] = []
  for (let i = 0; i + 1 < came.length; i += 2) if (!replaced.has((came[i] as string).toLowerCase())) fields.push(came[i] as string, came[i + 1] as string)
  fields.push('Accept', method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream')
  if (method === 'POST') fields.push('Content-Type', 'application/json')
  if (message && claimed !== undefined) return [...fields, ...mirrored(message, claimed)]
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (version !== undefined) fields.push('MCP-Protocol-Version', version)
  if (resume !== undefined) fields.push('Last-Event-ID', resume)
  return fields
}

export const createOwnCalls = ({ admit, lines }: OwnCallsDeps): AskOwn => {
  const fetchFor = ({ upstream }: Admission): Fetch => (upstream.kind === 'http' && upstream.publicOnly ? lines.publicOnly : lines).fetch
  return ({ head: came, path }, call) => {
    const bytes = utf8(call.body ?? '')
    const readBody: ReadBody = async (max, grow) => {
      if (bytes.byteLength > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
      grow(bytes.byteLength)
      return bytes
    }
    const head: Head = { ...came, method: call.method, target: path.replace(/\/sse$/, '/mcp'), rawHeaders: fieldsOf(came.rawHeaders, call), within: true }
    return carryOut({ admit, head, readBody, fetchFor, signal: call.signal })
  }
}
