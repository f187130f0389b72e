// What administrators end: grants, and on request the accounts that their users connected at the MCP servers.
import { Refusal } from '../kit/refusal.ts'
import type { Audit, EndAccounts, EndedBy, GrantAdmin } from '../ports/modules.ts'
import type { AccountsOf, EndedAccounts, GrantFilter, Impact, SessionAdmin } from '../ports/people.ts'

export interface EndOptions {
  /** Only what would end. */
  readonly dryRun?: boolean | undefined
  /**
   * The accounts of the users at these services end too, and their tokens are revoked: for so many ms the
   * authorization servers are waited for.
   */
  readonly upstreamWithin?: number | undefined
}

export interface EndOfAccessDeps {
  readonly grants: Pick<GrantAdmin, 'byId' | 'endOne' | 'end'>
  readonly connections: {
    readonly endAccounts: EndAccounts
    countAccounts(owners: readonly AccountsOf[]): Promise<number>
  }
}

export interface EndOfAccess {
  /** Resolves with what became of accounts. Throws `grant.unknown`. */
  one(id: string, why: EndedBy, options?: EndOptions): Promise<EndedAccounts | undefined>
  all(filter: GrantFilter, why: EndedBy, options?: EndOptions): Promise<Impact>
}

/** How long somebody waits for a page or an answer. */
export const answerWithin = 5_000

const personOf = (key: string): AccountsOf['person'] => {
  const [provider = '', ...subject] = key.split(':')
  return { provider, subject: subject.join(':') }
}

/** Whose accounts, as the grants that ended tell; everything of a user who is named alone. */
const ownersOf = (
  { user, client, domain, service }: GrantFilter,
  ended: ReadonlyMap<string, ReadonlySet<string>>,
): readonly AccountsOf[] => {
  if (user === undefined || client !== undefined || domain !== undefined || service !== undefined)
    return [...ended].map(([key, services]) => ({ person: personOf(key), services: [...services] }))
  // Somebody without grants may have accounts.
  const keys = new Set([...ended.keys(), ...(user.includes(':') ? [user] : [])])
  return [...keys].map((key) => ({ person: personOf(key) }))
}

export const createEndOfAccess = ({ grants, connections }: EndOfAccessDeps): EndOfAccess => ({
  async one(id, why, { upstreamWithin } = {}) {
    const grant = upstreamWithin === undefined ? undefined : await grants.byId(id)
    if (!(await grants.endOne(id, why))) throw new Refusal('grant.unknown', id.slice(0, 80))
    if (grant?.service === undefined || upstreamWithin === undefined) return undefined
    const owner = { person: personOf(grant.user), services: [grant.service] }
    return connections.endAccounts([owner], why.by, upstreamWithin)
  },
  async all(filter, why, { dryRun = false, upstreamWithin } = {}) {
    const ended = new Map<string, Set<string>>()
    const impact = await grants.end(filter, why, dryRun, ({ user, service }) => {
      const services = ended.get(user) ?? new Set()
      if (service !== undefined) services.add(service)
      ended.set(user, services)
    })
    if (upstreamWithin === undefined) return impact
    const owners = ownersOf(filter, ended)
    return dryRun
      ? { ...impact, accounts: await connections.countAccounts(owners) }
      : { ...impact, ...(await connections.endAccounts(owners, why.by, upstreamWithin)) }
  },
})

// Browser sessions.

export interface SessionsEndDeps {
  readonly sessions: { endOfPerson(user: string): Promise<number> }
  readonly sessionAdmin: SessionAdmin
  readonly record: Audit
}

export interface SessionsEnd {
  readonly list: SessionAdmin['list']
  /** Throws `request.malformed` for one that is not there. */
  end(id: string, by: string): Promise<void>
}

export const createSessionsEnd = ({
  sessions,
  sessionAdmin,
  record,
}: SessionsEndDeps): SessionsEnd & { signOut(user: string, by: string): Promise<number> } => ({
  list: (user) => sessionAdmin.list(user),
  async end(id, by) {
    const person = await sessionAdmin.end(id)
    if (person === undefined)
      throw new Refusal('request.malformed', 'no such session', {
        say: 'There is no such session: it has ended.',
      })
    record({ event: 'sign-out', everywhere: false, sessions: 1, person, by })
  },
  async signOut(user, by) {
    const ended = await sessions.endOfPerson(user)
    record({ event: 'sign-out', everywhere: true, sessions: ended, person: user, by })
    return ended
  },
})
