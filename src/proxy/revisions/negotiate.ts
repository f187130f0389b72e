// The first call of a client at a server of which nobody knows what it speaks: sent as it came, and its answer is the verdict (2026-07-28 basic/versioning, backward
// compatibility). An answer about the caller, or of a server in trouble, is none.
import { createParser } from 'eventsource-parser'
import { readBounded } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { isEventStream } from '../../kit/sse.ts'
import { standardHeaders } from '../../mcp/headers.ts'
import { type Rpc, isRecord } from '../../mcp/json-rpc.ts'
import { parseExactText } from '../../mcp/json.ts'
import { envelopeOf, isModernServer, ownClient } from '../../mcp/revisions.ts'
import { serverInfoKey, toModern } from '../../mcp/translate.ts'
import { type Caller, type SendNotification, isForeign, nothing } from './exchange.ts'
import type { LegacyInitialize } from './legacy-client.ts'
import type { ModernClient } from './modern-client.ts'

// Which eras a server speaks, as far as the calls of one person by one client have shown it; dated, because servers are replaced.

export interface NegotiatedVersions {
  /** Undefined: nobody knows. */
  speaks(owner: string, modern: boolean): boolean | undefined
  note(owner: string, modern: boolean, speaks: boolean): void
}

/** A server that speaks an era goes on speaking it; one that does not may have been replaced by one that does. */
const yesMs = 3_600_000
const noMs = 600_000
const mostOwners = 10_000

export const createNegotiatedVersions = (now: () => number): NegotiatedVersions => {
  const known = [new Map<string, number>(), new Map<string, number>()] as const
  return {
    speaks(owner, modern) {
      const until = known[modern ? 1 : 0].get(owner)
      if (until === undefined || now() > Math.abs(until)) return undefined
      return until > 0
    },
    note(owner, modern, speaks) {
      const map = known[modern ? 1 : 0]
      map.delete(owner)
      if (map.size >= mostOwners) map.delete(map.keys().next().value as string)
      // The sign is the verdict, the size its end.
      map.set(owner, speaks ? now() + yesMs : -(now() + noMs))
    },
  }
}

// The first message of an answer, whatever it came in, and the answer as it came: what a server says is a verdict on what it speaks, not how it sends it.

export interface FirstAnswer {
  /** Undefined: it says nothing in MCP, or something else comes before the answer. */
  readonly message: Rpc | undefined
  readonly whole: Response
}

const mostBytes = 67_108_864
/**
 * A stream that is silent this long (ms) is not waited for: inside an event it has said what it has to say, because some leave out the blank line that ends one; before
 * its first event it may be a subscription, which says something when something happens.
 */
const silentMs = 1000

const parsed = (text: string): Rpc | undefined => {
  try {
    const value = parseExactText(text)
    return isRecord(value) ? value : undefined
  } catch {
    // No JSON: it says nothing in MCP.
    return undefined
  }
}

const isAnswer = (message: Rpc | undefined): boolean =>
  message !== undefined && message['method'] === undefined

/** What came so far, and then the rest. */
const rejoined = (
  pieces: readonly Uint8Array[],
  reader: ReadableStreamDefaultReader<Uint8Array>,
  next: Promise<ReadableStreamReadResult<Uint8Array>> | undefined,
): ReadableStream<Uint8Array> => {
  const waiting = [...pieces]
  let read = next
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = waiting.shift()
      if (piece) {
        controller.enqueue(piece)
        return
      }
      const { done, value } = await (read ?? reader.read())
      read = undefined
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

const firstEvent = async (response: Response, body: ReadableStream<Uint8Array>): Promise<FirstAnswer> => {
  const reader = body.getReader()
  const pieces: Uint8Array[] = []
  const events: string[] = []
  const parser = createParser({ onEvent: ({ data }) => void (data !== '' && events.push(data)) })
  const decoder = new TextDecoder()
  let size = 0
  let next: Promise<ReadableStreamReadResult<Uint8Array>> | undefined
  while (events.length === 0 && size <= mostBytes) {
    next ??= reader.read()
    const timer = Promise.withResolvers<'silent'>()
    const late = setTimeout(() => timer.resolve('silent'), silentMs)
    const read = await Promise.race([next, timer.promise]).finally(() => clearTimeout(late))
    if (read === 'silent' || read.done) {
      // The rest of an event without its end.
      parser.feed('\n\n')
      break
    }
    next = undefined
    pieces.push(read.value)
    size += read.value.byteLength
    parser.feed(decoder.decode(read.value, { stream: true }))
  }
  const message = events.map(parsed)[0]
  return {
    message: isAnswer(message) ? message : undefined,
    whole: new Response(rejoined(pieces, reader, next), response),
  }
}

export const firstAnswer = async (response: Response): Promise<FirstAnswer> => {
  if (!response.body) return { message: undefined, whole: response }
  if (isEventStream(response.headers.get('content-type') ?? undefined))
    return firstEvent(response, response.body)
  const body = await readBounded(response.body, mostBytes)
  return { message: parsed(new TextDecoder().decode(body)), whole: new Response(body, response) }
}

export interface VersionProbe {
  /** A call of a client of 2026-07-28. `send`: as it came, to the server itself. */
  newer(caller: Caller, message: Rpc, send: () => Promise<Response>): Promise<Response>
  /** `initialize`. */
  older(caller: Caller, message: Rpc, send: () => Promise<Response>): Promise<Response>
}

export interface VersionProbeDeps {
  readonly tell: SendNotification
  readonly about: { readonly version: string }
  readonly verdicts: NegotiatedVersions
  readonly crossNewer: ModernClient
  readonly beginOlder: LegacyInitialize
}

/** Errors by which a server of 2026-07-28 shows that it is one. */
const modernCodes: ReadonlySet<unknown> = new Set([-32_020, -32_021])
const discoverId = 'postern-discover'

/** A command that speaks older revisions, and a line without a session, refuse as a server of before does. */
const asLegacy = (error: unknown): Response => {
  if (error instanceof Refusal && (error.code === 'mcp.legacy' || error.code === 'session.missing'))
    return Response.json(
      { jsonrpc: '2.0', id: null, error: { code: -32_000, message: error.say } },
      { status: 400 },
    )
  throw error
}

/** By these a server says that it did not act: the same may be asked again in other words. */
const unacted: ReadonlySet<unknown> = new Set([-32_700, -32_600, -32_601, -32_602, -32_000, -32_001])

/** A result of a server that needs no session, in the words of before. It has acted, so it is not asked again. */
const translated = (message: Rpc, answer: Rpc): Response => {
  const { _meta, ...result } = toModern(String(message['method']), answer['result'] as Rpc, {})
  const { [serverInfoKey]: _none, ...meta } = isRecord(_meta) ? _meta : {}
  return Response.json(
    { ...answer, result: { ...result, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } },
    { headers: { 'cache-control': 'no-store' } },
  )
}

const codeOf = (message: Rpc | undefined): unknown =>
  isRecord(message?.['error']) ? message['error']['code'] : undefined

export const createVersionProbe = ({
  tell,
  about,
  verdicts,
  crossNewer,
  beginOlder,
}: VersionProbeDeps): VersionProbe => {
  /** Asked outright. Undefined: the answer says nothing of that. */
  const speaksModern = async (caller: Caller): Promise<boolean | undefined> => {
    const params = { _meta: envelopeOf(ownClient(about)) }
    const response = await tell(
      caller,
      standardHeaders('server/discover', params),
      JSON.stringify({ jsonrpc: '2.0', id: discoverId, method: 'server/discover', params }),
    ).catch(asLegacy)
    if (isForeign(response)) {
      await nothing(response)
      return undefined
    }
    const { message: answer, whole } = await firstAnswer(response)
    await nothing(whole)
    return answer !== undefined && isModernServer(answer)
  }

  /** What a refusal, or an answer to `server/discover`, says of the server. */
  const verdictOf = async (
    caller: Caller,
    discovers: boolean,
    response: Response,
    message: Rpc | undefined,
  ): Promise<boolean | undefined> => {
    if (
      message !== undefined &&
      (isModernServer(message) || (!discovers && modernCodes.has(codeOf(message))))
    )
      return true
    if (discovers) return response.ok && codeOf(message) === undefined ? undefined : false
    return speaksModern(caller)
  }

  return {
    async newer(caller, message, send) {
      const response = await send().catch(asLegacy)
      if (isForeign(response)) return response
      const discovers = message['method'] === 'server/discover'
      const { message: answer, whole } = await firstAnswer(response)
      if (response.ok && !discovers) {
        const result = answer?.['result']
        if (isRecord(result) && result['resultType'] === undefined) return translated(message, answer as Rpc)
        if (isRecord(result)) verdicts.note(caller.owner, true, true)
        if (!unacted.has(codeOf(answer))) return whole
      }
      const modern = await verdictOf(caller, discovers, whole, answer)
      if (modern === true) verdicts.note(caller.owner, true, true)
      if (modern !== false) return whole
      const session = await crossNewer.begin(caller, message)
      // No server of before either: its own answer stands, unless somebody has to sign in there first.
      if (session === undefined || session instanceof Response) return session ?? whole
      await nothing(whole)
      verdicts.note(caller.owner, true, false)
      return crossNewer.handle(caller, message, session)
    },
    async older(caller, message, send) {
      const response = await send()
      if (isForeign(response)) return response
      const { message: answer, whole } = await firstAnswer(response)
      if (whole.ok && codeOf(answer) === undefined) {
        verdicts.note(caller.owner, false, true)
        return whole
      }
      const begun = await beginOlder(caller, message)
      if (begun?.ok) verdicts.note(caller.owner, false, false)
      return begun ?? whole
    },
  }
}
