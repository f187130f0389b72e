// Access rules: whom they name, what they name, and whether they say anything. No rule is ever ignored.
import { serviceAccounts } from '../../kit/records.ts'
import { permissions } from '../access-keys.ts'
import { didYouMean } from '../shape.ts'
import { type Path, keyText, printable } from '../tree.ts'
import { typeIn } from './providers.ts'
import type { RawConfig, Rule } from './draft.ts'

const whoKeys = ['people', 'groups', 'everyone', 'anonymous'] as const
const globKeys = ['tools', 'prompts', 'resources', 'services'] as const
const needs: readonly string[] = [...permissions, 'deny']

/** A rule as it stands in the file, with what it is good for. */
interface StatedRule {
  readonly path: Path
  readonly effect: 'allow' | 'deny'
  /** The service in whose section it stands. */
  readonly service: string | undefined
}

const sectionOf = (service: string): Path => ['mcp_services', service, 'access']

const rulesIn = (draft: RawConfig, section: Path, service: string | undefined): readonly StatedRule[] =>
  (['allow', 'deny'] as const).flatMap((effect) =>
    draft.positions(...section, effect).map((i) => ({ path: [...section, effect, i], effect, service })),
  )

/** What the server says is no matter of who may do what. */
const aboutServer = ['pinning', 'from_server', 'instructions']

const isRuledService = (draft: RawConfig, id: string): boolean => {
  const keys = draft.keys(...sectionOf(id))
  return draft.has(...sectionOf(id)) && (keys.length === 0 || keys.some((key) => !aboutServer.includes(key)))
}

const ruledServices = (draft: RawConfig): readonly string[] =>
  draft.keys('mcp_services').filter((id) => isRuledService(draft, id))

/** Whether any access rules are written, which then hold for every service. */
export const hasRules = (draft: RawConfig): boolean => draft.has('access') || ruledServices(draft).length > 0

const allRules = (draft: RawConfig): readonly StatedRule[] => [
  ...rulesIn(draft, ['access'], undefined),
  ...ruledServices(draft).flatMap((id) => rulesIn(draft, sectionOf(id), id)),
]

const shortKeys = [...whoKeys, 'clients', 'permissions'] as const
const isShort = (draft: RawConfig, section: Path): boolean =>
  shortKeys.some((key) => draft.has(...section, key))

/** Sections that are the short form of a rule count as one. */
const withShort = (draft: RawConfig): readonly StatedRule[] => [
  ...allRules(draft),
  ...ruledServices(draft)
    .filter((id) => isShort(draft, sectionOf(id)))
    .map((id): StatedRule => ({ path: sectionOf(id), effect: 'allow', service: id })),
]

// Whom a rule names.

const signInMethods = (draft: RawConfig): readonly string[] => {
  const ids = draft.keys('oauth_providers')
  return draft.positions('local_users').length > 0 || ids.length === 0 ? [...ids, 'local'] : ids
}

/** Service accounts are named with their provider, wherever people are named by their sign-in method. */
const isAccounts = (draft: RawConfig, provider: string): boolean =>
  provider === serviceAccounts && draft.keys('service_accounts').length > 0

const accountGroups = (draft: RawConfig): readonly string[] =>
  draft
    .keys('service_accounts')
    .flatMap((id) => draft.texts('service_accounts', id, 'groups').map(({ value }) => value))

const localGroups = (draft: RawConfig): readonly string[] => {
  const users = draft.positions('local_users')
  // The built-in user's, where there is no other.
  if (users.length === 0) return ['admins']
  return users.flatMap((i) => draft.texts('local_users', i, 'groups').map(({ value }) => value))
}

const groupFault = (draft: RawConfig, name: string, said: string): string | undefined => {
  const declared = draft.keys('access', 'groups')
  if (declared.includes(name)) return undefined
  const methods = signInMethods(draft)
  const at = name.indexOf(':')
  if (isAccounts(draft, name.slice(0, at))) {
    const groups = accountGroups(draft)
    const group = name.slice(at + 1)
    return groups.includes(group)
      ? undefined
      : `${said} is a group of no entry in service_accounts${didYouMean(group, groups)}`
  }
  const qualified = at > 0 && methods.includes(name.slice(0, at))
  if (!qualified && methods.length > 1)
    return `${said} is in no \`access.groups\`, and there are several sign-in methods: write ${methods.map((id) => `"${id}:${printable(name)}"`).join(' or ')}, or declare the group${didYouMean(name, declared)}`
  const [method, group] = qualified ? [name.slice(0, at), name.slice(at + 1)] : [methods[0], name]
  const local = localGroups(draft)
  if (method !== 'local' || local.includes(group)) return undefined
  return `${said} is a group of no user in local_users, and not declared in \`access.groups\`${didYouMean(group, [...declared, ...local])}`
}

const personFault = (draft: RawConfig, name: string, said: string): string | undefined => {
  const at = name.indexOf(':')
  const methods = signInMethods(draft)
  if (at > 0) {
    const id = name.slice(0, at)
    if (isAccounts(draft, id)) {
      const known = draft.keys('service_accounts')
      return known.includes(name.slice(at + 1))
        ? undefined
        : `${said} is not in service_accounts${didYouMean(name.slice(at + 1), known)}`
    }
    return methods.includes(id)
      ? undefined
      : `${said} names an unknown sign-in method (configured: ${methods.map((one) => printable(one)).join(', ')})${didYouMean(id, methods)}`
  }
  const emails = draft.positions('local_users').some((i) => draft.has('local_users', i, 'email'))
  return draft.keys('oauth_providers').length > 0 || emails
    ? undefined
    : `${said} can match nobody: no sign-in method supplies verified email addresses. Write provider:subject, e.g. "local:ana"`
}

const clientFault = (draft: RawConfig, name: string, said: string): string | undefined => {
  if (['configured', 'document', 'dynamic', 'personal'].includes(name)) return undefined
  if (name.startsWith('redirect:'))
    return /^redirect:[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$/.test(name)
      ? undefined
      : `${said} is not a host: write "redirect:app.example.com", in lower case, without a scheme or path`
  if (name.startsWith('domain:'))
    return /^domain:[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(name)
      ? undefined
      : `${said} is not a domain: write "domain:example.com", in lower case, without a scheme or path`
  if (name.startsWith('https://')) return isOpenEscape(name) ? openEscape(said) : undefined
  const known = draft.keys('clients')
  if (known.includes(name) || /^client_[A-Za-z0-9_-]{22}$/.test(name)) return undefined
  return `${said} is not a client: use configured, document, dynamic, personal, "domain:example.com", "redirect:app.example.com", a pattern of a metadata document’s URL, or a client_id. Names of apps cannot be used, because any app may call itself anything${didYouMean(name, known)}`
}

export const isOpenEscape = (glob: string): boolean => /(?:^|[^\\])(?:\\\\)*\\$/.test(glob)
export const openEscape = (said: string): string => `${said} ends with a backslash that escapes nothing`

const who: Rule = (draft, report) => {
  const judge = (path: Path, key: string, fault: typeof groupFault): void => {
    for (const { value, path: at } of draft.texts(...path, key)) {
      const wrong = fault(draft, value, draft.said(...at))
      if (wrong !== undefined) report.fault(at, wrong)
    }
  }
  for (const { path, effect } of withShort(draft)) {
    judge(path, 'groups', groupFault)
    judge(path, 'people', personFault)
    judge(path, 'clients', clientFault)
    if (effect === 'allow' && !whoKeys.some((key) => draft.has(...path, key)))
      report.key(path, 'grants access to nobody: set groups, people, everyone or anonymous')
  }
  for (const key of ['allow', 'deny']) judge(['access', 'clients'], key, clientFault)
  for (const name of draft.keys('access', 'groups')) judge(['access', 'groups', name], 'members', personFault)
}

const declaredGroups: Rule = (draft, report) => {
  const methods = signInMethods(draft)
  for (const name of draft.keys('access', 'groups')) {
    const path: Path = ['access', 'groups', name]
    const from = draft.keys(...path, 'from')
    if (from.length === 0 && draft.texts(...path, 'members').length === 0 && !draft.lost(...path))
      report.key(path, 'has no members: set `members` or `from`')
    for (const id of from) {
      const at: Path = [...path, 'from', id]
      if (isAccounts(draft, id)) continue
      if (!methods.includes(id))
        report.key(
          at,
          `is not a sign-in method (configured: ${methods.map((one) => printable(one)).join(', ')})${didYouMean(id, methods)}`,
        )
      else if (id !== 'local' && typeIn(draft, id) === 'google')
        report.warn(at, 'has no members: this provider sends no groups')
    }
  }
}

const isPublic = (draft: RawConfig, id: string): boolean =>
  draft.has('mcp_services', id, 'auth_required') && !draft.flag('mcp_services', id, 'auth_required')

/** What only callers with, or without, a login can be. */
const signedIn: Rule = (draft, report) => {
  for (const { path, service } of withShort(draft)) {
    if (service === undefined) continue
    const open = isPublic(draft, service)
    const wrong = open ? (['people', 'groups', 'everyone', 'clients'] as const) : (['anonymous'] as const)
    for (const key of wrong)
      if (draft.has(...path, key))
        report.key(
          [...path, key],
          open
            ? 'can match nobody: the service has `auth_required: false`, so its callers are unknown; use `anonymous: true`'
            : 'can match nobody: callers of this service sign in (`auth_required` is true)',
        )
  }
}

// What a rule names.

const patterns: Rule = (draft, report) => {
  const judge = (...path: Path): void => {
    for (const { value, path: at } of draft.texts(...path))
      if (isOpenEscape(value)) report.fault(at, openEscape(draft.said(...at)))
  }
  for (const { path } of allRules(draft)) for (const key of globKeys) judge(...path, key)
  for (const id of ruledServices(draft))
    for (const kind of ['resources', 'prompts'] as const)
      for (const key of ['allow', 'deny']) judge(...sectionOf(id), kind, key)
  for (const name of draft.keys('access', 'groups'))
    for (const id of draft.keys('access', 'groups', name, 'from')) judge('access', 'groups', name, 'from', id)
}

const conditions: Rule = (draft, report) => {
  for (const { path } of allRules(draft)) {
    if (!draft.has(...path, 'when')) continue
    const named = draft.has(...path, 'tools') || draft.has(...path, 'prompts')
    if (draft.has(...path, 'resources') || !named)
      report.key(
        [...path, 'when'],
        'needs `tools` or `prompts`, and no `resources`: only calls of tools and prompts have arguments',
      )
    for (const name of draft.keys(...path, 'when')) {
      const at: Path = [...path, 'when', name, 'glob']
      if (isOpenEscape(draft.text(...at) ?? '')) report.fault(at, openEscape(draft.said(...at)))
    }
  }
}

const tools: Rule = (draft, report) => {
  for (const id of ruledServices(draft)) {
    const section = sectionOf(id)
    for (const name of draft.keys(...section, 'tools')) {
      const at: Path = [...section, 'tools', name]
      const need = draft.text(...at)
      const listed = draft.positions(...at).length > 0
      if (listed && name !== 'allow' && name !== 'deny')
        report.fault(at, `must be one of: ${needs.join(', ')}`)
      else if (listed && name === 'allow' && !isShort(draft, section))
        report.key(
          at,
          'needs `groups` or `people` beside `tools`; in a rule of `allow`, write the list as `tools`',
        )
      else if (need !== undefined && !needs.includes(need))
        report.fault(
          at,
          `must be one of: ${needs.join(', ')}; found ${draft.said(...at)}${didYouMean(need, needs)}`,
        )
      if (!listed && isOpenEscape(name)) report.key(at, openEscape(`"${printable(name)}"`))
      for (const { value, path } of draft.texts(...at))
        if (isOpenEscape(value)) report.fault(path, openEscape(draft.said(...path)))
    }
  }
}

const ids: Rule = (draft, report) => {
  const seen = new Map<string, Path>()
  for (const { path } of allRules(draft)) {
    const id = draft.text(...path, 'id')
    if (id === undefined) continue
    const before = seen.get(id)
    if (before) report.fault([...path, 'id'], `is already the ID of ${keyText(before)}: use a different one`)
    else seen.set(id, path)
  }
}

// What a rule can have no effect on.

const textsAt = (draft: RawConfig, path: Path, key: string): readonly string[] =>
  draft.texts(...path, key).map(({ value }) => value)

/** Whether the rule that denies is about everything that the other grants, as far as that is plain to see. */
const isInside = (draft: RawConfig, grant: StatedRule, deny: StatedRule): boolean => {
  if (deny.service !== undefined && deny.service !== grant.service) return false
  if (draft.has(...deny.path, 'when') || draft.has(...deny.path, 'services')) return false
  const same = (key: string): boolean => {
    const list = textsAt(draft, deny.path, key)
    const granted = textsAt(draft, grant.path, key)
    return granted.length > 0 && granted.every((one) => list.includes(one))
  }
  const narrowed = [...whoKeys, 'clients'].filter((key) => draft.has(...deny.path, key))
  if (!narrowed.every((key) => (key === 'everyone' ? draft.has(...grant.path, key) : same(key)))) return false
  const kinds = ['tools', 'prompts', 'resources'] as const
  if (!kinds.some((key) => draft.has(...deny.path, key))) return true
  const granted = kinds.filter((key) => draft.has(...grant.path, key))
  return granted.length > 0 && granted.every(same)
}

const unreachable: Rule = (draft, report) => {
  const rules = allRules(draft)
  for (const grant of rules.filter(({ effect }) => effect === 'allow')) {
    const deny = rules.find((other) => other.effect === 'deny' && isInside(draft, grant, other))
    if (deny) report.warn(grant.path, `has no effect: ${keyText(deny.path)} denies all that it grants`)
  }
}

const isRuled = (draft: RawConfig): boolean => draft.has('access') || ruledServices(draft).length > 0

/** Services that nobody may use, because rules are written and none is about them. */
const unnamed: Rule = (draft, report) => {
  if (!isRuled(draft) || draft.misspelt('access')) return
  if (draft.positions('access', 'allow').length > 0) return
  const toEveryone = draft.text('access', 'default') === 'everyone'
  const none = draft
    .keys('mcp_services')
    .filter((id) => !isRuledService(draft, id) && !draft.lost('mcp_services', id))
    .filter((id) => !toEveryone || isPublic(draft, id))
  if (none.length === 0) return
  const cure = toEveryone
    ? 'add `access: { anonymous: true }` there, because access.default is about users who are signed in'
    : 'add `access` there, or set access.default to everyone'
  report.warn(
    draft.has('access') ? ['access'] : sectionOf(ruledServices(draft)[0] as string),
    `leaves ${none.map((id) => printable(id)).join(', ')} without access rules, so nobody can use ${none.length === 1 ? 'it' : 'them'}: ${cure}`,
  )
}

/** On this computer everybody is one person. */
const open: Rule = (draft, report) => {
  if (draft.loopback || isRuled(draft) || draft.misspelt('access')) return
  const known = draft.keys('mcp_services').filter((id) => !isPublic(draft, id))
  if (known.length === 0) return
  report.warn(
    ['mcp_services'],
    'has no access rules, so every user who can sign in can use every tool: add `access`, or set access.default to everyone',
  )
}

const examples: Rule = (draft, report) => {
  const known = draft.keys('mcp_services')
  for (const i of draft.positions('access', 'tests')) {
    const path: Path = ['access', 'tests', i]
    const [service = ''] = (draft.text(...path, 'tool') ?? '').split(':', 1)
    if (service !== '' && !known.includes(service))
      report.fault(
        [...path, 'tool'],
        `names "${printable(service)}", which is not in mcp_services${didYouMean(service, known)}`,
      )
    if (draft.has(...path, 'code') && draft.text(...path, 'expect') === 'allow')
      report.key([...path, 'code'], 'applies only with `expect: deny`')
  }
}

export const accessRules: readonly Rule[] = [
  who,
  declaredGroups,
  signedIn,
  patterns,
  conditions,
  tools,
  ids,
  unreachable,
  unnamed,
  open,
  examples,
]
