// A gateway in front of a legacy and a modern server, and requests of legacy and modern clients.
import type { Client } from '@modelcontextprotocol/client'
import { type RevisionUpstream, openLegacyOnly, openModernOnly } from './revision-upstreams.ts'
import type { TestGateway, TestGatewayOptions } from './runtimes.ts'
import { ana, type Caller, callerOf, type Somebody, tokenOf, yamada } from './people.ts'

/** `params._meta` of a request of 2026-07-28. */
export const modernMeta = (capabilities: object = {}, more: object = {}) => ({
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': capabilities,
  ...more,
})

/** A request of 2026-07-28. */
export const askModern = (
  caller: Caller,
  method: string,
  params: Record<string, unknown> = {},
  capabilities: object = {},
  meta: object = {},
): Promise<Response> => {
  const name = (params['name'] ?? params['uri']) as string | undefined
  const headers = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': name }),
  }
  return caller.post(
    { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: modernMeta(capabilities, meta) } },
    headers,
  )
}

export interface Answer {
  readonly id: unknown
  readonly result: Readonly<Record<string, never>>
  readonly error: { readonly code: number; readonly message: string; readonly data?: unknown }
}

/** The last message of an answer, whichever form it has. */
export const lastOf = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  return JSON.parse(
    text.startsWith('{')
      ? text
      : (
          text
            .trim()
            .split('\n')
            .findLast((line) => line.startsWith('data: ')) as string
        ).slice(6),
  ) as Answer
}

/** Begins a session as a client of 2025 does: the headers of its requests. */
export const beginLegacy = async (
  caller: Caller,
  protocolVersion = '2025-11-25',
  capabilities: object = {},
) => {
  const begun = await caller.post({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion, capabilities, clientInfo: { name: 'a', version: '1' } },
  })
  return {
    begun,
    session: {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': protocolVersion,
    },
  }
}

export const textOf = (result: unknown): string =>
  (result as { content: { text: string }[] }).content[0]?.text ?? ''

export interface RevisionWorld {
  readonly house: TestGateway
  /** Speaks 2026-07-28 alone, at the service of that name. */
  readonly modern: RevisionUpstream
  /** Speaks 2025-11-25 and before alone; at `open` without a login too. */
  readonly legacy: RevisionUpstream
  at(service: string, who?: Somebody): Promise<Caller>
  /** Connects this client to a service as Ana. */
  connect(client: Client, service: string): Promise<Client>
  close(): Promise<void>
}

export const openRevisionWorld = async (
  open: (options: TestGatewayOptions) => Promise<TestGateway>,
): Promise<RevisionWorld> => {
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const [modern, legacy] = await Promise.all([openModernOnly(), openLegacyOnly()])
  const house = await open({
    upstream: modern.url,
    config: {
      local_users: [ana, yamada],
      mcp_services: {
        modern: { url: modern.url },
        legacy: { url: legacy.url },
        open: { url: legacy.url, auth_required: false },
      },
    },
  })
  const callers = new Map<string, Caller>()
  const at: RevisionWorld['at'] = async (service, who = ana) => {
    const key = `${service} ${who.username}`
    const url = `${house.origin}/${service}/mcp`
    const caller =
      callers.get(key) ?? callerOf(house, url, service === 'open' ? '' : await tokenOf(house, who, url))
    callers.set(key, caller)
    return caller
  }
  return {
    house,
    modern,
    legacy,
    at,
    async connect(client, service) {
      const { url, token } = await at(service)
      await client.connect(
        new StreamableHTTPClientTransport(new URL(url), {
          fetch: house.fetch as typeof fetch,
          requestInit: { headers: { authorization: `Bearer ${token}` } },
        }),
      )
      return client
    },
    async close() {
      await house.close()
      await Promise.all([modern.close(), legacy.close()])
    },
  }
}
