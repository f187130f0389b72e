// docs/reference/config.md, made from the schema and the tables of names and flags, so that it cannot say
// anything else than the code.
import { searchPath } from '../src/cli/configuration.ts'
import { durationText } from '../src/config/key-types.ts'
import { environmentNames } from '../src/config/environment-names.ts'
import { configFlags, flagName, otherFlags } from '../src/config/flags.ts'
import { otherNames } from '../src/config/other-gateways.ts'
import { reservedIds } from '../src/config/rules/services.ts'
import { type Shape, rootShape, shapeAt } from '../src/config/shape.ts'
import { markdownTable as table } from './harness/table.ts'

const typeText = (shape: Shape): string => {
  switch (shape.kind) {
    case 'number':
      return `integer, ${String(shape.least)} to ${String(shape.most)}`
    case 'duration':
      return `duration, ${durationText(shape.least ?? 0, shape.unit)} to ${durationText(shape.most ?? 0, shape.unit)}`
    case 'choice':
      return shape.names.map((name) => `\`${name}\``).join(', ')
    case 'boolean':
      return 'true, false'
    case 'list':
      return `list of ${shape.below(0)?.kind === 'text' ? 'strings' : 'objects'}`
    case 'record':
      return 'map of strings'
    case 'object':
      return 'object'
    case 'switch':
      return 'true, false or object'
    case 'text':
    case 'any':
      return shape.secret ? 'string, secret' : 'string'
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

/** What a list or a map holds. */
const elementOf = (shape: Shape): Shape | undefined => {
  if (shape.kind === 'record') return shape.below('id')
  return shape.kind === 'list' ? shape.below(0) : undefined
}

/** The object that the key holds, by itself or in a list or a map, which has a section of its own. */
const innerSection = (shape: Shape, path: string): { shape: Shape; path: string } | undefined => {
  if (shape.kind === 'object' || shape.kind === 'switch') return { shape, path }
  const element = elementOf(shape)
  if (element?.kind !== 'object') return undefined
  return { shape: element, path: shape.kind === 'list' ? `${path}[]` : `${path}.<id>` }
}

/** A section for an object, and one for each object below it. */
const sectionsOf = (shape: Shape, path: string): readonly Section[] => {
  const rows: string[][] = []
  const further: Section[] = []
  for (const name of shape.names) {
    const child = shape.below(name) as Shape
    const here = path === '' ? name : `${path}.${name}`
    const element = elementOf(child)
    const inner = innerSection(child, here)
    const type =
      inner && child.kind === 'record'
        ? 'map of objects'
        : typeText(element?.secret ? { ...child, secret: true } : child)
    rows.push([
      `\`${name}\``,
      type,
      inner && child.kind === 'object' ? '' : fallbackText(child),
      `${child.description}${inner ? ` See [\`${inner.path}\`](#${anchor(inner.path)}).` : ''}`,
    ])
    if (inner) further.push(...sectionsOf(inner.shape, inner.path))
  }
  return [{ title: path, about: shape.description, rows }, ...further]
}

/** As GitHub makes it from the heading `` `path` ``. */
const anchor = (path: string): string => path.toLowerCase().replaceAll(/[^a-z0-9_-]/g, '')

const keys = (): string =>
  sectionsOf(rootShape, '')
    .map(
      ({ title, about, rows }) =>
        `${title === '' ? '### Top level' : `### \`${title}\`\n\n${about}`}\n\n${table(['key', 'type', 'default', 'description'], rows)}`,
    )
    .join('\n\n')

const head = `<!-- Made from the code by "npm run docs"; edit the code instead. -->
# Configuration

Postern starts without any configuration. Settings come from these sources. The first one that sets a key wins:

1. command-line flags
2. environment variables, then the variables in [\`.env\`](#the-env-file)
3. one configuration file, in YAML or JSON (comments and trailing commas are allowed)
4. defaults

These commands help with a configuration:

- \`postern validate\` checks everything without starting the gateway.
- \`postern config explain\` prints every key with its value and its source.
- \`postern config schema\` prints the JSON Schema for editors, which is also in the package as \`postern.schema.json\`.

All errors are reported at once, one per line:

\`\`\`text
config.yaml:14:7 mcp_services.jira.scope – is not a known setting; did you mean "scopes"?
\`\`\`

## Configuration file

The gateway uses the file given with \`--config FILE\`. Without the flag, it uses the file named in MCP_CONFIG_PATH, then the text in POSTERN_CONFIG, then
the first of these files that exists:

`

const variables = `
If \`XDG_CONFIG_HOME\` is set, it replaces \`~/.config\` in the fourth path. To get completion and checks in an editor with YAML support, begin the file with
\`# yaml-language-server: $schema=./node_modules/postern/postern.schema.json\`.

### Variables in the configuration file

| syntax | result |
| --- | --- |
| \`\${NAME}\` | The environment variable. The gateway does not start if it is not set. |
| \`\${NAME:-default}\` | The variable, or the default if it is unset or empty. The default may contain variables. |
| \`\${NAME:?message}\` | The variable. If it is unset or empty, the gateway does not start and prints the message. |
| \`$\${NAME}\` | The literal text \`\${NAME}\`. |

Variables are substituted after the file is parsed, so their values cannot add keys. A substituted value is converted to the type of its key:
a number, a boolean or a list (\`a,b\` or JSON). Inside \`[ ]\` and \`{ }\`, and next to \`: \` or \` #\`, YAML needs quotes: \`["\${NAME}"]\`. Variables in comments are
ignored. In \`identity.headers\`, placeholders such as \`\${email}\` stand for the user's properties and are not environment variables. YAML anchors, aliases and \`<<\` are supported.
`

const durations = `
### Durations

A duration is a number with a unit: \`500ms\`, \`30s\`, \`10m\`, \`8h\` or \`30d\`. Units can be combined, largest first: \`1h30m\`. A number without a unit is accepted too. Its unit, seconds or
milliseconds, is stated for each key below.
`

const clientFiles = `
### MCP client configuration files

The configuration file of an MCP client works as is, under any of the names above or with \`--config\`. Each server becomes a service whose ID is the server's name in lower
case. Put gateway settings for it under \`mcp_services.<id>\` in the same file, or in environment variables.

| client | key that lists the servers |
| --- | --- |
| Claude Desktop, Claude Code, Cursor, Cline, Roo Code, Windsurf, Gemini CLI, Copilot CLI, LibreChat | \`mcpServers\` |
| Continue | \`mcpServers\`, a list |
| VS Code | \`servers\` (\`mcp.json\`), \`mcp.servers\` (settings) |
| opencode | \`mcp\` |
| Zed | \`context_servers\` |

Numbers and booleans in \`args\`, \`env\` and \`headers\` are passed on as the text in the file. \`headers\` become \`upstream_auth\` of type \`static\`. Entries with \`disabled: true\` or
\`enabled: false\` are skipped. If a name is reserved by the gateway, the service gets a different ID (\`docs\` is served at \`/docs-server/mcp\`), and the log says so. Other client
settings in the same file are ignored, with one warning that names them.

| in the file | what happens |
| --- | --- |
| \`\${input:some-key}\` (VS Code prompts for it) | The environment variable SOME_KEY is used. The gateway does not start without it. |
| \`\${userHome}\`, \`\${/}\`, \`\${env:NAME}\`, \`{env:NAME}\` | Substituted. |
| \`\${workspaceFolder}\` and other editor variables, \`{file:…}\`, \`envFile\` | The gateway does not start. The error says what to write instead. |
| \`{{…}}\` in a header (LibreChat fills it in for each user) | The header is skipped, with a warning. Use \`identity\` to tell the server which user is calling. |
| \`includeTools\`, \`excludeTools\`, \`disabledTools\`, \`oauth\` | Ignored, with a warning. |
| A server started by a Zed extension, or Codex's TOML file | The gateway does not start. The error says what to write instead. |
| A gateway setting in an entry, such as \`auth_required\` | The gateway does not start. The error says where the setting belongs. |
`

const environmentHead = `
## Environment variables

Every key has an environment variable: \`POSTERN_\` followed by the key in capitals, with \`__\` between levels. Examples:

- \`POSTERN_PORT\`
- \`POSTERN_CORS__ALLOW_ORIGINS\`
- \`POSTERN_MCP_SERVICES__CALCULATOR__URL\`
- \`POSTERN_LOCAL_USERS__0__PASSWORD\`

Write lists with commas or as JSON, and whole sections as JSON. The IDs of services, providers and clients match those in the configuration file
(\`MY_SERVICE\` matches \`my-service\`), and list entries are numbered. As with unknown keys in the file, the gateway does not start if a \`POSTERN_\` name is unknown.
An empty variable counts as unset.

### The .env file

Variables can also be in a file with one \`NAME=value\` per line, in the format of Docker Compose. The gateway reads \`.env\` in the working directory, or the file given with
\`--env-file FILE\`. Variables set in the environment take precedence, even if they are empty. The gateway does not start if a line is neither a variable nor a comment.
It warns if the file contains secrets and every user of the machine can read it (run \`chmod 600 .env\`). The file is reloaded together with
the configuration. On Workers there is no \`.env\` file: \`wrangler\` reads \`.dev.vars\`.

### Secrets from files

Add \`_FILE\` to the name of any secret to read it from a file: \`SESSION_SECRET_FILE=/run/secrets/session\`. This also works for every name that the
configuration file uses as \`\${NAME}\`. A single trailing newline is removed.

### Variable names

These names have a fixed meaning. If several names for the same key are set, the one later in the table wins. A \`POSTERN_\` name takes precedence over all of them.

`

const refused = `
## Validation rules

The gateway does not start with an unsafe or invalid configuration. The error names the key and says how to fix it.

| key | rejected |
| --- | --- |
| \`session_secret\`, \`previous_secrets\`, \`clients.<id>.client_secret\` | Fewer than 32 characters, sample text, or a few repeated characters. Exception: with \`debug: true\` on a loopback gateway, a weak \`session_secret\` is ignored with a warning and the generated key is used. |
| any secret | The same value as the root secret. |
| \`host\` | A non-loopback address without \`issuer\`. |
| \`issuer\` | http on a non-loopback host<br>A path, query or fragment<br>A non-canonical spelling (a trailing slash is removed) |
| \`cors\` | The origin \`*\` together with \`allow_credentials: true\`<br>Wildcard patterns<br>\`null\` |
| \`trusted_proxies\` | Ranges wider than /8 (IPv4) or /7 (IPv6). |
| \`oauth_providers\` | An OpenID Connect provider without \`issuer\`, except \`google\` and those with \`tenant\` or \`domain\`<br>GitHub without \`client_secret\`<br>Type \`oauth2\` without its three URLs<br>Type \`mock\` on a public gateway without \`allow_insecure_mock\`<br>A setting of another \`type\`<br>http on a non-loopback host, or on loopback if the gateway is public<br>On a public gateway, a provider where anyone can create an account (Google, github.com, Microsoft for any tenant, any of type \`oauth2\` and others) without \`allowed_logins\`, \`allowed_emails\`, \`allowed_domains\` or \`allowed_groups\` |
| \`hosts\`, \`domain_root\`, \`base_domain\` | A hostname that would match two services, or a service and the gateway: the gateway's own hostname, the same host and port listed twice, IDs that produce the same label, two servers with the same domain and path, a duplicate \`alias\`. Also a service whose \`url\` is such a hostname. |
| \`mcp_services\` | Reserved IDs<br>An unknown \`oauth_provider\`<br>A \`url\` that points to the gateway itself<br>Neither or both of \`url\` and \`command\`<br>A public \`command\` that is not \`shared\`<br>Two values for one header<br>Invalid header values<br>In \`upstream_auth\`: keys of a different \`type\`, a \`client_id\` without its authorization server, \`idp_token\` without \`oauth_providers\` |
| \`local_users\` | Duplicate usernames<br>Passwords that are too short or too common |
| \`clients\` | Redirect URIs with wildcards, fragments, or http on a non-loopback host<br>Private keys in \`jwks\`<br>Credentials that do not match the authentication method |
| \`refresh_token_lifetime\` | Shorter than \`access_token_lifetime\`. |
| \`storage.type\` | \`memory\` with NODE_ENV=production. |
| sign-in | A public gateway without a sign-in method. |
| any key | Unknown keys, unknown \`POSTERN_\` variables, duplicate keys, variables that are not set. |

Reserved service IDs: ${[...reservedIds].map((id) => `\`${id}\``).join(', ')}.
`

const environmentTable = (): string =>
  table(
    ['name', 'key', 'description'],
    environmentNames.map(({ name, key, note }) => [
      `\`${name}\``,
      key === undefined ? '' : `\`${key}\``,
      note || (shapeAt((key ?? '').split('.'))?.description ?? ''),
    ]),
  )

const otherNamesSection = (): string => {
  const effect = {
    access: 'start fails',
    store: 'start fails, unless `storage.type` is set',
    replaced: 'warning',
  } as const
  const rows = otherNames.map(({ shown, kind, what }) => [
    shown,
    effect[kind],
    `${what.charAt(0).toUpperCase()}${what.slice(1)}.`,
  ])
  return `

### Variables of other gateways

Other MCP gateways document these names. If you migrate from one of them, none is silently ignored: the gateway does not start if a variable would restrict access or select
a different storage, and it logs a warning for the others. Names that the configuration file uses as \`\${NAME}\` are not affected. Variables that Kubernetes sets for a
service of the same name (\`REDIS_PORT=tcp://…\`, \`POSTERN_SERVICE_HOST\`) are ignored.

${table(['name', 'effect', 'message'], rows)}
`
}

const flagTable = (): string =>
  table(
    ['flag', 'key', 'description'],
    [
      ...otherFlags.map(({ option, note }) => [`\`${option}\``, '', note]),
      ...configFlags.map(({ option, key, note }) => [`\`${option}\``, `\`${key}\``, note]),
    ],
  )

/** The whole document, ending with a line break. */
export const configReference = (): string =>
  [
    head,
    searchPath({})
      .map(({ shown }, i) => `${i + 1}. \`${shown}\``)
      .join('\n'),
    '\n',
    variables,
    durations,
    clientFiles,
    '\n## Keys\n\n',
    keys(),
    '\n',
    environmentHead,
    environmentTable(),
    otherNamesSection(),
    `\n## Flags\n\nFlags can come before or after the command. \`${flagName('--json')}\` prints results and errors as JSON.\n\n`,
    flagTable(),
    '\n',
    refused,
  ].join('')
