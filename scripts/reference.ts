// The reference pages that are made from the code. `npm run docs` writes them, and a test fails when a page and the code differ.
import { cliReference } from '../src/cli/reference.ts'
import { configJsonSchema } from '../src/config/json-schema.ts'
import { configReference } from '../src/config/reference.ts'
import { refusals } from '../src/kit/refusal.ts'
import { type Handlers, routeTable } from '../src/routes.ts'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const made = (title: string, intro: string, body: string): string => `<!-- Made from the code by "npm run docs"; edit the code instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

const refusalsPage = (): string =>
  made(
    'Refusals',
    [
      'Every way Postern says no. A caller gets the status and the error of the surface it used, always with the code and a request ID:',
      '',
      '- OAuth endpoints and other JSON endpoints: `{"error", "error_description", "code", "request_id"}`.',
      '- MCP: a JSON-RPC error whose `data` has `code` and `request_id`. Answers that carry a `WWW-Authenticate` challenge use the OAuth form instead.',
      '- Authorization errors sent to a redirect URI: `error`, `error_description`, `state` and `iss`. The code is left out there, because a parameter named `code` is an authorization code.',
      '  Anybody can register a redirect URI, so the browser is sent there only after somebody has allowed the client something at that URI, or when the configuration holds the client. Until then the error is a page with a link, for `prompt=none` too (RFC 9700, section 4.11.2). A no on the consent page, which shows where the answer goes, is always sent.',
      '- Pages: the code and the request ID are at the end of the page.',
      '',
      'The log has one line for every refusal, with the reason (`why`). See [Logs](../guide/production.md#logs).',
    ].join('\n'),
    table(
      ['code', 'HTTP', 'OAuth error', 'JSON-RPC code', 'what it says'],
      Object.entries(refusals).map(([code, { status, oauth, rpc, say }]) => [`\`${code}\``, String(status), `\`${oauth}\``, String(rpc), say]),
    ),
  )

/** Any handler, however deep: the page needs the table, not what it calls. */
const anyHandler: unknown = new Proxy(() => undefined, { get: () => anyHandler })

const endpointsPage = (): string => {
  const routes = routeTable({ handlers: anyHandler as Handlers, registration: true })
  const rows = routes.map(({ paths, on, what, cors }) => [paths.map((path) => `\`${path}\``).join('<br>'), Object.keys(on).join(' '), what, cors ? 'yes' : 'no'])
  const mcp = ['`/:service/mcp` and everything below it<br>`/mcp` for the default service', 'POST GET DELETE', 'The MCP server, behind a bearer token (Streamable HTTP). A browser that opens it gets a page that says how to connect', 'yes']
  const assets = ['`/assets/*` `/favicon.ico`', 'GET', 'Stylesheet, icon and copy buttons of the pages', 'no']
  return made('Endpoints', 'Every address of the gateway. HEAD is answered where GET is; preflights where other origins may read.', table(['path', 'methods', 'what', 'other origins may read'], [...rows, mcp, assets]))
}

/** Path from the root of the repository → what must stand there. */
export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/refusals.md': refusalsPage(),
  'docs/reference/endpoints.md': endpointsPage(),
  'docs/reference/config.md': configReference(),
  'docs/reference/cli.md': cliReference(),
  'postern.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
})
