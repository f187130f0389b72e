// The service that is there before anything is configured: the demo server, in this process.
import { Buffer } from 'node:buffer'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

/** Its code (a third of everything's memory) is loaded by the first request that needs it. */
export const demoService = (runtime: Pick<Runtime, 'random' | 'about'>): Service => {
  let made: Promise<(request: Request) => Promise<Response>> | undefined
  const sessionId = (): string => Buffer.from(runtime.random(16)).toString('hex')
  const load = () => (made ??= import('../demo/demo.ts').then(({ createDemo }) => createDemo({ version: runtime.about.version, sessionId })))
  return {
    id: 'demo',
    name: 'Demo',
    generation: 'built-in',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: { kind: 'local', handle: async (request) => (await load())(request) },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}
