// Bytes on a socket, as no HTTP library would send them.
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  /** Everything the server sent, latin1. */
  readonly text: string
  /** Status of each response found in it. */
  readonly statuses: readonly number[]
  /** The server closed the connection. */
  readonly closed: boolean
}

const statusesIn = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map((match) => Number(match[1]))

/**
 * Sends the bytes and resolves when the server closes, or when `enough` says so of what came, or after twenty
 * seconds of silence. `end` closes our side after the last byte.
 */
export const sendRaw = (
  port: number,
  bytes: string,
  options: { readonly enough?: (text: string) => boolean; readonly end?: boolean } = {},
): Promise<RawAnswer> =>
  new Promise((resolve) => {
    let text = ''
    const socket: Socket = connect(port, '127.0.0.1', () => {
      if (options.end) socket.end(Buffer.from(bytes, 'latin1'))
      else socket.write(Buffer.from(bytes, 'latin1'))
    })
    const done = (closed: boolean): void => {
      socket.destroy()
      resolve({ text, statuses: statusesIn(text), closed })
    }
    socket.setTimeout(20_000, () => done(false))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (options.enough?.(text)) done(false)
    })
    socket.on('error', () => done(true))
    socket.on('close', () => done(true))
  })
