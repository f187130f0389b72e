// The reference pages that are made from the code. `npm run docs` writes them, and a test fails when a page and the code differ.
import { cliReference } from '../src/cli/reference.ts'
import { configJsonSchema } from '../src/config/json-schema.ts'
import { configReference } from '../src/config/reference.ts'
import { refusals } from '../src/kit/refusal.ts'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const made = (title: string, intro: string, body: string): string => `<!-- Made from the code by "npm run docs"; edit the code instead. -->\n# ${title}\n\n${intro}\n\n${body}\n`

const refusalsPage = (): string =>
  made(
    'Refusals',
    'Every way Postern says no. The code is in the log and on error pages; a caller sees the status, and the OAuth or JSON-RPC error of the surface it used.',
    table(
      ['code', 'HTTP', 'OAuth error', 'JSON-RPC code', 'what it says'],
      Object.entries(refusals).map(([code, { status, oauth, rpc, say }]) => [`\`${code}\``, String(status), `\`${oauth}\``, String(rpc), say]),
    ),
  )

/** Path from the root of the repository → what must stand there. */
export const referencePages = (): Readonly<Record<string, string>> => ({
  'docs/reference/refusals.md': refusalsPage(),
  'docs/reference/config.md': configReference(),
  'docs/reference/cli.md': cliReference(),
  'postern.schema.json': `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
})
