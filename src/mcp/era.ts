// The two eras of MCP, one with a handshake and sessions and one without: how a server is asked which it speaks, and what its answer says (2026-07-28 basic/versioning).
import { metaKeys } from './envelope.ts'
import { isModern, revisions } from './revisions.ts'
import { isRecord, type Rpc } from './rpc.ts'

export type Era = 'modern' | 'legacy'

const versionOf = (modern: boolean): string => (revisions.find((revision) => revision.modern === modern) as { readonly version: string }).version

/** The revision the gateway itself asks in, and the one it offers to servers of before. */
export const askedVersion = versionOf(true)
export const offeredVersion = versionOf(false)

/** `params._meta` of a request in the name of a client; the gateway's own where none is said. */
export const envelopeOf = (client: Rpc, capabilities: Rpc = {}): Rpc => ({ [metaKeys.version]: askedVersion, [metaKeys.client]: client, [metaKeys.capabilities]: capabilities })

export const ownClient = (about: { readonly version: string }): Rpc => ({ name: 'postern', version: about.version })

const unsupported = -32_022

const hasModern = (list: unknown): boolean => Array.isArray(list) && list.some((version) => typeof version === 'string' && isModern(version))

/** What an answer to `server/discover` says. Every error but one is a server of before (the code is not specified), that one when it names a modern revision. */
export const eraOf = (answer: Rpc): Era => {
  const { result, error } = answer
  if (isRecord(result)) return hasModern(result['supportedVersions']) ? 'modern' : 'legacy'
  return isRecord(error) && error['code'] === unsupported && isRecord(error['data']) && hasModern(error['data']['supported']) ? 'modern' : 'legacy'
}
