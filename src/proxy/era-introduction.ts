// The gateway introduces a client that has no handshake to a server that wants one (2025-11-25 lifecycle, initialization).
import { offeredVersion } from '../mcp/era.ts'
import { isRecord, type Rpc } from '../mcp/rpc.ts'
import { answerOf, type Caller, nothing, type Tell } from './era-exchange.ts'

/** What the server said when the session was begun. */
export interface Introduction {
  /** Undefined for servers that have no sessions. */
  readonly id?: string | undefined
  readonly version: string
  readonly capabilities: Rpc
  readonly server: Rpc
  readonly instructions?: string | undefined
}

/** Fields of a request in the session. */
export const sessionFields = ({ id, version }: Introduction): readonly (readonly [string, string])[] => [...(id === undefined ? [] : [['mcp-session-id', id] as const]), ['mcp-protocol-version', version]]

const requestId = 'postern-initialize'

/** A Response: what the server answered instead, which is the caller's to see; undefined: it is no server of that era. */
export const introduce = async (tell: Tell, service: string, caller: Caller, { client, capabilities }: { readonly client: Rpc; readonly capabilities: Rpc }): Promise<Introduction | Response | undefined> => {
  const params = { protocolVersion: offeredVersion, capabilities, clientInfo: client }
  const response = await tell(caller, [], JSON.stringify({ jsonrpc: '2.0', id: requestId, method: 'initialize', params }))
  if (!response.ok) {
    // A refusal of the caller is theirs to see; any other says that it is no such server.
    if ([401, 403, 407, 429].includes(response.status) || response.status >= 500) return response
    await nothing(response)
    return undefined
  }
  const result = (await answerOf(response, requestId))?.['result']
  if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') return undefined
  const { protocolVersion: version, capabilities: offered, serverInfo, instructions } = result
  const about: Introduction = {
    id: response.headers.get('mcp-session-id') ?? undefined,
    version: version as string,
    capabilities: isRecord(offered) ? offered : {},
    server: isRecord(serverInfo) ? serverInfo : { name: service, version: '0' },
    instructions: typeof instructions === 'string' ? instructions : undefined,
  }
  await nothing(await tell(caller, sessionFields(about), JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })))
  return about
}
