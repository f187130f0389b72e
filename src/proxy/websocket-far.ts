// The server's side of a tunnel: a WebSocket of its own, or a session of Streamable HTTP.
import { Refusal } from '../kit/refusal.ts'
import type { Lines, Socket } from '../ports/lines.ts'
import type { Principal } from '../ports/people.ts'
import type { Credential, Credentials } from '../ports/connections.ts'
import type { Service } from '../ports/services.ts'
import type { Knock } from './knock.ts'
import { createLineClient, type LineClientDeps } from './line-client.ts'
import { mostMessageBytes } from './line-server.ts'
import type { AskOwn } from './own-calls.ts'
import { messagesOf } from './rpc-text.ts'
import { createBeat, holdBack } from './websocket-beat.ts'
import { handshakeFields, handshakeRefusal } from './websocket-dial.ts'

export interface FarDeps {
  readonly lines: Lines
  readonly log: LineClientDeps['log']
  /** What a WebSocket server is shown of the caller's right to be there. */
  readonly credentials: Pick<Credentials, 'of' | 'after'>
  readonly ask: AskOwn
  readonly heartbeatMs: number
  readonly defer: (work: Promise<unknown>) => void
  /** Messages without an answer, where each is a call of its own. */
  readonly most: number
  readonly budget: LineClientDeps['budget']
}

export interface Opening {
  readonly call: Knock
  readonly principal: Principal | undefined
  /** Flat list of what the server behind is told. */
  readonly headers: readonly string[]
  readonly release: () => void
}

export interface Far {
  /** A promise while the server takes no more. Throws `calls.limited`. */
  send(text: string): void | Promise<void>
  close(code: number, reason: string): void
  /** Each message is a call, which is written down as such. */
  readonly calls?: true
}

export interface FarEvents {
  tell(text: string): void | Promise<void>
  /** The server closed, or was lost (1006). */
  closed(code: number, reason: string): void
}

type HttpUpstream = Extract<Service['upstream'], { kind: 'http' }>

const overSocket = async ({ url, publicOnly }: HttpUpstream, { lines, heartbeatMs }: FarDeps, { call, headers }: Opening, events: FarEvents): Promise<Far> => {
  const { id, timeoutMs } = call.address.service
  let socket: Socket | undefined
  const closed = (code: number, reason: string): void => {
    beat.stop()
    // A handshake that came to nothing is told by the error, and another may follow.
    if (socket) events.closed(code, reason)
  }
  const beat = createBeat(heartbeatMs, () => socket, () => events.closed(1006, 'The server behind answers no ping.'))
  const text = (message: string): void => {
    if (!beat.hear(message)) holdBack(socket, events.tell(message))
  }
  const binary = (): void => {
    socket?.close(1003, '')
    closed(1011, 'The server behind sent a binary frame.')
  }
  try {
    socket = await (publicOnly ? lines.publicOnly : lines).socket(url, { headers: handshakeFields(headers), timeoutMs, maxBytes: mostMessageBytes }, { text, binary, alive: beat.alive, closed })
  } catch (error) {
    beat.stop()
    throw handshakeRefusal(error, id)
  }
  const open = socket
  return {
    send: (text) => open.send(text),
    close(code, reason) {
      beat.stop()
      open.close(code, reason)
    },
  }
}

/** As in a call over HTTP: what a refused handshake was shown is followed by another credential, once, or by the question to the person. */
const shown = async (upstream: HttpUpstream, deps: FarDeps, opening: Opening, events: FarEvents): Promise<Far> => {
  const { call, principal, headers } = opening
  const attempt = (credential: Credential | undefined): Promise<Far> =>
    overSocket(upstream, deps, credential === undefined ? opening : { ...opening, headers: [...headers, ...credential.headers] }, events)
  const rebuffed = (error: unknown, credential: Credential | undefined, last: boolean): Promise<Credential> => {
    const refused = error instanceof Refusal ? error.detail.refused : undefined
    const next =
      refused &&
      deps.credentials.after({
        address: call.address,
        principal,
        shown: credential,
        ...refused,
        below: call.rest !== '',
        last,
      })
    if (!next) throw error
    return next
  }
  const first = await deps.credentials.of(call.address, principal)
  try {
    return await attempt(first)
  } catch (error) {
    const second = await rebuffed(error, first, false)
    return attempt(second).catch(async (again: unknown) => attempt(await rebuffed(again, second, true)))
  }
}

export const createFar = (deps: FarDeps, opening: Opening, events: FarEvents): Promise<Far> => {
  const { call, principal } = opening
  const { service } = call.address
  const { upstream } = service
  if (upstream.kind === 'http' && /^wss?:/.test(upstream.url)) return shown(upstream, deps, opening, events)
  const client = createLineClient({
    ask: deps.ask,
    tell: events.tell,
    log: deps.log,
    admitted: { address: call.address, principal },
    lost: () => events.closed(1011, 'The server behind has forgotten the session.'),
    service: service.id,
    timeoutMs: service.timeoutMs,
    maxBytes: mostMessageBytes,
    defer: deps.defer,
    most: deps.most,
    budget: deps.budget,
    ip: call.head.ip,
  })
  return Promise.resolve({ send: (text) => client.receive(messagesOf(text), { head: call.head, path: call.address.path }), close: () => client.close(), calls: true })
}
