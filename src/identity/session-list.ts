// Browser sessions for administrators: who is signed in since when, and the end of one.
import { createRecords, isNamed, personKey } from '../kit/records.ts'
import type { ListedSession, SessionAdmin } from '../ports/people.ts'
import type { SessionsDeps, SessionRecord } from './session.ts'

/** They are looked through, so that no more of them are listed. */
const mostListed = 1000

type Deps = Pick<SessionsDeps, 'mayStillSignIn' | 'idleMs' | 'absoluteMs'> & {
  readonly runtime: Pick<SessionsDeps['runtime'], 'now' | 'store' | 'keys' | 'log'>
}

export const createSessionAdmin = ({ runtime, mayStillSignIn, idleMs, absoluteMs }: Deps): SessionAdmin => {
  const records = createRecords<SessionRecord>(runtime, 'session:')
  /** As it counts now; undefined for one that is over. */
  const listedOf = (
    id: string,
    { person: kept, signedInAt, seenAt }: SessionRecord,
  ): ListedSession | undefined => {
    const now = runtime.now()
    const endsAt = Math.min(seenAt + idleMs, signedInAt + absoluteMs)
    const person = now < endsAt ? mayStillSignIn(kept) : undefined
    if (!person) return undefined
    const { email } = person
    return { id, user: personKey(person), ...(email !== undefined && { email }), signedInAt, seenAt, endsAt }
  }
  return {
    async list(user) {
      const found: ListedSession[] = []
      let [looked, truncated] = [0, false]
      for await (const page of records.pages(mostListed)) {
        const own = page.filter(({ value }) => user === undefined || isNamed(value.person, user))
        found.push(...own.map(({ id, value }) => listedOf(id, value)).filter((one) => one !== undefined))
        looked += page.length
        if (user === undefined && looked >= mostListed) {
          truncated = page.length === mostListed
          break
        }
      }
      return { sessions: found.toSorted((a, b) => b.seenAt - a.seenAt), truncated }
    },
    async end(id) {
      const ended = /^[A-Za-z0-9_-]{43}$/.test(id) ? await records.take(id) : undefined
      return ended && personKey(ended.value.person)
    },
  }
}
