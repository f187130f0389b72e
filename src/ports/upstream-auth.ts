// What an operator may write about the sign-in of an upstream.

export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

/** `mcp_services.<id>.upstream_auth`; what each member says stands in the schema. */
export interface UpstreamAuth {
  readonly type: 'auto' | 'none' | 'static' | 'oauth' | 'idp_token' | 'client_credentials'
  readonly token?: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly issuer?: string | undefined
  readonly authorization_endpoint?: string | undefined
  readonly token_endpoint?: string | undefined
  readonly revocation_endpoint?: string | undefined
  readonly client_id?: string | undefined
  readonly client_secret?: string | undefined
  readonly private_key?: string | undefined
  readonly token_endpoint_auth_method?: ClientAuthMethod | undefined
  readonly client_metadata_url?: string | undefined
  readonly scopes?: readonly string[] | undefined
  readonly resource?: string | undefined
  readonly redirect_uri?: string | undefined
  readonly extra_params: Readonly<Record<string, string>>
  readonly allow_origins: readonly string[]
}
