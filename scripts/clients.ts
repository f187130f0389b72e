// `npm run prove clients`: real MCP clients, through login and consent in Chromium, to a tool call behind
// Postern as it is packed for npm.
//   --command "node src/cli/main.ts"   another build        --client NAME, --upstream NAME   only those whose name contains it
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { claudeCode } from './clients/claude-code.ts'
import { codexClients } from './clients/codex.ts'
import { serveDocuments } from './clients/documents.ts'
import { inspector } from './clients/inspector.ts'
import { mcpRemote } from './clients/mcp-remote.ts'
import { sdkClients } from './clients/sdk.ts'
import { tokenHeader } from './clients/token-header.ts'
import type { ClientTrial, Upstream } from './clients/trial.ts'
import { demo, startUpstreams } from './clients/upstreams.ts'
import { type Chromium, openChromium } from './harness/chromium.ts'
import { createHome } from './harness/home.ts'
import { installPackage } from './harness/package.ts'
import { ensurePeer, root } from './harness/peers.ts'
import { person, type Running, startPostern } from './harness/postern.ts'
import { leavingNothing } from './harness/process.ts'
import { table } from './harness/table.ts'

const { values } = parseArgs({
  options: {
    command: { type: 'string' },
    client: { type: 'string', default: '' },
    upstream: { type: 'string', default: '' },
  },
})

const trials = [...sdkClients, mcpRemote, inspector, claudeCode, tokenHeader, ...codexClients]
const clients = trials.filter(({ name }) => name.toLowerCase().includes(values.client.toLowerCase()))

/** Longest time for one client at one upstream. */
const limitMs = 90_000

const within = async <T>(work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`took more than ${limitMs / 1000} s`)), limitMs)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

interface Result {
  readonly row: readonly string[]
  readonly passed: boolean
}

const attempt = async (
  client: ClientTrial,
  upstream: Upstream,
  issuer: string,
  peers: string,
  { allow }: Chromium,
): Promise<Result> => {
  const home = createHome()
  const began = performance.now()
  const seconds = (): string => ((performance.now() - began) / 1000).toFixed(1)
  try {
    const shown = await leavingNothing(() =>
      within(client.run({ upstream, url: `${issuer}/${upstream.service}/mcp`, home, peers, allow })),
    )
    console.error(`✓ ${client.name} · ${upstream.service}: ${shown} (${seconds()} s)`)
    return { row: [client.name, upstream.service, shown, seconds()], passed: true }
  } catch (error) {
    console.error(
      `✗ ${client.name} · ${upstream.service}: ${error instanceof Error ? error.message : String(error)}`,
    )
    return { row: [client.name, upstream.service, 'FAILED', seconds()], passed: false }
  } finally {
    home.remove()
  }
}

const main = async (): Promise<boolean> => {
  const peers = await ensurePeer('clients')
  const installed = values.command === undefined ? await installPackage() : undefined
  const upstreams = await startUpstreams(peers)
  const documents = await serveDocuments()
  const command = installed?.command ??
    (values.command?.split(' ') as [string, ...string[]] | undefined) ?? [
      process.execPath,
      join(root, 'src/cli/main.ts'),
    ]
  const begin = (services: Readonly<Record<string, { readonly url: string }>>): Promise<Running> =>
    startPostern({ env: documents.env, command, config: { mcp_services: services, local_users: [person] } })
  const gateways = await Promise.all([
    begin({}),
    begin(Object.fromEntries(upstreams.map(({ service, url }) => [service, { url }]))),
  ])
  const places = [
    { upstream: demo, gateway: gateways[0] },
    ...upstreams.map((upstream) => ({ upstream, gateway: gateways[1] })),
  ]
  const chromium = await openChromium()
  const results: Result[] = []
  try {
    for (const client of clients) {
      for (const { upstream, gateway } of places) {
        if (upstream.service.includes(values.upstream))
          results.push(await attempt(client, upstream, gateway.url, peers, chromium))
      }
    }
  } finally {
    await chromium.close()
    for (const gateway of gateways) await gateway.stop()
    for (const upstream of upstreams) await upstream.stop()
    documents.stop()
    installed?.remove()
  }
  console.log(`\n${table([['client', 'upstream', 'shown', 'seconds'], ...results.map(({ row }) => row)])}\n`)
  return results.length > 0 && results.every(({ passed }) => passed)
}

process.exit((await main()) ? 0 : 1)
