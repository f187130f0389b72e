// docs/reference/config.md, made from the schema and the tables of names and flags, so that it cannot say anything else than the code.
import { environmentNames } from './environment-names.ts'
import { configFlags, flagName, otherFlags } from './flags.ts'
import { otherNames } from './other-gateways.ts'
import { reservedIds } from './rules-services.ts'
import { type Shape, rootShape, shapeAt } from './shape.ts'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const typeText = (shape: Shape): string => {
  switch (shape.kind) {
    case 'number':
      return `whole number, ${String(shape.least)} to ${String(shape.most)}`
    case 'choice':
      return shape.names.map((name) => `\`${name}\``).join(', ')
    case 'boolean':
      return 'true, false'
    case 'list':
      return `list of ${shape.below(0)?.kind === 'text' ? 'texts' : 'objects'}`
    case 'record':
      return 'texts by name'
    case 'object':
      return 'object'
    case 'text':
    case 'any':
      return shape.secret ? 'text, secret' : 'text'
  }
}

const fallbackText = (shape: Shape): string => {
  if (shape.required) return '**required**'
  return shape.fallback === undefined ? '' : `\`${JSON.stringify(shape.fallback)}\``
}

interface Section {
  readonly title: string
  readonly about: string
  readonly rows: readonly (readonly string[])[]
}

/** A section for an object, and one for each object below it. */
const sectionsOf = (shape: Shape, path: string): readonly Section[] => {
  const rows: string[][] = []
  const further: Section[] = []
  for (const name of shape.names) {
    const child = shape.below(name) as Shape
    const here = path === '' ? name : `${path}.${name}`
    const element = child.kind === 'record' ? child.below('id') : child.kind === 'list' ? child.below(0) : undefined
    const inner = child.kind === 'object' ? { shape: child, path: here } : element?.kind === 'object' ? { shape: element, path: child.kind === 'list' ? `${here}[]` : `${here}.<id>` } : undefined
    const type = inner && child.kind === 'record' ? 'objects by id' : typeText(element?.secret ? { ...child, secret: true } : child)
    rows.push([`\`${name}\``, type, inner && child.kind === 'object' ? '' : fallbackText(child), `${child.description}${inner ? ` See [\`${inner.path}\`](#${anchor(inner.path)}).` : ''}`])
    if (inner) further.push(...sectionsOf(inner.shape, inner.path))
  }
  return [{ title: path, about: shape.description, rows }, ...further]
}

/** As GitHub makes it from the heading `` `path` ``. */
const anchor = (path: string): string => path.toLowerCase().replaceAll(/[^a-z0-9_-]/g, '')

const keys = (): string =>
  sectionsOf(rootShape, '')
    .map(({ title, about, rows }) => `${title === '' ? '### Top level' : `### \`${title}\`\n\n${about}`}\n\n${table(['key', 'value', 'default', 'what it does'], rows)}`)
    .join('\n\n')

const head = `<!-- Made from the code by "npm run docs"; edit the code instead. -->
# Configuration

Postern starts without any configuration. What it is told comes from, in this order, first one wins:

1. flags of the command line,
2. environment variables, then those of [\`.env\`](#environment-variables),
3. one file, YAML or JSON (with comments and trailing commas),
4. defaults.

\`postern config explain\` prints every key with its value and where that came from; \`postern validate\` checks everything without
starting; \`postern config schema\` prints the JSON Schema for editors (\`postern.schema.json\` in the package). Every fault is told at once, one line each:

\`\`\`text
config.yaml:14:7 mcp_services.jira.scope – unknown key, did you mean "scopes"?
\`\`\`

## The file

\`--config FILE\`, or the file that MCP_CONFIG_PATH names, or the text in POSTERN_CONFIG, or the first of these that exists:

`

export const searchedFiles: readonly string[] = ['postern.yaml', 'config.yaml', 'config.yml', '~/.config/postern/config.yaml', '~/.mcp-gateway/config.yaml', '/etc/mcp-gateway/config.yaml']

const variables = `
\`XDG_CONFIG_HOME\` moves the fourth. An editor with YAML support completes and checks the file when it begins with
\`# yaml-language-server: $schema=./node_modules/postern/postern.schema.json\`.

### Variables in the file

| written | becomes |
| --- | --- |
| \`\${NAME}\` | the environment variable; the start is refused when it is not set |
| \`\${NAME:-default}\` | the variable, or the default when it is unset or empty; the default may hold further variables |
| \`\${NAME:?message}\` | the variable; the start is refused with the message when it is unset or empty |
| \`$\${NAME}\` | the characters \`\${NAME}\` themselves |

Variables are filled in after the file was parsed, so nothing they hold can add a key. A value made of variables is read as its key's type:
numbers, true or false, and lists (\`a,b\` or JSON). Inside \`[ ]\` and \`{ }\`, and around \`: \` or \` #\`, YAML needs quotes: \`["\${NAME}"]\`. In comments nothing is
filled in. In \`identity.headers\` the names of the person's properties are not variables. YAML anchors, aliases and \`<<\` work.
`

const clientFiles = `
### Files of MCP clients

The file of a client is taken as it is, under any of the names above or with \`--config\`. Each server becomes a service, and its name in lower case the id. Settings of the
gateway for it stand in \`mcp_services.<id>\` of the same file, or in variables.

| client | where its servers stand |
| --- | --- |
| Claude Desktop, Claude Code, Cursor, Cline, Roo Code, Windsurf, Gemini CLI, Copilot CLI, LibreChat | \`mcpServers\` |
| Continue | \`mcpServers\`, a list |
| VS Code | \`servers\` (\`mcp.json\`), \`mcp.servers\` (settings) |
| opencode | \`mcp\` |
| Zed | \`context_servers\` |

Numbers and flags in \`args\`, \`env\` and \`headers\` are the text they were written as. \`headers\` become \`upstream_auth\` of type \`static\`. An entry with \`disabled: true\` or
\`enabled: false\` is left out. A name that is an address of the gateway gets a free id (\`docs\` is served at \`/docs-server/mcp\`), and the log says so. Other settings of the client in the same file
are named in one warning and not read.

| in the file | what happens |
| --- | --- |
| \`\${input:some-key}\` (VS Code asks its user) | the environment variable SOME_KEY takes its place; the start is refused without it |
| \`\${userHome}\`, \`\${/}\`, \`\${env:NAME}\`, \`{env:NAME}\` | filled in |
| \`\${workspaceFolder}\` and what else only an editor knows, \`{file:…}\`, \`envFile\` | the start is refused, with what to write |
| \`{{…}}\` in a header (LibreChat fills it in for each person) | the header is left out, with a warning; \`identity\` tells the server who calls |
| \`includeTools\`, \`excludeTools\`, \`disabledTools\`, \`oauth\` | not applied, with a warning |
| a server that a Zed extension starts; the TOML of Codex | the start is refused, with what to write |
| a setting of this gateway in an entry, such as \`auth_required\` | the start is refused, with the place where it belongs |
`

const environmentHead = `
## Environment variables

Every key has a name made from it: \`POSTERN_\` and the key in capitals, \`__\` between levels. Lists are written with commas or as JSON, whole sections as
JSON; ids of services, providers and clients are matched with those of the file (\`my-service\` is \`MY_SERVICE\`), entries of lists are numbers.
\`POSTERN_PORT\`, \`POSTERN_CORS__ALLOW_ORIGINS\`, \`POSTERN_MCP_SERVICES__CALCULATOR__URL\`, \`POSTERN_LOCAL_USERS__0__PASSWORD\`. An unknown
\`POSTERN_\` name refuses the start, as an unknown key of the file does. An empty variable counts as absent.

**The file .env.** Variables may stand in a file, \`NAME=value\` one a line, as Docker Compose and others write it: \`.env\` in the working directory, or the file that
\`--env-file FILE\` names in its place. A variable that is really set wins over the file, an empty one too. A line that is neither a variable nor a comment refuses the start.
Like the configuration file, it is told when it holds secrets and every user of this computer can read it: \`chmod 600 .env\`. The file is read again with
the configuration. Workers have no such file: \`wrangler\` reads \`.dev.vars\`.

**Secrets from files.** Every name of a secret may have \`_FILE\` added and then holds the path of a file with the secret
(\`SESSION_SECRET_FILE=/run/secrets/session\`); so may every name that the file mentions as \`\${NAME}\`. One line end at the end of the file is dropped.

Names with a fixed meaning; of several for one key the later one in the table wins, and a \`POSTERN_\` name wins over all of them:

`

const refused = `
## What is refused

A start that would be unsafe does not happen. The message names the key and the remedy.

| key | refused |
| --- | --- |
| \`session_secret\`, \`previous_secrets\`, \`clients.<id>.client_secret\` | shorter than 32 characters, sample text, a few characters repeated. With \`debug: true\` on a loopback gateway a weak \`session_secret\` is set aside with a warning, and the generated key is used |
| any secret | the same text as the root secret |
| \`host\` | beyond loopback without \`issuer\` |
| \`issuer\` | http beyond loopback; a path, query or fragment; any spelling but the canonical one (a trailing slash is dropped) |
| \`cors\` | the origin \`*\` together with \`allow_credentials: true\`; patterns; \`null\` |
| \`trusted_proxies\` | ranges wider than /8 (IPv4) or /7 (IPv6) |
| \`oauth_providers\` | an unknown id without \`issuer\`; http beyond loopback, or on loopback behind a public gateway; on a public gateway, a provider at which anybody can have an account (Google, Microsoft for any tenant and others) without \`allowed_emails\`, \`allowed_domains\` or \`allowed_groups\` |
| \`hosts\`, \`domain_root\`, \`base_domain\` | a host that would mean two services, or one and the gateway: a name of the gateway, one place written twice, ids that make one label, two servers of one domain and path, an \`alias\` twice; a service whose server is at such a host |
| \`mcp_services\` | ids that are addresses of the gateway; an \`oauth_provider\` that does not exist; a \`url\` that is the gateway itself; neither or both of \`url\` and \`command\`; a \`command\` without login that is not \`shared\`; two values for one header; header values that HTTP cannot send; in \`upstream_auth\`, keys of another \`type\`, a \`client_id\` without the server it belongs to, \`idp_token\` without \`oauth_providers\` |
| \`local_users\` | two of one name; passwords that are short or among the first anybody tries |
| \`clients\` | redirect URIs with wildcards, fragments or http beyond loopback; private keys in \`jwks\`; credentials that do not fit the method |
| \`refresh_token_lifetime\` | shorter than \`access_token_lifetime\` |
| \`storage.type\` | \`memory\` with NODE_ENV=production |
| sign-in | a public gateway on which nobody could sign in |
| anything | unknown keys, unknown \`POSTERN_\` variables, keys written twice, variables that are not set |

Ids that services cannot have: ${[...reservedIds].map((id) => `\`${id}\``).join(', ')}.
`

const environmentTable = (): string =>
  table(
    ['name', 'key', 'note'],
    environmentNames.map(({ name, key, note }) => [`\`${name}\``, key === undefined ? '' : `\`${key}\``, note || (shapeAt((key ?? '').split('.'))?.description ?? '')]),
  )

const otherNamesSection = (): string => {
  const effect = { access: 'refuses the start', store: 'refuses the start, unless `storage.type` is set', replaced: 'warning' } as const
  const rows = otherNames.map(({ shown, kind, what }) => [shown, effect[kind], `${what.charAt(0).toUpperCase()}${what.slice(1)}.`])
  return `

### Variables of other gateways

These names are documented by gateways that people move from. None is ignored in silence: what would restrict access, or asks for a store, refuses the start, and the
rest is answered with a warning. A name that the file uses as \`\${NAME}\` is the file's own. What Kubernetes sets for a service of the same name
(\`REDIS_PORT=tcp://…\`, \`POSTERN_SERVICE_HOST\`) is not taken for a setting.

${table(['name', 'effect', 'what is said'], rows)}
`
}

const flagTable = (): string =>
  table(
    ['flag', 'key', 'what it does'],
    [...otherFlags.map(({ option, note }) => [`\`${option}\``, '', note]), ...configFlags.map(({ option, key, note }) => [`\`${option}\``, `\`${key}\``, note])],
  )

/** The whole document, ending with a line break. */
export const configReference = (): string =>
  [
    head,
    searchedFiles.map((file, i) => `${i + 1}. \`${file}\``).join('\n'),
    '\n',
    variables,
    clientFiles,
    '\n## Keys\n\n',
    keys(),
    '\n',
    environmentHead,
    environmentTable(),
    otherNamesSection(),
    `\n## Flags\n\nThey stand before or after the verb. ${flagName('--json')} prints results and errors as JSON.\n\n`,
    flagTable(),
    '\n',
    refused,
  ].join('')
