// Version negotiation (2026-07-28 basic/versioning, backward compatibility): the first call of a client is
// sent as it came, and the response shows what the server speaks.
import { createParser } from 'eventsource-parser'
import { readBounded } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { isEventStream } from '../../kit/sse.ts'
import { type Rpc, messagesToWrite, isRecord } from '../../mcp/json-rpc.ts'
import { envelopeOf, isModernServer, ownClient } from '../../mcp/revisions.ts'
import { serverInfoKey, toModern } from '../../mcp/translate.ts'
import { type Caller, type Server, discard, isForCaller, sendModern } from './exchange.ts'

type Generation = 'legacy' | 'modern'

/**
 * What is known of a server, from the calls of one person with one client. It expires, because servers are
 * replaced.
 */
export interface NegotiatedVersions {
  /** Undefined: not known. */
  speaks(owner: string, generation: Generation): boolean | undefined
  remember(owner: string, generation: Generation, speaks: boolean): void
}

/** A server is likely to keep a generation that it speaks, and may be replaced by one that speaks both. */
const yesMs = 3_600_000
const noMs = 600_000
const maxOwners = 10_000

export const createNegotiatedVersions = (now: () => number): NegotiatedVersions => {
  const known = {
    legacy: new Map<string, { readonly speaks: boolean; readonly until: number }>(),
    modern: new Map<string, { readonly speaks: boolean; readonly until: number }>(),
  }
  return {
    speaks(owner, generation) {
      const found = known[generation].get(owner)
      return found && now() <= found.until ? found.speaks : undefined
    },
    remember(owner, generation, speaks) {
      const owners = known[generation]
      owners.delete(owner)
      if (owners.size >= maxOwners) owners.delete(owners.keys().next().value as string)
      owners.set(owner, { speaks, until: now() + (speaks ? yesMs : noMs) })
    },
  }
}

/**
 * What one response shows: whether the server speaks the generation of the request, or undefined, and the
 * response as it came.
 */
export interface Negotiation {
  readonly speaks?: boolean | undefined
  readonly response: Response
}

const maxBytes = 67_108_864
/**
 * A stream that is silent for this long (ms) is not waited for. In the middle of an event, all data has come:
 * some servers leave out the blank line at its end. Before the first event it may be a subscription.
 */
const silentMs = 1000

const firstEvent = async (
  { runtime }: Server,
  body: ReadableStream<Uint8Array>,
): Promise<string | undefined> => {
  const reader = body.getReader()
  const events: string[] = []
  const parser = createParser({ onEvent: ({ data }) => void (data !== '' && events.push(data)) })
  const decoder = new TextDecoder()
  for (let size = 0; events.length === 0 && size <= maxBytes;) {
    const silence = Promise.withResolvers<undefined>()
    const stop = runtime.timer(silentMs, () => silence.resolve(undefined))
    const piece = await Promise.race([reader.read(), silence.promise]).finally(stop)
    if (!piece || piece.done) {
      parser.feed('\n\n')
      break
    }
    size += piece.value.byteLength
    parser.feed(decoder.decode(piece.value, { stream: true }))
  }
  reader.cancel().catch(() => undefined)
  return events[0]
}

/** The first message of a response, if it is a JSON-RPC response, and the response as it came. */
interface FirstMessage {
  readonly message: Rpc | undefined
  readonly response: Response
}

const readFirst = async (server: Server, response: Response): Promise<FirstMessage> => {
  if (!response.body) return { message: undefined, response }
  if (!isEventStream(response.headers.get('content-type') ?? undefined)) {
    const body = await readBounded(response.body, maxBytes)
    const [message] = messagesToWrite(new TextDecoder().decode(body))
    return { message, response: new Response(body, response) }
  }
  const [ahead, rest] = response.body.tee()
  const [message] = messagesToWrite((await firstEvent(server, ahead)) ?? '')
  return {
    message: message?.['method'] === undefined ? message : undefined,
    response: new Response(rest, response),
  }
}

const codeOf = (message: Rpc | undefined): unknown =>
  isRecord(message?.['error']) ? message['error']['code'] : undefined

/**
 * stdio servers of legacy revisions and transports without a session refuse what a legacy server over HTTP
 * would respond with an error to.
 */
const asLegacyResponse = (error: unknown): Response => {
  if (error instanceof Refusal && (error.code === 'mcp.legacy' || error.code === 'session.missing'))
    return Response.json(
      { jsonrpc: '2.0', id: null, error: { code: -32_000, message: error.say } },
      { status: 400 },
    )
  throw error
}

/** Asks with `server/discover`. Undefined: the response is not about the server. */
const probe = async (server: Server, caller: Caller): Promise<boolean | undefined> => {
  const params = { _meta: envelopeOf(ownClient(server.runtime.about)) }
  const sent = await sendModern(server, caller, { method: 'server/discover', params }).then(
    ({ response }) => response,
    asLegacyResponse,
  )
  const { message, response } = isForCaller(sent)
    ? { message: undefined, response: sent }
    : await readFirst(server, sent)
  await discard(response)
  if (isForCaller(sent)) return undefined
  return message !== undefined && isModernServer(message)
}

/** Errors that only a modern server responds with. */
const modernCodes: ReadonlySet<unknown> = new Set([-32_020, -32_021])
/** Errors that mean that the server did not act, so that the request may be sent again. */
const rejectedCodes: ReadonlySet<unknown> = new Set([-32_700, -32_600, -32_601, -32_602, -32_000, -32_001])

/**
 * A legacy result of a server that needs no session, as a modern one. The server has acted, so the request is
 * not sent again.
 */
const asModernResult = (request: Rpc, message: Rpc, result: Rpc): Response => {
  const { _meta, ...translated } = toModern(String(request['method']), result, {})
  const { [serverInfoKey]: _none, ...meta } = isRecord(_meta) ? _meta : {}
  return Response.json(
    { ...message, result: { ...translated, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } },
    { headers: { 'cache-control': 'no-store' } },
  )
}

/** What an error of the server, or its response to `server/discover`, shows. */
const judge = async (
  server: Server,
  caller: Caller,
  discovers: boolean,
  { message, response }: FirstMessage,
): Promise<boolean | undefined> => {
  const code = codeOf(message)
  if (message && (isModernServer(message) || (!discovers && modernCodes.has(code)))) return true
  if (!discovers) return probe(server, caller)
  return response.ok && code === undefined ? undefined : false
}

/** Sends a modern request as it came. */
export const negotiateModern = async (
  server: Server,
  caller: Caller,
  request: Rpc,
  sendRequest: () => Promise<Response>,
): Promise<Negotiation> => {
  const sent = await sendRequest().catch(asLegacyResponse)
  if (isForCaller(sent)) return { response: sent }
  const first = await readFirst(server, sent)
  const { message, response } = first
  const { result } = message ?? {}
  const discovers = request['method'] === 'server/discover'
  if (response.ok && !discovers) {
    if (message && isRecord(result))
      return result['resultType'] === undefined
        ? { response: asModernResult(request, message, result) }
        : { speaks: true, response }
    if (!rejectedCodes.has(codeOf(message))) return { response }
  }
  return { speaks: await judge(server, caller, discovers, first), response }
}

/** Sends `initialize` as it came. */
export const negotiateLegacy = async (
  server: Server,
  sendRequest: () => Promise<Response>,
): Promise<Negotiation> => {
  const sent = await sendRequest()
  if (isForCaller(sent)) return { response: sent }
  const { message, response } = await readFirst(server, sent)
  return { speaks: response.ok && codeOf(message) === undefined, response }
}
