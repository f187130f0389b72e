// From the claims of an OpenID provider to a person, and whether the operator's rules let that person in.
import type { Config } from '../../config/schema.ts'
import type { Person } from '../../ports/people.ts'
import type { Bar } from '../provider.ts'

export type Claims = Readonly<Record<string, unknown>>
type Rules = Pick<Config['oauth_providers'][string], 'allowed_emails' | 'allowed_domains' | 'allowed_groups'>

const most = { text: 256, groups: 500, url: 2048 } as const

const short = (value: unknown, length: number = most.text): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= length && !/\p{Cc}/u.test(value) ? value : undefined

/** Plain addresses only: one `@`, no quotes, no space. What needs more to be read could be read in two ways. */
const plainEmail = (value: unknown): string | undefined => {
  const email = short(value, 254)
  return email && /^[^@\s"(),:;<>[\\\]]+@[^@\s"(),:;<>[\\\]]+$/.test(email) ? email : undefined
}

// Some providers send the boolean as text; nothing else means yes (OpenID Connect Core §5.1).
const verified = (claims: Claims): boolean => claims['email_verified'] === true || claims['email_verified'] === 'true'

const groupsOf = (value: unknown): readonly string[] => {
  const list = Array.isArray(value) ? value : [value]
  return [...new Set(list.map((entry) => short(entry)).filter((entry) => entry !== undefined))].slice(0, most.groups)
}

const httpsUrl = (value: unknown): string | undefined => {
  const url = short(value, most.url)
  return url && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : undefined
}

/** `claims` as validated by the caller; `sub` is checked there (OpenID Connect Core §5.7: issuer and `sub` are the only key). */
export const personFrom = (claims: Claims, provider: string, groupsClaim: string): Person => {
  const email = verified(claims) ? plainEmail(claims['email']) : undefined
  const login = short(claims['preferred_username'])
  const name = short(claims['name'])
  const avatar = httpsUrl(claims['picture'])
  return {
    provider,
    subject: claims['sub'] as string,
    groups: groupsOf(claims[groupsClaim]),
    ...(login ? { login } : {}),
    ...(email ? { email } : {}),
    ...(name ? { name } : {}),
    ...(avatar ? { avatar } : {}),
  }
}

// Beyond ASCII, lower-casing maps different letters onto one (U+212A becomes k): such text equals only itself.
const folded = (text: string): string => (/^[\x21-\x7E]+$/.test(text) ? text.toLowerCase() : text)

/** What keeps a person out; undefined when nothing does. Every rule that is written must hold, and an empty list admits nobody. */
export const barOf = (person: Person, rules: Rules): Bar | undefined => {
  const email = person.email === undefined ? undefined : folded(person.email)
  const emails = rules.allowed_emails?.map(folded)
  if (emails && !emails.includes('*') && (email === undefined || !emails.includes(email)))
    return { why: 'not in allowed_emails', hint: email === undefined ? 'Accounts with a verified e-mail address.' : 'Accounts on a list that the operator keeps.' }
  const domains = rules.allowed_domains?.map(folded)
  if (domains && !domains.includes('*') && (email === undefined || !domains.includes(email.slice(email.indexOf('@') + 1))))
    return { why: 'not in allowed_domains', hint: `Accounts with a verified e-mail address at ${rules.allowed_domains?.join(', ')}.` }
  if (rules.allowed_groups && !rules.allowed_groups.some((group) => group === '*' || person.groups.includes(group)))
    return { why: 'in none of allowed_groups', hint: 'Members of certain groups.' }
  return undefined
}
