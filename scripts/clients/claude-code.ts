// Claude Code: `claude mcp add`, `login`, `list`. It logs in on a terminal only, so it gets one from
// script(1).
import { join } from 'node:path'
import { run, startProcess } from '../harness/process.ts'
import type { ClientTrial } from './trial.ts'

const quoted = (words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')

const byDocument = (url: string): string => {
  if (new URL(url).searchParams.get('client_id')?.startsWith('https://claude.ai/') !== true)
    throw new Error(`no metadata document in ${url}`)
  return url
}

export const claudeCode: ClientTrial = {
  name: 'Claude Code 2.1',
  run: async ({ url, home, peers, allow }) => {
    const wrapper = [process.execPath, join(peers, 'node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs')]
    const env = { ...home.env, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' }
    const options = { env, cwd: home.path, timeoutMs: 30_000 }
    const claude = (args: readonly string[]) =>
      run(process.execPath, { args: [...wrapper.slice(1), ...args], ...options })
    await claude(['mcp', 'add', '--transport', 'http', 'trial', url])
    const login = startProcess('script', {
      args: ['-qefc', quoted([...wrapper, 'mcp', 'login', 'trial']), '/dev/null'],
      env,
      cwd: home.path,
    })
    try {
      await Promise.race([home.opened().then(byDocument).then(allow), login.exited])
      const code = await login.exited
      if (code !== 0) throw new Error(`login ended with ${code}:\n${login.output().slice(-2000)}`)
    } finally {
      await login.stop()
    }
    const list = (await claude(['mcp', 'list'])).stdout()
    if (!/trial:.*Connected/.test(list)) throw new Error(`claude mcp list says:\n${list}`)
    return 'logged in by metadata document, ✔ Connected'
  },
}
