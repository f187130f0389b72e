// Clients of 2026-07-28 in front of a server of 2025 and before: no handshake and no session on their side, both on the server's.
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import { metaKeys } from '../../mcp/envelope.ts'
import { paramHeaderRefusal, mismatchOf, paramHeaders } from '../../mcp/headers.ts'
import { type Id, type Rpc, isRecord, kindOf, metaOf, paramsOf } from '../../mcp/json-rpc.ts'
import { askedVersion, ownClient } from '../../mcp/revisions.ts'
import { bridgedClient, bridgedServer, mayAsk, modernResult, unaskedClient } from '../../mcp/translate.ts'
import type { Runtime } from '../../ports/runtime.ts'
import { canonicalRequest } from '../upstream-credential.ts'
import {
  type Caller,
  type RevisionReply,
  type SendNotification,
  asRefusal,
  createRevisionReply,
} from './exchange.ts'
import {
  type UpstreamSession,
  type UpstreamSessions,
  createUpstreamSessions,
} from './legacy-sessions-upstream.ts'
import { type ModernCall, createModernCall } from './modern-call.ts'
import { createSubscriptions } from './subscriptions.ts'

// Calls that wait for the client's next try (2026-07-28 multi-round-trip requests). The state that a try shows is a name that nobody guesses, and good for the very person,
// client and request alone, once.

export interface PendingInputRequests {
  /** A new state for this call; undefined where the caller has too many that wait. `give` is asked for the call when the next try comes. */
  hold(owner: string, request: string, call: () => ModernCall): string | undefined
  /** The call of that state. Throws `mcp.request-state` for one that is not of this caller and request, or too old. */
  take(state: string, owner: string, message: Rpc): Promise<ModernCall>
}

const prefix = 'postern-call.'
const lifetimeMs = 15 * 60_000
const mostEach = 16
const mostAll = 1000

export const isInputRequestState = (state: unknown): state is string =>
  typeof state === 'string' && state.startsWith(prefix)

/** One text for one request, whatever round of it. */
export const requestOf = (digest: Runtime['digest'], message: Rpc): string =>
  digest(canonicalRequest(message))

interface Held {
  readonly owner: string
  readonly request: string
  readonly call: () => ModernCall
  readonly late: ReturnType<typeof setTimeout>
}

export const createPendingInputRequests = ({
  random,
  digest,
}: Pick<Runtime, 'random' | 'digest'>): PendingInputRequests => {
  const held = new Map<string, Held>()
  return {
    hold(owner, request, call) {
      const own = [...held.values()].filter((one) => one.owner === owner).length
      if (own >= mostEach || held.size >= mostAll) return undefined
      const state = prefix + encodeBase64url(random(32))
      const late = setTimeout(() => {
        held.delete(state)
        call().cancel()
      }, lifetimeMs)
      held.set(state, { owner, request, call, late })
      return state
    },
    async take(state, owner, message) {
      const found = held.get(state)
      const request = requestOf(digest, message)
      if (!found || found.owner !== owner || found.request !== request)
        throw new Refusal('mcp.request-state', found ? 'of another caller or request' : 'not waiting here', {
          rpcId: message['id'] as Id,
        })
      held.delete(state)
      clearTimeout(found.late)
      return found.call()
    },
  }
}

export const givenState = (message: Rpc): unknown => paramsOf(message)['requestState']

// Calls of clients of 2026-07-28 in their session at a server of before: begun, begun again where the server has forgotten the session, and taken up at the client's next try.

export interface ModernDispatchDeps {
  readonly tell: SendNotification
  readonly sessions: UpstreamSessions
  readonly service: string
  readonly random: Runtime['random']
  readonly digest: Runtime['digest']
  readonly keepAliveMs: number
  readonly lasting: boolean
  /** The session of such a call. */
  readonly begin: (caller: Caller, message: Rpc) => Promise<UpstreamSession | Response | undefined>
}

export interface ModernDispatch {
  call(caller: Caller, session: UpstreamSession, message: Rpc): Promise<Response>
  /** The client's next try of a call that waits here under that state. Throws `mcp.request-state`. */
  resume(caller: Caller, message: Rpc, state: string): Promise<Response>
}

/** What a call needs on its way, whichever session it is in. */
interface Journey {
  readonly caller: Caller
  readonly message: Rpc
  readonly reply: RevisionReply
  /** The call as it is now, for whoever ends it. */
  call: ModernCall | undefined
}

type Attempt = (journey: Journey, session: UpstreamSession) => Promise<'lost' | undefined>

const createAttempt = (
  { tell, sessions, service, random, digest, lasting }: ModernDispatchDeps,
  held: PendingInputRequests,
): Attempt => {
  /** Calls of a session that may be asked something, the latest last: what the server asks outside a call is for it. */
  const askable = new WeakMap<UpstreamSession, Set<ModernCall>>()

  return async (journey, session) => {
    const { caller, message, reply } = journey
    const latest = askable.get(session) ?? new Set()
    askable.set(session, latest)
    const request = requestOf(digest, message)
    const ends: (() => void)[] = [() => latest.delete(call), () => sessions.done(session)]
    let over = false
    const call: ModernCall = createModernCall({
      tell,
      service,
      session,
      message,
      caller,
      reply,
      name: encodeBase64url(random(12)),
      hold: () => (lasting ? held.hold(caller.owner, request, () => call) : undefined),
      over() {
        over = true
        for (const end of ends) end()
      },
    })
    journey.call = call
    if (
      session.stream &&
      mayAsk.has(String(message['method'])) &&
      Object.keys(session.capabilities).length > 0
    ) {
      latest.add(call)
      // Before the call: what a server asks where nobody listens is lost.
      const stop = await session.stream.listen(
        (heard) => heard['id'] !== undefined && [...latest].at(-1) === call && call.hear(heard),
      )
      if (over) stop()
      else ends.push(stop)
    }
    const outcome = over ? undefined : await call.run()
    if (outcome === 'lost') for (const end of ends) end()
    return outcome
  }
}

export const createModernDispatch = (deps: ModernDispatchDeps): ModernDispatch => {
  const { sessions, service, random, digest, keepAliveMs, begin } = deps
  const held = createPendingInputRequests({ random, digest })
  const attempt = createAttempt(deps, held)

  const carry = async (journey: Journey, session: UpstreamSession): Promise<void> => {
    if ((await attempt(journey, session)) !== 'lost') return
    await sessions.lost(session)
    const anew = await begin(journey.caller, journey.message)
    if (anew !== undefined && !(anew instanceof Response) && (await attempt(journey, anew)) !== 'lost') return
    throw new Refusal('upstream.session', `${service} forgets its sessions`)
  }

  return {
    call(caller, session, message) {
      const reply = createRevisionReply({
        keepAliveMs,
        signal: caller.signal,
        gone: () => journey.call?.cancel(),
      })
      const journey: Journey = { caller, message, reply, call: undefined }
      carry(journey, session).catch((error: unknown) => {
        reply.fail(error, () => caller.refused(asRefusal(error, service), message['id']))
      })
      return reply.response
    },
    async resume(caller, message, state) {
      const waiting = await held.take(state, caller.owner, message)
      const reply = createRevisionReply({ keepAliveMs, signal: caller.signal, gone: () => waiting.cancel() })
      await waiting.resume(caller, message, reply)
      return reply.response
    },
  }
}

export interface ModernClientDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'about' | 'digest'>
  readonly tell: SendNotification
  readonly service: string
  readonly keepAliveMs: number
  /** Whether a call may wait here for the client's next try, and the server's own stream be heard. */
  readonly lasting: boolean
}

export interface ModernClient {
  /** The session that such calls are made in. A Response: what the server said instead, for the caller; undefined: it is no server of before. */
  begin(caller: Caller, message: Rpc): Promise<UpstreamSession | Response | undefined>
  /** One message; in that session, where it was begun already. Rejects with `Refusal`. */
  handle(caller: Caller, message: Rpc, session?: UpstreamSession): Promise<Response>
}

/** What of the older revisions has no counterpart: it was never advertised, and does not exist here. */
const unbridged =
  /^(?:initialize|ping|logging\/setLevel|resources\/(?:un)?subscribe|tasks\/.*|notifications\/.*)$/

const json = (message: Rpc): Response =>
  new Response(JSON.stringify(message), {
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })

/** Whether the person said no to every URL of the last try. */
const declined = (message: Rpc): boolean => {
  const { inputResponses } = paramsOf(message)
  const said = isRecord(inputResponses) ? Object.values(inputResponses) : []
  return (
    said.length > 0 &&
    said.every(
      (response) =>
        isRecord(response) && (response['action'] === 'decline' || response['action'] === 'cancel'),
    )
  )
}

/** Whoever acts on the body of a call checks the headers that repeat its parameters (streamable-http, server validation). Throws `mcp.headers`. */
const checkMirrors = ({ headers }: Caller, { mirrors }: UpstreamSession, message: Rpc): void => {
  const { name, arguments: args } = paramsOf(message)
  const header = mismatchOf(mirrors.get(String(name)) ?? [], args, paramHeaders([...headers].flat()))
  if (header !== undefined) throw paramHeaderRefusal(header, message['id'] as Id)
}

export const createModernClient = ({
  runtime,
  tell,
  service,
  keepAliveMs,
  lasting,
}: ModernClientDeps): ModernClient => {
  const { random, digest, about } = runtime
  const sessions = createUpstreamSessions({ runtime, tell, service, lasting })
  const listening = createSubscriptions({ tell, keepAliveMs, random })

  const begin: ModernClient['begin'] = (caller, message) => {
    const meta = metaOf(message)
    const named = meta[metaKeys.client]
    const declared = bridgedClient(meta[metaKeys.capabilities])
    // Where nothing can wait for the next try, the server is told that nobody can be asked.
    return sessions.get(
      caller,
      isRecord(named) ? named : ownClient(about),
      lasting ? declared : unaskedClient(declared),
    )
  }

  const carry = createModernDispatch({ tell, sessions, service, random, digest, keepAliveMs, lasting, begin })
  /** Whether what the server says of its own accord reaches the caller. */
  const hears = (caller: Caller): boolean => lasting && caller.owner !== ''

  const discover = (caller: Caller, session: UpstreamSession, message: Rpc): Response => {
    const { capabilities, server, instructions } = session.about
    sessions.done(session)
    const result = {
      supportedVersions: [askedVersion],
      capabilities: bridgedServer(capabilities, { notices: hears(caller), watching: hears(caller) }),
      ...(instructions === undefined ? {} : { instructions }),
    }
    return json({
      jsonrpc: '2.0',
      id: message['id'],
      result: modernResult('server/discover', result, server),
    })
  }

  const request = async (
    caller: Caller,
    message: Rpc,
    method: string,
    begun: UpstreamSession | undefined,
  ): Promise<Response> => {
    const session = begun ?? (await begin(caller, message))
    if (session instanceof Response) return session
    if (session === undefined) throw new Refusal('upstream.session', `${service} begins no session`)
    if (method === 'server/discover') return discover(caller, session, message)
    if (method === 'tools/call') checkMirrors(caller, session, message)
    return method === 'subscriptions/listen'
      ? listening(caller, session, message)
      : carry.call(caller, session, message)
  }

  return {
    begin,
    async handle(caller, message, session) {
      const kind = kindOf(message)
      if (kind === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
      if (kind === 'response')
        throw new Refusal('mcp.invalid', 'a response', {
          say: 'This MCP revision does not allow responses from clients.',
        })
      // Nothing that clients of this revision announce is known to the other (cancelling is closing the stream).
      if (kind !== 'request') return new Response(null, { status: 202 })
      const method = String(message['method'])
      const state = givenState(message)
      if (isInputRequestState(state)) return carry.resume(caller, message, state)
      if (unbridged.test(method) || (method === 'subscriptions/listen' && !hears(caller)))
        throw new Refusal('mcp.method', method, { rpcId: message['id'] as Id })
      if (declined(message)) throw new Refusal('mcp.input-declined', method, { rpcId: message['id'] as Id })
      return request(caller, message, method, session)
    },
  }
}
