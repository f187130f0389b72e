// The Durable Object of one session: of an HTTP+SSE client, or with an HTTP+SSE or WebSocket server. It keeps
// the session in memory between requests and stores nothing.
import { DurableObject } from 'cloudflare:workers'
import type { SessionLocation } from '../ports/runtime.ts'
import type { WorkerEnvironment } from './configuration.ts'
import type { WorkerHandler } from './handler.ts'
import { refusalResponse, sessionId, readReport } from './sessions.ts'

/**
 * The class for the entry to export. An object lives as long as a timer of its session runs (compatibility
 * date 2026-10-01).
 */
export const createSessionObject = (
  handler: Pick<WorkerHandler, 'session'>,
): new (ctx: DurableObjectState, env: WorkerEnvironment) => DurableObject<WorkerEnvironment> =>
  class SessionObject extends DurableObject<WorkerEnvironment> {
    #session: SessionLocation | undefined

    override async fetch(received: Request): Promise<Response> {
      const { request, about } = readReport(received)
      this.#session ??= await handler.session(this.env, new URL(about.at), sessionId(this.ctx.id.toString()))
      if ('context' in about) return this.#session.client(request, about.context)
      return this.#session.server(request, about.call).catch(refusalResponse)
    }
  }
