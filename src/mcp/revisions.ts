// The published revisions of MCP, and what a gateway must know of each. No other file names a revision.
import { type Rpc, metaOf, isRecord } from './json-rpc.ts'

export interface Revision {
  /** The revision's date, as it stands in `MCP-Protocol-Version`. */
  readonly version: string
  /**
   * Stateless: only POST, no sessions; each request names its revision in `params._meta` (2026-07-28
   * basic/versioning).
   */
  readonly modern: boolean
  /** Bodies may be batches (2025-03-26 basic/index). */
  readonly batches: boolean
  /** One endpoint with POST, GET and DELETE, instead of HTTP+SSE. */
  readonly streamable: boolean
}

/** Newest first, as in responses to clients. */
export const revisions: readonly Revision[] = [
  { version: '2026-07-28', modern: true, batches: false, streamable: true },
  { version: '2025-11-25', modern: false, batches: false, streamable: true },
  { version: '2025-06-18', modern: false, batches: false, streamable: true },
  { version: '2025-03-26', modern: false, batches: true, streamable: true },
  { version: '2024-11-05', modern: false, batches: true, streamable: false },
]

export const publishedVersions: readonly string[] = revisions.map((revision) => revision.version)

const oldestModern = '2026-07-28'

/** Revisions are dates and compare as text. One that was published after this gateway is modern too. */
export const isModern = (version: string): boolean => version >= oldestModern

/**
 * Whether a message is served without a session: its envelope says so or, where it has none, the header
 * (2026-07-28 basic/versioning).
 */
export const isModernMessage = (message: Rpc, header: string | undefined): boolean => {
  const claim = metaOf(message)[metaKeys.version]
  return typeof claim === 'string'
    ? isModern(claim)
    : message['method'] !== 'initialize' && isModern(header?.trim() ?? '')
}

const urlElicitation = '2025-11-25'

/**
 * Whether clients of this revision know the error -32042: the person must open a URL first (2025-11-25
 * elicitation). Modern clients must not get it.
 */
export const namesUrlElicitationError = (version: string): boolean =>
  version >= urlElicitation && !isModern(version)

/** Members of `params._meta` of a modern request (2026-07-28 basic/index). */
export const metaKeys = {
  version: 'io.modelcontextprotocol/protocolVersion',
  client: 'io.modelcontextprotocol/clientInfo',
  capabilities: 'io.modelcontextprotocol/clientCapabilities',
} as const

// Version negotiation with a server: legacy revisions begin with `initialize`, modern ones answer
// `server/discover` (2026-07-28 basic/versioning).

const versionOf = (modern: boolean): string =>
  (revisions.find((revision) => revision.modern === modern) as { readonly version: string }).version

/** The revision of the gateway's own requests, and the one that it offers to legacy servers. */
export const askedVersion = versionOf(true)
export const offeredVersion = versionOf(false)

/** `params._meta` of a modern request on behalf of a client. */
export const envelopeOf = (client: Rpc, capabilities: Rpc = {}): Rpc => ({
  [metaKeys.version]: askedVersion,
  [metaKeys.client]: client,
  [metaKeys.capabilities]: capabilities,
})

export const ownClient = (about: { readonly version: string }): Rpc => ({
  name: 'postern',
  version: about.version,
})

const unsupported = -32_022

const hasModern = (list: unknown): boolean =>
  Array.isArray(list) && list.some((version) => typeof version === 'string' && isModern(version))

/**
 * Whether this response to `server/discover` is one of a modern server. The only error of a modern server is
 * -32022 with a modern revision; the code of a legacy server is not specified.
 */
export const isModernServer = ({ result, error }: Rpc): boolean => {
  if (isRecord(result)) return hasModern(result['supportedVersions'])
  return (
    isRecord(error) &&
    error['code'] === unsupported &&
    isRecord(error['data']) &&
    hasModern(error['data']['supported'])
  )
}
