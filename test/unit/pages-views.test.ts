// What stands on the pages, read from their HTML.
import { describe, expect, test } from 'vitest'
import { createAssets } from '../../src/pages/assets.ts'
import { htmlText } from '../../src/kit/html.ts'
import { sayDuration } from '../../src/pages/language.ts'
import { createPages } from '../../src/pages/views.ts'
import { claude, consent, hostile, hostileNames, pageStates, requestId } from '../pages/states.ts'

const pages = createPages({ issuer: 'https://mcp.example.com', version: '0.1.0' })
const states = pageStates(pages)
const assets = createAssets()

describe('every page', () => {
  test.each(Object.keys(states))(
    '%s is whole without a script, quotes its request id once where something failed and holds nothing inline or foreign',
    async (name) => {
      const response = states[name]?.()
      const text = (await response?.text()) ?? ''
      expect(response?.headers.get('content-type')).toBe('text/html; charset=utf-8')
      expect(text.split(requestId)).toHaveLength(name.startsWith('problem-') ? 2 : 1)
      expect(text).not.toMatch(
        /<style|<script(?! src="\/assets\/postern\.[0-9a-f]{8}\.js" defer><\/script>)|\son[a-z]+="|\sstyle="|javascript:(?!alert\(document)/,
      )
      // The only thing fetched is ours.
      for (const [, source = ''] of text.matchAll(/\ssrc="([^"]*)"|<link [^>]*href="([^"]*)"/g))
        expect(source).toMatch(/^(\/assets\/|$)/)
      for (const [, action = ''] of text.matchAll(/<form[^>]* action="([^"]*)"/g))
        expect(action).toMatch(
          /^\/(|oauth\/consent|login(\/[^"/]+)?|logout|encode|device|account\/(apps|tokens|access(\?[^"]*)?)|connect\/[^"/]+)$/,
        )
      // Hostile markup is text.
      expect(text).not.toMatch(/<img|<b>|<i>|<script>/)
      // One heading of the first level, and it holds the focus unless a field does.
      expect(text.match(/<h1/g)).toHaveLength(1)
      expect(text.match(/ autofocus/g)).toHaveLength(1)
    },
  )

  test('asks for assets that exist', async () => {
    const text = (await states['home-one']?.().text()) ?? ''
    const paths = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? '')
    expect(paths).toHaveLength(3)
    for (const path of paths) {
      expect(assets(path)?.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      expect(assets(path)?.headers.get('x-content-type-options')).toBe('nosniff')
    }
    expect(assets('/favicon.ico')?.headers.get('content-type')).toBe('image/svg+xml')
    expect(assets('/assets/postern.00000000.css')).toBeUndefined()
    expect(assets('/assets/../package.json')).toBeUndefined()
  })

  test('outside a flow is cut off from whoever opened it; in a flow it is not, so that a web client can wait for its popup', () => {
    for (const name of ['home-one', 'connect'])
      expect(states[name]?.().headers.get('cross-origin-opener-policy')).toBe('same-origin')
    for (const name of ['consent-document', 'login-password'])
      expect(states[name]?.().headers.get('cross-origin-opener-policy')).toBeNull()
  })
})

describe('the consent page', () => {
  const text = (view = consent): Promise<string> => pages.consent(view).text()

  test('shows who asks, as whom, for which service, with which permissions, for how long and where Allow leads, in that order [A7] [H-E1, H-C1]', async () => {
    const shown = await text()
    const order = [
      'Allow <bdi>ChatGPT</bdi> to use <bdi>Jira tools</bdi>?',
      'Verified domain',
      'ana@example.com',
      'Switch account',
      'This app can',
      'on your behalf',
      'Issues, boards and comments of the team.',
      'Sends you back to',
      '>chatgpt.com<',
      '30 days',
      'value="allow"',
      'value="deny"',
      'Why am I seeing this?',
      'mcp.example.com',
    ]
    let at = shown.indexOf('<main')
    for (const part of order) {
      const next = shown.indexOf(part, at)
      expect(next, part).toBeGreaterThan(at)
      at = next
    }
  })

  test('carries the flow and the token against forgery, and asks the question once [H-E4]', async () => {
    const shown = await text()
    expect(shown).toContain('<form method="post" action="/oauth/consent"')
    expect(shown).toContain('<input type="hidden" name="flow" value="f_Zk3">')
    expect(shown).toContain('<input type="hidden" name="csrf" value="x9f2">')
    expect(shown.match(/<button/g)).toHaveLength(2)
  })

  test('says how far the name can be believed', async () => {
    expect(await text({ ...consent, client: { id: 'a', name: 'A', kind: 'registered' } })).toContain(
      'Registered by your administrator',
    )
    expect(await text({ ...consent, client: { id: 'a', name: 'A', kind: 'dynamic' } })).toContain(
      'Unverified. Anyone can use this name.',
    )
    expect(await text({ ...consent, client: { id: 'a', name: 'A', kind: 'document' } })).toContain(
      'Unverified',
    )
  })

  test('warns of an app on this computer, of an app scheme, and of an answer that leaves the verified domain [A7]', async () => {
    const loopback = {
      uri: 'http://127.0.0.1:33418/',
      host: '127.0.0.1:33418',
      loopback: true,
      native: false,
    }
    expect(await text({ ...consent, client: claude, redirect: loopback })).toContain(
      'This sends access to an app running on this computer. Continue only if you just started it.',
    )
    expect(
      await text({
        ...consent,
        redirect: { uri: 'cursor://x/cb', host: 'cursor:', loopback: false, native: true },
      }),
    ).toContain('This sends access to an app on this device that opens cursor: links.')
    expect(
      await text({
        ...consent,
        redirect: { uri: 'https://relay.example/cb', host: 'relay.example', loopback: false, native: false },
      }),
    ).toMatch(/sends access to <bdi>relay\.example<\/bdi>, not to <bdi>chatgpt\.com/)
    expect(await text()).not.toContain('class="note warn"')
  })

  test('tells what is new from what was allowed before, new first', async () => {
    const shown = await text({
      ...consent,
      scopes: [
        { name: 'mcp', fresh: false },
        { name: 'jira:write', fresh: true },
      ],
    })
    expect(shown.indexOf('jira:write')).toBeLessThan(
      shown.indexOf('Use <bdi>Jira tools</bdi> on your behalf'),
    )
    expect(shown).toContain('Already allowed')
    expect(await text()).not.toContain('class="chip')
  })

  test('hides no scope, however many there are', async () => {
    const scopes = Array.from({ length: 40 }, (_, i) => ({ name: `s${i}`, fresh: true }))
    const shown = await text({ ...consent, scopes })
    for (const { name } of scopes) expect(shown).toContain(`<code>${name}</code>`)
    expect(shown).toContain('Show 35 more')
  })

  test('says where access is ended', async () => {
    expect(await text()).toContain('until you revoke it in <a href="/account/apps">Connected apps</a>')
  })

  test.each(Object.entries(hostileNames))(
    'draws a hostile name inert and short: %s [H-B10, H-P3]',
    async (_kind, name) => {
      const shown = await text(hostile(name))
      expect(shown.length).toBeLessThan(24_000)
      expect(shown).not.toMatch(/[\u200B\u200E\u200F\u202A-\u202E\u2060\u2066-\u2069\u00AD]/)
      expect(shown).not.toMatch(/onerror=alert\(1\)>/)
    },
  )
})

describe('the sign-in page', () => {
  test('answers 401 when the last attempt failed, and keeps the username [H-P5]', async () => {
    const response = states['login-password-wrong']?.()
    expect(response?.status).toBe(401)
    const shown = (await response?.text()) ?? ''
    expect(shown).toContain('value="ana"')
    expect(shown).toMatch(/role="alert"[\s\S]*Invalid credentials/)
  })

  test('has a form of its own for each provider, each with the hidden fields', async () => {
    const shown = (await states['login-everything']?.().text()) ?? ''
    expect([...shown.matchAll(/action="([^"]+)"/g)].map(([, action]) => action)).toEqual([
      '/login/google',
      '/login/entra',
      '/login',
    ])
    expect(shown.match(/name="csrf" value="x9f2"/g)).toHaveLength(3)
    expect(shown).toContain('autocomplete="current-password"')
  })

  test('offers what this browser used last first, and folds the password beside providers', async () => {
    const shown = async (more: Partial<Parameters<typeof pages.login>[0]>) => {
      const text = await pages
        .login({
          providers: [
            { id: 'google', name: 'Google' },
            { id: 'entra', name: 'Entra ID' },
          ],
          password: true,
          link: false,
          hidden: {},
          ...more,
        })
        .text()
      const [main = ''] = /<main[\s\S]*<\/main>/.exec(text) ?? []
      return {
        forms: [...main.matchAll(/action="([^"]+)"/g)].map(([, action]) => action),
        buttons: [...main.matchAll(/<button class="([^"]*)">(.*?)<\/button>/g)].map(
          ([, kind, words = '']) =>
            `${kind}: ${words
              .replaceAll(/<[^>]*>/g, ' ')
              .replaceAll(/ +/g, ' ')
              .trim()}`,
        ),
        folded: /<details class="tight"( open)?>/.exec(main)?.[1] ?? main.includes('<details'),
        focused: /<(\w+)[^>]* autofocus/.exec(main)?.[1],
      }
    }
    const google = 'provider: G Continue with Google'
    const entra = 'provider: E Continue with Entra ID'
    expect(await shown({})).toEqual({
      forms: ['/login/google', '/login/entra', '/login'],
      buttons: [google, entra, ': Sign in'],
      folded: true,
      focused: 'h1',
    })
    expect(await shown({ lastUsed: 'entra' })).toEqual({
      forms: ['/login/entra', '/login/google', '/login'],
      buttons: ['provider last: E Continue with Entra ID Last used', google, ': Sign in'],
      folded: true,
      focused: 'h1',
    })
    const withPassword = {
      forms: ['/login/google', '/login/entra', '/login'],
      buttons: [google, entra, 'primary: Sign in'],
      folded: ' open',
      focused: 'input',
    }
    expect(await shown({ lastUsed: 'local' })).toEqual(withPassword)
    expect(await shown({ problem: 'No.', username: 'ana' })).toEqual(withPassword)
    expect(
      await shown({ lastUsed: '__proto__', providers: [{ id: 'google', name: 'Google' }], password: false }),
    ).toEqual({
      forms: ['/login/google'],
      buttons: ['provider primary: G Continue with Google'],
      folded: false,
      focused: 'h1',
    })
  })

  test('goes on to the flow it was opened for, without asking for a fresh sign-in again', async () => {
    const shown = await pages
      .login({
        providers: [],
        password: false,
        link: true,
        hidden: { csrf: 'secret', flow: 'f1', switch: '1', prompt: 'login' },
      })
      .text()
    expect(shown).toContain('href="/login?flow=f1"')
    expect(shown).not.toMatch(/href="[^"]*(secret|switch|prompt)/)
  })
})

describe('the way back to an app', () => {
  test('opens by itself and by a button', async () => {
    const shown = (await states['go-back']?.().text()) ?? ''
    const href =
      'cursor://anysphere.cursor-mcp/oauth/callback?code=pc_x.y&amp;state=s&amp;iss=https%3A%2F%2Fmcp.example.com'
    expect(shown).toContain(`<meta http-equiv="refresh" content="0; url=${href}">`)
    expect(shown).toContain(`href="${href}"`)
    expect(shown).toContain('Return to <bdi>Cursor</bdi>')
  })

  test('never links a scheme that would run here [H-F3]', async () => {
    const shown = (await states['go-back-unsafe']?.().text()) ?? ''
    expect(shown).not.toContain('javascript:')
    expect(shown).not.toContain('http-equiv="refresh"')
  })
})

test('services are a list of which the first is open, with what needs the person above it, and a search', async () => {
  const texts = async (name: string): Promise<string> => (await states[name]?.().text()) ?? ''
  const many = await texts('home-many')
  expect(
    [...many.matchAll(/<details class="service" name="service"( open)?>.*?<bdi>(.*?)<\/bdi>/g)].map(
      ([, open, name]) => [name, open !== undefined],
    ),
  ).toEqual([
    ['Jira tools', true],
    ['Drive', false],
    ['Demo', false],
    ['Public docs', false],
  ])
  expect(many.indexOf('calls fail until you reconnect')).toBeLessThan(many.indexOf('class="service"'))
  expect(many.match(/(?:Reconnect needed|Connected|Account needed)<\/span>/g)).toEqual([
    'Reconnect needed</span>',
    'Connected</span>',
    'Account needed</span>',
  ])
  expect(many).not.toContain('role="search"')
  const home = {
    person: { provider: 'local', subject: 'ana', groups: [] },
    csrf: 'c',
    reachable: true,
    encodes: false,
    admin: false,
    services: Array.from({ length: 12 }, (_, i) => ({
      id: `s${i}`,
      name: `Service ${i}`,
      description: i === 7 ? 'Where WIKI pages are' : '',
      url: `https://mcp.example.com/s${i}/mcp`,
      authRequired: true,
    })),
  }
  const found = async (query?: string): Promise<readonly (string | undefined)[]> => {
    const text = await pages.home({ ...home, ...(query !== undefined && { query }) }).text()
    expect(text).toContain('role="search"')
    return [...text.matchAll(/class="service".*?<bdi>(.*?)<\/bdi>/g)].map(([, name]) => name)
  }
  expect(await found()).toHaveLength(12)
  expect(await found('wiki')).toEqual(['Service 7'])
  expect(await found('S1')).toEqual(['Service 1', 'Service 10', 'Service 11'])
  expect(await found('none')).toEqual([])
})

test('durations are said in words', () => {
  expect(
    [30 * 86_400_000, 86_400_000, 3_600_000, 5_400_000, 300_000, 20_000, 10 * 86_400_000 + 5].map((ms) =>
      htmlText(sayDuration(ms)),
    ),
  ).toEqual(['30 days', '1 day', '1 hour', '90 minutes', '5 minutes', '1 minute', '10 days'])
})

test('a redirect URI that is not registered is shown beside those that are, with the difference marked', async () => {
  const shown = (await states['problem-redirect-facts']?.().text()) ?? ''
  expect(shown).toContain('<code>http://127.0.0.1/callback<mark>s</mark></code>')
  expect(shown).toContain('https://app.example/oauth/callback')
})

test('access that comes back by itself can be blocked where it is ended, other access is only ended', async () => {
  const rows = ((await states['access-all']?.().text()) ?? '')
    .split('<tr>')
    .filter((row) => row.includes('>End<'))
  expect(rows.map((row) => [row.includes('service:nightly'), row.includes('value="block"')])).toEqual([
    [false, false],
    [false, false],
    [false, false],
    [true, true],
  ])
})
