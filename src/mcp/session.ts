// One session of a client of 2025 or before: calls, notifications and answers of the client one way, everything
// the server says the other, and the event streams that carry it.
import type { AbortListener, PlainResponse } from '../kit/plain-response.ts'
import { type ReportRefused, Refusal } from '../kit/refusal.ts'
import type { PeerEvents, SessionPeer } from './json-rpc-peer.ts'
import type { DescribedMessage, Id, Rpc } from './json-rpc.ts'
import { createCallsInFlight, isId, keyOf, kindOf, paramsOf } from './json-rpc.ts'
import { type ResponseWriter, createResponseWriter } from './response-writer.ts'
import { offeredVersion } from './revisions.ts'

/** What a request of Streamable HTTP carries, as far as the messages in it need to know. */
export interface Posted {
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  /** Aborts when the caller leaves. */
  readonly signal: AbortListener
  /** How the caller is told that there will be no answer. */
  readonly refused: ReportRefused
}

// The event streams of a session and what was said on each: a stream outlives the connection it is read on, so
// that a client that lost it can take up where it was (2025-11-25 transports, resumability).

/** How long a client waits before it takes up a stream again, milliseconds. */
const retryMs = 500
const mostStreams = 256
/** Events kept for clients that take a stream up again. */
const mostEvents = 2000
const mostEventCharacters = 8_388_608
/** Messages kept for a client that has no stream open. */
const mostWaiting = 256
const mostWaitingCharacters = 1_048_576
/** A call of a client of a revision before 2025-11-25 that takes longer than this is answered as a stream. */
const lateMs = 5000

/** Keeps at most so many, and so many characters of them; the oldest go first. */
const createQueue = <Item extends { readonly data: string }>(most: number, mostCharacters: number) => {
  const items: Item[] = []
  let size = 0
  return {
    items,
    add(item: Item): void {
      items.push(item)
      size += item.data.length
      while (items.length > most || (size > mostCharacters && items.length > 1))
        size -= items.shift()?.data.length ?? 0
    },
    take(): readonly Item[] {
      size = 0
      return items.splice(0)
    },
  }
}

const createEventStore = () => {
  const events = createQueue<{ readonly id: string; readonly data: string }>(mostEvents, mostEventCharacters)
  let count = 0
  return {
    /** Keeps one event of a stream and gives it its id: unique in the session, and naming the stream. */
    add(stream: number, data: string): string {
      const id = `${stream}-${++count}`
      events.add({ id, data })
      return id
    },
    /**
     * The stream of an event, and what it said after that event as far as it is kept; undefined for an id that
     * was never given out.
     */
    after(id: string) {
      const [, stream = '', at = ''] = /^(\d{1,15})-(\d{1,15})$/.exec(id) ?? []
      const [number, from] = [Number(stream), Number(at)]
      if (from < 1 || from > count) return undefined
      const later = events.items.slice(Math.max(0, events.items.length - (count - from)))
      return {
        number,
        events: later.filter((event) => event.id.startsWith(`${number}-`) && event.data !== ''),
      }
    },
  }
}

interface Stream {
  readonly number: number
  /** Of a GET: carries what belongs to no call. */
  readonly standing: boolean
  /** Epoch ms. */
  waitsSince: number
  /** The connection that reads it, if one does. */
  output: ResponseWriter | undefined
  attachedAt: number
  over: boolean
}

export interface SessionOptions {
  readonly now: () => number
  /** The server behind the session. */
  readonly peer: () => SessionPeer
  /** Clients that can take a stream up again get one for every call, not only for those that take a while. */
  readonly atOnce: boolean
  readonly unexpected: (what: string) => void
}

interface StreamOptions extends SessionOptions {
  /** Undefined before the answer to `initialize`, which is no stream. */
  readonly version: () => string | undefined
}

/**
 * Whether clients of this session know events that carry an id alone: from 2025-11-25 on, a stream begins with
 * one.
 */
const primes = ({ version }: StreamOptions): boolean => (version() ?? '') >= offeredVersion

/** Reads the stream on this connection from now on; one that read it before ends. */
const attach = ({ now, peer }: StreamOptions, stream: Stream, signal: AbortListener): ResponseWriter => {
  const output: ResponseWriter = createResponseWriter(
    {
      // Leaving is no cancellation: the stream goes on, and may be taken up again (2025-11-25 transports).
      gone() {
        if (stream.output === output) stream.output = undefined
      },
      // The server behind waits while this reader is slow.
      slow: () => peer().hold(output),
      caughtUp: () => peer().release(output),
    },
    signal,
  )
  stream.output?.end()
  stream.output = output
  stream.attachedAt = now()
  return output
}

const createStreamSet = (options: StreamOptions) => {
  const store = createEventStore()
  const streams = new Map<number, Stream>()
  let numbers = 0

  const create = (standing: boolean): Stream => {
    // Streams that are over, or that nobody reads, are forgotten when there are many.
    for (const [number, stream] of streams) {
      if (streams.size <= mostStreams) break
      if (stream.over || (stream.standing && stream.output === undefined)) streams.delete(number)
    }
    const number = ++numbers
    const stream = {
      number,
      standing,
      waitsSince: options.now(),
      output: undefined,
      attachedAt: 0,
      over: false,
    }
    streams.set(number, stream)
    return stream
  }
  /** Begins the event stream, unless an answer has begun. */
  const open = ({ number, output }: Stream): void => {
    if (output?.state !== 'waiting') return
    output.open()
    if (primes(options)) output.event('', { id: store.add(number, ''), retryMs })
  }
  return {
    streams,
    create,
    open,
    write(stream: Stream, data: string): void {
      open(stream)
      const id = store.add(stream.number, data)
      stream.output?.event(data, { id })
    },
    finish(stream: Stream): void {
      stream.over = true
      stream.output?.end()
      stream.output = undefined
    },
    /** The newest of its kind that somebody reads. */
    newest: (standing: boolean): Stream | undefined =>
      [...streams.values()].findLast(
        (stream) => stream.standing === standing && !stream.over && stream.output !== undefined,
      ),
    /** The stream behind an event id, new when it is forgotten already, and what it said after that event. */
    behind(lastEventId: string) {
      const found = store.after(lastEventId)
      return found && { stream: streams.get(found.number) ?? create(true), events: found.events }
    },
  }
}

type StreamSet = ReturnType<typeof createStreamSet>

type StreamOutput = ReturnType<typeof createOutput>

/** Where the answer to one call goes, and what is said before it. */
const createOutput = (set: StreamSet, signal: AbortListener, options: StreamOptions) => {
  const stream = set.create(false)
  const { reply } = attach(options, stream, signal)
  if (options.atOnce && primes(options)) set.open(stream)
  return {
    reply,
    /**
     * No stream is opened for the call before its message has been taken: until then it may be refused as a
     * whole.
     */
    delay(taken: Promise<void>): void {
      stream.waitsSince = Number.POSITIVE_INFINITY
      taken.then(
        () => (stream.waitsSince = options.now()),
        () => undefined,
      )
    },
    /** A message that belongs to the call, before its answer. */
    tell: (data: string): void => set.write(stream, data),
    /** The last message. */
    answer(data: string, status?: number, headers?: readonly string[]): void {
      if (stream.over) return
      if (stream.output?.state === 'waiting') {
        stream.output.answer(data, status, headers)
        // Complete in one piece: there is nothing to take up again.
        set.streams.delete(stream.number)
      } else set.write(stream, data)
      set.finish(stream)
    },
    /** Nothing was left to answer. */
    end: (): void => set.finish(stream),
    /** `text`: what is said on a stream that has begun. */
    fail(refusal: Refusal, text: () => string): void {
      if (stream.over) return
      if (stream.output?.state === 'waiting') stream.output.fail(refusal)
      else set.write(stream, text())
      set.finish(stream)
    },
  }
}

/** On which stream of a session a message goes: exactly one (2025-11-25 transports, multiple connections). */
const createStreams = (options: StreamOptions) => {
  const { now, version } = options
  const set = createStreamSet(options)
  const { streams } = set
  const backlog = createQueue<{ readonly data: string }>(mostWaiting, mostWaitingCharacters)
  /**
   * Clients of revisions before 2025-11-25 know no streams that are taken up again; theirs is opened so that
   * what stands between sees a sign of life.
   */
  const opens = (waitedMs: number, graceMs: number): boolean =>
    primes(options) ? waitedMs >= graceMs : version() !== undefined && waitedMs >= Math.max(graceMs, lateMs)
  return {
    output: (signal: AbortListener) => createOutput(set, signal, options),
    /**
     * A GET: a new standing stream, or the one that `lastEventId` belongs to, from there. Undefined for an id
     * that was never given out.
     */
    listen(signal: AbortListener, lastEventId: string | undefined): Promise<PlainResponse> | undefined {
      const behind =
        lastEventId === undefined ? { stream: set.create(true), events: [] } : set.behind(lastEventId)
      if (!behind) return undefined
      const { stream, events } = behind
      const output = attach(options, stream, signal)
      output.open()
      for (const { id, data } of events) output.event(data, { id })
      if (stream.over) set.finish(stream)
      else if (stream.standing) for (const { data } of backlog.take()) set.write(stream, data)
      return output.reply
    },
    /**
     * A message of the server's own accord: with the calls first (`related`), or on a standing stream first.
     */
    tell(data: string, related: boolean): void {
      const stream = set.newest(!related) ?? set.newest(related)
      if (stream) set.write(stream, data)
      else backlog.add({ data })
    },
    /**
     * Opens streams for calls that take longer than `graceMs`, comments on idle ones, and lets go of those
     * held longer than `holdMs` (0: never).
     */
    tick(graceMs: number, holdMs: number, comment: boolean): void {
      const held = (stream: Stream): boolean =>
        holdMs > 0 && primes(options) && !stream.standing && now() - stream.attachedAt >= holdMs
      for (const stream of streams.values()) {
        const { output } = stream
        if (output?.state === 'waiting' && opens(now() - stream.waitsSince, graceMs)) set.open(stream)
        else if (output?.state === 'streaming' && held(stream)) {
          output.end()
          stream.output = undefined
        } else if (comment) output?.comment()
      }
    },
    /** Whether anybody reads one. */
    connected: (): boolean => [...streams.values()].some((stream) => stream.output !== undefined),
    close(): void {
      for (const stream of streams.values()) {
        stream.output?.fail(new Refusal('session.unknown', 'the session ended before the answer'))
        set.finish(stream)
      }
    },
  }
}

// The requests of one session that have no answer yet: each is answered where it was posted, and cancelled by
// the client's own id.

/** Takes the answer to one call, or that there will be none. */
type Finish = (text: string | undefined) => void

/** How one request was posted: where its answer goes, and whom it shares that with. */
interface Sent extends Pick<Posted, 'headers' | 'refused'> {
  readonly output: StreamOutput
  readonly finish: Finish
  readonly batch: boolean
}

/**
 * One answer for what was posted together. The answers of a batch go together, once all are there (2025-03-26
 * transports).
 */
const gather = (output: StreamOutput, batch: boolean, count: number): Finish => {
  const answers: string[] = []
  let open = count
  return (text) => {
    open--
    if (text !== undefined) answers.push(text)
    if (open > 0) return
    if (answers.length === 0) output.end()
    else output.answer(batch ? `[${answers.join(',')}]` : (answers[0] as string))
  }
}

const createSessionCalls = (peer: () => SessionPeer) => {
  const inFlight = createCallsInFlight<string, { id: number; readonly finish: Finish }>()
  return {
    /** Sends one request; `finish` as `gather` made it. */
    call(said: DescribedMessage, { output, finish, batch, refused, headers }: Sent): void {
      const clientId = said.message['id'] as Id
      const key = keyOf(clientId)
      const call = { id: 0, finish }
      const forget = (): void => {
        if (inFlight.get(key) === call) inFlight.delete(key)
      }
      const failed = (refusal: Refusal): void => {
        forget()
        if (batch) finish(refused(refusal, clientId))
        else output.fail(refusal, () => refused(refusal, clientId))
      }
      const answer = (text: string): void => {
        forget()
        finish(text)
      }
      // Clients post calls at once under one id. Each is answered where it was posted, since ids towards the
      // server are the gateway's own; a cancellation means the newest of them.
      inFlight.set(key, call)
      try {
        call.id = peer().call(said, { answer, progress: output.tell, failed, sending: output.delay }, headers)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        failed(error)
      }
    },
    /**
     * The client waits no longer; servers do not answer a cancelled call, so nothing of it is left
     * (basic/utilities/cancellation).
     */
    cancel(notification: Rpc): void {
      const { requestId, reason } = paramsOf(notification)
      const key = keyOf(requestId)
      const found = inFlight.get(key)
      if (!found) return
      inFlight.delete(key)
      peer().cancel(found.id, typeof reason === 'string' ? reason : 'cancelled by the client')
      found.finish(undefined)
    },
  }
}

const accepted: PlainResponse = { status: 202, headers: [], body: '' }
/** Requests of the server that wait for the client at once. */
const mostAsked = 256

export interface Session extends PeerEvents {
  /** Filled in by the answer to `initialize`. */
  version: string | undefined
  readonly streams: ReturnType<typeof createStreams>
  /** One message, or the elements of a batch, that a client posted. Rejects with `Refusal`. */
  post(messages: readonly DescribedMessage[], batch: boolean, posted: Posted): Promise<PlainResponse>
  /** The ids of requests of the server that the client has not answered. */
  readonly asked: ReadonlySet<string>
  /** Epoch ms of the last request of the client. */
  touchedAt: number
}

/** What the server asks of the client, as far as it is not answered. */
const createAsked = ({ peer, unexpected }: SessionOptions, streams: Session['streams']) => {
  const asked = new Set<string>()
  return {
    asked,
    request(message: Rpc, text: string): void {
      if (asked.size < mostAsked) {
        asked.add(keyOf(message['id']))
        streams.tell(text, true)
        return
      }
      const error = { code: 1429, message: 'Too many requests are waiting for the client.' }
      peer().tell({ jsonrpc: '2.0', id: message['id'], error })
    },
    /** The client's answer; one to no request is dropped. */
    answer(said: DescribedMessage, headers: readonly string[]): void | Promise<void> {
      if (asked.delete(keyOf(said.message['id']))) return peer().send(said, headers)
      unexpected('an answer of the client to no question')
    },
  }
}

export const createSession = (options: SessionOptions): Session => {
  const { now, peer } = options
  const calls = createSessionCalls(peer)
  const streams = createStreams({ ...options, version: () => session.version })
  const { asked, request, answer } = createAsked(options, streams)

  const take = (said: DescribedMessage, headers: readonly string[]): void | Promise<void> => {
    if (said.message['method'] === 'notifications/cancelled') return calls.cancel(said.message)
    return kindOf(said.message) === 'response' ? answer(said, headers) : peer().send(said, headers)
  }

  const session: Session = {
    version: undefined,
    touchedAt: now(),
    streams,
    asked,
    request,
    notification(message, text) {
      const [{ method }, { requestId }] = [message, paramsOf(message)]
      if (method === 'notifications/cancelled' && isId(requestId)) asked.delete(keyOf(requestId))
      streams.tell(text, method === 'notifications/message' || method === 'notifications/cancelled')
    },
    ended: streams.close,
    post(messages, batch, { headers, signal, refused }) {
      session.touchedAt = now()
      const count = messages.filter(({ message }) => kindOf(message) === 'request').length
      const output = count === 0 ? undefined : streams.output(signal)
      const sent = output && { output, finish: gather(output, batch, count), batch, headers, refused }
      const taken: Promise<void>[] = []
      for (const said of messages) {
        const one = sent && kindOf(said.message) === 'request' ? calls.call(said, sent) : take(said, headers)
        if (one) taken.push(one)
      }
      const all = taken.length === 0 ? undefined : Promise.all(taken)
      if (!output) return all ? all.then(() => accepted) : Promise.resolve(accepted)
      all?.catch(() => undefined)
      return output.reply
    },
  }
  return session
}
