// Sessions of a server on a line where this process keeps none: each request goes to the berth where its session lives.
import { Refusal } from '../kit/refusal.ts'
import type { Berth, Berths, SessionCall } from '../ports/lines.ts'
import { idleMs, lineIdOf, opensSession, tooMany } from './line-server.ts'
import type { LineServer } from './line-server.ts'

export interface AwayDeps {
  readonly berths: Berths
  readonly now: () => number
  /** Sessions that one owner may begin here within the time after which one that nobody uses is over. */
  readonly most: number
}

/** Which sessions an owner began here and, as far as is known here, did not end. */
const createTally = ({ now, most }: Pick<AwayDeps, 'now' | 'most'>) => {
  const tallies = new Map<string, Map<string, number>>()
  return {
    check(owner: string): void {
      const tally = tallies.get(owner)
      for (const [id, at] of tally ?? []) if (at < now() - idleMs) tally?.delete(id)
      if (tally?.size === 0) tallies.delete(owner)
      if (tally && tally.size >= most) throw tooMany(owner, tally.size)
    },
    begun(owner: string, id: string | null): void {
      if (id === null) return
      const tally = tallies.get(owner) ?? new Map<string, number>()
      tallies.set(owner, tally.set(id, now()))
    },
    ended: (owner: string, id: string): void => void tallies.get(owner)?.delete(id),
  }
}

export const createAwayServer = (service: string, { berths, ...deps }: AwayDeps): LineServer => {
  const tally = createTally(deps)
  const find = (session: string): Berth => {
    const berth = berths.at(lineIdOf(session) ?? '')
    if (!berth) throw new Refusal('session.unknown', 'no session object with this ID')
    return berth
  }
  const goOn = async (request: Request, about: SessionCall): Promise<Response> => {
    const session = request.headers.get('mcp-session-id')
    if (session === null) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    if (request.method === 'DELETE') tally.ended(about.owner, session)
    return find(session).server(request, { service, ...about })
  }
  return async (request, about) => {
    if (request.method !== 'POST') return goOn(request, about)
    const body = await request.text()
    const again = new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal })
    if (!opensSession(body)) return goOn(again, about)
    tally.check(about.owner)
    const answer = await berths.make().server(again, { service, ...about })
    tally.begun(about.owner, answer.headers.get('mcp-session-id'))
    return answer
  }
}
