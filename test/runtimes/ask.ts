// A request under any name: what Cloudflare's network hands to a Worker, whatever address the test connects
// to.
import { request } from 'node:http'

export interface Told {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** `GET` (or what `method` says) of `path` at `origin`'s address, with `Host` and other fields as given. */
export const ask = (
  origin: string,
  path: string,
  { method = 'GET', ...headers }: Record<string, string> = {},
  body = '',
): Promise<Told> =>
  new Promise((resolve, reject) => {
    const { hostname, port, host } = new URL(origin)
    const sent = request(
      {
        hostname: hostname === 'localhost' ? '127.0.0.1' : hostname,
        port,
        path,
        method,
        headers: { host, ...headers },
      },
      (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            body: Buffer.concat(parts).toString('utf8'),
          }),
        )
        answer.on('error', reject)
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
