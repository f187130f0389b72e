// The settings of a gateway for its console: what is set and where it came from, the signing keys, and tests of what the
// configuration names, by the checks of `postern validate --connect`.
import { explainAll } from './config/explain.ts'
import type { Sources } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { checkProvider, sentence, why } from './connection-checks.ts'
import { utf8Text } from './kit/bytes.ts'
import type { Signer } from './ports/modules.ts'
import type { Outbound, Runtime } from './ports/runtime.ts'
import type { CheckResult, PublishedKeys, Setting, Settings } from './ports/settings.ts'

export interface SettingsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound'>
  readonly registry: { config(): Config }
  readonly issuer: string
  /** Where each value came from; absent where nobody knows. */
  readonly sources: (() => Sources) | undefined
  readonly signer: Pick<Signer, 'jwks' | 'published' | 'rotate'>
}

/** Shown on pages of their own, and there may be thousands. */
const elsewhere: Pick<Config, 'mcp_services' | 'local_users' | 'clients' | 'service_accounts' | 'hosts'> = {
  mcp_services: {},
  local_users: [],
  clients: {},
  service_accounts: {},
  hosts: {},
}

/** Rules are shown by the page of access. */
const withoutRules = ({ access, ...config }: Config): Config => ({
  ...config,
  ...elsewhere,
  ...(access && { access: { ...access, groups: {}, allow: [], deny: [], tests: [] } }),
})

const hidden: ReadonlySet<string> = new Set([
  ...Object.keys(elsewhere),
  'mcpServers',
  ...['groups', 'allow', 'deny', 'tests'].map((key) => `access.${key}`),
])

/** A URL may hold a password, whatever its key is called. */
const withoutPasswords = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1')
  if (Array.isArray(value)) return value.map(withoutPasswords)
  return value
}

const listOf = ({ registry, sources }: SettingsDeps): readonly Setting[] =>
  explainAll(withoutRules(registry.config()), sources?.() ?? {})
    .filter(({ key }) => !hidden.has(key))
    .map(({ key, value, from }) => ({
      key,
      value: withoutPasswords(value ?? null),
      ...(sources && { from }),
    }))

const kidsIn = (body: unknown): readonly string[] => {
  const keys = (body as { readonly keys?: readonly { readonly kid?: string }[] } | null)?.keys
  return Array.isArray(keys) ? keys.flatMap((key: { readonly kid?: string } | null) => key?.kid ?? []) : []
}

/** Whether the public URL leads to this gateway: whoever answers there has its signing keys. */
const probe = async ({ runtime, issuer, signer }: SettingsDeps): Promise<CheckResult> => {
  const url = `${issuer}/oauth/jwks`
  try {
    const { status, body } = await runtime.outbound(url, { origins: [issuer] })
    if (status !== 200) throw new TypeError(`${url} answered ${status}`)
    const own = kidsIn(await signer.jwks())
    return kidsIn(JSON.parse(utf8Text(body))).some((kid) => own.includes(kid))
      ? { ok: true, say: `The gateway reached itself at ${issuer}.` }
      : { ok: false, say: `${issuer} leads to another gateway: it publishes other signing keys.` }
  } catch (error) {
    const reason =
      error instanceof SyntaxError ? `${url} answered with something that is not JSON` : why(error)
    return { ok: false, say: sentence(`The gateway could not reach its public URL: ${reason}`) }
  }
}

export const keysOf = async ({
  signer,
  runtime,
}: {
  readonly signer: Pick<Signer, 'published'>
  readonly runtime: Pick<Runtime, 'now'>
}): Promise<PublishedKeys> => {
  const { keys, nextAt, acceptedMs } = await signer.published()
  const now = runtime.now()
  const signing = keys.findLastIndex(({ signsFrom }) => signsFrom <= now)
  return {
    nextAt,
    keys: keys.map(({ kid, createdAt, signsFrom }, i) => {
      const next = keys[i + 1]
      return {
        id: kid,
        madeAt: createdAt,
        ...(i === signing && { state: 'signs' as const }),
        ...(i > signing && { state: 'next' as const, at: signsFrom }),
        ...(i < signing && { state: 'verifies' as const, at: next && next.signsFrom + acceptedMs }),
      } as PublishedKeys['keys'][number]
    }),
  }
}

export const createSettings = (deps: SettingsDeps): Settings => {
  const { registry, runtime, issuer } = deps
  return {
    list: () => listOf(deps),
    providers: () =>
      Object.entries(registry.config().oauth_providers).map(
        ([id, { name = id, type, redirect_path: path }]) => ({
          id,
          name,
          type,
          redirectUri: `${issuer}${path.replace('{provider}', id)}`,
          testable: type !== 'mock',
        }),
      ),
    keys: () => keysOf(deps),
    rotateKey: (by) => deps.signer.rotate(by),
    async check(key) {
      if (key === 'issuer') return probe(deps)
      const { oauth_providers: providers } = registry.config()
      const id = key.replace(/^oauth_providers\./, '')
      const provider = id !== key && Object.hasOwn(providers, id) ? providers[id] : undefined
      if (!provider || provider.type === 'mock') return undefined
      // What the operator wrote may be anywhere; where the provider's metadata leads to is guarded as in a sign-in.
      const origins = [provider.issuer, provider.token_url ?? []].flat().map((url) => new URL(url).origin)
      const outbound: Outbound = (url, options) => runtime.outbound(url, { ...options, origins })
      return checkProvider({ runtime, outboundTo: () => outbound }, id, provider)
    },
  }
}
