// Who can sign in: people with a password, whether there is any way in at all; and clients and secrets.
import { judgeRedirectUri } from '../../kit/urls.ts'
import { isLoopbackHost } from '../../kit/addresses.ts'
import { type Path, keyText } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'
import { providerRules } from './providers.ts'

const commonPasswords =
  /^(password|passw0rd|changeme|change-me|change_me|administrator|admin|letmein|welcome|qwertz|qwerty|secret|12345678)[\d!]*$/i

/** What is wrong with a password that somebody chose; undefined when nothing is. */
export const passwordFault = (password: string, username = ''): string | undefined => {
  if (password.length < 8) return 'must be at least 8 characters long'
  if (password.length > 1000) return 'must be at most 1000 characters long'
  if (commonPasswords.test(password) || new Set(password).size < 3) return 'is too common: choose another'
  return username !== '' && password.toLowerCase() === username.toLowerCase()
    ? 'must differ from the username'
    : undefined
}

const localUsers: Rule = (draft, report) => {
  const names = new Map<string, number>()
  for (const at of draft.positions('local_users')) {
    const path = ['local_users', at]
    const name = draft.text(...path, 'username')
    const [plain, hashed] = [draft.has(...path, 'password'), draft.has(...path, 'password_hash')]
    if (plain === hashed)
      report.key(
        path,
        plain
          ? 'has both password and password_hash: keep one, preferably password_hash'
          : 'needs password_hash (see `postern hash-password`) or password',
      )
    const password = draft.text(...path, 'password')
    const wrong = password === undefined ? undefined : passwordFault(password, name)
    if (wrong) report.fault([...path, 'password'], wrong)
    if (name === undefined) continue
    if (name.trim() !== name || /[\u0000-\u001f\u007f]/.test(name))
      report.fault([...path, 'username'], 'must not start or end with a space or contain control characters')
    const key = name.normalize('NFKC').toLowerCase()
    if (names.has(key))
      report.fault(
        [...path, 'username'],
        `is already the username of local_users[${names.get(key) as number}] (usernames are case-insensitive)`,
      )
    else names.set(key, at)
  }
}

/**
 * The built-in person signs in with a link from the terminal, on this computer only; a public gateway needs
 * somebody real.
 */
const aWayIn: Rule = (draft, report) => {
  if (draft.loopback || draft.keys('oauth_providers').length > 0 || draft.positions('local_users').length > 0)
    return
  if (draft.has('issuer') && draft.text('issuer') === undefined) return
  if (['oauth_providers', 'local_users'].some((key) => draft.misspelt(key))) return
  const services = draft.keys('mcp_services')
  const open =
    services.length > 0 &&
    services.every(
      (id) =>
        draft.has('mcp_services', id, 'auth_required') && !draft.flag('mcp_services', id, 'auth_required'),
    )
  if (!open)
    report.fault(
      draft.has('issuer') ? ['issuer'] : ['host'],
      'is public, but no sign-in method is configured: add oauth_providers or local_users (the built-in user exists on localhost only)',
    )
}

export const peopleRules: readonly Rule[] = [...providerRules, localUsers, aWayIn]

// Pre-registered OAuth clients: what the registration endpoint would refuse is refused here too.

const scripts = /^(javascript|data|vbscript|file|blob|about|view-source|filesystem|ws|wss|ftp):/i

const redirect = (value: string): string | undefined => {
  const url = URL.parse(value)
  if (!url || value.trim() !== value)
    return 'must be an absolute URI, e.g. "https://app.example.com/callback"'
  if (value.includes('*')) return 'must be exact: wildcards are not supported'
  if (value.includes('#')) return 'must not have a fragment (RFC 6749 §3.1.2)'
  if (scripts.test(value)) return 'has a scheme that cannot be used for a redirect'
  if (url.username || url.password) return 'must not contain a username or password'
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    return 'must use https; http is allowed only for localhost, 127.0.0.1 and [::1]. On a home network, serve the app over https with a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network'
  // What is left is judged as every request is: one that it could never match would be found out by the first
  // person who signs in.
  return judgeRedirectUri(value) === undefined
    ? 'is not a valid redirect URI: use https, http on localhost, 127.0.0.1 or [::1], or an app scheme such as com.example.app:/callback, in ASCII and in normalized form'
    : undefined
}

/** Whether the client has a secret exactly where its authentication method uses one. */
const clientSecret = (draft: RawConfig, report: Report, id: string, method: string): void => {
  const path = ['clients', id]
  const secret = draft.has(...path, 'client_secret')
  if (method.startsWith('client_secret') && !secret)
    report.key(path, `needs client_secret, because token_endpoint_auth_method is ${method}`)
  if (method === 'none' && secret)
    report.key(
      [...path, 'client_secret'],
      'has no effect while token_endpoint_auth_method is none: set it to client_secret_basic or client_secret_post, or remove the secret',
    )
  if (method === 'private_key_jwt' && secret)
    report.key(
      [...path, 'client_secret'],
      'has no effect while token_endpoint_auth_method is private_key_jwt: remove it',
    )
}

/** Whether the client has public keys exactly where its authentication method uses them. */
const clientKeys = (draft: RawConfig, report: Report, id: string, method: string): void => {
  const path = ['clients', id]
  const [uri, keys] = [draft.has(...path, 'jwks_uri'), draft.has(...path, 'jwks')]
  if (method === 'private_key_jwt' && uri === keys)
    report.key(
      path,
      uri
        ? 'has both jwks_uri and jwks: keep one'
        : 'needs jwks_uri or jwks, because token_endpoint_auth_method is private_key_jwt',
    )
  if (method !== '' && method !== 'private_key_jwt' && (uri || keys))
    report.key(
      [...path, uri ? 'jwks_uri' : 'jwks'],
      `has no effect while token_endpoint_auth_method is ${method}: set it to private_key_jwt, or remove this key`,
    )
}

const noPrivateKeys = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['clients', id]
  for (const at of draft.positions(...path, 'jwks', 'keys')) {
    // RFC 7518 §6: d is the private part of EC, OKP and RSA keys, k a symmetric key.
    for (const part of ['d', 'k'])
      if (draft.has(...path, 'jwks', 'keys', at, part))
        report.key(
          [...path, 'jwks', 'keys', at, part],
          'is part of a private key: list public keys only, and replace this key, because it is now exposed',
        )
  }
}

const clients: Rule = (draft, report) => {
  for (const id of draft.keys('clients')) {
    for (const { value, path } of draft.texts('clients', id, 'redirect_uris')) {
      const wrong = redirect(value)
      if (wrong) report.fault(path, wrong)
    }
    const method = draft.text('clients', id, 'token_endpoint_auth_method') ?? ''
    clientSecret(draft, report, id, method)
    clientKeys(draft, report, id, method)
    noPrivateKeys(draft, report, id)
  }
}

export const clientRules: readonly Rule[] = [clients]

// Secrets that protect nothing: sample text, short ones, one secret for two purposes.

// Words of sample secrets in documents, ours and other people's. Long enough that a random secret does not
// hold one by chance.
const samples =
  /change.?(me|in.?prod|this|it)|your.(jwt|dev|own|secret|session|random|super|key|client|password)|replace.?(me|this)|example|sample|placeholder|insert.?(your|here)|super.?secret|secret.?key|dev.?secret|my.?secret|test.?secret|production.?secret|at.?least.?32|random.?string|development|0123456789|abcdefghij|password|<.*>/i

const cure =
  'set a random value (openssl rand -base64 32), or remove it to use a key generated in the state directory'
const workersCure = 'set a random value (openssl rand -hex 32 | npx wrangler secret put SESSION_SECRET)'

/** Why a secret of ours is worth nothing, undefined when nothing speaks against it. */
export const weakness = (secret: string): string | undefined => {
  if (secret.length < 32) return 'is shorter than 32 characters'
  if (samples.test(secret)) return 'is a sample value from public documentation'
  return new Set(secret).size < 8 ? 'repeats a few characters and is easy to guess' : undefined
}

/**
 * A weak root secret in a development configuration is set aside and a generated one used; everywhere else it
 * is a fault, and so it is on Workers, which generate none.
 */
export const setsRootAside = (draft: Pick<RawConfig, 'text' | 'flag' | 'loopback' | 'workers'>): boolean => {
  const root = draft.text('session_secret')
  return (
    root !== undefined &&
    weakness(root) !== undefined &&
    !draft.workers &&
    draft.flag('debug') &&
    draft.loopback
  )
}

const root: Rule = (draft, report) => {
  const secret = draft.text('session_secret')
  const weak = secret === undefined ? undefined : weakness(secret)
  if (!weak) return
  if (setsRootAside(draft))
    report.warn(
      ['session_secret'],
      `${weak}; it is ignored because of debug: true on localhost, and a generated key is used instead`,
    )
  else report.fault(['session_secret'], `${weak}: ${draft.workers ? workersCure : cure}`)
}

const sealing: Rule = (draft, report) => {
  const secret = draft.text('token_encryption_key')
  const weak = secret === undefined ? undefined : weakness(secret)
  if (weak)
    report.fault(
      ['token_encryption_key'],
      `${weak}: set a random value (openssl rand -hex 32), or remove it to encrypt with session_secret`,
    )
}

const previous: Rule = (draft, report) => {
  for (const { value, path } of draft.texts('previous_secrets')) {
    const weak = weakness(value)
    // What a known secret opens, anybody can have sealed.
    if (weak) report.fault(path, `${weak}: remove it`)
  }
}

const clientSecrets: Rule = (draft, report) => {
  for (const id of draft.keys('clients')) {
    const path = ['clients', id, 'client_secret']
    const weak = weakness(draft.text(...path) ?? 'x8Qm2Zr7Lk4Wv9Tn3Bc6Yh1Jd5Gf0PsEu')
    if (weak) report.fault(path, `${weak}: set a random value (openssl rand -base64 32)`)
  }
}

const rootKeys = new Set<unknown>(['session_secret', 'token_encryption_key', 'previous_secrets'])

/** One secret, one purpose: whoever learns a password or a client's secret must not hold the root with it. */
const onePurpose: Rule = (draft, report) => {
  const first = new Map<string, Path>()
  const roots = draft.secrets().filter(({ path }) => rootKeys.has(path[0]))
  for (const { value, path } of [
    ...roots,
    ...draft.secrets().filter((secret) => !roots.some((known) => known.path === secret.path)),
  ]) {
    const before = first.get(value)
    const isRoot = rootKeys.has(path[0])
    if (before)
      report.fault(path, `has the same value as ${keyText(before)}: use a different secret for each purpose`)
    else if (isRoot) first.set(value, path)
  }
}

export const secretRules: readonly Rule[] = [root, sealing, previous, clientSecrets, onePurpose]
