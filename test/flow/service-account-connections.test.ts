// Service accounts at servers that require an account: an administrator connects one for them, with a link that works once.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { through } from '../runtimes/connecting.ts'
import { form } from '../runtimes/login.ts'
import { type Somebody, ana, callerOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

const secret = 'Rv5kT8wQ2nX7mB4cZ9jL1hF6dG3sP0aY'
let far: FarServer
let gateway: Awaited<ReturnType<typeof openInProcess>>
beforeAll(async () => {
  far = await openFarServer()
  gateway = await openInProcess({
    upstream: 'http://127.0.0.1:9/mcp',
    config: {
      admins: ['local:ana'],
      local_users: [ana, yamada],
      mcp_services: {
        far: { name: 'Far', url: far.url, upstream_auth: { type: 'oauth' } },
        other: { name: 'Other', url: far.url, upstream_auth: { type: 'oauth' } },
        quiet: { name: 'Quiet', url: far.url, upstream_auth: { type: 'none' } },
      },
      service_accounts: { nightly: { name: 'Nightly', services: ['far'] } },
      clients: {
        job: {
          name: 'Job',
          grant_types: ['client_credentials'],
          service_account: 'nightly',
          token_endpoint_auth_method: 'client_secret_post',
          client_secret: secret,
        },
      },
    },
  })
})
afterAll(async () => {
  await gateway.close()
  await far.close()
})

const browserOf = async (who: Somebody) => {
  const browser = createBrowser(gateway.fetch, gateway.origin)
  const { username, password } = who
  await browser.submit(await browser.go('/login'), '/login', { username, password })
  return browser
}
const tokenOfJob = async () => {
  const answer = await gateway.fetch(
    `${gateway.origin}/oauth/token`,
    form({ grant_type: 'client_credentials', client_id: 'job', client_secret: secret }),
  )
  return ((await answer.json()) as { access_token: string }).access_token
}
const callOfJob = async () => {
  const answer = await callerOf(gateway, `${gateway.origin}/far/mcp`, await tokenOfJob()).post(call())
  return { status: answer.status, text: await answer.text() }
}
const pathOf = (url: string) => url.slice(gateway.origin.length)
const link = async () => pathOf((await gateway.connections.link('far', 'service:nightly')).url)
const events = (event: string) => gateway.log.filter((line) => line.event === event)
/** The state of the connection that the browser was sent away with, walked through. */
const walked = async (browser: Awaited<ReturnType<typeof browserOf>>, url: string) =>
  browser.go(await through(url))

it('the refusal names the command', async () => {
  expect((await callOfJob()).text).toContain('postern connections connect far --as service:nightly')
})

it('an administrator connects an account, which is of the service account and not of theirs', async () => {
  const browser = await browserOf(ana)
  const page = await browser.go(await link())
  expect(page.body).toContain('Connect <bdi>Far</bdi> for a service account')
  const away = await browser.submit(page, '/connect/far', { action: 'connect' })
  const back = await walked(browser, away.url)
  expect(back.url).toContain('/console/connections')
  const answer = await callOfJob()
  expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('access-')])
  expect(events('connection.made').at(-1)?.fields).toMatchObject({
    person: 'service:nightly',
    by: 'local:ana',
  })
  expect((await browser.go('/connect/far')).body).toContain('Connect your <bdi>Far</bdi> account')
  const { connections } = await gateway.connections.list(['service:nightly'])
  expect(connections).toMatchObject([{ user: 'service:nightly', service: 'far' }])
})

it('a link works once, at its service, and not after ten minutes', async () => {
  const browser = await browserOf(ana)
  const path = await link()
  const page = await browser.go(path)
  expect((await browser.go(path.replace('/connect/far', '/connect/other'))).status).toBe(400)
  const [one, two] = await Promise.all([
    browser.submit(page, '/connect/far', { action: 'connect' }),
    browser.submit(page, '/connect/far', { action: 'connect' }),
  ])
  expect([one.url, two.url].filter((url) => url.startsWith(far.origin))).toHaveLength(1)
  expect((await browser.go(path)).status).toBe(400)
  const late = await link()
  gateway.advance(600_000)
  expect((await browser.go(late)).status).toBe(400)
  expect((await browser.go('/connect/far?link=x')).status).toBe(400)
})

it('nobody but an administrator uses it, and nobody uses it up', async () => {
  const path = await link()
  const user = await browserOf(yamada)
  expect((await user.go(path)).status).toBe(403)
  const own = await user.go('/connect/far')
  const token = new URL(path, gateway.origin).searchParams.get('link') ?? ''
  const stolen = await user.submit(own, '/connect/far', { action: 'connect', link: token })
  expect(stolen.status).toBe(403)
  const stranger = createBrowser(gateway.fetch, gateway.origin)
  expect((await stranger.go(path)).url).toContain('/login')
  expect((await (await browserOf(ana)).go(path)).status).toBe(200)
})

it('what an administrator began does not end in the browser of another, and accounts are not ended with it', async () => {
  const [browser, user] = [await browserOf(ana), await browserOf(yamada)]
  const page = await browser.go(await link())
  expect((await browser.submit(page, '/connect/far', { action: 'disconnect' })).status).toBe(400)
  const away = await browser.submit(page, '/connect/far', { action: 'connect' })
  const back = await through(away.url)
  expect((await user.go(back)).status).toBe(403)
  const made = events('connection.made').length
  expect((await browser.go(back)).status).toBe(200)
  expect(events('connection.made')).toHaveLength(made + 1)
})

it('there is a link only where an account can be connected, and for what is a service account there', async () => {
  const refused = async (service: string, owner: string) =>
    gateway.connections.link(service, owner).then(
      () => undefined,
      (error: { code: string }) => error.code,
    )
  expect(await refused('other', 'service:nightly')).toBe('person.unknown')
  expect(await refused('far', 'service:nobody')).toBe('person.unknown')
  expect(await refused('far', 'local:yamada')).toBe('person.unknown')
  expect(await refused('quiet', 'service:nightly')).toBe('connection.unknown')
  expect(await refused('none', 'service:nightly')).toBe('connection.unknown')
})
