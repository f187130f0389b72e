// A real MCP-shaped HTTP upstream on loopback that tells what it received.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Heard {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export interface Upstream {
  readonly url: string
  /** Every request so far, oldest first. */
  readonly heard: Heard[]
  close(): Promise<void>
}

export const echo = (request: IncomingMessage, response: ServerResponse, body: string): void => {
  const message = (() => {
    try {
      return JSON.parse(body) as { id?: unknown; method?: string }
    } catch {
      return {}
    }
  })()
  response.setHeader('content-type', 'application/json')
  if (message.method === 'initialize')
    response.setHeader('mcp-session-id', `session-${Math.random().toString(36).slice(2)}`)
  response.end(
    JSON.stringify({
      jsonrpc: '2.0',
      id: message.id ?? null,
      result: { method: message.method, headers: request.headers, url: request.url },
    }),
  )
}

/** Answers by `answer`, or echoes what it heard as a JSON-RPC result. */
export const openUpstream = async (
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void = echo,
): Promise<Upstream> => {
  const heard: Heard[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts).toString('utf8')
      heard.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        body,
      })
      answer(request, response, body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    heard,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
