// The pages of the console about browser sessions and personal access tokens: who has them, and their end.
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages } from '../ports/console.ts'
import type { ListedSession, ListedToken } from '../ports/people.ts'
import type { AccessAdmin } from './access-api.ts'

export interface ConsoleSessionsDeps {
  readonly accessAdmin: Pick<AccessAdmin, 'browserSessions'>
  readonly personalTokens: {
    all(): Promise<readonly ListedToken[]>
    end(id: string, by: { readonly by: string }, how?: { readonly leaked?: boolean }): Promise<boolean>
  }
  readonly consolePages: Pick<ConsolePages, 'sessions' | 'tokens'>
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

export const createConsoleSessions = ({ accessAdmin, personalTokens, consolePages }: ConsoleSessionsDeps) => {
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
