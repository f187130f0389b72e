// How each client is connected to an MCP server: commands, links and snippets as data, for the pages and for
// the terminal.
import { encodeBase64, utf8 } from './bytes.ts'

export interface ClientRecipe {
  /** Stable id: `claude-code`, `codex`, … */
  readonly id: string
  /** The client's name. */
  readonly client: string
  /** Command lines for a POSIX shell, in order. */
  readonly commands: readonly string[]
  /**
   * Links that install the server in the client; `https` ones work anywhere, `scheme` ones open the installed
   * app.
   */
  readonly links: readonly {
    readonly label: string
    readonly href: string
    readonly kind: 'https' | 'scheme'
  }[]
  /** Text for a configuration file. */
  readonly snippet?: { readonly file: string; readonly text: string }
  /** What to do by hand, one step an entry. */
  readonly steps: readonly string[]
  readonly note?: string
  /** False when the client connects from the internet and cannot reach this gateway. */
  readonly available: boolean
}

export interface RecipeTarget {
  /** Short name under which the client keeps the server, e.g. the service's id. */
  readonly name: string
  /** The MCP URL. */
  readonly url: string
  /**
   * Whether the public internet reaches the URL; claude.ai and ChatGPT connect from there, over https only.
   */
  readonly reachable: boolean
}

/** One word for a POSIX shell: bare when that is safe, else in single quotes. */
export const shellWord = (text: string): string =>
  /^[A-Za-z0-9@%+=:,./_-]+$/.test(text) && !text.startsWith('-')
    ? text
    : `'${text.replaceAll("'", String.raw`'\''`)}'`

const base64Json = (value: unknown): string => encodeURIComponent(encodeBase64(utf8(JSON.stringify(value))))
const uriJson = (value: unknown): string => encodeURIComponent(JSON.stringify(value))
const claudeCode = ({ name, url }: RecipeTarget): ClientRecipe => ({
  id: 'claude-code',
  client: 'Claude Code',
  commands: [`claude mcp add --transport http ${shellWord(name)} ${shellWord(url)}`],
  links: [],
  steps: ['Run the command, then type /mcp inside Claude Code and choose Authenticate.'],
  available: true,
})

const codex = ({ name, url }: RecipeTarget): ClientRecipe => ({
  id: 'codex',
  client: 'Codex',
  commands: [
    `codex mcp add ${shellWord(name)} --url ${shellWord(url)}`,
    `codex mcp login ${shellWord(name)}`,
  ],
  links: [],
  steps: [],
  available: true,
})

const cursor = ({ name, url }: RecipeTarget): ClientRecipe => {
  const query = `name=${encodeURIComponent(name)}&config=${base64Json({ url })}`
  return {
    id: 'cursor',
    client: 'Cursor',
    commands: [],
    links: [
      {
        label: 'Open in Cursor',
        href: `cursor://anysphere.cursor-deeplink/mcp/install?${query}`,
        kind: 'scheme',
      },
      { label: 'Install link', href: `https://cursor.com/en/install-mcp?${query}`, kind: 'https' },
    ],
    steps: [],
    available: true,
  }
}

const vscode = ({ name, url }: RecipeTarget): ClientRecipe => {
  const config = { type: 'http', url }
  const query = `name=${encodeURIComponent(name)}&config=${uriJson(config)}`
  return {
    id: 'vscode',
    client: 'VS Code',
    commands: [`code --add-mcp ${shellWord(JSON.stringify({ name, ...config }))}`],
    links: [
      {
        label: 'Open in VS Code',
        href: `vscode:mcp/install?${uriJson({ name, ...config })}`,
        kind: 'scheme',
      },
      { label: 'Install link', href: `https://vscode.dev/redirect/mcp/install?${query}`, kind: 'https' },
      {
        label: 'Insiders',
        href: `https://insiders.vscode.dev/redirect/mcp/install?${query}&quality=insiders`,
        kind: 'https',
      },
    ],
    steps: [],
    available: true,
  }
}

const inspector = ({ url }: RecipeTarget): ClientRecipe => ({
  id: 'inspector',
  client: 'MCP Inspector',
  // It needs Node 22.19: with its own beside it the line works on older ones, too, where npx would otherwise
  // take an Inspector of long ago.
  commands: [
    `npx -y -p node@24 -p @modelcontextprotocol/inspector@latest mcp-inspector --server-url ${shellWord(url)} --transport http`,
  ],
  links: [],
  steps: [],
  available: true,
})

const claudeDesktop = ({ name, url }: RecipeTarget): ClientRecipe => ({
  id: 'claude-desktop',
  client: 'Claude Desktop',
  commands: [],
  links: [],
  snippet: {
    file: 'claude_desktop_config.json',
    text: `{\n  "mcpServers": {\n    ${JSON.stringify(name)}: {\n      "command": "npx",\n      "args": ["-y", "mcp-remote", ${JSON.stringify(url)}]\n    }\n  }\n}`,
  },
  steps: ['Settings → Developer → Edit Config, add this, then restart Claude Desktop.'],
  available: true,
})

const lmStudio = ({ name, url }: RecipeTarget): ClientRecipe => ({
  id: 'lm-studio',
  client: 'LM Studio',
  commands: [],
  links: [
    {
      label: 'Open in LM Studio',
      href: `lmstudio://add_mcp?name=${encodeURIComponent(name)}&config=${base64Json({ url })}`,
      kind: 'scheme',
    },
  ],
  steps: [],
  available: true,
})

const hosted =
  (id: string, client: string, steps: readonly string[]) =>
  ({ reachable }: RecipeTarget): ClientRecipe => ({
    id,
    client,
    commands: [],
    links: [],
    steps: reachable ? steps : [],
    ...(reachable
      ? {}
      : {
          note: `Needs a public https URL: ${client} connects from the internet and cannot reach this gateway.`,
        }),
    available: reachable,
  })

const claudeAi = hosted('claude-ai', 'claude.ai', [
  'Settings → Connectors → Add custom connector.',
  'Paste the MCP URL above and choose Add.',
  'Choose Connect and sign in here.',
])
const chatGpt = hosted('chatgpt', 'ChatGPT', [
  'Settings → Apps & Connectors → Advanced settings: turn on Developer mode.',
  'Connectors → Create, and paste the MCP URL above.',
  'Choose OAuth, then sign in here.',
])

const makers = [claudeCode, codex, cursor, vscode, inspector, claudeDesktop, lmStudio, claudeAi, chatGpt]

/** A card for every client this gateway is tried with, those that can connect first. Pure. */
export const clientRecipes = (target: RecipeTarget): readonly ClientRecipe[] =>
  makers.map((make) => make(target)).toSorted((a, b) => Number(b.available) - Number(a.available))
