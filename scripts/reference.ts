// The reference pages that are made from the code. `npm run docs` writes them, and a test fails when a page
// and the code differ.
import type { Command } from 'commander'
import { configJsonSchema } from '../src/cli/config.ts'
import { createProgram } from '../src/cli/program.ts'
import { refusals } from '../src/kit/refusal.ts'
import { type Handlers, routeTable } from '../src/routes.ts'
import { configReference } from './config-reference.ts'
import { markdownTable as table } from './harness/table.ts'

const made = (title: string, intro: string, body: string): string =>
  `<!-- Made from the code by "npm run docs"; edit the code instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

const refusalsPage = (): string =>
  made(
    'Error codes',
    [
      'This page lists every error that Postern returns. Each error has a code and a request ID. Its form depends on the endpoint:',
      '',
      '- OAuth endpoints and other JSON endpoints: `{"error", "error_description", "code", "request_id"}`, and `error_uri` with the URL of this page at the code, where [`docs_url`](config.md) is set.',
      '- MCP endpoints: a JSON-RPC error whose `data` has `code` and `request_id`. Responses with a `WWW-Authenticate` challenge use the OAuth form instead.',
      '- Authorization errors sent to a redirect URI: `error`, `error_description`, `state` and `iss`. The error code is omitted, because a parameter named `code` would be an authorization code.',
      '  Because anyone can register a redirect URI, Postern redirects the browser with an error only if a user has already approved the client at that URI, or if the client is in the configuration. Otherwise the error is a page with a link, for `prompt=none` too (RFC 9700, section 4.11.2). If the user clicks Cancel on the consent page, which shows the redirect URI, the browser is always redirected.',
      '- Pages: the code and the request ID are at the end of the page, with a link to this page where `docs_url` is set.',
      '',
      'The log has one line for every error, with the reason (`why`). See [Logs](../guide/production.md#logs).',
    ].join('\n'),
    table(
      ['code', 'message', 'HTTP status', 'OAuth error', 'JSON-RPC code'],
      Object.entries(refusals).map(([code, { status, oauth, rpc, say }]) => [
        `<a id="${code}"></a>\`${code}\``,
        say,
        String(status),
        `\`${oauth}\``,
        String(rpc),
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

const verbsOf = (
  command: Command,
  path: string,
): readonly { readonly path: string; readonly command: Command }[] =>
  command.commands.flatMap((child) => {
    const usage = [
      path,
      child.name(),
      ...child.registeredArguments.map((argument) =>
        argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      ),
    ].join(' ')
    return child.commands.length > 0
      ? verbsOf(child, `${path} ${child.name()}`)
      : [{ path: usage, command: child }]
  })

/** The command line, made from the command tree itself. */
const cliPage = (): string => {
  const program = createProgram()
  const verbs = verbsOf(program, 'postern').map(
    ({ path, command }) => `| \`${path}\` | ${command.description()} |`,
  )
  const flags = program.options
    .filter(({ hidden }) => !hidden)
    .map(({ flags: form, description }) => `| \`${form}\` | ${description} |`)
  return `<!-- Made from the code by "npm run docs"; edit the code instead. -->
# Command line

| command | description |
| --- | --- |
| \`postern\` | Start the gateway. |
${verbs.join('\n')}

| flag | description |
| --- | --- |
${flags.join('\n')}

Flags can come before or after the command. Flags that a command does not use are ignored. For environment variables and the configuration file, see
[Configuration](config.md).

## Output and exit codes

Results go to standard output, errors to standard error. On a terminal, each error is one sentence. Otherwise, or with \`--json\`, errors are one line of
JSON: \`{"error":{"code","message",…}}\`. Configuration errors are in \`error.faults\` as \`{key, file, line, column, message}\`. Colors follow
\`NO_COLOR\` and \`FORCE_COLOR\`. Stack traces are only printed with \`--debug\`.

Commands that list or show something take \`-o table\`, \`-o json\` or \`-o yaml\`; \`--json\` is \`-o json\` for every command. \`audit query\` also
prints \`csv\`, and \`audit export\` prints \`jsonl\` or \`csv\`.

| exit code | meaning |
| --- | --- |
| 0 | Success. For \`serve\`: clean shutdown. |
| 1 | Failure. For \`status\`: the gateway is not ready, or locked. For \`serve\`: the gateway did not start, and restarting it does not help. |
| 2 | Invalid command line. For \`serve\`: a second signal stopped the gateway before it had shut down. |
| 3 | For \`serve\`: the gateway stopped because of an internal error, or it cut off calls that did not finish in time. |
| 4 | For \`doctor\`: a URL cannot be reached. For \`status\`: no gateway answers. |

## Validate a configuration

\`postern validate\` reports every configuration error at once. It also reports each stdio server that cannot be started on this machine: program not found, a whole command line
in \`command\`, no permission, or missing folder. \`postern serve\` starts anyway and logs warnings for these.

\`postern validate --connect\` also connects to everything that the configuration names and prints one line per check: the metadata and keys of each identity provider, each server
(with its configured token or headers), each authorization server and each \`jwks_uri\`. It starts each stdio server once, in a separate state directory, and stops it again.
The exit code is 0 if all checks succeed and 1 otherwise. \`--json\` prints the checks as \`{key, ok, say}\`.

## Completion

\`postern completion\` prints a script for bash, zsh or fish that knows every command, option and fixed value of this version:

\`\`\`sh
source <(postern completion bash)
\`\`\`

For zsh it is \`source <(postern completion zsh)\` after \`compinit\`, for fish \`postern completion fish | source\`.

## State directory

Keys and the database are in the state directory: \`--state DIR\`, otherwise \`POSTERN_STATE\`, otherwise \`$XDG_STATE_HOME/postern\`, otherwise
\`~/.local/state/postern\`. It is created with access for its owner only.
`
}

/** Words in angle brackets are words, not HTML; the elements that these pages are made with stay. */
const withoutElements = (page: string): string =>
  page
    .split(/(```[\s\S]*?```|`[^`\n]*`)/)
    .map((part, i) => (i % 2 === 1 ? part : part.replaceAll(/<(?!br>|!--|\/?a\b)/g, '&lt;')))
    .join('')

/** Path from the root of the repository → what must stand there. */
export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/refusals.md': withoutElements(refusalsPage()),
  'docs/reference/endpoints.md': withoutElements(endpointsPage()),
  'docs/reference/config.md': withoutElements(configReference()),
  'docs/reference/cli.md': withoutElements(cliPage()),
  'postern.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
})
