// `initialize` in front of a server of 2026-07-28: asked with `server/discover`, answered by the gateway with a session of its own (2025-11-25 lifecycle).
import { encodeBase64url } from '../kit/bytes.ts'
import { envelopeOf, eraOf, offeredVersion } from '../mcp/era.ts'
import { standardHeaders } from '../mcp/mirrors.ts'
import { isRecord, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { bridgedClient, bridgedServer, serverInfoKey, unaskedClient } from '../mcp/translate.ts'
import { answerOf, type Caller, isForeign, type Tell } from './era-exchange.ts'
import type { OlderSessions } from './era-older-sessions.ts'

export interface OlderBeginDeps {
  readonly tell: Tell
  readonly random: (n: number) => Uint8Array
  readonly service: string
  readonly sessions: Pick<OlderSessions, 'begin'>
  /** Whether the client's answers to questions can be waited for, and what it watches be told at once. */
  readonly lasting: boolean
  /** Revisions with a handshake that clients may speak here, newest first. */
  readonly versions: readonly string[]
}

/** A foreign Response: what the server answered instead, for the caller; undefined: it is no server of 2026-07-28. */
export type OlderBegin = (caller: Caller, message: Rpc) => Promise<Response | undefined>

const mostClient = 4096

/** What a client says of itself is sent with each of its requests, so it is kept, and has a limit: name and version alone where it says more. */
const clientOf = (info: unknown): Rpc => {
  if (!isRecord(info)) return { name: 'unknown', version: '0' }
  if (JSON.stringify(info).length <= mostClient) return info
  return { name: String(info['name']).slice(0, 256), version: String(info['version']).slice(0, 256) }
}

/** What of a server's lists can change, as a subscription names it. */
const noticesOf = (capabilities: Rpc): Rpc => {
  const names = ['tools', 'prompts', 'resources'].filter((name) => isRecord(capabilities[name]) && capabilities[name]['listChanged'] === true)
  return Object.fromEntries(names.map((name) => [`${name}ListChanged`, true]))
}

const infoOf = (result: Rpc, service: string): Rpc => {
  const meta = result['_meta']
  const info = isRecord(meta) ? meta[serverInfoKey] : undefined
  return isRecord(info) ? info : { name: service, version: '0' }
}

export const createOlderBegin = ({ tell, random, service, sessions, lasting, versions }: OlderBeginDeps): OlderBegin => async (caller, message) => {
  const { protocolVersion, capabilities, clientInfo } = paramsOf(message)
  const client = clientOf(clientInfo)
  const declared = lasting ? bridgedClient(capabilities) : unaskedClient(bridgedClient(capabilities))
  const name = encodeBase64url(random(12))
  const params = { _meta: envelopeOf(client, declared) }
  const response = await tell(caller, standardHeaders('server/discover', params), JSON.stringify({ jsonrpc: '2.0', id: name, method: 'server/discover', params }))
  if (isForeign(response)) return response
  const answer = await answerOf(response, name)
  const result = answer?.['result']
  if (!answer || eraOf(answer) !== 'modern' || !isRecord(result)) return undefined
  const bridged = bridgedServer(result['capabilities'], { notices: true, watching: lasting })
  const version = typeof protocolVersion === 'string' && versions.includes(protocolVersion) ? protocolVersion : (versions[0] ?? offeredVersion)
  const watchable = isRecord(bridged['resources']) && bridged['resources']['subscribe'] === true
  const id = await sessions.begin({ owner: caller.owner, version, client, capabilities: declared, notices: noticesOf(bridged), watchable, watched: [] }, caller.sessionId?.())
  const { instructions } = result
  const introduction = { protocolVersion: version, capabilities: bridged, serverInfo: infoOf(result, service), ...(typeof instructions === 'string' ? { instructions } : {}) }
  return new Response(JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: introduction }), { headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'mcp-session-id': id } })
}
