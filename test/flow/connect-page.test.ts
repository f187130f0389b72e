// The page of a person's accounts at a server that asks for one, offers one, has none, or does not say.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { person } from '../runtimes/login.ts'

const metadata = [
  '/.well-known/oauth-protected-resource/mcp',
  '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
]

describe.each(runtimes)('%s', (_name, open) => {
  let far: FarServer
  let house: TestGateway
  beforeAll(async () => {
    far = await openFarServer()
    const mcp_services = { fresh: { name: 'Fresh', url: far.url } }
    house = await open({ upstream: 'http://127.0.0.1:9/mcp', config: { mcp_services } })
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })

  it('the page of accounts says what the server asks for, and offers no account where there is none', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    await browser.submit(await browser.go('/login'), '/login', person)
    const host = new URL(far.url).host
    /** Heading, what is said below it, and the buttons. */
    const shown = async (path = '/connect/fresh') => {
      const { status, body } = await browser.go(path)
      const text = (html = '') => html.replaceAll(/<[^>]+>/g, '').replaceAll('&#39;', "'")
      const main = body.slice(body.indexOf('<h1'))
      return [
        status,
        text(/<h1[^>]*>(.*?)<\/h1>/.exec(main)?.[1]),
        text(/<p>(.*?)<\/p>/.exec(main)?.[1]),
        [...main.matchAll(/<button[^>]*>(.*?)<\/button>/g)].map(([, label]) => text(label)),
      ]
    }
    const buttons = [`Continue to ${host}`, `Register again and continue to ${host}`]
    const connect = 'Connect your Fresh account'
    const asks = `Fresh requires your own account at ${host}.`
    expect(await shown()).toEqual([200, connect, asks, buttons])
    house.advance(700_000)
    far.script.instead.set('/mcp', () => ({ body: { jsonrpc: '2.0', id: 1, result: { tools: [] } } }))
    const offers = `Fresh works without an account. You can also sign in at ${host}, which some tools may require.`
    expect(await shown()).toEqual([200, connect, offers, buttons])
    house.advance(700_000)
    for (const path of metadata) far.script.absent.add(path)
    const open = `Fresh works without an account. You do not need to sign in at ${host}.`
    expect(await shown()).toEqual([200, 'Fresh does not require an account', open, []])
    far.asked.length = 0
    const page = await browser.go('/connect/fresh?return_to=%2Foauth%2Fconsent%3Fflow%3Dx')
    expect(page.body).toContain('<a href="/oauth/consent?flow=x">Continue</a>')
    expect(page.body).not.toContain('requires your own account')
    // What was found out a moment ago is not asked again.
    expect(far.asked).toEqual([])
    house.advance(700_000)
    far.script.instead.set('/mcp', () => ({ status: 500 }))
    const unknown = `Postern could not determine whether Fresh requires an account at ${host}. You can try to connect one.`
    expect(await shown()).toEqual([200, connect, unknown, buttons])
  })
})
