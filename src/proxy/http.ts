// Carrying an admission out with fetch: Workers, tests in process, and services that live in this process on every runtime.
import { fieldOf, readBounded } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, Admit, Answer, AnswerHead, Fetch, Head, Outcome, Refuse } from '../ports/calls.ts'
import type { Visit } from '../ports/runtime.ts'
import { bridgeResponse } from './bridged.ts'

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

const flatOf = (headers: Headers, decoded: boolean): string[] => {
  const flat: string[] = []
  for (const [name, value] of headers) if (!decoded || (name !== 'content-encoding' && name !== 'content-length')) flat.push(name, value)
  return flat
}

const ask = ({ upstream, method, headers, identity, body, principal }: Omit<Admission, 'byFetch'>, deps: FetchDeps, signal: AbortSignal): Promise<Response> => {
  const init = { method, headers: headersOf([...headers, ...identity]), signal, redirect: 'manual' as const, ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }) }
  if (upstream.kind === 'bridge') return upstream.carry({ method, headers, body, principal, signal }).then(bridgeResponse)
  if (upstream.kind === 'local') return upstream.handle(new Request(upstream.url, init))
  // fetch undoes a Content-Encoding behind our back, and the caller's Accept-Encoding was not about that.
  init.headers.set('accept-encoding', 'identity')
  return deps.fetch(`${upstream.origin}${upstream.path}`, init)
}

/** The upstream's body with an ending: whichever comes first of its last byte (`length` says which, where known), its failure, and the caller's leaving. */
const relayed = (source: ReadableStream<Uint8Array>, length: number, ended: (result: Outcome['result'], bytes: number) => void, leave: () => void): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let bytes = 0
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
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
      }
    },
    async cancel(reason) {
      ended('aborted', bytes)
      leave()
      await reader.cancel(reason).catch(() => undefined)
    },
  })
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
  const timer = setTimeout(() => {
    late = true
    left.abort()
  }, admission.timeoutMs)
  try {
    if (deps.signal?.aborted) leave()
    const response = await ask(admission, deps, left.signal).catch((error: unknown) => {
      // A bridge knows better than the transport what went wrong.
      if (error instanceof Refusal) throw error
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
      const whole = await response.arrayBuffer().catch((error: unknown) => {
        throw admission.fault('answer', String(error))
      })
      ended({ result: 'answered', status: head.status, bytesOut: whole.byteLength, answeredAt })
      return new Response(whole, { status: head.status, headers: headersOf(head.headers) })
    }
    const body = relayed(response.body, length, (result, bytesOut) => ended({ result, status: head.status, bytesOut, answeredAt }), leave)
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

export interface FetchProxyDeps {
  readonly admit: Admit
  readonly refuse: Refuse
  readonly fetch: Fetch
}

/** What follows a try that failed: another one, an answer, or its error. */
const another =
  (admitted: Admission) =>
  async (error: unknown): Promise<{ readonly next: Admission | Answer }> => {
    const again = admitted.again()
    if (again) return { next: await again }
    throw error
  }

/** At one go where the length is said and fits: HTTP holds the caller to it. */
const readBody = async (request: Request, max: number): Promise<Uint8Array> => {
  if (!(Number(request.headers.get('content-length') ?? Number.NaN) <= max)) return readBounded(request.body, max)
  const whole = new Uint8Array(await request.arrayBuffer())
  if (whole.byteLength > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
  return whole
}

/** The whole proxied call as web standards. `rawTarget`: path and query as sent, where the runtime still has them. Never rejects. */
export const createFetchProxy =
  ({ admit, refuse, fetch }: FetchProxyDeps) =>
  async (request: Request, visit: Visit, rawTarget?: string): Promise<Response> => {
    const url = new URL(request.url)
    const rawHeaders = flatOf(request.headers, false)
    const head: Head = {
      method: request.method,
      target: rawTarget ?? `${url.pathname}${url.search}`,
      host: request.headers.get('host') ?? url.host,
      rawHeaders,
      ip: visit.ip,
      requestId: visit.requestId,
    }
    let rpcId: Admission['rpcId'] = null
    try {
      for (let admitted = await admit(head, (max) => readBody(request, max)); ; ) {
        if (admitted.kind === 'answer') return answerResponse(admitted)
        rpcId = admitted.rpcId
        const tried: Response | { readonly next: Admission | Answer } = await admitted.byFetch(fetch, request.signal).catch(another(admitted))
        if (tried instanceof Response) return tried
        admitted = tried.next
      }
    } catch (error) {
      return answerResponse(refuse(error, { rawHeaders, requestId: visit.requestId, rpcId }))
    }
  }
