// The reference server as a process: `node test/reference/server.ts [--port N] [--only modern|legacy]` on
// http://127.0.0.1:N/mcp, or `--stdio`.
import { serve } from '@hono/node-server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { createReferenceEndpoint } from './endpoint.ts'
import { createReference } from './reference.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: process.env.PORT ?? '0' },
    stdio: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
})

if (values.stdio) {
  const key = randomBytes(32)
  serveStdio(() => createReference({ key }))
} else {
  const listening = ({ port }: AddressInfo): void =>
    console.log(JSON.stringify({ event: 'listening', url: `http://127.0.0.1:${port}/mcp` }))
  const server = serve(
    {
      fetch: createReferenceEndpoint(
        values.only === 'modern' || values.only === 'legacy' ? values.only : undefined,
      ),
      port: Number(values.port),
      hostname: '127.0.0.1',
    },
    listening,
  )
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => server.close(() => process.exit(0)))
}
