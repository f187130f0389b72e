// `npm run prove servers`: the published servers of examples/servers.yaml behind Postern, as anybody would
// start them: npx, isolated where this computer can, one tool of each called by a person who signed in. Needs
// npm's registry.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { parse } from 'yaml'
import { obtainToken } from './harness/authorize.ts'
import { root } from './harness/peers.ts'
import { person, startPostern } from './harness/postern.ts'
import { table } from './harness/table.ts'
import { findProgram } from './system-programs.mjs'

interface Trial {
  readonly service: string
  readonly tool: string
  readonly input: Record<string, unknown>
  readonly answer: RegExp
}

const files = mkdtempSync(join(tmpdir(), 'postern-files-'))
writeFileSync(join(files, 'hello.txt'), 'hello from a file')

const entity = { name: 'gate', entityType: 'thing', observations: ['has two sides'] }
const trials: readonly Trial[] = [
  { service: 'everything', tool: 'echo', input: { message: 'through the gate' }, answer: /through the gate/ },
  {
    service: 'filesystem',
    tool: 'read_text_file',
    input: { path: join(files, 'hello.txt') },
    answer: /hello from a file/,
  },
  {
    service: 'filesystem',
    tool: 'write_file',
    input: { path: join(files, 'new.txt'), content: 'new' },
    answer: /Successfully wrote/,
  },
  { service: 'memory', tool: 'create_entities', input: { entities: [entity] }, answer: /gate/ },
  { service: 'memory', tool: 'read_graph', input: {}, answer: /has two sides/ },
  {
    service: 'sequential-thinking',
    tool: 'sequentialthinking',
    input: { thought: 'so', nextThoughtNeeded: false, thoughtNumber: 1, totalThoughts: 1 },
    answer: /totalThoughts/,
  },
  {
    service: 'playwright',
    tool: 'browser_navigate',
    input: { url: 'data:text/html,<title>Behind the gate</title>' },
    answer: /Behind the gate/,
  },
]

interface Example {
  readonly mcpServers: Record<string, { env?: Record<string, string> }>
}

/**
 * The example as it stands, with its variables filled in; npx is told of the certificates that this computer
 * trusts beside the usual ones.
 */
const example = (): Record<string, unknown> => {
  const text = readFileSync(join(root, 'examples/servers.yaml'), 'utf8')
    .replaceAll('${FILES:-.}', files)
    .replaceAll('${CHROMIUM:-/usr/bin/chromium}', findProgram('chromium') ?? 'chromium')
    .replaceAll('${PORT:-8080}', '0')
  const config = parse(text) as Example
  const certificates = process.env['NODE_EXTRA_CA_CERTS']
  if (certificates !== undefined)
    for (const server of Object.values(config.mcpServers))
      server.env = { NODE_EXTRA_CA_CERTS: certificates, ...server.env }
  return { ...config, local_users: [person] }
}

const attempt = async (
  origin: string,
  { service, tool, input, answer }: Trial,
): Promise<readonly string[]> => {
  const began = performance.now()
  const url = `${origin}/${service}/mcp`
  const token = await obtainToken(url)
  const client = new Client({ name: 'trial', version: '1' }, { capabilities: {} })
  try {
    await client.connect(
      new StreamableHTTPClientTransport(new URL(url), {
        requestInit: { headers: { authorization: `Bearer ${token}` } },
      }),
      { timeout: 180_000 },
    )
    const started = performance.now()
    const { tools } = await client.listTools()
    const result = await client.callTool({ name: tool, arguments: input }, { timeout: 120_000 })
    const said = JSON.stringify(result.content)
    if (!answer.test(said)) throw new Error(said)
    return [
      service,
      String(tools.length),
      tool,
      `${((started - began) / 1000).toFixed(1)} s`,
      `${Math.round(performance.now() - started)} ms`,
      'yes',
    ]
  } catch (error) {
    console.log(
      `✗ ${service} ${tool}: ${error instanceof Error ? error.message.slice(0, 500) : String(error)}`,
    )
    return [service, '', tool, '', '', 'NO']
  } finally {
    await client.close()
  }
}

const postern = await startPostern({ config: example() })
let passed = false
try {
  const rows: (readonly string[])[] = []
  for (const trial of trials) rows.push(await attempt(postern.url, trial))
  console.log(
    `\n${table([['server', 'tools', 'called', 'login and start', 'list and call', 'answered'], ...rows.map((row) => [...row])])}\n`,
  )
  passed = rows.every((row) => row.at(-1) === 'yes')
  if (!passed)
    console.log(
      postern.process
        .output()
        .split('\n')
        .filter((line) => line.includes('"process.'))
        .join('\n'),
    )
} finally {
  await postern.stop()
  rmSync(files, { recursive: true, force: true })
}
process.exit(passed ? 0 : 1)
