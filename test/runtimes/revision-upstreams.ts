// The reference server as a modern server (2026-07-28 only) and as a legacy server (2025-11-25 and earlier).
// Both record what they receive.
import { serve } from '@hono/node-server'
import { createMcpHandler } from '@modelcontextprotocol/server'
import { randomBytes, randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createLegacySessions } from '../../src/demo/demo.ts'
import { createReference } from '../reference/reference.ts'
import { watchedUri } from '../reference/resources.ts'
import type { Change } from '../reference/words.ts'

export interface RevisionUpstream {
  readonly url: string
  /** Every request so far. */
  readonly heard: {
    readonly http: string
    readonly headers: Headers
    readonly message: Readonly<Record<string, unknown>> | undefined
  }[]
  /** Answers every request from now on, in place of the server; undefined: the server again. */
  instead: ((request: Request) => Response | undefined) | undefined
  /** Ends all sessions, as a restart would. */
  forget(): void
  close(): Promise<void>
}

const open = (make: () => (request: Request) => Promise<Response>): Promise<RevisionUpstream> =>
  new Promise((resolve) => {
    const heard: RevisionUpstream['heard'] = []
    let answer = make()
    const upstream: Omit<RevisionUpstream, 'url' | 'close'> = {
      heard,
      instead: undefined,
      forget: () => void (answer = make()),
    }
    const listen = async (request: Request): Promise<Response> => {
      const text = await request.clone().text()
      heard.push({
        http: request.method,
        headers: request.headers,
        message: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : undefined,
      })
      return upstream.instead?.(request) ?? answer(request)
    }
    const server = serve({ fetch: listen, port: 0, hostname: '127.0.0.1' }, ({ port }: AddressInfo) =>
      resolve(
        Object.assign(upstream, {
          url: `http://127.0.0.1:${port}/mcp`,
          close: () =>
            new Promise<void>((closed) => {
              server.close(() => closed())
              if ('closeAllConnections' in server) server.closeAllConnections()
            }),
        }),
      ),
    )
  })

export const openModernOnly = (): Promise<RevisionUpstream> =>
  open(() => {
    const key = randomBytes(32)
    const announce = (change: Change): void => {
      if (change === 'tools') modern.notify.toolsChanged()
      else if (change === 'prompts') modern.notify.promptsChanged()
      else modern.notify.resourceUpdated(watchedUri)
    }
    const modern = createMcpHandler(() => createReference({ key, announce }), { legacy: 'reject' })
    return (request) => modern.fetch(request)
  })

export const openLegacyOnly = (): Promise<RevisionUpstream> =>
  open(() => {
    const key = randomBytes(32)
    const sessions = createLegacySessions({
      create: async () => createReference({ key }),
      sessionId: randomUUID,
    })
    const refused = (): Response =>
      Response.json(
        {
          jsonrpc: '2.0',
          id: null,
          error: { code: -32_000, message: 'Bad Request: No valid session ID provided' },
        },
        { status: 400 },
      )
    return async (request) => (await sessions(request)) ?? refused()
  })
