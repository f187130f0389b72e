// Clients of 2025 and before in front of a server of 2026-07-28: the handshake and the session are the gateway's, each request stands for itself at the server.
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal, type RefusalCode } from '../../kit/refusal.ts'
import { standardHeaders } from '../../mcp/headers.ts'
import { type Rpc, isRecord, kindOf, paramsOf } from '../../mcp/json-rpc.ts'
import { envelopeOf, isModernServer, offeredVersion, revisions } from '../../mcp/revisions.ts'
import { bridgedClient, bridgedServer, isLevel, serverInfoKey, unaskedClient } from '../../mcp/translate.ts'
import type { Runtime } from '../../ports/runtime.ts'
import {
  type Caller,
  type RevisionReply,
  type SendNotification,
  answerOf,
  asRefusal,
  createRevisionReply,
  isForeign,
} from './exchange.ts'
import { type LegacyCallDeps, createElicitations, runLegacyCall } from './legacy-call.ts'
import { type LegacySession, type LegacySessions, createLegacySessions } from './legacy-session-records.ts'
import { type LegacyListen, createLegacyListen } from './subscriptions.ts'
import { createToolHeaders } from './tool-headers.ts'

// `initialize` in front of a server of 2026-07-28: asked with `server/discover`, answered by the gateway with a session of its own (2025-11-25 lifecycle).

export interface LegacyInitializeDeps {
  readonly tell: SendNotification
  readonly random: (n: number) => Uint8Array
  readonly service: string
  readonly sessions: Pick<LegacySessions, 'begin'>
  /** Whether the client's answers to questions can be waited for, and what it watches be told at once. */
  readonly lasting: boolean
  /** Revisions with a handshake that clients may speak here, newest first. */
  readonly versions: readonly string[]
}

/** A foreign Response: what the server answered instead, for the caller; undefined: it is no server of 2026-07-28. */
export type LegacyInitialize = (caller: Caller, message: Rpc) => Promise<Response | undefined>

const mostClient = 4096

/** What a client says of itself is sent with each of its requests, so it is kept, and has a limit: name and version alone where it says more. */
const clientOf = (info: unknown): Rpc => {
  if (!isRecord(info)) return { name: 'unknown', version: '0' }
  if (JSON.stringify(info).length <= mostClient) return info
  return { name: String(info['name']).slice(0, 256), version: String(info['version']).slice(0, 256) }
}

/** What of a server's lists can change, as a subscription names it. */
const noticesOf = (capabilities: Rpc): Rpc => {
  const names = ['tools', 'prompts', 'resources'].filter(
    (name) => isRecord(capabilities[name]) && capabilities[name]['listChanged'] === true,
  )
  return Object.fromEntries(names.map((name) => [`${name}ListChanged`, true]))
}

const infoOf = (result: Rpc, service: string): Rpc => {
  const meta = result['_meta']
  const info = isRecord(meta) ? meta[serverInfoKey] : undefined
  return isRecord(info) ? info : { name: service, version: '0' }
}

export const createLegacyInitialize =
  ({ tell, random, service, sessions, lasting, versions }: LegacyInitializeDeps): LegacyInitialize =>
  async (caller, message) => {
    const { protocolVersion, capabilities, clientInfo } = paramsOf(message)
    const client = clientOf(clientInfo)
    const declared = lasting ? bridgedClient(capabilities) : unaskedClient(bridgedClient(capabilities))
    const name = encodeBase64url(random(12))
    const params = { _meta: envelopeOf(client, declared) }
    const response = await tell(
      caller,
      standardHeaders('server/discover', params),
      JSON.stringify({ jsonrpc: '2.0', id: name, method: 'server/discover', params }),
    )
    if (isForeign(response)) return response
    const answer = await answerOf(response, name)
    const result = answer?.['result']
    if (!answer || !isModernServer(answer) || !isRecord(result)) return undefined
    const bridged = bridgedServer(result['capabilities'], { notices: true, watching: lasting })
    const version =
      typeof protocolVersion === 'string' && versions.includes(protocolVersion)
        ? protocolVersion
        : (versions[0] ?? offeredVersion)
    const watchable = isRecord(bridged['resources']) && bridged['resources']['subscribe'] === true
    const id = await sessions.begin(
      {
        owner: caller.owner,
        version,
        client,
        capabilities: declared,
        notices: noticesOf(bridged),
        watchable,
        watched: [],
      },
      caller.sessionId?.(),
    )
    const { instructions } = result
    const introduction = {
      protocolVersion: version,
      capabilities: bridged,
      serverInfo: infoOf(result, service),
      ...(typeof instructions === 'string' ? { instructions } : {}),
    }
    return new Response(JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: introduction }), {
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'mcp-session-id': id },
    })
  }

// Requests of clients of 2025 and before that a server of 2026-07-28 has no method for: what the gateway answers in its place, and what it does not.

export interface LegacySessionsHereDeps {
  readonly sessions: Pick<LegacySessions, 'change'>
  readonly listen: Pick<LegacyListen, 'changed'>
  readonly lasting: boolean
}

/** The answer as text; undefined for what the server answers. */
export type LegacySessionsHere = (
  id: string,
  caller: Pick<Caller, 'owner' | 'refused'>,
  message: Rpc,
) => Promise<string> | string | undefined

const unbridged = /^(?:tasks\/.*|server\/discover|subscriptions\/.*|notifications\/.*)$/
const watching = /^resources\/(?:un)?subscribe$/
const mostWatched = 256
const mostUri = 2048

const empty = (message: Rpc): string => JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: {} })

export const createLegacySessionsHere = ({
  sessions,
  listen,
  lasting,
}: LegacySessionsHereDeps): LegacySessionsHere => {
  const watch = async (
    id: string,
    { owner, refused }: Pick<Caller, 'owner' | 'refused'>,
    message: Rpc,
  ): Promise<string> => {
    const { uri } = paramsOf(message)
    if (typeof uri !== 'string' || uri.length > mostUri)
      return refused(new Refusal('mcp.params', 'uri', { say: 'uri is missing or too long.' }), message['id'])
    const stays = message['method'] === 'resources/subscribe'
    await sessions.change(id, owner, ({ watched }) => {
      const others = watched.filter((one) => one !== uri)
      if (stays && others.length >= mostWatched)
        throw new Refusal('calls.limited', `${mostWatched} resources are watched`)
      return { watched: stays ? [...others, uri] : others }
    })
    listen.changed(id)
    return empty(message)
  }

  return (id, caller, message) => {
    const method = String(message['method'])
    const failed = (code: RefusalCode, say?: string): string =>
      caller.refused(new Refusal(code, method, say === undefined ? {} : { say }), message['id'])
    if (method === 'ping') return empty(message)
    if (method === 'initialize') return failed('mcp.invalid', 'The session has begun already.')
    if (method === 'logging/setLevel') {
      const { level } = paramsOf(message)
      return isLevel(level)
        ? sessions.change(id, caller.owner, () => ({ level })).then(() => empty(message))
        : failed('mcp.params', 'There is no such level.')
    }
    if (lasting && watching.test(method)) return watch(id, caller, message)
    return unbridged.test(method) || watching.test(method) ? failed('mcp.modern') : undefined
  }
}

// What a client of 2025 and before POSTs in a session of ours: requests are answered on their POST, answers go to the question they belong to.

export interface LegacyPostDeps extends LegacyCallDeps {
  readonly here: LegacySessionsHere
  readonly keepAliveMs: number
}

export type LegacyPost = (
  caller: Caller,
  id: string,
  session: LegacySession,
  messages: readonly Rpc[],
) => Promise<Response>

const keyOf = (session: string, id: unknown): string => `${session}\n${JSON.stringify(id)}`

/** The last message of each of `count` requests; the last of all ends the reply. */
const gather = (reply: RevisionReply, count: number): ((text: string | undefined) => void) => {
  let open = count
  return (text) => {
    open--
    if (open === 0 && text === undefined) reply.end()
    else if (open === 0) reply.answer(text as string)
    else if (text !== undefined) reply.tell(text)?.catch(() => undefined)
  }
}

export const createLegacyPost = (deps: LegacyPostDeps): LegacyPost => {
  const { service, questions, keepAliveMs, here } = deps
  /** Requests that are going, so that they can be cancelled by the client's own id. */
  const going = new Map<string, AbortController>()

  const carry = async (
    caller: Caller,
    id: string,
    session: LegacySession,
    message: Rpc,
    reply: RevisionReply,
  ): Promise<string | Response | undefined> => {
    const key = keyOf(id, message['id'])
    if (going.has(key))
      return caller.refused(
        new Refusal('mcp.invalid', `the id ${JSON.stringify(message['id'])} is in use`, {
          say: 'The request id is already in use.',
        }),
        message['id'],
      )
    const stop = new AbortController()
    going.set(key, stop)
    try {
      return (
        (await here(id, caller, message)) ??
        (await runLegacyCall(deps, {
          caller: { ...caller, signal: AbortSignal.any([caller.signal, stop.signal]) },
          id,
          session,
          message,
          say: reply.tell,
        }))
      )
    } catch (error) {
      // Cancelled by the client itself: there is no answer (2025-11-25 cancellation).
      if (stop.signal.aborted) return undefined
      throw error
    } finally {
      going.delete(key)
    }
  }

  const take = (id: string, message: Rpc): void => {
    if (kindOf(message) === 'response') questions?.answered(id, message)
    else if (message['method'] === 'notifications/cancelled')
      going.get(keyOf(id, paramsOf(message)['requestId']))?.abort()
  }

  return async (caller, id, session, messages) => {
    if (messages.length === 0 || messages.some((message) => kindOf(message) === undefined))
      throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
    const requests = messages.filter((message) => kindOf(message) === 'request')
    for (const message of messages) if (!requests.includes(message)) take(id, message)
    if (requests.length === 0) return new Response(null, { status: 202 })
    const left = new AbortController()
    const reply = createRevisionReply({ keepAliveMs, signal: caller.signal, gone: () => left.abort() })
    const last = gather(reply, requests.length)
    for (const message of requests) {
      const failed = (refusal: Refusal): string => caller.refused(refusal, message['id'])
      carry({ ...caller, signal: left.signal }, id, session, message, reply).then(
        (said) => {
          if (!(said instanceof Response)) last(said)
          // What the server says to this caller alone: a login that is wanted, or trouble of its own.
          else if (requests.length > 1 || !reply.pass(said))
            last(
              failed(
                new Refusal('upstream.answer', `${service} answered ${said.status}`, {
                  say: `The MCP server responded with status ${said.status}.`,
                }),
              ),
            )
        },
        (error: unknown) => {
          const refusal = asRefusal(error, service)
          // A fault of the way there has a status of its own; a refusal of what was asked is an answer to it.
          if (requests.length === 1 && !(error instanceof Refusal && refusal.row.status < 500))
            reply.fail(error, () => failed(refusal))
          else last(failed(refusal))
        },
      )
    }
    return reply.response
  }
}

export interface LegacyClientDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly tell: SendNotification
  readonly service: string
  readonly keepAliveMs: number
  /** Whether what is begun in one request goes on after it. */
  readonly lasting: boolean
  /** Revisions with a handshake that clients may speak here, newest first. */
  readonly versions: readonly string[]
}

export interface LegacyClient {
  /** Answers `initialize`. */
  readonly begin: LegacyInitialize
  /** A POST in a session of ours: one message, or several where the revision has batches. Rejects with `Refusal`. */
  post(caller: Caller, id: string, messages: readonly Rpc[], batch: boolean): Promise<Response>
  get(caller: Caller, id: string): Promise<Response>
  /** Whether it is a session of ours. */
  knows(id: string, owner: string): Promise<boolean>
  end(caller: Caller, id: string): Promise<Response>
}

const batching = new Set(revisions.filter(({ batches }) => batches).map(({ version }) => version))

export const createLegacyClient = (deps: LegacyClientDeps): LegacyClient => {
  const { tell, runtime, lasting } = deps
  const { random, now } = runtime
  const sessions = createLegacySessions(runtime)
  const listen = createLegacyListen({ ...deps, random })
  const tools = createToolHeaders({ tell, now, random })
  const post = createLegacyPost({
    ...deps,
    random,
    tools,
    questions: lasting ? createElicitations({ random }) : undefined,
    here: createLegacySessionsHere({ sessions, listen, lasting }),
  })
  return {
    begin: createLegacyInitialize({ ...deps, random, sessions }),
    async post(caller, id, messages, batch) {
      const session = await sessions.find(id, caller.owner)
      if (batch && !batching.has(session.version))
        throw new Refusal('mcp.invalid', 'batch', {
          say: `MCP ${session.version} does not support batches. Send one message per request.`,
        })
      return post(caller, id, session, messages)
    },
    knows: (id, owner) =>
      sessions.find(id, owner).then(
        () => true,
        (error: unknown) => !(error instanceof Refusal && error.code === 'session.unknown'),
      ),
    get: (caller, id) => listen.open(id, caller, () => sessions.find(id, caller.owner)),
    async end(caller, id) {
      await sessions.find(id, caller.owner)
      await sessions.end(id, caller.owner)
      listen.end(id)
      return new Response(null, { status: 200 })
    },
  }
}
