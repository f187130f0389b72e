// What the settings page of the console shows: what is set and where it came from, the signing keys, and what can be
// tested.

export interface Setting {
  /** As in the configuration: `storage.type`. */
  readonly key: string
  /** JSON value; secrets are replaced by stars, and null is not set. */
  readonly value: unknown
  /** `postern.yaml:31:5`, `environment MCP_ISSUER`, `default` or `not set`; absent where nobody knows. */
  readonly from?: string | undefined
}

/** A signing key that is published. */
export interface PublishedKey {
  readonly id: string
  /** Epoch ms. */
  readonly madeAt: number
  readonly state: 'next' | 'signs' | 'verifies'
  /** From when it signs, or until when tokens that it signed are accepted. */
  readonly at?: number | undefined
}

export interface PublishedKeys {
  readonly keys: readonly PublishedKey[]
  /** When the next one is made, epoch ms. */
  readonly nextAt: number
}

/** What a test said. */
export interface CheckResult {
  readonly ok: boolean
  /** One sentence. */
  readonly say: string
}

export interface LastCheck extends CheckResult {
  /** Epoch ms. */
  readonly at: number
  readonly by: string
}

export interface ListedProvider {
  readonly id: string
  readonly name: string
  readonly type: string
  /** What to register at the provider. */
  readonly redirectUri: string
  /** A mock has nothing to connect to. */
  readonly testable: boolean
  readonly last?: LastCheck | undefined
}

/** The settings of a gateway, as they are in force. */
export interface Settings {
  list(): readonly Setting[]
  providers(): readonly ListedProvider[]
  keys(): Promise<PublishedKeys>
  /** Makes the next signing key now; `made` is false where one was made that does not sign yet. */
  rotateKey(by: string): Promise<{ readonly kid: string; readonly signsFrom: number; readonly made: boolean }>
  /** Connects to the public URL (`issuer`) or to a provider (`oauth_providers.<id>`); undefined for anything else. */
  check(key: string): Promise<CheckResult | undefined>
}

export interface SettingsView {
  readonly settings: readonly Setting[]
  readonly providers: readonly ListedProvider[]
  readonly keys: PublishedKeys
  readonly publicUrl: string
  readonly lastProbe?: LastCheck | undefined
  readonly about: { readonly version: string; readonly runtime: string; readonly storage: string }
  /** How long the storage took to answer, ms. */
  readonly storageMs: number
  /** Whether an audit trail is kept, and whether it can be written. */
  readonly trail: 'off' | 'written' | 'failing'
  /** How many there are of what has pages of its own, by key. */
  readonly counts: Readonly<Record<'mcp_services' | 'local_users' | 'clients' | 'service_accounts', number>>
}
