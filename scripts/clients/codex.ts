// Codex: `codex mcp login`, by registration and by metadata document. It calls tools for a model only, so the
// login is what it can show.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, startProcess } from '../harness/process.ts'
import type { ClientTrial } from './trial.ts'

const as =
  (registration: 'dcr' | 'cimd') =>
  (url: string): string => {
    const byDocument = new URL(url).searchParams.get('client_id')?.startsWith('https://chatgpt.com/') ?? false
    if (byDocument !== (registration === 'cimd')) throw new Error(`not by ${registration}: ${url}`)
    return url
  }

const codex = (name: string, registration: 'dcr' | 'cimd'): ClientTrial => ({
  name,
  run: async ({ url, home, peers, allow }) => {
    const program = join(peers, 'node_modules/.bin/codex')
    const configHome = join(home.path, '.codex')
    mkdirSync(configHome, { recursive: true })
    // `codex mcp add` begins a login at once, the way it likes best; with the server in its file, `login` may
    // be told how.
    writeFileSync(join(configHome, 'config.toml'), `[mcp_servers.trial]\nurl = ${JSON.stringify(url)}\n`)
    const options = { env: { ...home.env, CODEX_HOME: configHome }, cwd: home.path }
    const login = startProcess(process.execPath, {
      args: [program, 'mcp', 'login', 'trial', '--oauth-client-registration', registration],
      ...options,
    })
    try {
      await Promise.race([home.opened().then(as(registration)).then(allow), login.exited])
      const code = await login.exited
      if (code !== 0) throw new Error(`login ended with ${code}:\n${login.output().slice(-2000)}`)
    } finally {
      await login.stop()
    }
    const list = (
      await run(process.execPath, { args: [program, 'mcp', 'list'], ...options, timeoutMs: 30_000 })
    ).stdout()
    if (!/^trial\b.*OAuth/m.test(list)) throw new Error(`codex mcp list says:\n${list}`)
    return registration === 'dcr' ? 'registered, logged in' : 'logged in by metadata document'
  },
})

export const codexClients: readonly ClientTrial[] = [
  codex('Codex 0.169 DCR', 'dcr'),
  codex('Codex 0.169 CIMD', 'cimd'),
]
