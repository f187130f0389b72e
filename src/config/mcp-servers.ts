// The block `mcpServers` as the schema shows it to editors; what is read of it, and of the blocks of other clients, is in client-files.ts.
import * as z from 'zod'

/** What is read of an entry. Everything else an entry may hold is a client's own business (approvals, descriptions, icons). */
const entry = z
  .looseObject({
    command: z.string().optional().describe('Same as `mcp_services.<id>.command`.'),
    args: z.array(z.string()).optional().describe('Same as `mcp_services.<id>.args`.'),
    env: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('Same as `mcp_services.<id>.env`.'),
    cwd: z.string().optional().describe('Same as `mcp_services.<id>.cwd`.'),
    url: z.string().optional().describe('Same as `mcp_services.<id>.url`. `serverUrl` and `httpUrl` are accepted too.'),
    type: z.string().optional().describe('`stdio`, `http` or `sse`.'),
    headers: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('Headers to send to the server with every call. Becomes `upstream_auth` of type `static`.'),
    disabled: z.boolean().optional().describe('Set to `true` to skip the server.'),
  })
  .describe('A server in the configuration format of MCP clients.')

export const mcpServersKeys = z
  .record(z.string(), entry)
  .optional()
  .describe('Servers in the format of Claude Desktop, Cursor and other clients. Each becomes a service whose ID is the name in lower case. Put gateway settings for it under `mcp_services.<id>`. See [MCP client configuration files](#mcp-client-configuration-files).')

/** `Brave Search` → `brave-search`; empty when nothing of the name can stay. */
export const idOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 63)
