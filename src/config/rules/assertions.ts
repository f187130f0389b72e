// Issuers of assertions: which keys go together, what they name, and that no entry lets in more than one reads in it.
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { isOriginPattern } from '../../kit/http.ts'
import { didYouMean } from '../shape.ts'
import { type Path, printable } from '../tree.ts'
import { hasRules } from './access.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

/** Keys of one type; the others belong to both. */
const own: Readonly<Record<string, readonly string[]>> = {
  id_jag: [
    'provider',
    'clients',
    'services',
    'permissions',
    'subject',
    'tenant',
    'aud_tenant',
    'accounts',
    'actors',
  ],
  workload: ['trust_domain', 'audience', 'audiences', 'replay', 'rules'],
}

const belongs = (draft: RawConfig, report: Report, path: Path, type: string): void => {
  for (const key of draft.keys(...path)) {
    const other = Object.keys(own).find((name) => name !== type && own[name]?.includes(key))
    if (other !== undefined)
      report.key([...path, key], `cannot be used with type: ${printable(type)}; it is for ${other}`)
  }
}

const url = (draft: RawConfig, report: Report, at: Path): void => {
  const parsed = URL.parse(draft.text(...at) ?? '')
  if (!parsed) return
  if (parsed.username || parsed.password || parsed.hash)
    report.fault(at, 'must not contain a username, a password or a fragment')
  if (parsed.protocol === 'http:' && !isLoopbackUrl(parsed.href))
    report.fault(at, 'must use https: whoever stands between could exchange the keys')
}

const keys = (draft: RawConfig, report: Report, path: Path): void => {
  const has = (key: string): boolean => draft.has(...path, key)
  if (has('jwks') && has('jwks_uri')) report.key(path, 'has both jwks_uri and jwks: keep one')
  if (!has('issuer') && has('trust_domain') && !has('jwks') && !has('jwks_uri'))
    report.key(path, 'needs jwks_uri, jwks or issuer, by which the keys are found')
  for (const at of draft.positions(...path, 'jwks', 'keys'))
    for (const part of ['d', 'k'])
      if (draft.has(...path, 'jwks', 'keys', at, part))
        report.key(
          [...path, 'jwks', 'keys', at, part],
          'is part of a private key: list public keys only, and replace this key, because it is now exposed',
        )
  for (const { value, path: here } of draft.texts(...path, 'allow_origins'))
    if (!isOriginPattern(value)) report.fault(here, 'must be an origin such as "https://auth.example.com"')
}

const needs = (draft: RawConfig, report: Report, path: Path, key: string, why: string): boolean => {
  if (draft.has(...path, key)) return true
  if (!draft.misspelt(...path, key)) report.key(path, `needs ${key}, ${why}`)
  return false
}

const callers = (draft: RawConfig, report: Report, path: Path): void => {
  needs(draft, report, path, 'clients', 'because an ID-JAG is for one client')
  const known = draft.keys('clients')
  for (const { value, path: here } of draft.texts(...path, 'clients')) {
    if (known.includes(value)) {
      if (draft.text('clients', value, 'token_endpoint_auth_method') === 'none')
        report.fault(
          here,
          `names "${printable(value)}", which does not authenticate: set its token_endpoint_auth_method to client_secret_basic, client_secret_post or private_key_jwt`,
        )
    } else if (!value.startsWith('https://'))
      report.fault(here, `names "${printable(value)}", which is not in clients${didYouMean(value, known)}`)
  }
}

const idJag = (draft: RawConfig, report: Report, path: Path): void => {
  needs(draft, report, path, 'issuer', 'the `iss` of its assertions')
  callers(draft, report, path)
  if (
    needs(draft, report, path, 'provider', 'the entry of oauth_providers by which the same users sign in')
  ) {
    const named = draft.text(...path, 'provider')
    const known = draft.keys('oauth_providers')
    if (named !== undefined && !known.includes(named))
      report.fault(
        [...path, 'provider'],
        `names "${printable(named)}", which is not in oauth_providers${didYouMean(named, known)}`,
      )
  }
  const services = draft.keys('mcp_services')
  for (const { value, path: here } of draft.texts(...path, 'services'))
    if (value !== '*' && !services.includes(value))
      // It may be added while the gateway runs.
      report.warn(
        here,
        `names "${printable(value)}", which is not in mcp_services${didYouMean(value, services)}`,
      )
  if (!hasRules(draft) && draft.has(...path, 'permissions'))
    report.key(
      [...path, 'permissions'],
      'cannot be enforced without access rules, which say what each tool needs: add `access`, or remove this key',
    )
}

/** What a claim must be; undefined when nothing is wrong with it. */
const pattern = (value: string): string | undefined => {
  if (!value.includes('*')) return undefined
  // `main*` is also main-evil, `acme*` is also acme-evil.
  return /[\p{L}\p{N}]\*(?:$|[/:])/u.test(value)
    ? 'must not end a part of the value with * right after a letter or a digit, because it also matches every longer name: write the whole name, or end the fixed text with a separator'
    : undefined
}

/** Claims that every assertion of the issuer for this gateway has. */
const saysNothing = new Set(['iss', 'aud', 'exp', 'iat', 'nbf', 'jti'])

const workloadRule = (draft: RawConfig, report: Report, path: Path): void => {
  const claims = draft.keys(...path, 'claims')
  for (const name of claims) {
    const wrong = pattern(draft.text(...path, 'claims', name) ?? '')
    if (wrong) report.fault([...path, 'claims', name], wrong)
  }
  const pins = claims.some(
    (name) => !saysNothing.has(name) && !/^[*/:]*$/.test(draft.text(...path, 'claims', name) ?? ''),
  )
  if (!pins && !draft.lost(...path, 'claims'))
    report.key(
      path,
      'must pin a claim that tells one program from another: without it, everybody’s programs at this issuer may get tokens',
    )
  const named = draft.text(...path, 'service_account')
  const known = draft.keys('service_accounts')
  if (named !== undefined && !known.includes(named) && !draft.misspelt('service_accounts'))
    report.fault(
      [...path, 'service_account'],
      `names "${printable(named)}", which is not in service_accounts${didYouMean(named, known)}`,
    )
}

const workload = (draft: RawConfig, report: Report, path: Path): void => {
  if (!draft.has(...path, 'trust_domain')) needs(draft, report, path, 'issuer', 'the `iss` of its assertions')
  if (needs(draft, report, path, 'rules', 'which programs may get tokens'))
    for (const at of draft.positions(...path, 'rules')) workloadRule(draft, report, [...path, 'rules', at])
}

/**
 * Subjects are unique within one tenant: two tenants of an issuer that share a provider could name one person by the
 * same subject.
 */
const tenants = (draft: RawConfig, report: Report): void => {
  const seen = new Map<string, string>()
  for (const id of draft.keys('assertion_issuers')) {
    const [issuer, provider] = ['issuer', 'provider'].map((key) => draft.text('assertion_issuers', id, key))
    if (issuer === undefined || provider === undefined) continue
    const key = JSON.stringify([issuer, provider])
    const before = seen.get(key)
    const tenantOf = (entry: string) => draft.text('assertion_issuers', entry, 'tenant')
    if (before !== undefined && tenantOf(before) !== tenantOf(id))
      report.fault(
        ['assertion_issuers', id, 'provider'],
        `is also that of assertion_issuers.${before}, which is another tenant of this issuer: give each tenant an entry of oauth_providers of its own, or a user of one could be taken for a user of the other`,
      )
    seen.set(key, before ?? id)
  }
}

/** One assertion must lead to one entry. */
const unique = (draft: RawConfig, report: Report): void => {
  const seen = new Map<string, string>()
  for (const id of draft.keys('assertion_issuers')) {
    const path = ['assertion_issuers', id]
    const [type, issuer, tenant, domain] = ['type', 'issuer', 'tenant', 'trust_domain'].map((key) =>
      draft.text(...path, key),
    )
    if (type === undefined || (issuer === undefined && domain === undefined)) continue
    const key = JSON.stringify(domain === undefined ? [type, issuer, tenant] : [type, domain])
    const before = seen.get(key)
    if (before !== undefined)
      report.key(
        path,
        `has the same issuer, type and tenant as assertion_issuers.${before}: keep one of them`,
      )
    seen.set(key, id)
  }
}

const issuers: Rule = (draft, report) => {
  const self = draft.text('issuer')?.replace(/\/$/, '')
  for (const id of draft.keys('assertion_issuers')) {
    const path = ['assertion_issuers', id]
    const type = draft.text(...path, 'type')
    if (self !== undefined && draft.text(...path, 'issuer')?.replace(/\/$/, '') === self)
      report.fault(
        [...path, 'issuer'],
        'is this gateway, whose tokens must never become other tokens: remove it',
      )
    url(draft, report, [...path, 'issuer'])
    url(draft, report, [...path, 'jwks_uri'])
    keys(draft, report, path)
    if (type === undefined) continue
    belongs(draft, report, path, type)
    if (type === 'id_jag') idJag(draft, report, path)
    else workload(draft, report, path)
  }
  unique(draft, report)
  tenants(draft, report)
}

export const assertionRules: readonly Rule[] = [issuers]
