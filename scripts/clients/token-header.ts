// Claude Code with a personal access token in a header: `claude mcp add --header`, and no login anywhere.
import { join } from 'node:path'
import { createBrowser } from '../harness/browser.ts'
import { person } from '../harness/postern.ts'
import { run } from '../harness/process.ts'
import type { ClientTrial } from './trial.ts'

/** As a person makes one on their page, for the service of the URL. */
const createToken = async (url: string): Promise<string> => {
  const { origin, pathname } = new URL(url)
  const [, service = ''] = pathname.split('/')
  const browser = createBrowser(origin)
  const login = await browser.open(`${origin}/account/tokens`)
  const page = await browser.submit(login, { username: person.username, password: person.password })
  const made = await browser.submit(page, {
    action: 'create',
    name: 'Trial',
    [`service.${service}`]: 'on',
    lifetime: '86400',
  })
  const token = /ppat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}/.exec(made.text)?.[0]
  if (token === undefined) throw new Error(`no token on the page (${made.status})`)
  return token
}

export const tokenHeader: ClientTrial = {
  name: 'Claude Code 2.1, token in a header',
  run: async ({ url, home, peers }) => {
    const program = join(peers, 'node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs')
    const env = { ...home.env, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' }
    const claude = (args: readonly string[]) =>
      run(process.execPath, { args: [program, 'mcp', ...args], env, cwd: home.path, timeoutMs: 30_000 })
    const header = (token: string): readonly string[] => ['--header', `Authorization: Bearer ${token}`]
    const token = await createToken(url)
    await claude(['add', '--transport', 'http', 'trial', url, ...header(token)])
    // The last character of a token is part of its checksum.
    const wrong = `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`
    await claude(['add', '--transport', 'http', 'wrong', url, ...header(wrong)])
    const list = (await claude(['list'])).stdout()
    if (!/trial:.*Connected/.test(list) || /wrong:.*Connected/.test(list))
      throw new Error(`claude mcp list says:\n${list}`)
    return 'personal access token, ✔ Connected'
  },
}
