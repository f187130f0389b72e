// Calls to a server that is a command: its answer goes from the bridge to the socket as text, without web objects in between.
import type { ServerResponse } from 'node:http'
import { Refusal, type RefusalCode } from '../../kit/refusal.ts'
import type { Admission, AnswerHead, Outcome, Upstream } from '../../ports/call.ts'
import type { AbortListener, PlainResponse, Sink, Source } from '../../kit/plain-response.ts'

export type StdioAdmission = Admission & { readonly upstream: Extract<Upstream, { kind: 'bridge' }> }

export const isStdio = (admission: Admission): admission is StdioAdmission =>
  admission.upstream.kind === 'bridge'

export interface StdioCalls {
  /** Carries out an admitted call; `failed` hears when nothing could be answered. */
  serve(admission: StdioAdmission, response: ServerResponse, failed: (error: unknown) => void): void
  /** Ends the streams that clients hold open with GET; calls that are going finish. */
  close(): void
}

interface Carried {
  readonly admission: StdioAdmission
  readonly response: ServerResponse
  /** Whoever writes the answer, while it streams. */
  source: Source | undefined
  /** Ends the watch over its caller's access, while it streams. */
  unwatch: (() => void) | undefined
  status: number
  bytes: number
  answeredAt: number | undefined
  over: boolean
}

/** An AbortSignal is an EventTarget, and would cost as much as the rest of what is done for a call here. */
interface Leaving extends AbortListener {
  aborted: boolean
  reason: Error | undefined
  listeners: (() => void)[]
}

function throwIfAborted(this: Leaving): void {
  if (this.reason) throw this.reason
}

function addEventListener(this: Leaving, _: 'abort', leave: () => void): void {
  this.listeners.push(leave)
}

function removeEventListener(this: Leaving, _: 'abort', leave: () => void): void {
  const at = this.listeners.indexOf(leave)
  if (at !== -1) this.listeners.splice(at, 1)
}

const createLeaving = (): Leaving => ({
  aborted: false,
  reason: undefined,
  listeners: [],
  throwIfAborted,
  addEventListener,
  removeEventListener,
})

const leave = (leaving: Leaving): void => {
  leaving.aborted = true
  leaving.reason = new Error('The caller left.')
  for (const listener of leaving.listeners.splice(0)) listener()
}

const settle = (carried: Carried, result: Outcome['result'], code?: RefusalCode): void => {
  if (carried.over) return
  carried.over = true
  carried.source = undefined
  carried.unwatch?.()
  const { admission, status, bytes, answeredAt } = carried
  admission.end({
    result,
    status,
    bytesOut: bytes,
    ...(answeredAt === undefined ? {} : { answeredAt }),
    ...(code === undefined ? {} : { code }),
  })
}

const whole = (carried: Carried, { status, headers }: AnswerHead, body: string): void => {
  const { response } = carried
  if (status === 204) {
    response.writeHead(status, headers as string[])
    response.end()
  } else {
    carried.bytes = Buffer.byteLength(body)
    // As text it travels in one write with its head.
    response.writeHead(status, [...headers, 'Content-Length', String(carried.bytes)])
    response.end(body)
  }
  settle(carried, 'answered')
}

const sinkOf = (carried: Carried): Sink => {
  const { response } = carried
  return {
    write(text) {
      carried.bytes += Buffer.byteLength(text)
      return response.write(text)
    },
    end() {
      settle(carried, 'answered')
      response.end()
    },
    cut() {
      // Ended without an end: what was cut off must not look complete (RFC 9112 §8).
      settle(carried, 'failed')
      response.destroy()
    },
  }
}

/** Ends a stream between two events, as a server that goes away does; its client opens it again elsewhere. */
const conclude = (carried: Carried): void => {
  const { source, response } = carried
  if (!source) return
  settle(carried, 'answered')
  source.gone()
  response.end()
}

/** Its caller may not hear it any more. What was asked is not taken for answered. */
const dismiss = (carried: Carried): void => {
  const { source, response, admission } = carried
  if (admission.method === 'GET') return conclude(carried)
  settle(carried, 'failed', 'token.revoked')
  source?.gone()
  response.destroy()
}

const stream = (carried: Carried, { status, headers }: AnswerHead, body: (sink: Sink) => Source): void => {
  const { response, admission } = carried
  response.writeHead(status, headers as string[])
  // What the server has said already goes out with the head; where it has said nothing, the head alone tells the caller that it is heard.
  const source = body(sinkOf(carried))
  if (carried.over) return
  response.flushHeaders()
  carried.source = source
  carried.unwatch = admission.watch?.(() => dismiss(carried))
  response.on('drain', () => carried.source?.drained())
}

const deliver = (carried: Carried, head: AnswerHead, { body }: PlainResponse): void => {
  // The caller left while the head's consequences were written down.
  if (carried.over) {
    if (typeof body !== 'string')
      body({ write: () => true, end: () => undefined, cut: () => undefined }).gone()
    return
  }
  carried.status = head.status
  if (typeof body === 'string') whole(carried, head, body)
  else stream(carried, head, body)
}

export const createStdioCalls = ({ now }: { readonly now: () => number }): StdioCalls => {
  const listening = new Set<Carried>()

  const refused = (carried: Carried, failed: (error: unknown) => void, error: unknown): void => {
    if (carried.over) return
    carried.over = true
    const refusal = error instanceof Refusal ? error : undefined
    carried.admission.end({
      result: 'failed',
      status: refusal?.row.status ?? 500,
      ...(refusal ? { code: refusal.code, why: refusal.why } : {}),
      bytesOut: 0,
    })
    failed(error)
  }

  return {
    serve(admission, response, failed) {
      const { method, headers, body, json, principal, upstream } = admission
      const carried: Carried = {
        admission,
        response,
        source: undefined,
        unwatch: undefined,
        status: 0,
        bytes: 0,
        answeredAt: undefined,
        over: false,
      }
      const leaving = createLeaving()
      response.on('close', () => {
        listening.delete(carried)
        if (carried.over) return
        const { source } = carried
        settle(carried, 'aborted')
        if (source) source.gone()
        else leave(leaving)
      })
      const answer = (reply: PlainResponse): void => {
        carried.answeredAt = now()
        const go = (head: AnswerHead): void => {
          deliver(carried, head, reply)
          if (method === 'GET' && carried.source) listening.add(carried)
        }
        const head = admission.answer(reply.status, reply.headers)
        if (head instanceof Promise) head.then(go).catch((error: unknown) => refused(carried, failed, error))
        else go(head)
      }
      upstream
        .carry({ method, headers, body, json, principal, refused: admission.refused, signal: leaving })
        .then(answer)
        .catch((error: unknown) => refused(carried, failed, error))
    },
    close() {
      for (const carried of listening) conclude(carried)
      listening.clear()
    },
  }
}

// Calls to a service in this process: it speaks web standards, and its answer is poured into the response with back-pressure.

export interface LocalServices {
  /** Carries out an admitted call of kind `local`. Rejects when nothing, or not everything, could be answered. */
  serve(admission: Admission, response: ServerResponse): Promise<void>
  /** Ends the streams that clients hold open with GET; calls that are going finish. */
  close(): void
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.once('drain', done)
    response.once('close', done)
  })

export const createLocalServices = (): LocalServices => {
  const streams = new Set<ReadableStreamDefaultReader<Uint8Array>>()
  return {
    async serve(admission, response) {
      const gone = new AbortController()
      response.on('close', () => gone.abort())
      const answer = await admission.byFetch(fetch, gone.signal)
      const head: string[] = []
      for (const [name, value] of answer.headers) head.push(name, value)
      response.writeHead(answer.status, head)
      if (!answer.body) {
        response.end()
        return
      }
      response.flushHeaders()
      const reader = answer.body.getReader()
      if (admission.method === 'GET') streams.add(reader)
      try {
        for (let read = await reader.read(); !read.done && !response.destroyed; read = await reader.read())
          if (!response.write(read.value)) await drained(response)
      } finally {
        streams.delete(reader)
      }
      response.end()
    },
    close() {
      // The waiting read answers that there is no more, and the response ends as if the service had said so.
      for (const reader of streams) reader.cancel().catch(() => undefined)
    },
  }
}
