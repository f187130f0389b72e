// One row of the table of addresses, and which host a request names.
import type { Surface } from './answers.ts'
import type { Handler } from './ports/rooms.ts'

export interface Route {
  readonly paths: readonly string[]
  /** What stands there, for docs/reference/endpoints.md. */
  readonly what: string
  readonly surface: Surface
  /** Browser clients of other origins may read the answer (protocol.md A12, C22); never pages. */
  readonly cors: boolean
  readonly on: Readonly<Partial<Record<'GET' | 'POST' | 'PUT' | 'DELETE', Handler>>>
  /** A GET begins, continues or finishes something, so that HEAD and a prefetch must not reach it. */
  readonly acts?: boolean
  /** Reached by any Host: probes come by address. */
  readonly anyHost?: boolean
  /** Also at hosts that belong to services; everything else of the plain way is at the issuer alone. */
  readonly everyHost?: boolean
  /** Cookies live on the issuer's host, so a person who came by another name of it is sent there first. */
  readonly onIssuer?: boolean
}

/** The Host header as it came; some runtimes keep it in the URL alone. */
export const hostOf = (request: Request): string => request.headers.get('host') ?? new URL(request.url).host
