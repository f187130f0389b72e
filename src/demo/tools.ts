// The tools of the demo server: who is calling, a slow one, a large one, and one that only looks dangerous.
import type { McpServer } from '@modelcontextprotocol/server'
import * as z from 'zod'
import { decodeBase64url, utf8Text } from '../kit/bytes.ts'

const readOnly = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
} as const

/** Identity headers of the gateway's presets, lower case. */
const identityHeaders = [
  'x-user-id',
  'x-user-sub',
  'x-user-login',
  'x-user-email',
  'x-user-name',
  'x-user-provider',
  'x-user-avatar',
  'x-user-groups',
  'x-user-context',
] as const

const claimsOf = (assertion: string | null | undefined): Record<string, unknown> | undefined => {
  const payload = decodeBase64url(assertion?.split('.')[1] ?? '')
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(utf8Text(payload))
    return typeof claims === 'object' && claims !== null ? { ...claims } : undefined
  } catch {
    return undefined
  }
}

const person = z.object({
  headers: z
    .record(z.string(), z.string())
    .describe('Identity headers as they arrived; absent ones were not sent.'),
  assertion: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "Claims of X-MCP-Identity, decoded only. A real server verifies the signature with the gateway's JWKS.",
    ),
  bearer_token_arrived: z
    .boolean()
    .describe('Whether an Authorization header reached this server. Behind the gateway it never does.'),
})

const addWhoami = (server: McpServer): void => {
  server.registerTool(
    'whoami',
    {
      title: 'Who am I?',
      description:
        'Says who the gateway says is calling: the identity headers and the claims of the signed assertion that arrived with this call.',
      inputSchema: z.object({}),
      outputSchema: person,
      annotations: readOnly,
    },
    (_input, context) => {
      const headers = context.http?.req?.headers
      const shown = Object.fromEntries(
        identityHeaders.flatMap((name) => (headers?.has(name) ? [[name, headers.get(name) ?? '']] : [])),
      )
      const claims = claimsOf(headers?.get('x-mcp-identity'))
      const found = {
        headers: shown,
        ...(claims && { assertion: claims }),
        bearer_token_arrived: headers?.has('authorization') ?? false,
      }
      const who = shown['x-user-name'] ?? shown['x-user-email'] ?? shown['x-user-id']
      const text = who === undefined ? 'The gateway said nothing about who is calling.' : `You are ${who}.`
      return {
        content: [{ type: 'text', text: `${text}\n${JSON.stringify(found, null, 2)}` }],
        structuredContent: found,
      }
    },
  )
}

/** Starts a timer and returns what cancels it. */
export type DemoTimer = (ms: number, run: () => void) => () => void

/** Resolves after `ms`, at once when the signal is aborted. */
const pause = (timer: DemoTimer, ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const cancel = timer(ms, done)
    function done(): void {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })

const addSlowCount = (server: McpServer, timer: DemoTimer): void => {
  server.registerTool(
    'slow_count',
    {
      title: 'Count slowly',
      description:
        'Counts to a number, one step at a time, reporting progress to clients that ask for it. Stops when the call is cancelled.',
      inputSchema: z.object({
        to: z.int().min(1).max(100).default(5).describe('The last number.'),
        interval_ms: z
          .int()
          .min(1)
          .max(5000)
          .default(500)
          .describe('Pause before each number, milliseconds.'),
      }),
      annotations: readOnly,
    },
    async ({ to, interval_ms: interval }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (let step = 1; step <= to; step++) {
        await pause(timer, interval, mcpReq.signal)
        if (mcpReq.signal.aborted)
          return { content: [{ type: 'text', text: `Cancelled after ${step - 1}.` }], isError: true }
        if (progressToken !== undefined)
          await mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken, progress: step, total: to, message: `${step} of ${to}` },
          })
      }
      return { content: [{ type: 'text', text: `Counted to ${to}.` }] }
    },
  )
}

const addLargeResult = (server: McpServer): void => {
  server.registerTool(
    'large_result',
    {
      title: 'Large result',
      description:
        'Answers with text of exactly the size asked for, up to 1 MiB, in numbered lines of 64 characters.',
      inputSchema: z.object({
        bytes: z.int().min(1).max(1_048_576).default(65_536).describe('Length of the text in bytes (ASCII).'),
      }),
      annotations: readOnly,
    },
    ({ bytes }) => {
      const lines = Array.from(
        { length: Math.ceil(bytes / 64) },
        (_, line) => `${String(line).padStart(8, '0')} ${'.'.repeat(54)}\n`,
      )
      return { content: [{ type: 'text', text: lines.join('').slice(0, bytes) }] }
    },
  )
}

const addDeleteEverything = (server: McpServer): void => {
  server.registerTool(
    'delete_everything',
    {
      title: 'Delete everything',
      description: 'Marked destructive, to try permissions with. It deletes nothing and says so.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
    },
    () => ({
      content: [
        {
          type: 'text',
          text: 'Nothing was deleted: this tool only looks dangerous. That the call arrived means nothing in front of it said no.',
        },
      ],
    }),
  )
}

export const addTools = (server: McpServer, timer: DemoTimer): void => {
  addWhoami(server)
  addSlowCount(server, timer)
  addLargeResult(server)
  addDeleteEverything(server)
}
