// The pages of the console about browser sessions, personal access tokens, service accounts and accounts at MCP servers:
// who has them, and their end.
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages } from '../ports/console.ts'
import type { ConnectionAdmin, ListedSession, ListedToken } from '../ports/people.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import { type ConsoleAccountsDeps, createConsoleAccounts } from './console-accounts.ts'
import type { AttentionDeps } from './console-attention.ts'

export interface ConsoleSessionsDeps extends ConsoleAccountsDeps {
  readonly accessAdmin: Pick<AccessAdmin, 'browserSessions' | 'list' | 'blocks'>
  readonly connections: { readonly admin: ConnectionAdmin }
  readonly directory: Pick<Directory, 'service'>
  readonly stateOf: AttentionDeps['stateOf']
  readonly personalTokens: {
    all(): Promise<readonly ListedToken[]>
    end(id: string, by: { readonly by: string }, how?: { readonly leaked?: boolean }): Promise<boolean>
  }
  readonly consolePages: Pick<ConsolePages, 'sessions' | 'tokens' | 'connections' | 'accounts'>
}

const onePage = 50

/** What of all of them is on the page that was asked for. */
const pageOf = <Item>(all: readonly Item[], { searchParams }: URL) => {
  const count = Math.max(1, Math.ceil(all.length / onePage))
  const at = Math.min(count, Math.max(1, Math.trunc(Number(searchParams.get('page'))) || 1))
  return { items: all.slice((at - 1) * onePage, at * onePage), page: { at, count } }
}

const askedIn = ({ searchParams }: URL): string | undefined =>
  searchParams.get('q')?.trim().slice(0, 200) || undefined

const has =
  (asked: string | undefined) =>
  (...texts: readonly (string | undefined)[]): boolean =>
    texts.some((text) => text?.toLowerCase().includes(asked?.toLowerCase() ?? ''))

const createConnectionList =
  ({ accessAdmin, connections, directory, stateOf, consolePages }: ConsoleSessionsDeps) =>
  async (frame: ConsoleFrame, url: URL): Promise<Response> => {
    const { grants } = await accessAdmin.list({})
    const emails = new Map(grants.map(({ user, email }) => [user, email]))
    const { connections: all, truncated } = await connections.admin.list([...emails.keys()])
    const waits = ({ state }: (typeof all)[number]): boolean => state === 'reconnect' || state === 'expiring'
    const asked = askedIn(url)
    const matches = has(asked)
    const needsUser = url.searchParams.get('only') === 'needs-user'
    const found = all.filter(
      (one) =>
        (!needsUser || waits(one)) &&
        matches(
          one.user,
          emails.get(one.user ?? ''),
          one.account,
          one.service,
          directory.service(one.service)?.name,
          one.issuer,
        ),
    )
    const { items, page } = pageOf(found, url)
    return consolePages.connections(frame, {
      asked,
      needsUser,
      all: all.length,
      people: new Set(all.map(({ id, user }) => user ?? id)).size,
      waiting: all.filter(waits).length,
      more: truncated,
      page,
      items: items.map((one) => {
        const service = directory.service(one.service)
        return {
          ...one,
          email: emails.get(one.user ?? ''),
          down: service !== undefined && stateOf(service) === 'degraded',
        }
      }),
    })
  }

export const createConsoleSessions = (deps: ConsoleSessionsDeps) => {
  const { accessAdmin, personalTokens, connections, consolePages } = deps
  const { browserSessions } = accessAdmin
  return {
    async sessions(frame: ConsoleFrame, url: URL, own: string): Promise<Response> {
      const { sessions, truncated } = await browserSessions.list()
      const asked = askedIn(url)
      const matches = has(asked)
      const found = sessions.filter(({ user, email }: ListedSession) => matches(user, email))
      return consolePages.sessions(frame, {
        asked,
        all: sessions.length,
        people: new Set(sessions.map(({ user }) => user)).size,
        more: truncated,
        own,
        ...pageOf(found, url),
      })
    },
    async tokens(frame: ConsoleFrame, url: URL): Promise<Response> {
      const all = await personalTokens.all()
      const asked = askedIn(url)
      const matches = has(asked)
      const found = all.filter(({ name, user, services, id }) => matches(name, user, id, ...services))
      return consolePages.tokens(frame, {
        asked,
        all: all.length,
        people: new Set(all.map(({ user }) => user)).size,
        ...pageOf(found, url),
      })
    },
    accounts: createConsoleAccounts(deps),
    connections: createConnectionList(deps),
    endConnection: (id: string, account: string, by: string): Promise<void> =>
      connections.admin.end(id, account, by),
    endSession: (id: string, by: string): Promise<void> => browserSessions.end(id, by),
    /** `leaked`: strangers know it. */
    async endToken(id: string, by: string, leaked: boolean): Promise<void> {
      if (!(await personalTokens.end(id, { by }, { leaked })))
        throw new Refusal('request.malformed', 'no such token', {
          say: 'There is no such token: it has ended.',
        })
    },
  }
}
