// Users and clients on the console: who has access, and its end, by forms of the gateway's own pages.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type FlowWorld, credentials, openFlowWorld } from '../runtimes/flow-world.ts'
import { logIn } from '../runtimes/login.ts'
import { yamada } from '../runtimes/people.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

let world: FlowWorld
let other: Administrator
beforeAll(async () => {
  world = await openFlowWorld(openInProcess)
  other = await signInAs(world.house, yamada)
})
afterAll(() => world.close())

const textOf = (body: string): string =>
  body
    .slice(body.indexOf('<main'))
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
const page = async (path: string, who = world.admin) => (await who.browser.go(path)).body
const act = async (path: string, fields: Record<string, string>, who = world.admin): Promise<number> =>
  (
    await who.browser.go(`${world.house.origin}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': world.house.origin,
        'sec-fetch-site': 'same-origin',
      },
      body: new URLSearchParams({ csrf: who.csrf, ...fields }).toString(),
    })
  ).status

const one = '/console/people?user=local:yamada'

it('shows who has access with what, and ends one grant, by forms of its own alone', async () => {
  const { tokens } = await logIn(world.house, undefined, undefined, credentials(yamada))
  expect(await world.status(tokens)).toBe(200)
  expect(textOf(await page('/console/people'))).toMatch(
    /1 person has access\. .* taro@example.com local:yamada Has access 1 /,
  )
  const clients = await page('/console/clients')
  const [, client = ''] = /class="name" href="([^"]+)"/.exec(clients) ?? []
  expect(textOf(await page(client.replaceAll('&amp;', '&')))).toContain('taro@example.com')
  const shown = await page(one)
  expect(textOf(shown)).toContain('Open to everyone who can sign in')
  const grant = /name="grant" value="([^"]+)"/.exec(shown)?.[1] ?? ''
  expect([
    await act(one, { action: 'end', grant }, other),
    await act(one, { action: 'end', grant, csrf: other.csrf }),
    // An action of another page, everything of everybody, and the administrator themselves.
    await act(one, { action: 'approve' }),
    await act('/console/people', { action: 'end-all' }),
    await act('/console/people?user=local:ana', { action: 'block', user: 'local:ana' }),
    await world.status(tokens),
  ]).toEqual([403, 403, 400, 400, 400, 200])
  expect([await act(one, { action: 'end', grant }), await world.status(tokens)]).toEqual([200, 401])
  // A second click ends nothing that is not there.
  expect(await act(one, { action: 'end', grant })).toBe(200)
})

it('blocks and unblocks a user, and signs them out', async () => {
  const { tokens } = await logIn(world.house, undefined, undefined, credentials(yamada))
  expect(await act(one, { action: 'block', user: 'local:yamada' })).toBe(200)
  expect(await world.status(tokens)).toBe(401)
  expect(textOf(await page(one))).toContain('Blocked by local:ana')
  expect(textOf(await page('/console/people'))).toMatch(/Blocked .*local:yamada by local:ana/)
  expect(await act(one, { action: 'unblock', user: 'local:yamada' })).toBe(200)
  expect(textOf(await page(one))).not.toContain('Blocked by')
  const again = await signInAs(world.house, yamada)
  expect(await act(one, { action: 'sign-out', user: 'local:yamada' })).toBe(200)
  expect((await again.browser.go('/account/apps')).url).toContain('/login')
})
