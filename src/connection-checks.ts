// Checks every server that a configuration names, once: identity providers, MCP servers, authorization
// servers, key sets. Each result is one sentence.
import { isOpenId } from './config/providers.ts'
import type { Config } from './config/schema.ts'
import { reasonOf, createProviderMetadata, guardedFetch } from './identity/providers/openid-requests.ts'
import { utf8Text } from './kit/bytes.ts'
import { Refusal, type RefusalCode } from './kit/refusal.ts'
import { createIssuerKeys } from './oauth/issuer-keys.ts'
import type { Outbound, Runtime } from './ports/runtime.ts'
import { callStdio } from './proxy/fetch.ts'
import { commandUrl, createDryRun, withPath } from './services/from-config.ts'
import type { ProbeStep } from './services/probe-steps.ts'
import { probeServer } from './services/probe.ts'
import { createBridges } from './stdio/bridge.ts'

export interface Check {
  /** The configuration key whose value was checked. */
  readonly key: string
  readonly ok: boolean
  /** One sentence. */
  readonly say: string
  /** Of the error that pages, answers and the log have for it. */
  readonly refusal?: RefusalCode
}

type Service = Config['mcp_services'][string]
type Provider = Config['oauth_providers'][string]

interface ProviderCheckDeps {
  readonly runtime: Pick<Runtime, 'now'>
  /** Reaches these URLs on any network, because the operator wrote them. */
  readonly outboundTo: (...urls: readonly string[]) => Outbound
}

export interface CheckDeps extends ProviderCheckDeps {
  readonly runtime: Runtime
}

/** With a full stop. */
export const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`)

/** Why something failed, without the codes before the reason of a refusal. */
export const why = (error: unknown): string =>
  (error instanceof Refusal ? error.why : error instanceof Error ? error.message : String(error)).replace(
    /^(?:[a-z-]+\.[a-z-]+: )+/,
    '',
  )

const countKeys = async (uri: string, outbound: Outbound): Promise<number> => {
  const { status, body } = await outbound(uri)
  if (status !== 200) throw new TypeError(`${uri} answered ${status}`)
  const { keys } = JSON.parse(utf8Text(body)) as { readonly keys?: unknown }
  if (!Array.isArray(keys) || keys.length === 0) throw new TypeError(`${uri} contains no keys`)
  return keys.length
}

/** Without metadata to read. Whatever it answers, it is there: what a client may do shows when somebody signs in. */
const checkServer = async (
  { outboundTo }: ProviderCheckDeps,
  id: string,
  { issuer, token_url: token }: Provider,
): Promise<Check> => {
  const { origin } = new URL(token ?? issuer)
  const key = `oauth_providers.${id}`
  try {
    const { status } = await outboundTo(origin)(`${origin}/`, { headOnly: true })
    if (status >= 500) throw new TypeError(`it answered ${status}`)
    return { key, ok: true, say: `${origin} answers.` }
  } catch (error) {
    const say = sentence(`${origin} cannot be used for sign-in: ${why(error)}`)
    return { key, ok: false, say, refusal: 'provider.unreachable' }
  }
}

const checkOpenId = async (
  { runtime: { now }, outboundTo }: ProviderCheckDeps,
  id: string,
  { type, issuer, scopes }: Provider,
): Promise<Check> => {
  const key = `oauth_providers.${id}`
  try {
    const outbound = outboundTo(issuer)
    const as = await createProviderMetadata({ type, issuer }, now).get(guardedFetch(outbound, now, issuer))
    if (
      as.authorization_endpoint === undefined ||
      as.token_endpoint === undefined ||
      as.jwks_uri === undefined
    )
      throw new TypeError('its metadata has no authorization_endpoint, token_endpoint or jwks_uri')
    const keys = await countKeys(as.jwks_uri, outboundTo(issuer, as.jwks_uri))
    const offered = as.scopes_supported
    const unknown = offered ? scopes.filter((scope) => !offered.includes(scope)) : []
    const unlisted =
      unknown.length > 0
        ? ` Its metadata does not list the scope${unknown.length > 1 ? 's' : ''} ${unknown.join(', ')}.`
        : ''
    return {
      key,
      ok: true,
      say: `${issuer} publishes metadata and ${keys} key${keys === 1 ? '' : 's'}.${unlisted}`,
    }
  } catch (error) {
    const [refusal, failure] =
      error instanceof Refusal || !(error instanceof TypeError)
        ? reasonOf(error, 'metadata')
        : (['provider.untrusted', why(error)] as const)
    const say = sentence(`${issuer} cannot be used for sign-in: ${failure}`)
    return { key: `${key}.issuer`, ok: false, say, refusal }
  }
}

/** Whether an identity provider that is no mock can be used for sign-in. */
export const checkProvider = (deps: ProviderCheckDeps, id: string, provider: Provider): Promise<Check> =>
  (isOpenId(provider.type) ? checkOpenId : checkServer)(deps, id, provider)

const fixedHeaders = ({
  upstream_auth: { type, token, headers },
}: Service): Readonly<Record<string, string>> | undefined =>
  type === 'static'
    ? { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers }
    : undefined

/** An outbound that adds the headers of the service and remembers why the last request failed. */
const recordFailure = (
  outbound: Outbound,
  headers: Readonly<Record<string, string>> = {},
): { readonly outbound: Outbound; readonly failure: () => string | undefined } => {
  let failure: string | undefined
  return {
    outbound: (url, options = {}) =>
      outbound(url, { ...options, headers: { ...options.headers, ...headers } }).catch((error: unknown) => {
        failure = why(error)
        throw error
      }),
    failure: () => failure,
  }
}

/** The steps of a probe as one sentence. */
const verdict = (steps: readonly ProbeStep[], service: Service): Omit<Check, 'key'> => {
  const bad = steps.find(({ step, result }) => (step === 'reachable' || step === 'mcp') && result === 'no')
  if (bad)
    return {
      ok: false,
      say: bad.say,
      refusal: bad.refusal ?? (bad.step === 'reachable' ? 'upstream.unreachable' : 'upstream.answer'),
    }
  const refusal = 'upstream.credential'
  const needsToken = steps.find(({ step, result }) => step === 'authorization' && result === 'yes')
  const { type } = service.upstream_auth
  if (needsToken && type === 'static')
    return { ok: false, say: 'The server rejects the token or headers in `upstream_auth`.', refusal }
  if (needsToken && type === 'none')
    return { ok: false, say: 'The server requires a token, but `upstream_auth.type` is none.', refusal }
  if (needsToken)
    return {
      ok: true,
      say:
        type === 'auto'
          ? needsToken.say
          : `The server requires a token; \`upstream_auth\` (${type}) provides it.`,
    }
  return {
    ok: true,
    say: steps
      .filter(({ step }) => step === 'mcp' || step === 'tools')
      .map(({ say }) => say)
      .join(' '),
  }
}

const checkUrl = async (
  { runtime, outboundTo }: CheckDeps,
  id: string,
  service: Service & { readonly url: string },
): Promise<Check> => {
  const url = withPath(service.url, service.transport)
  const key = `mcp_services.${id}.url`
  const { outbound, failure } = recordFailure(outboundTo(url.replace(/^ws/, 'http')), fixedHeaders(service))
  const steps = await probeServer(
    url,
    { outbound, transports: runtime.transports, timer: runtime.timer },
    () => undefined,
  )
  const found = verdict(steps, service)
  const reason = found.ok ? undefined : failure()
  return { key, ...found, say: `${url}: ${found.say}${reason === undefined ? '' : ` (${reason})`}` }
}

const checkCommand = async ({ runtime }: CheckDeps, id: string, service: Service): Promise<Check> => {
  const bridges = createBridges(runtime, 15_000)
  const { outbound, end } = createDryRun(bridges, callStdio)(id, service)
  try {
    const steps = await probeServer(commandUrl, { outbound, timer: runtime.timer }, () => undefined)
    const { ok, say } = verdict(steps, service)
    const failure = steps.find(({ result }) => result === 'no')
      ? bridges.all().flatMap(({ failures }) => failures())[0]
      : undefined
    return {
      key: `mcp_services.${id}.command`,
      ok,
      say: failure === undefined ? say : `${say} ${sentence(failure.why)}`,
      ...(!ok && { refusal: 'process.ended' as const }),
    }
  } finally {
    end()
    await bridges.close(0)
  }
}

/** The authorization server that the configuration names for a service. */
const checkIssuer = async ({ outboundTo }: CheckDeps, id: string, issuer: string): Promise<Check> => {
  const key = `mcp_services.${id}.upstream_auth.issuer`
  const url = new URL(issuer)
  const path = url.pathname.replace(/\/$/, '')
  const metadataUrls = [
    `${url.origin}/.well-known/oauth-authorization-server${path}`,
    `${url.origin}/.well-known/openid-configuration${path}`,
    `${url.origin}${path}/.well-known/openid-configuration`,
  ]
  let last = 'no request was made'
  for (const metadataUrl of new Set(metadataUrls)) {
    try {
      const { status } = await outboundTo(issuer)(metadataUrl, { headers: { accept: 'application/json' } })
      if (status === 200) return { key, ok: true, say: `${issuer} publishes metadata.` }
      last = `${metadataUrl} answered ${status}`
    } catch (error) {
      last = why(error)
    }
  }
  const say = sentence(`${issuer} publishes no metadata: ${last}`)
  return { key, ok: false, say, refusal: 'connection.unreachable' }
}

const checkKeys = async ({ outboundTo }: CheckDeps, id: string, uri: string): Promise<Check> => {
  const key = `clients.${id}.jwks_uri`
  try {
    return { key, ok: true, say: `${uri} contains ${await countKeys(uri, outboundTo(uri))} keys.` }
  } catch (error) {
    return { key, ok: false, say: sentence(`${uri} cannot be used: ${why(error)}`) }
  }
}

/** As the gateway itself finds the keys, so that what it is not allowed to reach is not reached here either. */
const checkAssertionIssuer = async (
  { runtime }: Pick<CheckDeps, 'runtime'>,
  id: string,
  entry: Config['assertion_issuers'][string],
): Promise<Check> => {
  const key = `assertion_issuers.${id}`
  const named = entry.issuer ?? entry.jwks_uri ?? id
  try {
    const { keys } = await createIssuerKeys({ runtime }).of(id, entry)
    if (keys.length === 0) throw new TypeError('it has no public key that can be used')
    return { key, ok: true, say: `${named} has ${keys.length} key${keys.length === 1 ? '' : 's'}.` }
  } catch (error) {
    const say = sentence(`No assertion of ${named} can be verified: ${why(error)}`)
    return { key, ok: false, say, refusal: 'assertion.keys-unreachable' }
  }
}

/**
 * Checks in the order of the configuration and reports each result as it is known. Each command is started
 * once and ended.
 */
export const checkConnections = async (
  config: Config,
  deps: CheckDeps,
  onCheck: (check: Check) => void,
): Promise<readonly Check[]> => {
  const checks: Check[] = []
  const say = (check: Check): void => {
    checks.push(check)
    onCheck(check)
  }
  for (const [id, provider] of Object.entries(config.oauth_providers))
    if (provider.type !== 'mock') say(await checkProvider(deps, id, provider))
  for (const [id, service] of Object.entries(config.mcp_services)) {
    const { url, upstream_auth: auth } = service
    say(
      url === undefined
        ? await checkCommand(deps, id, service)
        : await checkUrl(deps, id, { ...service, url }),
    )
    if (auth.issuer !== undefined) say(await checkIssuer(deps, id, auth.issuer))
  }
  for (const [id, { jwks_uri: uri }] of Object.entries(config.clients))
    if (uri !== undefined) say(await checkKeys(deps, id, uri))
  for (const [id, entry] of Object.entries(config.assertion_issuers))
    say(await checkAssertionIssuer(deps, id, entry))
  return checks
}
