// `postern token`: personal access tokens of the users of this gateway. The token goes to standard output and nothing
// else does, so that a script can take it from there.
import { parseDuration } from '../config/key-types.ts'
import { printable } from '../config/tree.ts'
import { type Permission, higherOf, ladder } from '../kit/levels.ts'
import type { ListedToken } from '../ports/people.ts'
import type { AdminTarget } from './admin.ts'
import { withRecords } from './access.ts'
import { print, printTable, StartError, UsageError } from './output.ts'
import { issuerOf } from './state.ts'

export interface TokenOptions {
  readonly service?: readonly string[]
  /** Of the gateway, instead of services. */
  readonly api?: boolean
  readonly permissions?: string
  readonly expires?: string
  readonly name?: string
  readonly user?: string
  readonly yes?: boolean
}

const by = { by: 'cli' }

/** Throws `UsageError`. */
const permissionIn = (text: string | undefined): Permission | undefined =>
  text
    ?.split(',')
    .map((word): Permission => {
      const found = ladder.find((level) => level === word.trim())
      if (found) return found
      throw new UsageError(`--permissions is a list of ${ladder.join(', ')}.`)
    })
    .reduce(higherOf)

/** As in oauth/api-tokens.ts. */
const apiTarget = '/api'

/** Throws `UsageError`. */
const lifetimeIn = (text: string | undefined): number | undefined => {
  const ms = text === undefined ? undefined : parseDuration(text, 'ms')
  if (text !== undefined && (ms === undefined || /^\d+$/.test(text)))
    throw new UsageError('--expires is a time such as 1h or 30d.')
  return ms
}

/** As programs read it. */
const toldOf = ({ createdAt, expiresAt, lastUsedAt, ...token }: ListedToken) => ({
  ...token,
  created_at: new Date(createdAt).toISOString(),
  expires_at: new Date(expiresAt).toISOString(),
  ...(lastUsedAt !== undefined && { last_used_at: new Date(lastUsedAt).toISOString() }),
})

const said = (text: string): void => void process.stderr.write(`${text}\n`)

const make = (target: AdminTarget, options: TokenOptions, kind: 'personal' | 'test'): Promise<void> => {
  const { config, stateDir, json } = target
  const named = (options.service ?? []).flatMap((text) => text.split(',')).filter(Boolean)
  if (options.api === true ? named.length > 0 : named.length === 0)
    throw new UsageError(kind === 'test' ? 'Give --service.' : 'Give --service, or --api.')
  const permission = permissionIn(options.permissions ?? (options.api ? 'admin' : undefined))
  const lifetimeMs = lifetimeIn(options.expires) ?? (kind === 'test' ? 3_600_000 : undefined)
  if (issuerOf(config, stateDir) === undefined)
    throw new StartError(
      'token.port',
      'The port is chosen when the gateway starts (port 0), and a token is for one URL. Start the gateway, then run this command again.',
    )
  return withRecords(target, async ({ personalTokens }) => {
    const person = await personalTokens.person(options.user)
    const services = options.api ? [apiTarget] : named
    const name = options.name ?? (kind === 'test' ? 'Tests' : '')
    const wanted = { name, services, permission, lifetimeMs, kind }
    const { token, listed } = await personalTokens.create(person, wanted, by)
    if (json) return json({ token, ...toldOf(listed) })
    print(token)
    said(
      `Acts as ${listed.user} at ${listed.services.join(', ')} until ${new Date(listed.expiresAt).toISOString().slice(0, 16)}Z. It is not shown again. To end it: postern token revoke ${listed.id}`,
    )
  })
}

export const createToken = (target: AdminTarget, options: TokenOptions): Promise<void> =>
  make(target, options, 'personal')

export const mintToken = (target: AdminTarget, options: TokenOptions): Promise<void> => {
  if (target.env['NODE_ENV'] === 'production' && !options.yes)
    throw new UsageError('NODE_ENV is production. Add --yes to create a token for tests here.')
  return make(target, options, 'test')
}

const day = (ms: number | undefined): string =>
  ms === undefined ? 'never' : new Date(ms).toISOString().slice(0, 10)

export const listTokens = (target: AdminTarget, { user }: Pick<TokenOptions, 'user'>): Promise<void> =>
  withRecords(target, async ({ personalTokens }) => {
    const found = await (user === undefined ? personalTokens.all() : personalTokens.ofPerson(user))
    if (target.json) return target.json({ tokens: found.map(toldOf) })
    if (found.length === 0) return print('No personal access tokens.')
    printTable([
      ['ID', 'NAME', 'USER', 'SERVICES', 'PERMISSION', 'EXPIRES', 'LAST USED'],
      ...found.map(({ id, name, user: owner, services, permission = '', expiresAt, lastUsedAt }) => [
        id,
        printable(name, 40),
        owner,
        services.join(', '),
        permission,
        day(expiresAt),
        day(lastUsedAt),
      ]),
    ])
  })

export const revokeToken = (
  target: AdminTarget,
  id: string,
  { leaked = false }: { readonly leaked?: boolean },
): Promise<void> =>
  withRecords(target, async ({ personalTokens }) => {
    if (!(await personalTokens.end(id, by, { leaked })))
      throw new StartError('token.unknown', 'There is no such token: it has ended, or never existed.')
    if (target.json) target.json({ ended: 1 })
    else print('Ended. Open streams end within five seconds.')
  })
