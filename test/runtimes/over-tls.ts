// Asks a reverse proxy over TLS, as a client of its public name does.
import { request } from 'node:https'

export interface TlsAnswer {
  readonly status: number | undefined
  readonly fields: NodeJS.Dict<string | string[]>
  readonly text: string
}

/** `where`: asked for each request. A stream is left once it has said `data: first`. */
export const createTlsAsk =
  (where: () => { readonly port: number; readonly cert: string | Buffer }) =>
  (
    method: string,
    path: string,
    headers: Record<string, string | string[]> = {},
    body = '',
  ): Promise<TlsAnswer> =>
    new Promise((resolve, reject) => {
      const { port, cert: ca } = where()
      const asked = request({ host: 'localhost', port, path, method, ca, headers, family: 4 }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece
          if (text.startsWith('data: first')) asked.destroy()
        })
        response.on('close', () => resolve({ status: response.statusCode, fields: response.headers, text }))
      })
      asked.on('error', reject)
      asked.end(body)
    })
