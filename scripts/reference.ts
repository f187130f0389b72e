// The reference pages that are made from the code. `npm run docs` writes them, and a test fails when a page
// and the code differ.
import { type Handlers, routeTable } from '../src/routes.ts'
import { cliReference } from '../src/cli/reference.ts'
import { configJsonSchema } from '../src/config/docs.ts'
import { configReference } from '../src/config/reference.ts'
import { refusals } from '../src/kit/refusal.ts'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const made = (title: string, intro: string, body: string): string =>
  `<!-- Made from the code by "npm run docs"; edit the code instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

const refusalsPage = (): string =>
  made(
    'Error codes',
    [
      'This page lists every error that Postern returns. Each error has a code and a request ID. Its form depends on the endpoint:',
      '',
      '- OAuth endpoints and other JSON endpoints: `{"error", "error_description", "code", "request_id"}`.',
      '- MCP endpoints: a JSON-RPC error whose `data` has `code` and `request_id`. Responses with a `WWW-Authenticate` challenge use the OAuth form instead.',
      '- Authorization errors sent to a redirect URI: `error`, `error_description`, `state` and `iss`. The error code is omitted, because a parameter named `code` would be an authorization code.',
      '  Because anyone can register a redirect URI, Postern redirects the browser with an error only if a user has already approved the client at that URI, or if the client is in the configuration. Otherwise the error is a page with a link, for `prompt=none` too (RFC 9700, section 4.11.2). If the user clicks Cancel on the consent page, which shows the redirect URI, the browser is always redirected.',
      '- Pages: the code and the request ID are at the end of the page.',
      '',
      'The log has one line for every error, with the reason (`why`). See [Logs](../guide/production.md#logs).',
    ].join('\n'),
    table(
      ['code', 'HTTP status', 'OAuth error', 'JSON-RPC code', 'message'],
      Object.entries(refusals).map(([code, { status, oauth, rpc, say }]) => [
        `\`${code}\``,
        String(status),
        `\`${oauth}\``,
        String(rpc),
        say,
      ]),
    ),
  )

/** Any handler, however deep: the page needs the table, not what it calls. */
const anyHandler: unknown = new Proxy(() => undefined, { get: () => anyHandler })

const endpointsPage = (): string => {
  const routes = routeTable({ handlers: anyHandler as Handlers, registration: true })
  const rows = routes.map(({ paths, methods, description, cors }) => [
    paths.map((path) => `\`${path}\``).join('<br>'),
    Object.keys(methods).join(' '),
    description,
    cors ? 'yes' : 'no',
  ])
  const mcp = [
    '`/:service/mcp` and everything below it<br>`/mcp` for the default service',
    'POST GET DELETE',
    'MCP endpoint (Streamable HTTP), protected by a bearer token. Browsers get a page that explains how to connect',
    'yes',
  ]
  const assets = ['`/assets/*` `/favicon.ico`', 'GET', 'Stylesheet, icon and scripts of the pages', 'no']
  return made(
    'Endpoints',
    'All HTTP endpoints of the gateway. HEAD works wherever GET works. CORS preflight requests are answered for endpoints with CORS enabled.',
    table(['path', 'methods', 'description', 'CORS'], [...rows, mcp, assets]),
  )
}

/** Path from the root of the repository → what must stand there. */
export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/refusals.md': refusalsPage(),
  'docs/reference/endpoints.md': endpointsPage(),
  'docs/reference/config.md': configReference(),
  'docs/reference/cli.md': cliReference(),
  'postern.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
})
