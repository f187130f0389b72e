// Sends one hostile request, by node:http or as bytes on a socket, and says what came back.
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import type { Shot } from './requests.ts'

export interface Place {
  readonly hostname: string
  readonly port: number
}

/** No answer of the gateway takes this long, ms. */
const limitMs = 10_000
/**
 * A socket on which nothing comes for this long has said all it will, ms: half a request is waited for much
 * longer.
 */
const silenceMs = 150

/**
 * The status; 0 when the connection ended without one, which a request that was cut off may expect. Rejects
 * when nothing comes at all.
 */
export const fireRequest = (
  { hostname, port }: Place,
  { method, path, headers, body, framing }: Shot,
): Promise<number> =>
  new Promise((resolve, reject) => {
    const bodiless = method === 'GET' || method === 'HEAD'
    const fields = [
      ['host', `localhost:${port}`],
      ...headers.filter(([name]) => !(bodiless && name === 'content-encoding')),
      ...(framing === 'chunked' && !bodiless ? [['transfer-encoding', 'chunked']] : []),
    ]
    if (framing === 'cut' && !bodiless) fields.push(['content-length', String(Buffer.byteLength(body) + 10)])
    const sent = httpRequest({
      hostname,
      port,
      method,
      path,
      headers: fields.flat(),
      timeout: limitMs,
      agent: false,
      setHost: false,
    })
    sent.once('response', (response) => {
      response.once('close', () => resolve(response.statusCode ?? 0))
      // An event stream that was granted stays open for as long as somebody listens.
      if (response.headers['content-type']?.startsWith('text/event-stream')) response.destroy()
      else response.resume()
    })
    for (const event of ['upgrade', 'connect'] as const)
      sent.once(event, (response, socket) => {
        socket.destroy()
        resolve(response.statusCode ?? 0)
      })
    sent.once('timeout', () => sent.destroy(new Error(`no answer in ${limitMs} ms`)))
    sent.once('error', (error: NodeJS.ErrnoException) => {
      // The gateway may answer and close before it has read everything; its answer is then lost with the
      // connection.
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE' || framing === 'cut') resolve(0)
      else reject(error)
    })
    if (bodiless) sent.end()
    else if (framing === 'length') sent.end(body)
    else {
      sent.write(body.slice(0, body.length / 2))
      if (framing === 'chunked') setImmediate(() => sent.end(body.slice(body.length / 2)))
      else setImmediate(() => sent.destroy(new Error('cut')))
    }
  })

/** Every status that came back on the connection, informational ones left out. */
export const fireBytes = ({ port }: Place, text: string): Promise<readonly number[]> =>
  new Promise((resolve) => {
    let heard = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(Buffer.from(text, 'latin1')))
    const done = (): void => {
      socket.destroy()
      resolve(
        [...heard.matchAll(/HTTP\/1\.[01] (\d{3})/g)]
          .map((match) => Number(match[1]))
          .filter((status) => status >= 200),
      )
    }
    socket.setTimeout(silenceMs, done)
    socket.on('data', (chunk) => (heard += chunk.toString('latin1')))
    socket.on('error', done)
    socket.on('close', done)
  })
