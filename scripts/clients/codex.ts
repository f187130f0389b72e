// Codex: `codex mcp add` and `login`. It calls tools for a model only, so the login is what it can show.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run, startProcess } from '../harness/process.ts'
import type { ClientTrial } from './trial.ts'

export const codex: ClientTrial = {
  name: 'Codex 0.169',
  run: async ({ url, home, peers, allow }) => {
    const program = join(peers, 'node_modules/.bin/codex')
    const configHome = join(home.path, '.codex')
    mkdirSync(configHome, { recursive: true })
    const env = { ...home.env, CODEX_HOME: configHome }
    const args = ['mcp', 'add', 'trial', '--url', url]
    // `add` begins the login itself, with its metadata document, which a machine without the internet cannot fetch; `login` may be told to register.
    const add = startProcess(process.execPath, { args: [program, ...args], env, cwd: home.path })
    await Promise.race([add.exited, home.opened(10_000).catch(() => '')])
    await add.stop()
    const login = startProcess(process.execPath, { args: [program, 'mcp', 'login', 'trial', '--oauth-client-registration', 'dcr'], env, cwd: home.path })
    try {
      await Promise.race([home.opened().then(allow), login.exited])
      const code = await login.exited
      if (code !== 0) throw new Error(`login ended with ${code}:\n${login.output().slice(-2000)}`)
    } finally {
      await login.stop()
    }
    const list = (await run(process.execPath, { args: [program, 'mcp', 'list'], env, cwd: home.path, timeoutMs: 30_000 })).output()
    if (!/trial/.test(list)) throw new Error(`codex mcp list says:\n${list}`)
    return `logged in (${/O?Auth/i.exec(list) ? 'OAuth' : 'listed'})`
  },
}
