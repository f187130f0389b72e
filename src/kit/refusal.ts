// Every way the gateway says no. Modules throw `new Refusal(code, why)`; app.ts and the proxy draw it for the
// surface that asked.
import { mcpRefusals, type RefusalRow } from './refusals-mcp.ts'
import { connectionRefusals } from './refusals-connections.ts'
import { grantRefusals } from './refusals-grants.ts'
import { oauthRefusals } from './refusals-oauth.ts'
import { proofRefusals } from './refusals-proofs.ts'
import { verifyRefusals } from './refusals-verify.ts'

/** One table, in files by subject. */
export const refusals = {
  ...oauthRefusals,
  ...grantRefusals,
  ...proofRefusals,
  ...verifyRefusals,
  ...mcpRefusals,
  ...connectionRefusals,
} as const satisfies Record<string, RefusalRow>

export type RefusalCode = keyof typeof refusals

export interface RefusalDetail {
  /** HTTP status that replaces the row's, where the same is said of another kind of request. */
  readonly status?: number
  /**
   * What each request of a batch is answered (JSON-RPC 2.0 §6), in place of the one error. Empty where nothing
   * asks for an answer: then there is no body.
   */
  readonly answers?: readonly { readonly id: string | number | null; readonly refusal: Refusal }[]
  /** A sentence that replaces the row's; public, ASCII. */
  readonly say?: string
  /** Further response headers, e.g. `WWW-Authenticate`, `Retry-After`, `Allow`. */
  readonly headers?: Readonly<Record<string, string>>
  /** JSON-RPC request id the answer belongs to, and the error's data member. */
  readonly rpcId?: string | number | null
  readonly rpcData?: Readonly<Record<string, unknown>>
  readonly about?: RequestFacts
  /** The code that its caller is told, where the own one would say too much. */
  readonly shownAs?: RefusalCode
  /** The access rule that denied, for the trail. */
  readonly rule?: string
  /**
   * Authorization errors that may be told to the client by redirect (RFC 6749 §4.1.2.1): only ever a
   * validated redirect URI. `ask` names a client that nobody approved: the person is shown the error and a
   * link.
   */
  readonly redirect?: { readonly uri: string; readonly state?: string; readonly ask?: string }
  /**
   * Where the person connects an account before the call can work, and to what (`upstream.consent`). The
   * proxy says it in the form that the client's revision has.
   */
  readonly connect?: { readonly url: string; readonly service: string }
  /** The answer of an upstream that refused what it was shown: status, and every WWW-Authenticate field. */
  readonly refused?: { readonly status: number; readonly authenticate: readonly string[] }
  /**
   * What the problem page says beyond the sentence: a title, steps, facts worth showing, and a way on inside
   * this gateway (same-origin path).
   */
  readonly page?: {
    readonly title?: string
    /** That it is the administrator who must act, this time. */
    readonly who?: 'admin'
    readonly steps?: readonly string[]
    readonly facts?: readonly { readonly name: string; readonly value: string }[]
    readonly onward?: { readonly label: string; readonly href: string }
    /** A second way on, for who cannot take the first. */
    readonly instead?: { readonly label: string; readonly href: string }
  }
}

/** Of whose request a refusal was, as far as is known; for the log, and never for the caller. */
export interface RequestFacts {
  /** Id of the service. */
  readonly service?: string | undefined
  /** Client id, as the client said it or as it was proven. */
  readonly client?: string | undefined
  /** Key of the person (kit/records.ts). */
  readonly person?: string | undefined
  /** Id of the identity provider. */
  readonly provider?: string | undefined
  /** The pending authorization, or the recorded flow of the grant (ports/flow-record.ts). */
  readonly flow?: string | undefined
}

/** A no with a stable code. `why` is for the operator's log and never reaches the caller. */
export class Refusal extends Error {
  readonly code: RefusalCode
  readonly why: string
  readonly detail: RefusalDetail
  constructor(code: RefusalCode, why = '', detail: RefusalDetail = {}) {
    super(why ? `${code}: ${why}` : code)
    this.name = 'Refusal'
    this.code = code
    this.why = why
    this.detail = detail
  }
  get row(): RefusalRow {
    return refusals[this.code]
  }
  get status(): number {
    return this.detail.status ?? this.row.status
  }
  /** The public sentence for this occurrence. */
  get say(): string {
    return this.detail.say ?? this.row.say
  }
}

/** Where the documentation explains a refusal; undefined where the operator names no documentation. */
export type DocumentationOf = (code: string) => string | undefined

/** `base`: where `npm run docs` was put (scripts/docs.ts). */
export const documentationAt =
  (base: string | undefined): DocumentationOf =>
  (code) =>
    base === undefined ? undefined : `${base.replace(/\/+$/, '')}/reference/refusals.html#${code}`

/** RFC 6749 §5.2: `error_uri` is a page about the error for people. */
export const errorUri = (
  documentationOf: DocumentationOf | undefined,
  code: string,
): { readonly error_uri?: string } => {
  const uri = documentationOf?.(code)
  return uri === undefined ? {} : { error_uri: uri }
}

/** RFC 6749 §5.2 allows further members: the caller can quote them to whoever helps. */
export const oauthErrorBody = (
  { row, say, code }: Refusal,
  requestId: string,
  documentationOf: DocumentationOf | undefined,
) => ({
  error: row.oauth,
  error_description: say,
  ...errorUri(documentationOf, code),
  code,
  request_id: requestId,
})

/** JSON-RPC 2.0 §5.1: what the caller can name to whoever helps them stands in `data`. */
export const rpcError = ({ code, row, say, detail }: Refusal, requestId: string) => ({
  code: row.rpc,
  message: say,
  data: { ...detail.rpcData, code: detail.shownAs ?? code, request_id: requestId },
})

/** The error that a refusal is to one JSON-RPC request. */
export const rpcErrorText = (refusal: Refusal, id: unknown, requestId: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: rpcError(refusal, requestId) })

/**
 * Says in the log that one request was refused on a stream that had begun, and answers the error that its
 * caller reads there. `id`: of the JSON-RPC request.
 */
export type ReportRefused = (refusal: Refusal, id: unknown) => string
