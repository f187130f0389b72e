// Sessions of the SDK's client over either transport of 2024-11-05 to 2025-11-25, with a client that answers the server.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import type { LoginTarget } from './login.ts'

/** By HTTP+SSE where the path ends so. It says that it has one root, `file:///ana`. */
export const connectWithRoots = async (
  { origin, fetch: fetchHere }: Pick<LoginTarget, 'origin' | 'fetch'>,
  path: string,
  token: string,
): Promise<Client> => {
  const client = new Client({ name: 'flow', version: '1' }, { capabilities: { roots: {} } })
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///ana', name: 'ana' }] }))
  const options = {
    fetch: fetchHere as typeof fetch,
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  }
  const url = new URL(`${origin}${path}`)
  await client.connect(
    path.endsWith('/sse')
      ? new SSEClientTransport(url, options)
      : new StreamableHTTPClientTransport(url, options),
  )
  return client
}
