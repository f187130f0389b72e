// What must never come of a person's browser being used against them: planted cookies, sessions chosen by
// others, forms of other sites, links into the middle of things.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, createBrowser, type Page } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, form, person, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const binding = '__Host-postern-login'

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  let session: string
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [person, { username: 'zo\u00E9', password: 'battery horse correct' }],
        mcp_services: { second: { url: upstream.url } },
      },
    })
    session = createBrowser(house.fetch, house.origin).session
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const fresh = (): Browser => createBrowser(house.fetch, house.origin)
  const jar = (browser: Browser): string => [...browser.cookies].map((pair) => pair.join('=')).join('; ')
  const signIn = async (browser: Browser): Promise<Browser> => {
    expect((await browser.submit(await browser.go('/login'), '/login', person)).status).toBe(200)
    return browser
  }
  const asking = async (params: Record<string, string> = {}) =>
    authorizeUrl(house, await register(house), { resource: `${house.origin}/echo/mcp`, ...params })
  const home = (cookie: string): Promise<Response> =>
    house.fetch(`${house.origin}/`, { headers: { accept: 'text/html', cookie } })
  const redirects = (page: Page): string => page.headers.get('location') ?? ''

  test('never a session from a cookie that another host could have planted: a disguised name, or a second one [H-E20]', async () => {
    const own = (await signIn(fresh())).cookies.get(session) ?? ''
    expect((await home(`${session}=${own}`)).status).toBe(200)
    // Browsers keep a name that begins with U+00A0 from any host of the domain; software that trims Unicode
    // white space then reads __Host-.
    const planted = [
      `\u00A0${session}=${own}`,
      `\u0085${session}=${own}`,
      `${session}\u00A0=${own}`,
      `${session.replace('__H', '__h')}=${own}`,
      `${session}="${own}"`,
      `${session}=${own}; ${session}=${'x'.repeat(43)}`,
      `${session}=${own}; ${session}=${own}`,
      `x=${session}=${own}`,
    ]
    for (const cookie of planted) expect([cookie, (await home(cookie)).status]).toEqual([cookie, 303])
  })

  test('never a sign-in form tied to a planted browser cookie, nor that cookie made our own [H-E4, H-E20]', async () => {
    const attacker = fresh()
    const { fields } = (await attacker.go('/login')).form('/login')
    const theirs = attacker.cookies.get(binding) ?? ''
    for (const cookie of [
      `\u00A0${binding}=${theirs}`,
      `${binding}=${theirs}; ${binding}=${'x'.repeat(43)}`,
    ]) {
      const page = await house.fetch(`${house.origin}/login`, { headers: { accept: 'text/html', cookie } })
      expect(page.headers.getSetCookie().join()).not.toContain(theirs)
      const init = form({ ...fields, ...person })
      const answer = await house.fetch(`${house.origin}/login`, {
        ...init,
        headers: { ...(init.headers as Record<string, string>), cookie, origin: house.origin },
      })
      expect([answer.status, answer.headers.getSetCookie()]).toEqual([403, []])
    }
  })

  test('never a consent page for a flow whose cookie is disguised [H-E15]', async () => {
    const browser = await signIn(fresh())
    const page = await browser.go((await asking()).url)
    const [name = '', value = ''] =
      [...browser.cookies].find(([known]) => known.startsWith('__Host-postern-flow-')) ?? []
    const withFlow = (flow: string) =>
      house.fetch(page.url, {
        headers: { accept: 'text/html', cookie: `${session}=${browser.cookies.get(session)}; ${flow}` },
      })
    expect((await withFlow(`${name}=${value}`)).status).toBe(200)
    for (const flow of [
      `\u00A0${name}=${value}`,
      `${name}=${value}\u00A0`,
      `${name}=${value}; ${name}=0.x`,
      `${name}="${value}"`,
    ])
      expect([flow, (await withFlow(flow)).status]).toEqual([flow, 403])
  })

  test('never a session whose id somebody knew before the sign-in, and the one that was planted ends [H-E20]', async () => {
    const attacker = await signIn(fresh())
    const planted = attacker.cookies.get(session) ?? ''
    const victim = fresh()
    victim.cookies.set(session, planted)
    const page = await victim.go('/login?switch=1')
    await victim.submit(page, '/login', person)
    expect(victim.cookies.get(session)).not.toBe(planted)
    expect((await home(`${session}=${planted}`)).status).toBe(303)
    for (const made of ['x'.repeat(43), '', 'admin', '../..']) {
      const naive = fresh()
      naive.cookies.set(session, made)
      await signIn(naive)
      expect(naive.cookies.get(session)).toMatch(/^[\w-]{43}$/)
      expect(naive.cookies.get(session)).not.toBe(made)
    }
  })

  test('never a sign-in or a sign-out that another site sent [H-E4, H-P2]', async () => {
    const browser = await signIn(fresh())
    const { fields } = (await browser.go('/login?switch=1')).form('/login')
    const send = (path: string, body: Record<string, string>, headers: Record<string, string>) =>
      house.fetch(`${house.origin}${path}`, {
        method: 'POST',
        body: new URLSearchParams(body).toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded', cookie: jar(browser), ...headers },
      })
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: `${house.origin}.evil.example` },
    ]) {
      for (const path of ['/login', '/logout'])
        expect([
          path,
          (await send(path, { ...fields, ...person }, headers as Record<string, string>)).status,
        ]).toEqual([path, 403])
    }
    expect((await send('/login', { ...person }, { origin: house.origin })).status).toBe(403)
    expect((await send('/logout', { csrf: fields['csrf'] ?? '' }, { origin: house.origin })).status).toBe(403)
    for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x'])
      expect(
        (await send('/login', { ...fields, ...person }, { origin: house.origin, 'content-type': type }))
          .status,
      ).toBe(415)
    const open = async (path: string) =>
      (await house.fetch(`${house.origin}${path}`, { headers: { cookie: jar(browser) } })).status
    expect(await open('/logout')).toBe(405)
    // A page is at /login/{provider} of providers alone; passwords are none.
    expect(await open('/login/local')).toBe(404)
    expect((await home(jar(browser))).status).toBe(200)
  })

  test('never more cookies than a request has room for, however many flows begin in one browser [H-E17]', async () => {
    const browser = fresh()
    const { url } = await asking()
    for (let i = 0; i < 300; i++) expect((await browser.go(url)).status).toBe(200)
    expect(jar(browser).length).toBeLessThan(4000)
    expect((await allow(browser, url)).searchParams.get('code')).toMatch(/^pc_/)
  })

  test('never an answer for the page of another tab: a new sign-in in one makes the other ask again [H-E4, H-E6]', async () => {
    const browser = await signIn(fresh())
    const first = await browser.go((await asking()).url)
    const second = await browser.go((await asking()).url)
    await browser.submit(await browser.go('/login?switch=1'), '/login', person)
    const stale = await browser.submit(first, '/oauth/consent', { decision: 'allow' })
    expect([stale.status, redirects(stale)]).toEqual([403, ''])
    const again = await browser.go(first.url)
    expect((await browser.submit(again, '/oauth/consent', { decision: 'allow' })).status).toBe(0)
    // Back to the page of before, and once more.
    const back = await browser.submit(again, '/oauth/consent', { decision: 'allow' })
    expect([back.status, back.body.includes('already completed')]).toEqual([409, true])
    expect((await browser.go(again.url)).status).toBe(409)
    expect(
      (await browser.submit(await browser.go(second.url), '/oauth/consent', { decision: 'deny' })).status,
    ).toBe(0)
  })

  test('never an answer lost because the form of the page is large: it names every tool', async () => {
    const browser = await signIn(fresh())
    const page = await browser.go((await asking()).url)
    const shown = JSON.stringify({
      read: Array.from({ length: 2000 }, (_, i) => `a_tool_with_a_long_name_${i}`),
    })
    const back = await browser.submit(page, '/oauth/consent', { decision: 'allow', preset: 'read', shown })
    expect(new URL(back.url).searchParams.has('code')).toBe(true)
  })

  test('never an old sign-in where the client asked for a fresh one [H-D15]', async () => {
    const browser = await signIn(fresh())
    for (const params of [
      { prompt: 'login' },
      { max_age: '0' },
      { prompt: 'select_account' },
      { prompt: 'consent login' },
    ] as Record<string, string>[]) {
      const asked = await asking(params)
      const page = await browser.go(asked.url)
      expect([params, page.body.includes('name="password"')]).toEqual([params, true])
      const flow = page.form('/login').fields['flow'] ?? ''
      // Not by going straight to the question either, nor by leaving out why the sign-in is shown.
      for (const path of [`/oauth/consent?flow=${flow}`, `/login?flow=${flow}`])
        expect((await browser.go(path)).body).not.toContain('value="allow"')
      const question = await browser.submit(page, '/login', person)
      expect(question.body).toContain('value="allow"')
    }
  })

  test('never to another place than a page of this gateway after the sign-in [H-P8]', async () => {
    const places = [
      '//evil.example',
      '/\\evil.example',
      '\\\\evil.example',
      'https:evil.example',
      'https://evil.example/',
      'javascript:alert(1)',
      '/%0d%0aset-cookie:x=y',
      '/\t/evil.example',
      '/.//evil.example',
      '///evil.example',
      '/x/..//evil.example',
      `${house.origin}@evil.example`,
      '/@evil.example:80//',
      'evil.example',
      '%2f%2fevil.example',
    ]
    const known = await signIn(fresh())
    for (const place of places) {
      const onward = await house.fetch(`${house.origin}/login?return_to=${encodeURIComponent(place)}`, {
        headers: { accept: 'text/html', cookie: jar(known) },
      })
      const location = onward.headers.get('location') ?? ''
      expect([
        place,
        onward.status,
        new URL(location, house.origin).origin,
        /^\/(?!\/)[\x21-\x7E]*$/.test(location),
      ]).toEqual([place, 303, house.origin, true])
    }
    for (const place of places.slice(0, 4)) {
      const browser = fresh()
      const page = await browser.go(`/login?return_to=${encodeURIComponent(place)}`)
      const { action, fields } = page.form('/login')
      const sent = await house.fetch(action, {
        ...form({ ...fields, return_to: place, ...person }),
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          cookie: jar(browser),
          origin: house.origin,
        },
      })
      const location = sent.headers.get('location') ?? ''
      expect([place, sent.status, new URL(location, house.origin).origin, location.startsWith('//')]).toEqual(
        [place, 303, house.origin, false],
      )
      expect(sent.headers.has('x')).toBe(false)
    }
  })

  test('never into an authorization by the way of the sign-in form, which would make it look like the person’s own wish [H-E12, H-P8]', async () => {
    const client = await register(house)
    const { url } = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
    const browser = fresh()
    await allow(browser, url)
    browser.cookies.delete(session)
    const target = url.slice(house.origin.length)
    for (const place of [
      target,
      target.replace('/oauth/', '/'),
      target.replace('/oauth', '/%6fauth'),
      target.replace('/oauth/', '/oauth%2f'),
    ]) {
      const page = await browser.go(`/login?return_to=${encodeURIComponent(place)}`, {
        headers: { 'sec-fetch-site': 'cross-site' },
      })
      const { action, fields } = page.form('/login')
      let answer = await house.fetch(action, {
        ...form({ ...fields, return_to: place, ...person }),
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          cookie: jar(browser),
          origin: house.origin,
          'sec-fetch-site': 'same-origin',
        },
      })
      // What a browser does next: the redirect of its own form counts as ours.
      for (let hop = 0; hop < 5 && answer.headers.has('location'); hop++) {
        const next = new URL(answer.headers.get('location') ?? '', house.origin)
        expect([place, next.origin]).toEqual([place, house.origin])
        for (const line of answer.headers.getSetCookie())
          browser.cookies.set(
            line.split('=')[0] ?? '',
            (line.split(';')[0] ?? '').split('=').slice(1).join('='),
          )
        answer = await house.fetch(next.href, {
          headers: { accept: 'text/html', cookie: jar(browser), 'sec-fetch-site': 'same-origin' },
        })
      }
      browser.cookies.delete(session)
    }
  })

  test('never a silent answer where anything of the question is new [H-E10]', async () => {
    const redirect_uris = ['https://app.example/cb', 'https://app.example/other', 'http://127.0.0.1:5000/cb']
    const client = await register(house, { redirect_uris })
    const browser = fresh()
    const resource = `${house.origin}/echo/mcp`
    await allow(browser, authorizeUrl(house, client, { resource }).url)
    expect((await browser.go(authorizeUrl(house, client, { resource }).url)).status).toBe(0)
    const changed: Record<string, string>[] = [
      { redirect_uri: 'http://127.0.0.1:5000/cb' },
      { redirect_uri: 'https://app.example/other' },
      { resource: `${house.origin}/second/mcp` },
      { scope: 'mcp offline_access' },
      { prompt: 'consent' },
    ]
    for (const params of changed)
      expect([
        params,
        (await browser.go(authorizeUrl(house, client, { resource, ...params }).url)).body.includes(
          'value="allow"',
        ),
      ]).toEqual([params, true])
    const twin = await register(house, { redirect_uris })
    expect((await browser.go(authorizeUrl(house, twin, { resource }).url)).body).toContain('value="allow"')
    // Any program may listen on a loopback port: nothing that was allowed there is answered silently (RFC
    // 8252 §8.6).
    await allow(
      browser,
      authorizeUrl(house, client, { resource, redirect_uri: 'http://127.0.0.1:5000/cb' }).url,
    )
    for (const port of [5000, 5001])
      expect(
        (
          await browser.go(
            authorizeUrl(house, client, { resource, redirect_uri: `http://127.0.0.1:${port}/cb` }).url,
          )
        ).body,
      ).toContain('value="allow"')
  })

  test('never more guesses for a name that can be spelt in several ways [H-P5]', async () => {
    const browser = fresh()
    const page = await browser.go('/login')
    const statuses: number[] = []
    for (let i = 0; i < 11; i++)
      statuses.push(
        (
          await browser.submit(page, '/login', {
            username: i % 2 === 0 ? 'zo\u00E9' : 'zoe\u0301',
            password: `guess ${i}`,
          })
        ).status,
      )
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), 429])
  })

  test('never a script from what a person or a link typed [H-P3]', async () => {
    const browser = fresh()
    const evil = '"\'><script>alert(1)</script><img src=x onerror=alert(1)>'
    const client = await register(house)
    const pages = [
      await browser.submit(await browser.go('/login'), '/login', { username: evil, password: 'wrong' }),
      await browser.go(
        `/login?return_to=${encodeURIComponent(evil)}&flow=${encodeURIComponent(evil)}&prompt=${encodeURIComponent(evil)}`,
      ),
      await browser.go(`/oauth/consent?flow=${encodeURIComponent(evil)}`),
      await browser.go(
        `/oauth/callback?error=${encodeURIComponent(evil)}&error_description=${encodeURIComponent(evil)}&state=${encodeURIComponent(evil)}`,
      ),
      await browser.go(authorizeUrl(house, client, { redirect_uri: `https://evil.example/${evil}` }).url),
      await browser.go(authorizeUrl(house, { ...client, id: evil }).url),
      await browser.go(`/${encodeURIComponent(evil)}`),
      await browser.go(`/?t=${encodeURIComponent(evil)}`),
    ]
    for (const page of pages) {
      expect([page.url, page.body.startsWith('<!doctype html>'), /<script>|<img/.test(page.body)]).toEqual([
        page.url,
        true,
        false,
      ])
      expect(page.headers.get('content-security-policy')).toMatch(/default-src 'none'.*script-src 'self'/)
      expect(page.headers.get('content-security-policy')).not.toContain('unsafe')
    }
  })
})
