// An MCP server that knows who is calling, and has no OAuth code: each user sees notes of their own.
// Run it with Node 24 or newer: node server.ts
import { serve } from '@hono/node-server'
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as z from 'zod'

/** The public URL of the gateway, and the URL at which it serves this server. */
const gateway = process.env['GATEWAY'] ?? 'http://localhost:8080'
const audience = process.env['AUDIENCE'] ?? `${gateway}/notes/mcp`

const keys = createRemoteJWKSet(new URL(`${gateway}/oauth/jwks`))

/** Who is calling, as the gateway signed it. Throws for everybody who does not come from there. */
const userOf = async (headers: Headers | undefined) => {
  const { payload } = await jwtVerify<{ readonly sub: string; readonly name?: string }>(
    headers?.get('x-mcp-identity') ?? '',
    keys,
    {
      issuer: gateway,
      audience,
      typ: 'mcp-identity+jwt',
      algorithms: ['ES256'],
    },
  )
  // `sub` is the only name of a user that never changes and that nobody else gets.
  return { id: payload.sub, name: payload.name ?? payload.sub }
}

const notes = new Map<string, string[]>()

const createServer = () => {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  server.registerTool(
    'add_note',
    {
      description: 'Keeps a note for you.',
      inputSchema: z.object({ text: z.string() }),
      annotations: { readOnlyHint: false, destructiveHint: false },
    },
    async ({ text }, context) => {
      const user = await userOf(context.http?.req?.headers)
      notes.set(user.id, [...(notes.get(user.id) ?? []), text])
      return { content: [{ type: 'text', text: `Kept for ${user.name}.` }] }
    },
  )
  server.registerTool(
    'get_my_data',
    {
      description: 'Your notes.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: true },
    },
    async (_input, context) => {
      const user = await userOf(context.http?.req?.headers)
      return { content: [{ type: 'text', text: JSON.stringify(notes.get(user.id) ?? []) }] }
    },
  )
  return server
}

const handler = createMcpHandler(createServer, { legacy: 'stateless' })
serve({ fetch: (request) => handler.fetch(request), port: Number(process.env['PORT'] ?? 3001) }, ({ port }) =>
  process.stdout.write(`http://localhost:${port}\n`),
)
