// A client's WebSocket, and what it was told.
import type { IncomingMessage } from 'node:http'
import { type ClientOptions, WebSocket } from 'ws'

export interface Spoken {
  readonly socket: WebSocket
  readonly said: {
    readonly id?: unknown
    readonly result?: { readonly content?: { readonly text: string }[] }
    readonly error?: { readonly code: number }
  }[]
  readonly closing: Promise<{ readonly code: number; readonly reason: string }>
}

/** Rejects with the status of a refused handshake. `beats`: whether the client answers MCP pings. */
export const dialSocket = (
  url: string,
  options: ClientOptions,
  protocols: string[] = ['mcp'],
  beats = false,
): Promise<Spoken> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols, options)
    const said: Spoken['said'] = []
    const closing = new Promise<{ code: number; reason: string }>(
      (closed) =>
        void socket.once('close', (code, reason) => closed({ code, reason: reason.toString('utf8') })),
    )
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString('utf8')) as Spoken['said'][number] & {
        readonly method?: string
      }
      if (message.method !== 'ping') said.push(message)
      else if (beats) socket.send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: {} }))
    })
    socket.once('open', () => resolve({ socket, said, closing }))
    socket.on('error', () => undefined)
    socket.once('unexpected-response', (_request, response: IncomingMessage) => {
      reject(Object.assign(new Error(String(response.statusCode)), { headers: response.headers }))
      socket.terminate()
    })
  })
