// Connected apps: what a person has allowed, seen and ended by that person, at once and nobody else's.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { createBrowser, type Page } from '../runtimes/browser.ts'
import { allow, authorizeUrl, logIn, redeem, refresh, register } from '../runtimes/login.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { call, endsWithin, until } from '../runtimes/proxied.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const path = '/account/apps'
/** What the page says, without its markup. */
const textOf = ({ body }: Page): string =>
  body
    .slice(body.indexOf('<main'))
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  const resource = () => `${house.origin}/echo/mcp`
  beforeAll(async () => {
    upstream = await openUpstream((request, response) => {
      if (request.method === 'GET')
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
      else
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end('{"jsonrpc":"2.0","id":7,"result":{}}')
    })
    house = await open({
      upstream: upstream.url,
      config: { local_users: [ana, yamada], access_token_lifetime: 7200 },
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const post = ({ browser, csrf }: Administrator, fields: Record<string, string>, headers = {}) =>
    browser.go(`${house.origin}${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': house.origin,
        'sec-fetch-site': 'same-origin',
        ...headers,
      },
      body: new URLSearchParams({ csrf, ...fields }).toString(),
    })
  const status = async (token: string): Promise<number> =>
    (await callerOf(house, resource(), token).post(call())).status
  const login = (who: typeof ana) =>
    logIn(house, resource(), createBrowser(house.fetch, house.origin), {
      username: who.username,
      password: who.password,
    })

  it('shows each app with since when, last use and services, and nothing of another person', async () => {
    const mine = await signInAs(house, ana)
    expect(textOf(await mine.browser.go(path))).toContain('No app has access.')
    const { tokens } = await login(ana)
    expect(await status(tokens.access_token)).toBe(200)
    const page = await mine.browser.go(path)
    expect(page.status).toBe(200)
    const today = new Date().toISOString().slice(0, 10)
    expect(textOf(page)).toMatch(/Flow test Unverified\. Anyone can use this name\./)
    expect(textOf(page)).toMatch(/Can use Echo/)
    const [year, , day] = today.split('-')
    const shown = String.raw`${Number(day)} \p{L}+ ${year}`
    expect(textOf(page)).toMatch(new RegExp(`Allowed on ${shown} . Last used on ${shown}`, 'u'))
    expect(page.body.match(/<time datetime="[\d-]{10}/g)).toEqual(
      [today, today].map((date) => `<time datetime="${date}`),
    )
    expect(textOf(page)).toContain('Sends you back to 127.0.0.1:5000')
    const other = await signInAs(house, yamada)
    expect(textOf(await other.browser.go(path))).toContain('No app has access.')
    expect((await mine.browser.go('/')).body).toContain(`<a href="${path}">Connected apps</a>`)
    await post(mine, { action: 'end-all' })
  })

  it('notes a use once an hour, not the calls in between', async () => {
    const { tokens } = await login(ana)
    const mine = await signInAs(house, ana)
    const used = async () =>
      /Last used on <time datetime="([^"]+)"/.exec((await mine.browser.go(path)).body)?.[1]
    const first = await used()
    house.advance(1_800_000)
    expect(await status(tokens.access_token)).toBe(200)
    expect(await used()).toBe(first)
    house.advance(1_801_000)
    expect(await status(tokens.access_token)).toBe(200)
    await until(async () => (await used()) !== first, 'the use to be written down')
    const second = await used()
    house.advance(600_000)
    expect(await status(tokens.access_token)).toBe(200)
    expect(await used()).toBe(second)
    await post(mine, { action: 'end-all' })
  })

  it('ends an app at once: its calls, its refresh token, its code and its streams; and it must ask again', async () => {
    const { client, tokens, browser } = await login(ana)
    const kept = await login(ana)
    const stream = await callerOf(house, resource(), tokens.access_token).get()
    expect(stream.status).toBe(200)
    // A code that was issued before and is redeemed after.
    const asking = authorizeUrl(house, client, { resource: resource() })
    const back = await allow(browser, asking.url)
    const mine = await signInAs(house, ana)
    const ended = await mine.browser.submit(await mine.browser.go(path), path, {
      action: 'end',
      client: client.id,
    })
    expect([ended.status, ended.url]).toEqual([200, `${house.origin}${path}`])
    const answer = await callerOf(house, resource(), tokens.access_token).post(call())
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"')
    const refreshed = await refresh(house, client, tokens.refresh_token)
    expect([refreshed.status, await refreshed.json()]).toMatchObject([400, { error: 'invalid_grant' }])
    const late = await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
    expect([late.status, await late.json()]).toMatchObject([400, { error: 'invalid_grant' }])
    await endsWithin(5000, house, stream.text())
    expect(await status(kept.tokens.access_token)).toBe(200)
    const again = await mine.browser.go(authorizeUrl(house, client, { resource: resource() }).url)
    expect(textOf(again)).toContain('Allow Flow test to use Echo ?')
    expect(textOf(again)).not.toContain('You allowed this app before')
    await post(mine, { action: 'end-all' })
    expect(await status(kept.tokens.access_token)).toBe(401)
    expect(
      house.log.filter(({ event, fields }) => event === 'access.ended' && fields['by'] === 'local:ana')
        .length,
    ).toBeGreaterThan(1)
  }, 60_000)

  it('signs out everywhere: every browser of the person, no other, and no app', async () => {
    const { tokens } = await login(ana)
    const [here, there, other] = [
      await signInAs(house, ana),
      await signInAs(house, ana),
      await signInAs(house, yamada),
    ]
    expect((await post(here, { action: 'sign-out' })).url).toBe(`${house.origin}/login`)
    expect((await there.browser.go(path)).url).toContain('/login?return_to=%2Faccount%2Fapps')
    expect((await other.browser.go(path)).url).toBe(`${house.origin}${path}`)
    expect(await status(tokens.access_token)).toBe(200)
    await post(await signInAs(house, ana), { action: 'end-all' })
  })

  it('ends nothing for another person, another site, a foreign form or a guessed client', async () => {
    const { client, tokens } = await login(ana)
    const [mine, other] = [await signInAs(house, ana), await signInAs(house, yamada)]
    expect((await post(other, { action: 'end', client: client.id })).status).toBe(200)
    expect((await post(other, { action: 'end-all' })).status).toBe(200)
    expect((await post(mine, { action: 'end', client: `${client.id}x` })).status).toBe(200)
    const refused: [Record<string, string>, Record<string, string>][] = [
      [{}, { origin: 'https://evil.example' }],
      [{}, { origin: 'null' }],
      [{}, { 'sec-fetch-site': 'cross-site' }],
      [{ csrf: '' }, {}],
      [{ csrf: other.csrf }, {}],
    ]
    for (const [fields, headers] of refused) {
      const answer = await post(mine, { action: 'end-all', ...fields }, headers)
      expect([answer.status, textOf(answer)]).toEqual([403, expect.stringContaining('Nothing was changed')])
    }
    const stranger = createBrowser(house.fetch, house.origin)
    expect((await post({ ...mine, browser: stranger }, { action: 'end-all' })).status).toBe(403)
    expect((await post(mine, { action: 'constructor' })).status).toBe(400)
    expect((await mine.browser.go(path, { method: 'DELETE' })).status).toBe(405)
    expect(await status(tokens.access_token)).toBe(200)
  })

  it('a client ends its own grants alone', async () => {
    const [one, another] = [await login(ana), await login(ana)]
    const form = new URLSearchParams({ token: one.tokens.refresh_token, client_id: another.client.id })
    const answer = await house.fetch(`${house.origin}/oauth/revoke`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form.toString(),
    })
    expect(answer.status).toBe(200)
    expect(await status(one.tokens.access_token)).toBe(200)
    // A registration of the same name is another app.
    expect((await register(house)).id).not.toBe(one.client.id)
  })
})
