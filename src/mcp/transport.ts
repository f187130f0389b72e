// A connection to an MCP server that carries whole JSON-RPC messages both ways until it ends; the shape is
// the MCP SDK's Transport.
import type { Refusal } from '../kit/refusal.ts'

export interface Transport {
  /**
   * Sends one message. Throws or rejects with `Refusal` when the server did not get it. `headers`: of the
   * request that carries the message, a flat list, for transports that send each message with headers.
   */
  send(message: string, headers: readonly string[]): void | Promise<void>
  /** Ends the connection; `onclose` follows. */
  close(): void
  /** Stops reading what the server writes, and goes on. */
  pause(): void
  resume(): void
}

export interface TransportEvents {
  onmessage(text: string): void
  /** A message beyond every bound, of which only the two ends are known. */
  onoversized(head: string, tail: string): void
  /** The connection is over, whoever ended it; nothing follows. */
  onclose(why: Refusal): void
}

/** Opens a connection. `headers`: a flat list, for the request that opens it. Rejects with `upstream.*`. */
export type Connect = (
  about: { readonly headers: readonly string[]; readonly timeoutMs: number },
  events: TransportEvents,
) => Promise<Transport>
