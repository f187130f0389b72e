// WebSockets, sessions and where they are kept: what the transports other than Streamable HTTP need of a
// runtime.
import type { RefusedRequest } from '../kit/log.ts'
import type { Fetch } from './call.ts'

/** A WebSocket as its runtime hands it over, already open (RFC 6455). */
export interface TextSocket {
  /** Resolves when it will take more. */
  send(text: string): void | Promise<void>
  /** `code`: one that may be sent (RFC 6455 §7.4). */
  close(code: number, reason: string): void
  /** Ends it without a handshake: nobody answers at the other end. */
  cut(): void
  /** Sends a ping; absent where the runtime sends none. */
  readonly ping?: () => void
  /** Stops reading, and goes on; absent where the runtime cannot. */
  readonly pause?: () => void
  readonly resume?: () => void
}

/** What is heard on a socket. */
export interface SocketEvents {
  text(message: string): void
  binary(): void
  /** Anything that shows that the other end lives: a pong. */
  alive(): void
  /** Once; `code` 1006 when it broke off, 1005 when none was told. */
  closed(code: number, reason: string): void
}

/**
 * Opens a WebSocket to a configured `ws(s)://` URL with subprotocol `mcp`. Rejects with any error; when the
 * server answered without 101, `status` is on it, and `authenticate`: its WWW-Authenticate fields.
 */
export type ConnectSocket = (
  url: string,
  about: {
    readonly headers: readonly string[]
    readonly timeoutMs: number
    /** Largest message, bytes. */
    readonly maxBytes: number
  },
  events: SocketEvents,
) => Promise<TextSocket>

export interface TransportConnectors {
  readonly fetch: Fetch
  readonly socket: ConnectSocket
}

/**
 * Connections to servers that the operator configured: unguarded, without a limit on how long an answer
 * streams.
 */
export interface RuntimeTransports extends TransportConnectors {
  /**
   * The same for servers that somebody added from elsewhere: to public addresses alone. Reject with
   * `outbound.refused` as well.
   */
  readonly publicOnly: TransportConnectors
  /**
   * Where nothing outlives the request that made it (Workers): where sessions are kept. Absent: this process
   * keeps them itself.
   */
  readonly sessionLocations?: SessionLocations | undefined
}

/** A call that was let in, as far as the server of a session must know it. */
export interface SessionCall {
  /** Whose sessions it may use. */
  readonly owner: string
  /** How its refusals are logged. */
  readonly asked: RefusedRequest
}

/** The same for whoever keeps the session in another process than the one that let the call in. */
export interface LocatedCall extends SessionCall {
  /** Id of the service. */
  readonly service: string
}

/** Where one session is kept. */
export interface SessionLocation {
  /** A request of an HTTP+SSE client, all its checks still ahead. Never rejects. */
  client(request: Request, visit: { readonly requestId: string; readonly ip: string }): Promise<Response>
  /** An admitted call to an HTTP+SSE or WebSocket server. Rejects with `Refusal`. */
  server(request: Request, about: LocatedCall): Promise<Response>
}

export interface SessionLocations {
  /** A new one, with an id that nobody guesses. */
  create(): SessionLocation
  /** The one with that id; undefined where none can have it. */
  at(id: string): SessionLocation | undefined
}
