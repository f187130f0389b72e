// The Durable Object of one session on a line: what has to stay between the requests of that session stays in its memory, and nothing is written down.
import { DurableObject } from 'cloudflare:workers'
import type { SessionLocation } from '../ports/transport.ts'
import type { Environment } from './configuration.ts'
import type { WorkerHandler } from './handler.ts'
import { refusalResponse, sessionId, emptyReport } from './sessions.ts'

/** The class for the entry to export; the gateway inside is that of the door. It lives as long as timers of a session run (compatibility date 2026-10-01). */
export const createSessionObject = (
  door: Pick<WorkerHandler, 'berth'>,
): new (ctx: DurableObjectState, env: Environment) => DurableObject<Environment> =>
  class LineObject extends DurableObject<Environment> {
    #berth: SessionLocation | undefined

    override async fetch(came: Request): Promise<Response> {
      const { request, about } = emptyReport(came)
      this.#berth ??= await door.berth(this.env, new URL(about.at), sessionId(this.ctx.id.toString()))
      if ('visit' in about) return this.#berth.client(request, about.visit)
      return this.#berth.server(request, about.call).catch(refusalResponse)
    }
  }
