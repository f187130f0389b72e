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

it('lists browser sessions, and ends one of them', async () => {
  const mine = await signInAs(world.house, yamada)
  const shown = await page('/console/sessions')
  expect(textOf(shown)).toMatch(/browsers of 2 users are signed in\./)
  expect(textOf(shown)).toMatch(/local:ana This browser/)
  expect(textOf(await page('/console/sessions?q=taro'))).not.toContain('local:ana')
  const ids = [...(await page('/console/sessions?q=taro')).matchAll(/name="session" value="([^"]+)"/g)].map(
    ([, id = '']) => id,
  )
  expect(ids.length).toBeGreaterThan(0)
  const [id = ''] = ids
  expect([
    await act('/console/sessions', { action: 'end', session: id }, other),
    await act('/console/sessions', { action: 'end', session: 'no-such-session' }),
    await act('/console/sessions', { action: 'end', session: '../access-rules' }),
  ]).toEqual([403, 400, 400])
  for (const one of ids) expect(await act('/console/sessions', { action: 'end', session: one })).toBe(200)
  expect((await mine.browser.go('/account/apps')).url).toContain('/login')
  expect((await world.admin.browser.go('/account/apps')).url).not.toContain('/login')
  // A second click.
  expect(await act('/console/sessions', { action: 'end', session: id })).toBe(400)
})

it('finds what has a page, for administrators alone', async () => {
  await logIn(world.house, undefined, undefined, credentials(yamada))
  const found = await page('/console/search?q=taro')
  expect(textOf(found)).toMatch(/ 1 result for taro People T taro@example.com local:yamada /)
  expect(found).toContain('href="/console/people?user=local%3Ayamada"')
  expect(textOf(await page('/console/search?q=audit'))).toMatch(/ Pages Activity /)
  expect(await page('/console/search?q=echo')).toContain('href="/console/services/echo"')
  expect(textOf(await page('/console/search?q=%3Cb%3E'))).toContain('Nothing matches &lt;b&gt;')
  expect(textOf(await page('/console/search?q=no-such-flow'))).toContain('Nothing matches no-such-flow')
  expect(textOf(await page('/console/search'))).toContain('Find anything')
  const { browser } = await signInAs(world.house, yamada)
  const refused = await browser.go('/console/search?q=taro')
  expect([refused.status, refused.body.includes('taro@example.com local')]).toEqual([403, false])
})

it('lists personal access tokens, and ends one', async () => {
  const mine = await signInAs(world.house, yamada)
  const form = (await mine.browser.go('/account/tokens')).body
  const made = await mine.browser.go(`${world.house.origin}/account/tokens`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'origin': world.house.origin,
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({
      'csrf': mine.csrf,
      'action': 'create',
      'id': /name="id" value="(\w{12})"/.exec(form)?.[1] ?? '',
      'name': 'Nightly report',
      'service.echo': 'on',
      'lifetime': '86400',
    }).toString(),
  })
  const token = /ppat_\w+/.exec(made.body)?.[0] ?? ''
  expect(await world.status({ access_token: token } as never)).toBe(200)
  const shown = await page('/console/tokens')
  expect(textOf(shown)).toContain('1 personal access token of 1 user.')
  expect(textOf(shown)).toContain('Nightly report')
  expect(shown).not.toContain(token)
  const id = /name="token" value="([^"]+)"/.exec(shown)?.[1] ?? ''
  expect([
    await act('/console/tokens', { action: 'end', token: id }, mine),
    await act('/console/tokens', { action: 'end', token: 'gone' }),
    await act('/console/tokens', { action: 'end', token: id, leaked: 'yes' }),
  ]).toEqual([403, 400, 200])
  await expect.poll(() => world.status({ access_token: token } as never)).toBe(401)
  expect(textOf(await page('/console/tokens'))).toContain('No personal access tokens')
})
