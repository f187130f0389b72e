// Who can sign in: identity providers, people with a password, and whether there is any way in at all.
import type { Draft, Report, Rule } from './draft.ts'
import { isLoopbackUrl, urlOf } from './hosts.ts'

/** Providers that are known by their id. */
export const knownIssuers: Readonly<Record<string, { readonly issuer: string; readonly name: string }>> = {
  google: { issuer: 'https://accounts.google.com', name: 'Google' },
}

/** Identity providers at which anybody in the world may make an account: to be let in by one of them says nothing about a person. */
const openIssuers =
  /^https:\/\/(?:accounts\.google\.com|(?:login\.microsoftonline\.com|sts\.windows\.net)\/(?:common|consumers|organizations|9188040d-6c67-4c5b-b112-36a304b66dad)(?:\/.*)?|gitlab\.com|appleid\.apple\.com|www\.facebook\.com|(?:api\.)?login\.yahoo\.com|www\.linkedin\.com(?:\/oauth)?|id\.twitch\.tv\/oauth2|slack\.com|discord\.com|login\.salesforce\.com|access\.line\.me|www\.paypal\.com|bitbucket\.org|oauth\.telegram\.org|orcid\.org)\/?$/i

/** Whether whoever has an account at the provider, and anybody can have one, gets in. */
const admitsEverybody = (draft: Draft, id: string): boolean => {
  const issuer = draft.text('oauth_providers', id, 'issuer') ?? knownIssuers[id]?.issuer
  return issuer !== undefined && openIssuers.test(urlOf(issuer)?.href ?? '')
}

const providerIssuer = (draft: Draft, report: Report, id: string): void => {
  const path = ['oauth_providers', id, 'issuer']
  if (!draft.has(...path)) {
    if (Object.hasOwn(knownIssuers, id)) return
    const why = id === 'github' ? 'GitHub does not offer OpenID Connect sign-in, and no other protocol is supported' : 'only `google` works without one'
    report.key(['oauth_providers', id], `needs \`issuer\`, the URL below which the provider publishes /.well-known/openid-configuration; ${why}`)
    return
  }
  const issuer = draft.text(...path)
  const url = issuer === undefined ? undefined : urlOf(issuer)
  if (issuer === undefined || !url) return
  if (/[?#]/.test(issuer) || url.username || url.password) report.fault(path, 'must not have a query, a fragment or a password')
  if (url.protocol === 'https:') return
  if (!isLoopbackUrl(issuer)) report.fault(path, 'must use https, because this server decides who users are. On a home network, use a certificate from your own CA: see docs/guide/production.md#on-a-home-network')
  else if (!draft.loopback) report.fault(path, 'must use https: plain http on localhost is allowed only for a gateway on localhost')
}

// What the sign-in itself sets (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
const ownParameters = new Set(['response_type', 'response_mode', 'client_id', 'client_secret', 'redirect_uri', 'scope', 'state', 'nonce', 'code_challenge', 'code_challenge_method', 'request', 'request_uri'])

const allowKeys = ['allowed_emails', 'allowed_domains', 'allowed_groups'] as const
const everybody = '*'
/** Keys of a provider that decide who gets in; one level too deep they would only be sent along. */
const notParameters: ReadonlySet<string> = new Set([...allowKeys, 'groups_claim', 'scopes', 'email_verified'])

const allowLists = (draft: Draft, report: Report, id: string): void => {
  for (const { value, path } of draft.texts('oauth_providers', id, 'allowed_emails')) {
    if (value !== everybody && !/^[^\s@*]+@[^\s@*]+$/.test(value)) report.fault(path, 'must be an email address, or "*" for everyone; list whole domains in allowed_domains')
  }
  for (const { value, path } of draft.texts('oauth_providers', id, 'allowed_domains')) {
    if (value !== everybody && !/^[a-z\d-]+(\.[a-z\d-]+)+$/i.test(value)) report.fault(path, 'must be a domain such as "example.com", without @, or "*" for any domain')
  }
  const listed = allowKeys.some((key) => draft.has('oauth_providers', id, key))
  if (!listed && !draft.loopback && admitsEverybody(draft, id)) {
    report.key(['oauth_providers', id], 'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]')
  }
}

/** To believe any address that anybody wrote into an account of their own is to let everybody in as anybody. */
const trustedAddresses = (draft: Draft, report: Report, id: string): void => {
  const path = ['oauth_providers', id, 'email_verified']
  if (draft.text(...path) !== 'trust' || !admitsEverybody(draft, id)) return
  report.fault(path, 'must not be "trust" for a provider that is open to anyone: users there can claim any email address')
}

/** A subject is unique at its provider alone (OpenID Connect Core §5.7). */
const severalWaysIn: Rule = (draft, report) => {
  const ids = [...draft.keys('oauth_providers'), ...(draft.positions('local_users').length > 0 ? ['local'] : [])]
  const [first = '', second] = ids
  if (second === undefined) return
  report.warn(
    ['oauth_providers'],
    `has several sign-in methods (${ids.join(', ')}) whose user IDs may collide: servers receive provider:subject, for example ${first}:123456. To send the bare subject, set identity.headers`,
  )
}

const providers: Rule = (draft, report) => {
  for (const id of draft.keys('oauth_providers')) {
    const path = ['oauth_providers', id]
    providerIssuer(draft, report, id)
    const scopes = draft.texts(...path, 'scopes')
    if (draft.has(...path, 'scopes') && scopes.length > 0 && !scopes.some(({ value }) => value === 'openid')) report.fault([...path, 'scopes'], 'must include "openid": without it the provider returns no ID token')
    for (const name of draft.keys(...path, 'extra_params')) {
      if (ownParameters.has(name)) report.key([...path, 'extra_params', name], 'cannot be set: the gateway sets this parameter itself')
      else if (notParameters.has(name)) report.key([...path, 'extra_params', name], `is a provider setting, not a parameter: move it to oauth_providers.${id}.${name}`)
    }
    allowLists(draft, report, id)
    trustedAddresses(draft, report, id)
  }
}

const commonPasswords = /^(password|passw0rd|changeme|change-me|change_me|administrator|admin|letmein|welcome|qwertz|qwerty|secret|12345678)[\d!]*$/i

/** What is wrong with a password that somebody chose; undefined when nothing is. */
export const passwordFault = (password: string, username = ''): string | undefined => {
  if (password.length < 8) return 'must be at least 8 characters long'
  if (password.length > 1000) return 'must be at most 1000 characters long'
  if (commonPasswords.test(password) || new Set(password).size < 3) return 'is too common: choose another'
  return username !== '' && password.toLowerCase() === username.toLowerCase() ? 'must differ from the username' : undefined
}

const localUsers: Rule = (draft, report) => {
  const names = new Map<string, number>()
  for (const at of draft.positions('local_users')) {
    const path = ['local_users', at]
    const name = draft.text(...path, 'username')
    const [plain, hashed] = [draft.has(...path, 'password'), draft.has(...path, 'password_hash')]
    if (plain === hashed) report.key(path, plain ? 'has both password and password_hash: keep one, preferably password_hash' : 'needs password_hash (see `postern hash-password`) or password')
    const password = draft.text(...path, 'password')
    const wrong = password === undefined ? undefined : passwordFault(password, name)
    if (wrong) report.fault([...path, 'password'], wrong)
    if (name === undefined) continue
    if (name.trim() !== name || /[\u0000-\u001f\u007f]/.test(name)) report.fault([...path, 'username'], 'must not start or end with a space or contain control characters')
    const key = name.normalize('NFKC').toLowerCase()
    if (names.has(key)) report.fault([...path, 'username'], `is already the username of local_users[${names.get(key) as number}] (usernames are case-insensitive)`)
    else names.set(key, at)
  }
}

/** The built-in person signs in with a link from the terminal, on this computer only; a public gateway needs somebody real. */
const aWayIn: Rule = (draft, report) => {
  if (draft.loopback || draft.keys('oauth_providers').length > 0 || draft.positions('local_users').length > 0) return
  if (draft.has('issuer') && draft.text('issuer') === undefined) return
  if (['oauth_providers', 'local_users'].some((key) => draft.misspelt(key))) return
  const services = draft.keys('mcp_services')
  const open = services.length > 0 && services.every((id) => draft.has('mcp_services', id, 'auth_required') && !draft.flag('mcp_services', id, 'auth_required'))
  if (!open) report.fault(draft.has('issuer') ? ['issuer'] : ['host'], 'is public, but no sign-in method is configured: add oauth_providers or local_users (the built-in user exists on localhost only)')
}

export const peopleRules: readonly Rule[] = [providers, severalWaysIn, localUsers, aWayIn]
