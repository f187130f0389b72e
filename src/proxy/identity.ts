// What the server behind the gateway learns of the caller: headers by preset, a free map, and a signed assertion.
import { encodeBase64, utf8 } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import type { Principal } from '../ports/people.ts'
import type { Signer } from '../ports/rooms.ts'
import type { Service } from '../ports/services.ts'
import { boundedText, headerGroups, headerText, isAscii } from './header-text.ts'
import { normalName } from './claiming-headers.ts'

type Values = Readonly<Record<'id' | 'sub' | 'login' | 'email' | 'name' | 'provider' | 'avatar' | 'groups', string | undefined>>

/** Bounded, not yet encoded. */
const textsOf = ({ person }: Principal, qualified: boolean): Values => {
  const id = boundedText(qualified ? personKey(person) : person.subject, 1024)
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
export const presets: Readonly<Record<Exclude<Service['identity']['preset'], 'seed4' | 'none'>, readonly (readonly [string, keyof Values])[]>> = {
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
  seed1: [
    ['x-user-id', 'id'],
    ['x-user-email', 'email'],
    ['x-user-name', 'name'],
    ['x-user-provider', 'provider'],
    ['x-user-avatar', 'avatar'],
  ],
  seed2: [
    ['X-User-Id', 'id'],
    ['X-User-Name', 'login'],
  ],
  seed3: [
    ['X-User-Email', 'email'],
    ['X-User-Name', 'name'],
    ['X-User-Sub', 'sub'],
    ['X-User-Groups', 'groups'],
  ],
}

/** Fields that frame the message or address it; a configured identity header must not be one of them. */
const unwritable = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'expect', 'keep-alive', 'cookie', 'x-mcp-identity', 'x-request-id'])

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
  return headerText(text === undefined || isAscii(text) ? text : filled(template, { ...values, groups: headerGroups(groups, true) }), 8192)
}

/** Seed 4's `X-User-Context`: base64 of a JSON object. */
const context = (principal: Principal, service: Service, qualified: boolean): string | undefined => {
  const userId = qualified ? personKey(principal.person) : principal.person.subject
  const value = encodeBase64(utf8(JSON.stringify({ userId, serverId: service.id, permissions: principal.scopes })))
  return value.length <= 8192 ? value : undefined
}

interface Plain {
  readonly service: Service
  readonly taken: ReadonlySet<string>
  readonly qualified: boolean
}

/** `taken`: names (normal form) that the configuration gives a value of its own, which then is the only one. */
const plainHeaders = (principal: Principal, { service, taken, qualified }: Plain): string[] => {
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
  if (preset === 'seed4') ofPreset('X-User-Context', () => context(principal, service, qualified))
  else if (preset !== 'none') for (const [name, key] of presets[preset]) ofPreset(name, () => (key === 'groups' ? values.groups : headerText(values[key], 8192)))
  for (const [name, template] of Object.entries(service.identity.headers)) add(name, fill(template, bare, principal.person.groups))
  return out
}

/** Lifetime of the assertion, and how long one is shown again: a verifier always has at least 40 s left (security.md L6). */
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
  readonly now: () => number
}

/** Throws RangeError when a configured identity header is one that frames the message. */
export const createIdentity = ({ service, audience, signer, fixed = [], qualified = false, now }: IdentityOptions): Identity => {
  const configured = Object.keys(service.identity.headers).map(normalName)
  const bad = configured.find((name) => unwritable.has(name))
  if (bad !== undefined) throw new RangeError(`mcp_services.${service.id}.identity.headers: ${bad} cannot carry an identity`)
  const taken = new Set([...configured, ...fixed])
  // A grant's person and scopes never change, so its headers are made once and signed again when the assertion ages.
  const made = new Map<string, { readonly headers: readonly string[]; readonly until: number }>()

  const assertion = (principal: Principal): Promise<string> => {
    const { person } = principal
    const groups: string[] = []
    let size = 0
    for (const group of person.groups) if ((size += group.length) <= 2000) groups.push(group)
    return signer.sign(
      {
        aud: audience,
        sub: personKey(person),
        provider: person.provider,
        user_id: person.subject,
        ...(person.login === undefined ? {} : { login: person.login.slice(0, 256) }),
        ...(person.email === undefined ? {} : { email: person.email.slice(0, 320) }),
        ...(person.name === undefined ? {} : { name: person.name.slice(0, 256) }),
        groups,
        ...(groups.length < person.groups.length ? { groups_cut: true } : {}),
        client_id: principal.clientId,
        scope: principal.scopes.join(' '),
        service: service.id,
      },
      { typ: 'mcp-identity+jwt', lifetimeMs: assertionMs },
    )
  }

  const make = async (principal: Principal, key: string): Promise<readonly string[]> => {
    const headers = plainHeaders(principal, { service, taken, qualified })
    if (service.identity.assertion) headers.push('X-MCP-Identity', await assertion(principal))
    if (made.size >= 10_000) made.delete(made.keys().next().value as string)
    made.set(key, { headers, until: now() + reuseMs })
    return headers
  }

  return {
    reserved: new Set(configured),
    headers(principal) {
      const key = `${principal.grantId}\n${principal.scopes.join(' ')}`
      const before = made.get(key)
      if (before && before.until > now()) return before.headers
      made.delete(key)
      return make(principal, key)
    },
  }
}
