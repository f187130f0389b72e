// A client on a connection (an event stream with POSTs beside it, or a WebSocket) in front of a service as
// Streamable HTTP: one session there for each connection here.
import { utf8 } from '../../kit/bytes.ts'
import { fieldsWithout, readBounded } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { readEvents, isStream, keepReading } from '../../kit/sse.ts'
import { type Envelope, type Message, standardHeaders, encodeHeaderValue } from '../../mcp/envelope.ts'
import {
  type Rpc,
  type ParsedMessages,
  cancelledId,
  isRequest,
  keyOf,
  messagesOf,
  metaOf,
  paramsOf,
  versionOf,
} from '../../mcp/json-rpc.ts'
import { metaKeys, isModern } from '../../mcp/revisions.ts'
import type { Admission, Fetch, Head, ReadBody } from '../../ports/call.ts'
import type { Log, Timer, RuntimeTransports } from '../../ports/runtime.ts'
import { checkAccess } from '../access.ts'
import { type AdmitDeps, type Call, checkToken, createCall, readMessage, takePermit } from '../admit.ts'
import type { AskOnConnection, PermittedCall, ResolvedRequest } from '../admitted-call.ts'
import { checkRates } from '../call-rates.ts'
import type { BodyBudget } from '../callers.ts'
import type { MakeCall } from '../fetch.ts'
import { refusalResponse } from '../outcome.ts'
import { checkHost, checkPage, findService } from '../resolve.ts'
import { refusalOf } from './server-sse.ts'

// The steps of admit.ts for connections, which carry messages by themselves: some when one is opened, and some
// for each message to a server on a WebSocket. Any other message becomes a call of its own, which passes all of
// them.

/** Of `steps`, in its order. */
export const openingSteps = [checkHost, findService, checkPage, checkToken, takePermit, checkAccess] as const
export const messageSteps = [checkToken, takePermit, readMessage, checkRates, checkAccess] as const

export interface ConnectionSteps {
  /** As far as nobody has to be asked: host, service and origin. */
  resolve(head: Head): Promise<Call>
  /** Token, permit and access rules. */
  enter(call: Call): Promise<PermittedCall>
  /** For each message on it. Rejects with the refusal of a message that the server must not hear. */
  messages(
    connection: ResolvedRequest,
    askServer: AskOnConnection,
  ): (envelope: Envelope, text: string) => Promise<JudgedFrame>
}

interface JudgedFrame {
  /** Gives back the permit of a request. */
  readonly permit: () => void
  /** What the server is to hear. */
  readonly said: string
}

const noBody: ReadBody = () => Promise.reject(new Refusal('request.malformed', 'a connection has no body'))

/**
 * A message on a WebSocket has no header fields: what would stand there is what the message itself claims, so
 * that it must be whole, and of a revision that is let through.
 */
const claimed = (message: Message | undefined) => {
  const claim = message?.meta?.[metaKeys.version]
  return typeof claim === 'string' && isModern(claim)
    ? {
        versions: [claim],
        method: message?.method,
        name: message?.name === undefined ? undefined : encodeHeaderValue(message.name),
      }
    : { versions: [], method: undefined, name: undefined }
}

export const createConnectionSteps = (deps: AdmitDeps): ConnectionSteps => {
  const { now } = deps.runtime
  const resolving = [checkHost.make(deps), findService.make(deps), checkPage.make(deps)]
  const entering = [checkToken.make(deps), takePermit.make(deps), checkAccess.make(deps)]
  const judging = messageSteps.map((step) => step.make(deps))
  return {
    async resolve(head) {
      const call = createCall(head, noBody, now())
      for (const run of resolving) await run(call)
      return call
    },
    async enter(call) {
      try {
        for (const run of entering) await run(call)
      } catch (error) {
        call.permit()
        throw error
      }
      return call
    },
    messages(connection, askServer) {
      const asking: Head = { ...connection.head, method: 'POST', within: true, proven: true }
      const telling: Head = { ...asking, within: 'told' }
      return async (envelope, text) => {
        const [message] = envelope.messages
        const call = createCall(message?.kind === 'request' ? asking : telling, noBody, now())
        call.origin = connection.origin
        call.address = connection.address
        call.rest = connection.rest
        call.query = connection.query
        call.context = connection.context
        call.inbound = { ...connection.inbound, ...claimed(message) }
        call.envelope = envelope
        call.askServer = askServer
        // Read a second time only for rules about arguments.
        const body = deps.policy?.of(connection.address.service) ? utf8(text) : undefined
        call.body = body
        try {
          for (const run of judging) await run(call)
        } catch (error) {
          call.permit()
          throw error
        }
        const isSame = call.body === body || call.body === undefined
        return { permit: call.permit, said: isSame ? text : new TextDecoder().decode(call.body) }
      }
    },
  }
}

// A message that came on a connection, as a call of its own at the service's Streamable HTTP address: every
// check, credential, second try and record of a call holds for it too.

export interface InternalCallsDeps {
  readonly makeCall: MakeCall
  readonly transports: RuntimeTransports
}

/** Whose message it is: the request that opened the connection, or that brought the message. */
export interface Bearer {
  readonly head: Head
  /** Of the address that was used. */
  readonly path: string
}

export interface InternalCall {
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly session: string | undefined
  /** Revision that the session settled on. */
  readonly version: string | undefined
  /** Id of the last event heard, when a stream is opened again. */
  readonly resume?: string | undefined
  readonly body?: string
  /** What the body says. */
  readonly message?: Rpc
  /** It is made for another call, which has a permit. */
  readonly uncounted?: true
  readonly signal: AbortSignal
}

/** The revision that a message says it is of; undefined for those of revisions with sessions. */
export const claimedVersion = (message: Rpc | undefined): string | undefined => {
  const claim = message && metaOf(message)[metaKeys.version]
  return typeof claim === 'string' ? claim : undefined
}

/**
 * What a request of 2026-07-28 says beside its body (SEP-2243): a connection has no header fields, so they
 * are written for it.
 */
const mirrored = (message: Rpc, version: string): string[] =>
  standardHeaders(String(message['method']), paramsOf(message)).flatMap(([name, value]) => [
    name,
    name === 'mcp-protocol-version' ? version : value,
  ])

/** Rejects with every refusal of a call. */
export type MakeInternalCall = (bearer: Bearer, call: InternalCall) => Promise<Response>

/** What described the other request's body, session and answer; the call says its own. */
const replaced = new Set(
  'accept accept-encoding content-type content-length content-encoding transfer-encoding expect mcp-session-id mcp-protocol-version mcp-method mcp-name last-event-id'.split(
    ' ',
  ),
)

const fieldsOf = (
  came: readonly string[],
  { method, session, version, resume, message }: InternalCall,
): string[] => {
  const claimed = claimedVersion(message)
  const fields = fieldsWithout(came, replaced)
  fields.push('Accept', method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream')
  if (method === 'POST') fields.push('Content-Type', 'application/json')
  if (message && claimed !== undefined) return [...fields, ...mirrored(message, claimed)]
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (version !== undefined) fields.push('MCP-Protocol-Version', version)
  if (resume !== undefined) fields.push('Last-Event-ID', resume)
  return fields
}

export const createFetchFor =
  (transports: RuntimeTransports) =>
  ({ upstream }: Admission): Fetch =>
    (upstream.kind === 'http' && upstream.publicOnly ? transports.publicOnly : transports).fetch

export const createInternalCalls = ({ makeCall, transports }: InternalCallsDeps): MakeInternalCall => {
  const fetchFor = createFetchFor(transports)
  return ({ head: came, path }, call) => {
    const bytes = utf8(call.body ?? '')
    const readBody: ReadBody = async (max, grow) => {
      if (bytes.byteLength > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
      grow(bytes.byteLength)
      return bytes
    }
    const head: Head = {
      ...came,
      method: call.method,
      target: path.replace(/\/sse$/, '/mcp'),
      located: undefined,
      rawHeaders: fieldsOf(came.rawHeaders, call),
      within: call.method === 'POST' && !call.uncounted ? true : 'uncounted',
      proven: true,
    }
    return makeCall({ head, readBody, fetchFor, signal: call.signal })
  }
}

export interface ClientMessagesDeps {
  readonly ask: MakeInternalCall
  readonly log: Log
  readonly timer: Timer
  /** To whom the connection was opened. */
  readonly admitted: Pick<Admission, 'address' | 'principal'>
  /** To the client; a promise holds the server's stream back. */
  readonly tell: (message: string) => void | Promise<void>
  /** The server has forgotten the session: nothing more can be said on this connection. */
  readonly lost: () => void
  readonly service: string
  readonly timeoutMs: number
  /** Largest message of the server, bytes. */
  readonly maxBytes: number
  /** For what is said when the client is gone already. */
  readonly defer: (work: Promise<unknown>) => void
  /** Messages whose answer is not there yet. */
  readonly most: number
  /** What messages without an answer keep in memory is counted here, for this caller. */
  readonly budget: BodyBudget
  readonly ip: string
}

export interface ClientMessages {
  /** Takes the client's messages; answers come by `tell`. Throws `calls.limited` and `calls.bytes`. */
  receive(messages: readonly ParsedMessages[], bearer: Bearer): void
  /** The client is gone: nothing goes on, and the server forgets the session. */
  close(): void
}

interface OpenCall {
  /** Ids without an answer, by key. */
  readonly open: Map<string, unknown>
  /** It is `initialize`. */
  readonly opens: boolean
}

/** The session behind one connection. */
interface Conversation extends ClientMessagesDeps {
  session: string | undefined
  version: string | undefined
  /** Who sent the last message. */
  bearer: Bearer | undefined
  /** Requests of 2026-07-28 that go on, by id: over HTTP, closing one is how it is cancelled. */
  readonly closable: Map<string, AbortController>
  /** The client is gone. */
  readonly signal: AbortSignal
}

type SessionCall = Pick<InternalCall, 'method' | 'body' | 'message' | 'resume'> & {
  readonly signal?: AbortSignal
}

const askInSession = (
  { ask, signal, session, version }: Conversation,
  call: SessionCall,
  bearer: Bearer,
): Promise<Response> => ask(bearer, { signal, ...call, session, version })

/** Tells the client, and strikes what was answered off the list. */
const tellClient = async (conversation: Conversation, text: string, call?: OpenCall): Promise<void> => {
  for (const spoken of messagesOf(text)) {
    const { message } = spoken
    if (call && message['method'] === undefined) {
      call.open.delete(keyOf(message['id']))
      if (call.opens) conversation.version = versionOf(message)
    }
    await conversation.tell(spoken.text)
  }
}

/** What the server says of its own accord, as long as the client is there. */
const listen = async (conversation: Conversation, first: Bearer): Promise<void> => {
  const { signal, maxBytes, timer } = conversation
  let resume: string | undefined
  // What is lost for good shows in the next call.
  await keepReading(timer, signal, async (heard) => {
    const call = { method: 'GET', resume } as const
    const response = await askInSession(conversation, call, conversation.bearer ?? first)
    if (!isStream(response)) {
      await response.body?.cancel()
      return true
    }
    await readEvents(response.body, maxBytes, async ({ id, data }) => {
      heard()
      resume = id ?? resume
      await tellClient(conversation, data)
    })
    return false
  })
}

const relayResponse = async (
  conversation: Conversation,
  response: Response,
  call: OpenCall,
): Promise<void> => {
  const { service, maxBytes, signal, session } = conversation
  if (isStream(response))
    await readEvents(response.body, maxBytes, ({ data }) => tellClient(conversation, data, call))
  else {
    const text = new TextDecoder().decode(await readBounded(response.body, maxBytes))
    // 404 for a session is its end (MCP 2025-11-25 transports, Session Management).
    if (response.status === 404 && session !== undefined)
      throw new Refusal('session.unknown', `${service} has forgotten the session`)
    // An error of the server in its own words, whatever its status.
    if (messagesOf(text).some(({ message }) => message['jsonrpc'] === '2.0'))
      await tellClient(conversation, text, call)
    else if (response.status < 200 || response.status > 299) throw refusalOf(response.status, service)
  }
  if (call.open.size > 0 && !signal.aborted)
    throw new Refusal('upstream.answer', `${service} ended without an answer`)
}

/** What the client reads in place of each answer that is missing. */
const refuseCall = async (
  { log, admitted, tell, lost }: Conversation,
  { open }: OpenCall,
  error: unknown,
  { head }: Bearer,
): Promise<void> => {
  const refusal = error instanceof Refusal ? error : new Refusal('upstream.answer', String(error))
  for (const id of open.values()) await tell(refusalResponse(log, refusal, { id, head, admitted }))
  if (refusal.code === 'session.unknown') lost()
}

/** Carries one message to the server, and back what it says. */
const deliver = async (
  conversation: Conversation,
  { message, text }: ParsedMessages,
  bearer: Bearer,
): Promise<void> => {
  const { signal, closable } = conversation
  const call: OpenCall = {
    open: new Map(isRequest(message) ? [[keyOf(message['id']), message['id']]] : []),
    opens: message['method'] === 'initialize',
  }
  conversation.bearer = bearer
  const cancelled =
    message['method'] === 'notifications/cancelled' ? closable.get(keyOf(cancelledId(message))) : undefined
  if (cancelled) return cancelled.abort()
  const modern = claimedVersion(message) !== undefined && isRequest(message)
  const closing = new AbortController()
  const key = keyOf(message['id'])
  if (modern) closable.set(key, closing)
  const post: SessionCall = { method: 'POST', body: text, message }
  try {
    const response = await askInSession(
      conversation,
      modern ? { ...post, signal: AbortSignal.any([signal, closing.signal]) } : post,
      bearer,
    )
    if (call.opens) conversation.session = response.headers.get('mcp-session-id') ?? undefined
    await relayResponse(conversation, response, call)
    if (message['method'] === 'notifications/initialized') listen(conversation, bearer).catch(() => undefined)
  } catch (error) {
    if (!signal.aborted && !closing.signal.aborted) await refuseCall(conversation, call, error, bearer)
  } finally {
    if (closable.get(key) === closing) closable.delete(key)
  }
}

export const createClientMessages = (deps: ClientMessagesDeps): ClientMessages => {
  const gone = new AbortController()
  const { signal } = gone
  const conversation: Conversation = {
    ...deps,
    session: undefined,
    version: undefined,
    bearer: undefined,
    closable: new Map(),
    signal,
  }
  let pending = 0
  // What follows `initialize` waits for its answer, which names the session.
  let ready: Promise<unknown> = Promise.resolve()

  return {
    receive(messages, bearer) {
      if (pending + messages.length > deps.most)
        throw new Refusal('calls.limited', `${pending} messages are on their way`, {
          headers: { 'retry-after': '1' },
        })
      for (const spoken of messages) {
        const holding = deps.budget.open(deps.admitted.principal, deps.ip)
        holding.grow(spoken.text.length)
        pending++
        const opens = spoken.message['method'] === 'initialize'
        const work = ready
          .then(() => deliver(conversation, spoken, bearer))
          .finally(() => {
            pending--
            holding.release()
          })
        if (opens) ready = work
      }
    },
    close() {
      if (signal.aborted) return
      gone.abort()
      const { session, version, bearer } = conversation
      if (session === undefined || !bearer) return
      const bye = { method: 'DELETE' as const, session, version, signal: AbortSignal.timeout(deps.timeoutMs) }
      deps.defer(
        deps.ask(bearer, bye).then(
          (response) => response.body?.cancel(),
          () => undefined,
        ),
      )
    },
  }
}
