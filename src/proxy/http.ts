// Carrying an admission out with fetch: Workers, tests in process, and services that live in this process on every runtime.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, Answer, AnswerHead, Fetch, Outcome } from '../ports/calls.ts'
import { bridgeResponse } from './bridged.ts'
import { relayEvents } from './relay-events.ts'

export interface FetchDeps {
  /** For upstreams of kind `http`; a global fetch, never the guarded one: the operator configured the address. */
  readonly fetch: Fetch
  readonly now: () => number
  /** Aborts when the caller is gone. */
  readonly signal?: AbortSignal | undefined
}

const bodiless = new Set([204, 205, 304])
/** An answer of known length up to here comes in one piece: a stream of our own would cost as much again, and nobody can use half a JSON message. */
const wholeBytes = 65_536

const headersOf = (flat: readonly string[]): Headers => {
  const headers = new Headers()
  for (let i = 0; i + 1 < flat.length; i += 2) if (flat[i]?.toLowerCase() !== 'connection') headers.append(flat[i] as string, flat[i + 1] as string)
  return headers
}

export const flatOf = (headers: Headers, decoded: boolean): string[] => {
  const flat: string[] = []
  for (const [name, value] of headers) if (!decoded || (name !== 'content-encoding' && name !== 'content-length')) flat.push(name, value)
  return flat
}

const ask = ({ upstream, method, headers, identity, body, json, principal }: Omit<Admission, 'byFetch'>, deps: FetchDeps, signal: AbortSignal): Promise<Response> => {
  const init = { method, headers: headersOf([...headers, ...identity]), signal, redirect: 'manual' as const, ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }) }
  if (upstream.kind === 'bridge') return upstream.carry({ method, headers, body, json, principal, signal }).then(bridgeResponse)
  if (upstream.kind === 'local') {
    const request = new Request(upstream.url, init)
    // Its signal follows ours only while somebody holds the Request, and a service that streams for hours may hold the signal alone.
    signal.addEventListener('abort', () => void request, { once: true })
    return upstream.handle(request)
  }
  // fetch undoes a Content-Encoding behind our back, and the caller's Accept-Encoding was not about that.
  init.headers.set('accept-encoding', 'identity')
  return deps.fetch(`${upstream.origin}${upstream.path}`, init)
}

interface Relaying {
  readonly source: ReadableStream<Uint8Array>
  /** Number of bytes, where known. */
  readonly length: number
  readonly ended: (result: Outcome['result'], bytes: number) => void
  readonly leave: () => void
  /** Longest silence between two pieces, ms; absent where somebody else keeps the time. */
  readonly silentMs?: number | undefined
}

/** Waits for a piece no longer than that. A reader of ours that takes its time asks for none, so its slowness does not count. */
const inTime = async <T>(piece: Promise<T>, silentMs: number | undefined): Promise<T> => {
  if (silentMs === undefined) return piece
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Refusal('upstream.timeout', `nothing for ${silentMs} ms`)), silentMs)
  try {
    return await Promise.race([piece, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The upstream's body with an ending: whichever comes first of its last byte, its failure, and the caller's leaving. */
const relayed = ({ source, length, ended, leave, silentMs }: Relaying): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let bytes = 0
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await inTime(reader.read(), silentMs)
        if (done) {
          ended('answered', bytes)
          controller.close()
          return
        }
        bytes += value.byteLength
        controller.enqueue(value)
        if (bytes !== length) return
        ended('answered', bytes)
        controller.close()
      } catch (error) {
        // Cut off, never closed: a truncated answer must not look complete.
        ended('failed', bytes)
        controller.error(error)
        leave()
      }
    },
    async cancel(reason) {
      ended('aborted', bytes)
      leave()
      await reader.cancel(reason).catch(() => undefined)
    },
  })
}

const named = (error: Refusal, { fault }: Pick<Admission, 'fault'>): Refusal => {
  if (error.detail.say !== undefined) return error
  if (error.code === 'upstream.timeout') return fault('timeout', error.why)
  return error.code === 'upstream.unreachable' ? fault('unreachable', error.why) : error
}

/**
 * Sends an admitted call and relays the answer as it comes. Rejects with `upstream.*` when there is none; ends the admission in every case.
 */
export const forwardByFetch = async (admission: Omit<Admission, 'byFetch'>, deps: FetchDeps): Promise<Response> => {
  const left = new AbortController()
  const leave = (): void => left.abort()
  deps.signal?.addEventListener('abort', leave, { once: true })
  let over = false
  const ended = (outcome: Outcome): void => {
    if (over) return
    over = true
    deps.signal?.removeEventListener('abort', leave)
    admission.end(outcome)
  }
  let late = false
  const expire = (): void => {
    late = true
    left.abort()
  }
  // A bridge tells a slow start and a server that waits for its client from silence; it keeps the time itself.
  const silentMs = admission.upstream.kind === 'bridge' ? undefined : admission.timeoutMs
  const timer = silentMs === undefined ? undefined : setTimeout(expire, silentMs)
  try {
    if (deps.signal?.aborted) leave()
    const response = await ask(admission, deps, left.signal).catch((error: unknown) => {
      // A bridge and a line know better than the transport what went wrong; what is said of it names the server in the same words everywhere.
      if (error instanceof Refusal) throw named(error, admission)
      throw admission.fault(late ? 'timeout' : 'unreachable', error instanceof Error ? `${error.message} ${error.cause instanceof Error ? error.cause.message : ''}` : '')
    })
    clearTimeout(timer)
    const head: AnswerHead = await Promise.resolve()
      .then(() => admission.answer(response.status, flatOf(response.headers, admission.upstream.kind === 'http' && response.headers.has('content-encoding'))))
      .catch(async (error: unknown) => {
        await response.body?.cancel().catch(() => undefined)
        throw error
      })
    const answeredAt = deps.now()
    if (!response.body || bodiless.has(head.status)) {
      ended({ result: 'answered', status: head.status, bytesOut: 0, answeredAt })
      return new Response(null, { status: head.status, headers: headersOf(head.headers) })
    }
    const length = Number(fieldOf(head.headers, 'content-length') ?? Number.NaN)
    if (length <= wholeBytes && !head.events) {
      const whole = await inTime(response.arrayBuffer(), silentMs).catch((error: unknown) => {
        leave()
        throw admission.fault(error instanceof Refusal ? 'timeout' : 'answer', String(error))
      })
      ended({ result: 'answered', status: head.status, bytesOut: whole.byteLength, answeredAt })
      return new Response(whole, { status: head.status, headers: headersOf(head.headers) })
    }
    const relaying = { source: response.body, length, ended: (result: Outcome['result'], bytesOut: number) => ended({ result, status: head.status, bytesOut, answeredAt }), leave, silentMs }
    const body = head.events ? relayEvents(relaying, admission, head) : relayed(relaying)
    return new Response(body, { status: head.status, headers: headersOf(head.headers) })
  } catch (error) {
    const gone = deps.signal?.aborted === true
    const refusal = error instanceof Refusal ? error : undefined
    ended({ result: gone ? 'aborted' : 'failed', status: gone ? 0 : (refusal?.row.status ?? 500), ...(refusal && !gone ? { code: refusal.code } : {}), bytesOut: 0 })
    throw error
  } finally {
    clearTimeout(timer)
  }
}

export const answerResponse = (answer: Answer): Response => new Response(bodiless.has(answer.status) ? null : answer.body, { status: answer.status, headers: headersOf(answer.headers) })
