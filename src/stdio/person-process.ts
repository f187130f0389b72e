// One process for each person who calls in 2026-07-28, once it is known that the server speaks it (SEP-2567:
// the key is the authenticated principal).
import type { PlainResponse } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import { type SessionPeer, askPeer } from '../mcp/json-rpc-peer.ts'
import { type DescribedMessage, type Id, type Rpc, kindOf, paramsOf, isRecord } from '../mcp/json-rpc.ts'
import {
  type ToolParamHeaders,
  collectToolHeaders,
  paramHeaderRefusal,
  mismatchOf,
  paramHeaders,
} from '../mcp/param-headers.ts'
import { envelopeOf, isModernServer, ownClient } from '../mcp/revisions.ts'
import type { Posted } from '../mcp/session.ts'
import { type StatelessCalls, createStatelessCalls } from '../mcp/stateless-calls.ts'
import type { Timer } from '../ports/runtime.ts'
import type { ProcessPool } from './process-pool.ts'
import type { ProcessPeer } from './process-reports.ts'

// Which revisions a server speaks, found out on a process that nothing else depends on (2026-07-28
// basic/transports/stdio, backward compatibility).

/**
 * How long a server may leave `server/discover` unanswered before it is asked something that every legacy
 * server answers.
 */
const discoverMs = 2000

type Generation = 'modern' | 'legacy'

export interface ProbeOptions {
  readonly timer: Timer
  readonly about: { readonly version: string }
  /** Longest wait for the process to say anything, milliseconds. */
  readonly startMs: number
}

/**
 * Asks. Resolves to what it is; the peer may be used on when it is `modern`. An end of the process is a
 * legacy server too: some end on any request before `initialize`. Rejects when it cannot be started, or says
 * nothing at all in time.
 */
export const probe = async (
  peer: ProcessPeer,
  { timer, about, startMs }: ProbeOptions,
): Promise<Generation> => {
  const { promise, resolve, reject } = Promise.withResolvers<Generation>()
  const timers: (() => void)[] = []
  askPeer(peer, 'server/discover', { _meta: envelopeOf(ownClient(about)) }, true).then(
    (answer) => resolve(isModernServer(answer) ? 'modern' : 'legacy'),
    (refusal: Error) => (peer.end()?.kind === 'exit' ? resolve('legacy') : reject(refusal)),
  )
  // A server may start slowly, and a legacy one may leave unknown requests unanswered: `ping`, legal at any
  // time, tells the two apart.
  const ping = async (): Promise<void> => {
    await askPeer(peer, 'ping', undefined, true)
    timers.push(timer(500, () => resolve('legacy')))
  }
  timers.push(
    timer(discoverMs, () => void ping().catch(() => undefined)),
    timer(startMs, () =>
      reject(new Refusal('upstream.timeout', `said nothing after its start${peer.complaint()}`)),
    ),
  )
  try {
    return await promise
  } finally {
    for (const cancel of timers) cancel()
  }
}

// The tools of one server process as far as their calls carry mirrored headers; asked for when the first call
// comes, and again when what is known is old.

interface Known {
  readonly tools: ToolParamHeaders
  readonly until: number
}

interface Tools {
  /**
   * Passes when the `Mcp-Param-*` headers of this `tools/call` agree with its arguments. Throws `mcp.headers`
   * (-32020).
   */
  check(message: Rpc, headers: readonly string[]): Promise<void>
}

interface ToolsOptions {
  readonly peer: () => Pick<SessionPeer, 'call'>
  readonly now: () => number
  /** `params._meta` of the gateway's own requests. */
  readonly meta: Rpc
}

const createTools = ({ peer, now, meta }: ToolsOptions): Tools => {
  let known: Known | undefined
  let asking: Promise<Known> | undefined

  const page = async (cursor: Rpc): Promise<Rpc> => {
    const { result } = await askPeer(peer(), 'tools/list', { ...cursor, _meta: meta })
    return isRecord(result) ? result : {}
  }

  const ask = async (): Promise<Known> => {
    const { tools, ms } = await collectToolHeaders(page)
    return { tools, until: now() + ms }
  }

  const fresh = (): Promise<Known> => {
    asking ??= ask()
      .then((found) => (known = found))
      .finally(() => (asking = undefined))
    return asking
  }

  return {
    async check(message, headers) {
      const { name, arguments: args } = paramsOf(message)
      const sent = paramHeaders(headers)
      const wrong = ({ tools }: Known): string | undefined =>
        mismatchOf(tools.get(String(name)) ?? [], args, sent)
      const cached = known !== undefined && now() < known.until ? known : undefined
      // The tool may have changed since it was last asked for; the client looked it up later than we did.
      const header = cached && wrong(cached) === undefined ? undefined : wrong(await fresh())
      if (header !== undefined) throw paramHeaderRefusal(header, message['id'] as Id)
    },
  }
}

// One process for each person, asked what it is where nobody knows yet.

/** A server once found to be legacy may have been replaced since: it is asked again. */
const legacyMs = 600_000
/** A process is started for everybody who will need it, so no caller that leaves ends its start. */
const never = new AbortController().signal

interface OwnProcess {
  readonly calls: StatelessCalls
  readonly tools: Tools
  readonly peer: ProcessPeer
  /** True while the process is only asked what it is. */
  probing: boolean
}

export interface PersonProcessesOptions {
  readonly pool: ProcessPool
  readonly now: () => number
  readonly timer: Timer
  readonly about: { readonly version: string }
  /** Longest wait for a process to say anything, milliseconds. */
  readonly startMs: number
  readonly shared: boolean
  readonly unexpected: (what: string) => void
}

interface PersonProcesses {
  /**
   * This owner's process, started when there is none. Rejects with `mcp.legacy` when the server speaks legacy
   * revisions only, and as `Pool.start` does.
   */
  of(owner: string): Promise<OwnProcess>
  /** Processes that have answered, by owner. */
  readonly ready: ReadonlyMap<string, OwnProcess>
}

const startProcess = async (
  { pool, now, about, shared, unexpected }: PersonProcessesOptions,
  owner: string,
  probing: boolean,
  forget: (own: OwnProcess) => void,
): Promise<OwnProcess> => {
  const started: { own?: OwnProcess } = {}
  const peer = (): ProcessPeer => (started.own as OwnProcess).peer
  const calls = createStatelessCalls({ peer, alone: !shared, unexpected })
  const ended = (): void => {
    if (started.own) forget(started.own)
  }
  const user = {
    ...calls.events,
    ended,
    idle: () => (started.own?.peer.pending() === 0 ? now() - started.own.peer.usedAt() : 0),
    busy: () => calls.pending() > 0,
    leave() {
      ended()
      calls.close()
      started.own?.peer.close()
    },
    probing: () => started.own?.probing ?? probing,
  }
  const own = {
    peer: await pool.start(owner, user, never),
    calls,
    tools: createTools({ peer, now, meta: envelopeOf(ownClient(about)) }),
    probing,
  }
  started.own = own
  return own
}

/** What the process is; a modern one goes on living, another is ended. */
const probeProcess = async (own: OwnProcess, options: PersonProcessesOptions): Promise<Generation> => {
  try {
    const generation = await probe(own.peer, options)
    if (generation === 'modern') own.probing = false
    else own.peer.close()
    return generation
  } catch (error) {
    own.peer.close()
    throw error
  }
}

const createPersonProcesses = (options: PersonProcessesOptions): PersonProcesses => {
  const { now } = options
  const all = new Map<string, Promise<OwnProcess>>()
  const ready = new Map<string, OwnProcess>()
  let negotiated: { readonly generation: Generation; readonly until: number } | undefined
  /** The process that is being asked; everybody else waits for what it says. */
  const asked: { now?: Promise<OwnProcess> } = {}

  const start = (owner: string, probing: boolean): Promise<OwnProcess> =>
    startProcess(options, owner, probing, (own) => {
      if (ready.get(owner) !== own) return
      ready.delete(owner)
      all.delete(owner)
    })

  const startProbed = async (owner: string): Promise<OwnProcess> => {
    const own = await start(owner, true)
    const generation = await probeProcess(own, options)
    const until = generation === 'legacy' ? now() + legacyMs : Number.POSITIVE_INFINITY
    negotiated = { generation, until }
    return own
  }

  const open = async (owner: string): Promise<OwnProcess> => {
    while (asked.now) await asked.now.catch(() => undefined)
    let own: OwnProcess | undefined
    if (!negotiated || now() >= negotiated.until) {
      asked.now = startProbed(owner)
      own = await asked.now.finally(() => delete asked.now)
    }
    if (negotiated?.generation === 'legacy')
      throw new Refusal('mcp.legacy', 'server speaks a legacy revision only')
    return own ?? start(owner, false)
  }

  return {
    ready,
    of(owner) {
      const known = all.get(owner)
      if (known) return known
      const made = open(owner)
      all.set(owner, made)
      made.then(
        (own) => {
          // It may have ended between its first word and this moment.
          if (own.peer.closed()) all.delete(owner)
          else ready.set(owner, own)
        },
        () => all.delete(owner),
      )
      return made
    },
  }
}

// The endpoint for clients of 2026-07-28: POST alone and no sessions (streamable-http;
// basic/transports/stdio).

export interface StatelessEndpoint {
  /** One message of a modern client. Rejects with `Refusal`. */
  handle(owner: string, said: DescribedMessage, posted: Posted): Promise<PlainResponse>
  /** Whether a call of this owner needs no start of a process. */
  ready(owner: string): boolean
  comment(): void
  /** Fails calls during which a server said nothing. */
  expire(silenceMs: number): void
}

export const createStatelessEndpoint = (options: PersonProcessesOptions): StatelessEndpoint => {
  const processes = createPersonProcesses(options)
  return {
    async handle(owner, said, posted) {
      const { message } = said
      const kind = kindOf(message)
      // Clients of this revision have nothing to answer (streamable-http, sending messages).
      if (kind === 'response')
        throw new Refusal('mcp.invalid', 'a response', {
          say: 'This MCP revision does not allow responses from clients.',
        })
      const { calls, tools, peer } = await processes.of(owner)
      posted.signal.throwIfAborted()
      if (kind === 'notification') {
        // Cancelling is closing the stream here, and an id alone does not say which of a person's clients it
        // was.
        if (message['method'] !== 'notifications/cancelled') await peer.send(said)
        return { status: 202, headers: [], body: '' }
      }
      if (message['method'] === 'tools/call') {
        await tools.check(message, posted.headers)
        posted.signal.throwIfAborted()
      }
      return calls.request(said, posted)
    },
    ready: (owner) => processes.ready.has(owner),
    comment() {
      for (const { calls } of processes.ready.values()) calls.comment()
    },
    expire(silenceMs) {
      for (const { peer } of processes.ready.values()) peer.expire(silenceMs)
    },
  }
}
