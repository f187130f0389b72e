// One row of the table of refusals: what a surface says when the gateway says no.

export interface RefusalRow {
  /** HTTP status. */
  readonly status: number
  /**
   * The registered OAuth error (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2, RFC 8707 §2)
   * where the surface speaks OAuth.
   */
  readonly oauth: string
  /**
   * JSON-RPC error code where the surface speaks MCP; ours lie outside -32768…-32000 unless MCP defines the
   * code.
   */
  readonly rpc: number
  /**
   * The public sentence: what happened and what to do. Never a secret, never the reason kept for the
   * operator.
   */
  readonly say: string
}

export const row = (status: number, oauth: string, rpc: number, say: string): RefusalRow => ({
  status,
  oauth,
  rpc,
  say,
})
