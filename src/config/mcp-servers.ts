// The block `mcpServers` as the schema shows it to editors; what is read of it, and of the blocks of other clients, is in client-files.ts.
import * as z from 'zod'

/** What is read of an entry. Everything else an entry may hold is a client's own business (approvals, descriptions, icons). */
const entry = z
  .looseObject({
    command: z.string().optional().describe('As `mcp_services.<id>.command`.'),
    args: z.array(z.string()).optional().describe('As `mcp_services.<id>.args`.'),
    env: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('As `mcp_services.<id>.env`.'),
    cwd: z.string().optional().describe('As `mcp_services.<id>.cwd`.'),
    url: z.string().optional().describe('As `mcp_services.<id>.url`; `serverUrl` and `httpUrl` are understood too.'),
    type: z.string().optional().describe('`stdio`, `http` or `sse`.'),
    headers: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('Sent to the server with every call, as `upstream_auth` of type `static`.'),
    disabled: z.boolean().optional().describe('true leaves the server out.'),
  })
  .describe('A server as clients configure it.')

export const mcpServersKeys = z
  .record(z.string(), entry)
  .optional()
  .describe('Servers as Claude Desktop, Cursor and others configure them: each becomes a service, its name in lower case the id. Settings of the gateway for it stand in `mcp_services.<id>`. See [Files of MCP clients](#files-of-mcp-clients).')

/** `Brave Search` → `brave-search`; empty when nothing of the name can stay. */
export const idOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 63)
