// The Durable Object of one session on a line: what has to stay between the requests of that session stays in its memory, and nothing is written down.
import { DurableObject } from 'cloudflare:workers'
import type { Berth } from '../ports/lines.ts'
import { refusalResponse, sessionId, untold } from './berths.ts'
import type { Door } from './door.ts'
import type { Environment } from './environment.ts'

/** The class for the entry to export; the gateway inside is that of the door. It lives as long as timers of a session run (compatibility date 2026-10-01). */
export const createLineObject = (door: Pick<Door, 'berth'>): new (ctx: DurableObjectState, env: Environment) => DurableObject<Environment> =>
  class LineObject extends DurableObject<Environment> {
    #berth: Berth | undefined

    override async fetch(came: Request): Promise<Response> {
      const { request, about } = untold(came)
      this.#berth ??= await door.berth(this.env, new URL(about.at), sessionId(this.ctx.id.toString()))
      if ('visit' in about) return this.#berth.client(request, about.visit)
      return this.#berth.server(request, about.call).catch(refusalResponse)
    }
  }
