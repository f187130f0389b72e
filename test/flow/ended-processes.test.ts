// The processes of stdio servers end with the access of the person they were started for, although no call comes by
// which it would show.
import { expect, it } from 'vitest'
import { signInAs } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { logIn } from '../runtimes/login.ts'
import { ana, callerOf, type Somebody, yamada } from '../runtimes/people.ts'
import { endsWithin, until } from '../runtimes/proxied.ts'
import { openInProcess } from '../runtimes/runtimes.ts'
import { serverScript } from '../stdio/world.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
}

it('the processes of a person end with their last grant, and not before', async () => {
  const house = await openInProcess({
    upstream: 'http://127.0.0.1:1/mcp',
    config: {
      local_users: [ana, yamada],
      admins: ['local:ana'],
      mcp_services: { command: { command: process.execPath, args: [serverScript], sandbox: 'none' } },
    },
  })
  try {
    const admin = await signInAs(house, ana)
    const running = async (): Promise<number> => {
      const { body } = await admin.ask('GET', '/api/processes')
      const { processes } = JSON.parse(body) as { processes: { ended_at?: string }[] }
      return processes.filter((one) => one.ended_at === undefined).length
    }
    const url = `${house.origin}/command/mcp`
    const begin = async ({ username, password }: Somebody): Promise<string> => {
      const browser = createBrowser(house.fetch, house.origin)
      const { client, tokens } = await logIn(house, url, browser, { username, password })
      expect((await callerOf(house, url, tokens.access_token).post(initialize)).status).toBe(200)
      return client.id
    }
    const [one, two] = [await begin(yamada), await begin(yamada)]
    await begin(ana)
    expect(await running()).toBe(3)
    await admin.ask('DELETE', `/api/grants?client=${one}`)
    house.advance(5000)
    expect(await running()).toBe(3)
    await admin.ask('DELETE', `/api/grants?client=${two}`)
    const ended = until(async () => (await running()) === 1, 'the end of two processes')
    await endsWithin(5000, house, ended)
  } finally {
    await house.close()
  }
}, 60_000)
