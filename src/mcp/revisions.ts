// The published revisions of MCP and what of each touches a gateway. The only file that spells a revision.

export interface Revision {
  /** The revision's date, as it stands in `MCP-Protocol-Version`. */
  readonly version: string
  /** Stateless: POST only, no sessions, every request names its revision in `_meta` (2026-07-28 basic/versioning). */
  readonly modern: boolean
  /** Bodies may be arrays (2025-03-26 basic/index). */
  readonly batches: boolean
  /** One endpoint with POST, GET and DELETE, instead of HTTP+SSE. */
  readonly streamable: boolean
}

/** Newest first, the order in which they are named to clients. */
export const revisions: readonly Revision[] = [
  { version: '2026-07-28', modern: true, batches: false, streamable: true },
  { version: '2025-11-25', modern: false, batches: false, streamable: true },
  { version: '2025-06-18', modern: false, batches: false, streamable: true },
  { version: '2025-03-26', modern: false, batches: true, streamable: true },
  { version: '2024-11-05', modern: false, batches: true, streamable: false },
]

export const publishedVersions: readonly string[] = revisions.map((revision) => revision.version)

const oldestModern = '2026-07-28'

/** Revisions are dates, so later ones compare greater; one published after this gateway counts as modern too. */
export const isModern = (version: string): boolean => version >= oldestModern

const urlElicitation = '2025-11-25'

/** Whether a client of that revision knows the error -32042, by which a server says that the person has to open a URL first (2025-11-25 elicitation); later ones must not be sent it. */
export const namesUrlElicitationError = (version: string): boolean => version >= urlElicitation && !isModern(version)
