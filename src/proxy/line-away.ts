// Sessions of a server on a line where this process keeps none: each request goes to the berth where its session lives.
import { Refusal } from '../kit/refusal.ts'
import type { Berth, Berths } from '../ports/lines.ts'
import { lineIdOf, opensSession } from './line-server.ts'
import type { LineServer } from './line-server.ts'

export const createAwayServer = (service: string, berths: Berths): LineServer => {
  const find = (request: Request): Berth => {
    const session = request.headers.get('mcp-session-id')
    if (session === null) throw new Refusal('session.missing')
    const berth = berths.at(lineIdOf(session) ?? '')
    if (!berth) throw new Refusal('session.unknown', 'no berth has such an id')
    return berth
  }
  return async (request, owner) => {
    if (request.method !== 'POST') return find(request).server(request, { service, owner })
    const body = await request.text()
    const again = new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal })
    return (opensSession(body) ? berths.make() : find(request)).server(again, { service, owner })
  }
}
