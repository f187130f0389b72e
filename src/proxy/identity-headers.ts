// What the server behind the gateway learns of the caller: headers by preset, a free map, and a signed
// assertion.
import { encodeBase64, utf8 } from '../kit/bytes.ts'
import type { Config } from '../config/schema.ts'
import { actClaim, serviceAccounts } from '../kit/records.ts'
import type { Signer } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { CallerContext, Service } from '../ports/services.ts'
import { normalName } from './inbound-request.ts'

// How a person's data becomes a header value: printable ASCII, bounded, one value never mistaken for two
// (docs/reference/headers.md).

/** Bytes of an RFC 8187 §3.2.1 attr-char: everything else is percent-encoded. */
const attrChar = /[A-Za-z0-9!#$&+\-.^_`|~]/

const percent = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`

const percentEncoded = (text: string, plain: RegExp): string => {
  let out = ''
  for (const char of text) {
    if (plain.test(char)) out += char
    else for (const byte of utf8(char)) out += percent(byte)
  }
  return out
}

/** Control and formatting characters say nothing in a name and much to a parser: each run becomes one space. */
const calm = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()

/** The text as it may be shown: one line, bounded. Undefined for nothing to say, or for more than `max` characters where cutting would change the meaning. */
export const boundedText = (value: string | undefined, max: number, cut = false): string | undefined => {
  if (value === undefined) return undefined
  const text = calm(value)
  if (text === '') return undefined
  if (text.length <= max) return text
  return cut ? [...text].slice(0, max).join('').trim() : undefined
}

export const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)

/** Printable ASCII stays as it is; anything else is written as an RFC 8187 ext-value, `UTF-8''%E5%B1%B1…`, and so is ASCII text that begins like one. */
const encoded = (text: string): string =>
  isAscii(text) && !/^utf-8''/i.test(text) ? text : `UTF-8''${percentEncoded(text, attrChar)}`

/** Bounded, on one line, in printable ASCII. Undefined as for `boundedText`. */
export const headerText = (value: string | undefined, max: number, cut = false): string | undefined => {
  const text = boundedText(value, max, cut)
  return text === undefined || text === '' ? undefined : encoded(text)
}

/** What a group name may keep: printable ASCII without the separator, the escape, quotes and semicolons; spaces only inside. */
const groupChar = /[\x20\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x7e]/
/** The same where the whole value is encoded once more: letters beyond ASCII may stay. */
const rawGroupChar = /[^\x00-\x1f",;%\x7f]/

/**
 * Groups, separated by commas, each percent-encoded where needed, so that one name never reads as two. Whole names only, up to 8,000 bytes.
 * `raw` leaves letters beyond ASCII as they are.
 */
export const headerGroups = (groups: readonly string[], raw = false): string | undefined => {
  let out = ''
  for (const group of groups) {
    const name = percentEncoded(calm(group), raw ? rawGroupChar : groupChar)
    if (name === '') continue
    if (out.length + 1 + name.length > 8000) break
    out = out === '' ? name : `${out},${name}`
  }
  return out === '' ? undefined : out
}

type Values = Readonly<
  Record<'id' | 'sub' | 'login' | 'email' | 'name' | 'provider' | 'avatar' | 'groups', string | undefined>
>

const mostId = 1024

/** A service account is never taken for a person of the same name. */
const idOf = ({ person, personKey }: Principal, qualified: boolean): string =>
  qualified || person.provider === serviceAccounts ? personKey : person.subject

/** Bounded, not yet encoded. */
const textsOf = (principal: Principal, qualified: boolean): Values => {
  const { person } = principal
  const id = boundedText(idOf(principal, qualified), mostId)
  return {
    id,
    sub: id,
    login: boundedText(person.login, 256),
    email: boundedText(person.email, 320),
    name: boundedText(person.name, 256, true),
    provider: boundedText(person.provider, 64),
    avatar: boundedText(person.avatar, 2048),
    groups: headerGroups(person.groups),
  }
}

/** Header names of each preset, and the value that each carries. */
export const presets: Readonly<
  Record<
    Exclude<Service['identity']['preset'], 'context' | 'none'>,
    readonly (readonly [string, keyof Values])[]
  >
> = {
  all: [
    ['X-User-Id', 'id'],
    ['X-User-Sub', 'sub'],
    ['X-User-Email', 'email'],
    ['X-User-Name', 'name'],
    ['X-User-Login', 'login'],
    ['X-User-Provider', 'provider'],
    ['X-User-Avatar', 'avatar'],
    ['X-User-Groups', 'groups'],
  ],
  profile: [
    ['x-user-id', 'id'],
    ['x-user-email', 'email'],
    ['x-user-name', 'name'],
    ['x-user-provider', 'provider'],
    ['x-user-avatar', 'avatar'],
  ],
  minimal: [
    ['X-User-Id', 'id'],
    ['X-User-Name', 'login'],
  ],
  claims: [
    ['X-User-Email', 'email'],
    ['X-User-Name', 'name'],
    ['X-User-Sub', 'sub'],
    ['X-User-Groups', 'groups'],
  ],
}

/** Fields that frame the message or address it; a configured identity header must not be one of them. */
const unwritable = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'cookie',
  'x-mcp-identity',
  'x-request-id',
])

/** Fills `${…}`; undefined when a value it needs is absent. */
const filled = (template: string, values: Values): string | undefined => {
  let missing = false
  const text = template.replaceAll(/\$\{([a-z]+)\}/g, (_, name: string) => {
    const value = values[name as keyof Values]
    if (value === undefined) missing = true
    return value ?? ''
  })
  return missing ? undefined : text
}

/** A configured header's value. The whole is encoded, once: encoded pieces of it would say `%25` for `%`. */
const fill = (template: string, values: Values, groups: readonly string[]): string | undefined => {
  const text = filled(template, values)
  return headerText(
    text === undefined || isAscii(text)
      ? text
      : filled(template, { ...values, groups: headerGroups(groups, true) }),
    8192,
  )
}

interface Plain {
  readonly service: Service
  readonly taken: ReadonlySet<string>
  readonly qualified: boolean
  readonly permissions: CallerContext['permissions']
}

/** Seed 4's `X-User-Context`: base64 of a JSON object. */
const context = (principal: Principal, { service, qualified, permissions }: Plain): string | undefined => {
  const userId = idOf(principal, qualified)
  const value = encodeBase64(
    utf8(JSON.stringify({ userId, serverId: service.id, permissions: permissions(principal) })),
  )
  return value.length <= 8192 ? value : undefined
}

/**
 * People who sign in in different ways may have one subject: where they can meet at a service, ids name the
 * way.
 */
export const isQualified = (
  { oauth_providers: providers, local_users: users }: Pick<Config, 'oauth_providers' | 'local_users'>,
  { provider }: Pick<Service, 'provider'>,
): boolean => provider === undefined && Object.keys(providers).length + (users.length > 0 ? 1 : 0) > 1

/** What the access rules grant; the scopes where there are none. */
export const permissionsAt =
  (
    granted: { readonly policy?: Policy | undefined },
    service: Pick<Service, 'id'>,
  ): CallerContext['permissions'] =>
  (principal) => {
    const { policy } = granted
    return (
      (policy?.services.ruled ? policy.of(service)?.permissions(principal) : undefined) ?? principal.scopes
    )
  }

/** The same facts for a server that is no HTTP server. */
export const callerContext = (
  config: Pick<Config, 'oauth_providers' | 'local_users'>,
  granted: { readonly policy?: Policy | undefined },
  service: Pick<Service, 'id' | 'provider'>,
): CallerContext => {
  const qualified = isQualified(config, service)
  return {
    userId: (principal) => boundedText(idOf(principal, qualified), mostId),
    permissions: permissionsAt(granted, service),
    listsChanged() {
      const { policy } = granted
      if (policy?.services.ruled) policy.of(service)?.pins?.changed()
    },
  }
}

/** `taken`: names (normal form) that the configuration gives a value of its own, which then is the only one. */
const plainHeaders = (principal: Principal, plain: Plain): string[] => {
  const { service, taken, qualified } = plain
  const values = textsOf(principal, qualified)
  // The operator's own words say what they say: there `${sub}` is the subject as the provider sent it, and `${provider}` stands beside it.
  const bare = qualified ? textsOf(principal, false) : values
  const { preset } = service.identity
  const out: string[] = []
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) out.push(name, value)
  }
  const ofPreset = (name: string, value: () => string | undefined): void => {
    if (!taken.has(normalName(name))) add(name, value())
  }
  if (preset === 'context') ofPreset('X-User-Context', () => context(principal, plain))
  else if (preset !== 'none')
    for (const [name, key] of presets[preset])
      ofPreset(name, () => (key === 'groups' ? values.groups : headerText(values[key], 8192)))
  for (const [name, template] of Object.entries(service.identity.headers))
    add(name, fill(template, bare, principal.person.groups))
  return out
}

/** Lifetime of the assertion, and how long one is shown again: a verifier always has at least 40 s left. */
const assertionMs = 60_000
const reuseMs = 20_000

export interface Identity {
  /** Names (normal form) that no caller may send to this service. */
  readonly reserved: ReadonlySet<string>
  /** Flat list of the fields that speak of this caller. */
  headers(principal: Principal): readonly string[] | Promise<readonly string[]>
}

export interface IdentityOptions {
  readonly service: Service
  /** Canonical resource of the service: the assertion's audience. */
  readonly audience: string
  readonly signer: Signer
  /** Names (normal form) of headers that the service gets with one value for everybody. */
  readonly fixed?: readonly string[]
  /** Two people may have one subject, because they sign in in different ways: ids name the way too. */
  readonly qualified?: boolean
  readonly permissions?: CallerContext['permissions']
  readonly now: () => number
}

/** Throws RangeError when a configured identity header is one that frames the message. */
export const createIdentity = ({
  service,
  audience,
  signer,
  fixed = [],
  qualified = false,
  permissions = ({ scopes }) => scopes,
  now,
}: IdentityOptions): Identity => {
  const configured = Object.keys(service.identity.headers).map(normalName)
  const bad = configured.find((name) => unwritable.has(name))
  if (bad !== undefined)
    throw new RangeError(`mcp_services.${service.id}.identity.headers: ${bad} cannot carry an identity`)
  const taken = new Set([...configured, ...fixed])
  // A grant's person and scopes never change, so its headers are made once and signed again when the assertion ages.
  // Only what the access rules say may change with the next call.
  const dynamic = service.identity.preset === 'context'
  const made = new Map<string, { readonly headers: readonly string[]; readonly until: number }>()

  const assertion = (principal: Principal): Promise<string> => {
    const { person } = principal
    const groups: string[] = []
    let size = 0
    for (const group of person.groups) if ((size += group.length) <= 2000) groups.push(group)
    return signer.sign(
      {
        aud: audience,
        sub: principal.personKey,
        provider: person.provider,
        user_id: person.subject,
        ...(person.login === undefined ? {} : { login: person.login.slice(0, 256) }),
        ...(person.email === undefined ? {} : { email: person.email.slice(0, 320) }),
        ...(person.name === undefined ? {} : { name: person.name.slice(0, 256) }),
        groups,
        ...(groups.length < person.groups.length ? { groups_cut: true } : {}),
        client_id: principal.clientId,
        ...(principal.actor && { act: actClaim(principal.actor) }),
        scope: principal.scopes.join(' '),
        service: service.id,
      },
      { typ: 'mcp-identity+jwt', lifetimeMs: assertionMs },
    )
  }

  const make = async (principal: Principal, key: string): Promise<readonly string[]> => {
    const headers = plainHeaders(principal, { service, taken, qualified, permissions })
    if (service.identity.assertion) headers.push('X-MCP-Identity', await assertion(principal))
    if (made.size >= 10_000) made.delete(made.keys().next().value as string)
    made.set(key, { headers, until: now() + reuseMs })
    return headers
  }

  return {
    reserved: new Set(configured),
    headers(principal) {
      const key = `${principal.grantId}\n${principal.scopes.join(' ')}\n${dynamic ? permissions(principal).join(' ') : ''}`
      const before = made.get(key)
      if (before && before.until > now()) return before.headers
      made.delete(key)
      return make(principal, key)
    },
  }
}
