// One process for each person who calls in 2026-07-28, once it is known that the server speaks it (SEP-2567: the key is the authenticated principal).
import { Refusal } from '../kit/refusal.ts'
import {
  type Id,
  type Rpc,
  type DescribedMessage,
  forWriting,
  isId,
  isRecord,
  metaOf,
  paramsOf,
  describeMessage,
  statusOf,
} from '../mcp/json-rpc.ts'
import { envelopeOf, isModernServer, ownClient } from '../mcp/revisions.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import type { StdioCall } from '../ports/stdio-call.ts'
import type { PeerEvents } from './incoming-messages.ts'
import type { JsonRpcPeer } from './json-rpc-peer.ts'
import type { Pool } from './process-pool.ts'
import { type StdioResponseWriter, createResponseWriter } from '../mcp/response-writer.ts'
import { type Tools, createTools } from './tool-headers.ts'

// Which revision a server speaks, found out on a process that nothing else depends on (2026-07-28 basic/transports/stdio, backward compatibility).

export type Generation = 'modern' | 'legacy'

/** How long a server may leave `server/discover` alone before it is asked something that every older one answers. */
const patienceMs = 2000

export interface ProbeOptions {
  readonly about: { readonly version: string }
  /** Longest wait for the process to say anything, milliseconds. */
  readonly startMs: number
}

/**
 * Asks. Resolves to the generation; the channel may be used on when it is `modern`. An end of the process is a legacy server too: some end on
 * any request before `initialize`. Rejects when it cannot be started, or says nothing at all in time.
 */
export const probe = (channel: JsonRpcPeer, { about, startMs }: ProbeOptions): Promise<Generation> =>
  new Promise((resolve, reject) => {
    const timers: ReturnType<typeof setTimeout>[] = []
    const done = (settle: () => void): void => {
      for (const timer of timers) clearTimeout(timer)
      settle()
    }
    const ended = (refusal: Refusal): void =>
      done(() => (channel.end()?.kind === 'exit' ? resolve('legacy') : reject(refusal)))
    const meta = { _meta: envelopeOf(ownClient(about)) }
    try {
      channel.call(describeMessage({ jsonrpc: '2.0', id: 0, method: 'server/discover', params: meta }), {
        answer: (_, message) => done(() => resolve(isModernServer(message) ? 'modern' : 'legacy')),
        progress: () => undefined,
        failed: ended,
        patient: true,
      })
    } catch (error) {
      reject(error as Error)
      return
    }
    // A server may start slowly, and an older one may leave unknown requests alone: `ping`, legal at any time, tells the two apart.
    timers.push(
      setTimeout(() => {
        if (channel.end()) return
        const alive = (): void => done(() => resolve('legacy'))
        channel.call(describeMessage({ jsonrpc: '2.0', id: 0, method: 'ping' }), {
          answer: () => void timers.push(setTimeout(alive, 500)),
          progress: () => undefined,
          failed: () => undefined,
          patient: true,
        })
      }, patienceMs),
      setTimeout(
        () =>
          done(() =>
            reject(
              new Refusal('upstream.timeout', `said nothing after its start${channel.process.complaint()}`),
            ),
          ),
        startMs,
      ),
    )
  })

// The process that serves one person's calls of 2026-07-28: any number at once, each with its own way back.

const subscriptionId = 'io.modelcontextprotocol/subscriptionId'
const logLevel = 'io.modelcontextprotocol/logLevel'

interface Going {
  readonly clientId: Id
  readonly outlet: StdioResponseWriter
  /** `subscriptions/listen`. */
  readonly listens: boolean
  /** It has waited for a whole interval of comments. */
  late: boolean
}

export interface PersonProcess {
  readonly events: PeerEvents
  /** Carries one request. */
  request(said: DescribedMessage, call: Pick<StdioCall, 'signal' | 'refused'>): Promise<PlainResponse>
  comment(): void
  /** Calls without an answer; subscriptions, which have none to wait for, are not counted. */
  readonly calls: number
  /** Ends the subscriptions in order: with a result, as the server itself would. */
  close(): void
}

export interface PersonProcessOptions {
  readonly channel: () => JsonRpcPeer
  /** One slow reader may make the server wait: everybody behind it is the same person. */
  readonly alone: boolean
  readonly stray: (what: string) => void
}

/** Calls that are going, by our ids. */
interface Desk extends PersonProcessOptions {
  readonly going: Map<number, Going>
  /** The one call whose log messages are let through: on this transport nothing tells whose a message is (server/utilities/logging). */
  logging: number | undefined
}

const withSubscription = (holder: Rpc, id: Id): Rpc => ({
  ...holder,
  _meta: { ...(isRecord(holder['_meta']) ? holder['_meta'] : {}), [subscriptionId]: id },
})

const forget = (desk: Desk, id: number): void => {
  desk.going.delete(id)
  if (desk.logging === id) desk.logging = undefined
}

const finish = (outlet: StdioResponseWriter, text: string, status: number): void => {
  if (outlet.state === 'waiting') outlet.json(text, status)
  else {
    outlet.event(text)
    outlet.end()
  }
}

const subscription = ({ going }: Desk, id: unknown): Going | undefined => {
  const found = typeof id === 'number' ? going.get(id) : undefined
  return found?.listens ? found : undefined
}

const told = (desk: Desk, message: Rpc, text: string): void => {
  const { channel, stray, going, logging } = desk
  const id = metaOf(message)[subscriptionId]
  if (id !== undefined) {
    const found = subscription(desk, id)
    if (!found) return stray('a notification of no subscription')
    const whole = forWriting(text, message)
    found.outlet.event(
      JSON.stringify({ ...whole, params: withSubscription(paramsOf(whole), found.clientId) }),
    )
  } else if (message['method'] === 'notifications/message' && logging !== undefined)
    going.get(logging)?.outlet.event(text)
  else if (message['method'] === 'notifications/cancelled') {
    // The server has torn a subscription down; it cancels nothing else (basic/patterns/cancellation).
    const requestId = paramsOf(message)['requestId'] as number
    const found = subscription(desk, requestId)
    if (!found) return
    forget(desk, requestId)
    channel().cancel(requestId, 'ended by the server')
    found.outlet.end()
  } else stray('a notification of no call')
}

/** A server may leave log messages out, and must not send them to another call; so while one call is told of them, a second asks for none. */
const quieted = ({ logging }: Desk, said: DescribedMessage): DescribedMessage => {
  if (logging === undefined || !(logLevel in metaOf(said.message))) return said
  const whole = forWriting(said.text, said.message)
  const { [logLevel]: _level, ...meta } = metaOf(whole)
  return describeMessage({ ...whole, params: { ...paramsOf(whole), _meta: meta } })
}

const request = (
  desk: Desk,
  said: DescribedMessage,
  { signal, refused }: Pick<StdioCall, 'signal' | 'refused'>,
): Promise<PlainResponse> => {
  const { channel, alone, going } = desk
  const { message } = said
  const clientId = message['id'] as Id
  const listens = message['method'] === 'subscriptions/listen'
  const state = { id: 0 }
  const outlet: StdioResponseWriter = createResponseWriter(
    {
      // Closing the stream is the cancellation (streamable-http, cancellation); this transport has a message for it.
      gone() {
        channel().cancel(state.id, 'the client closed the stream')
        forget(desk, state.id)
      },
      slow: () => alone && channel().hold(outlet),
      caughtUp: () => alone && channel().release(outlet),
    },
    signal,
  )
  const sent = quieted(desk, said)
  state.id = channel().call(sent, {
    patient: listens,
    progress: (text) => outlet.event(text),
    answer(text, answer) {
      forget(desk, state.id)
      const { result } = answer
      finish(
        outlet,
        listens && isRecord(result)
          ? JSON.stringify({ ...answer, id: clientId, result: withSubscription(result, clientId) })
          : text,
        statusOf(answer),
      )
    },
    failed(refusal: Refusal) {
      forget(desk, state.id)
      if (outlet.state === 'waiting') outlet.refuse(refusal)
      // A subscription whose server is gone just ends, without a result (basic/patterns/subscriptions, graceful closure).
      else if (listens) outlet.end()
      else finish(outlet, refused(refusal, clientId), 200)
    },
  })
  going.set(state.id, { clientId, outlet, listens, late: false })
  if (isId(metaOf(sent.message)[logLevel])) desk.logging = state.id
  return outlet.reply
}

export const createPersonProcess = (options: PersonProcessOptions): PersonProcess => {
  const desk: Desk = { ...options, going: new Map(), logging: undefined }
  const { going, channel, stray } = desk
  return {
    request: (said, call) => request(desk, said, call),
    events: {
      notification: (message, text) => told(desk, message, text),
      // This revision has no requests of servers; an older habit is answered, so that the server does not wait for ever.
      request(message) {
        stray('a request of the server')
        channel().send(
          describeMessage({
            jsonrpc: '2.0',
            id: message['id'],
            error: { code: -32601, message: 'Method not found' },
          }),
        )
      },
      ended: () => undefined,
    },
    get calls() {
      return [...going.values()].filter(({ listens }) => !listens).length
    },
    comment() {
      for (const call of going.values()) {
        // What stands between client and gateway is to see a sign of life: the answer becomes a stream.
        if (call.late) call.outlet.open()
        call.late = true
        call.outlet.comment()
      }
    },
    close() {
      for (const [id, { listens, clientId, outlet }] of going) {
        if (!listens) continue
        forget(desk, id)
        channel().cancel(id, 'the server is put to sleep')
        finish(
          outlet,
          JSON.stringify({
            jsonrpc: '2.0',
            id: clientId,
            result: withSubscription({ resultType: 'complete' }, clientId),
          }),
          200,
        )
      }
    },
  }
}

/** A server once found to be of before may have been replaced since: it is asked again. */
const legacyMs = 600_000
/** Whoever waits for a process leaves its making to those who come later. */
const never = new AbortController().signal

export interface PersonCalls {
  readonly personal: PersonProcess
  readonly tools: Tools
  readonly channel: JsonRpcPeer
  /** The process is what it was asked to be, and lives on. */
  settle(): void
}

export interface PersonProcessesOptions {
  readonly pool: Pool
  readonly now: () => number
  readonly about: { readonly version: string }
  /** Longest wait for a process to say anything, milliseconds. */
  readonly startMs: number
  readonly shared: boolean
  readonly stray: (what: string) => void
}

export interface PersonProcesses {
  /** This owner's process, begun when there is none. Rejects with `mcp.legacy` when the server speaks older revisions only, and as `Pool.start` does. */
  of(owner: string): Promise<PersonCalls>
  readonly settled: Iterable<PersonCalls>
  /** Whether this owner's process runs, and has answered. */
  ready(owner: string): boolean
}

type Make = (owner: string, probing: boolean, forget: (home: PersonCalls) => void) => Promise<PersonCalls>

const createMake =
  ({ pool, now, about, shared, stray }: PersonProcessesOptions): Make =>
  async (owner, probing, forget) => {
    const home: { channel?: JsonRpcPeer; whole?: PersonCalls; probing: boolean } = { probing }
    const own = (): JsonRpcPeer => home.channel as JsonRpcPeer
    const personal = createPersonProcess({ channel: own, alone: !shared, stray })
    const over = (): void => {
      if (home.whole) forget(home.whole)
    }
    const channel = await pool.start(
      owner,
      {
        ...personal.events,
        idle: () => (home.channel?.pending() === 0 ? now() - home.channel.usedAt() : 0),
        busy: () => personal.calls > 0,
        leave() {
          over()
          personal.close()
          home.channel?.stop()
        },
        ended: over,
        probing: () => home.probing,
      },
      never,
    )
    home.channel = channel
    home.whole = {
      personal,
      channel,
      tools: createTools({ channel: own, now, meta: envelopeOf(ownClient(about)) }),
      settle: () => void (home.probing = false),
    }
    return home.whole
  }

/** What the process is; a modern one goes on living, another is ended. */
const ask = async (
  home: PersonCalls,
  options: PersonProcessesOptions,
): Promise<{ readonly generation: Generation; readonly home: PersonCalls | undefined }> => {
  const generation = await probe(home.channel, options).catch((error: unknown) => {
    home.channel.stop()
    throw error
  })
  if (generation === 'modern') home.settle()
  else home.channel.stop()
  return { generation, home: generation === 'modern' ? home : undefined }
}

export const createPersonProcesses = (options: PersonProcessesOptions): PersonProcesses => {
  const { now } = options
  const make = createMake(options)
  const homes = new Map<string, Promise<PersonCalls>>()
  const settled = new Map<string, PersonCalls>()
  let verdict: { readonly generation: Generation; readonly until: number } | undefined
  /** The process that is being asked; everybody else waits for what it says. */
  const asking: { now?: Promise<unknown> } = {}

  const begin = (owner: string, probing: boolean): Promise<PersonCalls> =>
    make(owner, probing, (home) => {
      if (settled.get(owner) !== home) return
      settled.delete(owner)
      homes.delete(owner)
    })

  const enter = async (owner: string): Promise<PersonCalls> => {
    while (asking.now) await asking.now.catch(() => undefined)
    if (!verdict || now() >= verdict.until) {
      const asked = begin(owner, true).then((home) => ask(home, options))
      asking.now = asked
      const { generation, home } = await asked.finally(() => delete asking.now)
      verdict = { generation, until: generation === 'legacy' ? now() + legacyMs : Number.POSITIVE_INFINITY }
      if (home) return home
    }
    if (verdict?.generation === 'legacy')
      throw new Refusal('mcp.legacy', 'server speaks a legacy revision only')
    return begin(owner, false)
  }

  return {
    of(owner) {
      const known = homes.get(owner)
      if (known) return known
      const made = enter(owner)
      homes.set(owner, made)
      made.then(
        (home) => {
          // It may have ended between its first word and this moment.
          if (home.channel.end()) homes.delete(owner)
          else settled.set(owner, home)
        },
        () => homes.delete(owner),
      )
      return made
    },
    ready: (owner) => settled.has(owner),
    settled: { [Symbol.iterator]: () => settled.values() },
  }
}
