// The demo MCP server of a Worker without services. Its code is evaluated when the first call to it comes.
import type { Service } from '../ports/services.ts'

export const demoService = (version: string): Service => {
  let handle: ((request: Request) => Promise<Response>) | undefined
  return {
    id: 'demo',
    name: 'Demo',
    generation: 'built-in',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: {
      kind: 'local',
      async handle(request) {
        const { createDemo } = await import('../demo/demo.ts')
        handle ??= createDemo({ version })
        return handle(request)
      },
    },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}
