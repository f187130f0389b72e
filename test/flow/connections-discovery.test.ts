// From an upstream's refusal to its sign-in: where everything about it is found, who we are there, and whose
// answer is believed.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { callbackId, callbackPathOf } from '../../src/kit/urls.ts'
import { connectAt, logInThrough, through } from '../runtimes/connecting.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, yamada } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'

const prm = '/.well-known/oauth-protected-resource'
const document = 'https://gateway.example/client.json'

describe.each(runtimes)('%s', (_name, open) => {
  let far: FarServer
  let usual: FarServer['script']
  let house: TestGateway
  beforeAll(async () => {
    far = await openFarServer()
    usual = { ...far.script }
    house = await open({
      upstream: 'http://127.0.0.1:9/mcp',
      config: {
        local_users: [ana, yamada],
        mcp_services: {
          auto: { url: far.url },
          secretless: { url: far.url },
          named: { url: far.url, upstream_auth: { type: 'oauth', client_metadata_url: document } },
          known: {
            url: far.url,
            upstream_auth: {
              type: 'oauth',
              client_metadata_url: document,
              issuer: far.origin,
              client_id: 'known-client',
            },
          },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await far.close()
  })
  beforeEach(() => {
    Object.assign(far.script, usual, { absent: new Set(), instead: new Map(), before: new Map() })
    far.asked.length = 0
  })

  let names = 0
  /** Connects one more account; the paths that were asked on the way, without the calls themselves. */
  const connect = async (
    service = 'auto',
  ): Promise<{ readonly status: number; readonly body: string; readonly paths: readonly string[] }> => {
    const { status, body } = await connectAt(house, `${house.origin}/connect/${service}`, {
      fields: { action: 'connect', account: `account ${++names}` },
    })
    return { status, body, paths: far.asked.map(({ path }) => path).filter((path) => path !== '/mcp') }
  }
  const asked = (path: string): Record<string, string> | undefined =>
    far.asked.findLast((one) => one.path === path)?.fields

  describe('what the server says of itself', () => {
    const finds = async (paths: readonly string[]): Promise<void> => {
      const page = await connect()
      expect([page.status, page.paths.slice(0, paths.length), far.count('/authorize')]).toEqual([
        200,
        paths,
        1,
      ])
    }
    const there = () => ({ body: { resource: far.url, authorization_servers: [far.origin] } })

    it('is read where its refusal names it [D1]', async () => {
      far.script.challenge = () => `Bearer resource_metadata="${far.origin}/about/me"`
      far.script.instead.set('/about/me', there)
      await finds(['/about/me', '/.well-known/oauth-authorization-server'])
    })
    it('or behind the path of its endpoint [D1]', async () => {
      far.script.challenge = () => 'Bearer'
      await finds([`${prm}/mcp`, '/.well-known/oauth-authorization-server'])
    })
    it('or at its root, and where the named place has nothing too [D1]', async () => {
      far.script.challenge = () => `Bearer resource_metadata="${far.origin}/gone"`
      far.script.absent = new Set([`${prm}/mcp`])
      far.script.instead.set(prm, () => ({
        body: { resource: far.origin, authorization_servers: [far.origin] },
      }))
      await finds(['/gone', `${prm}/mcp`, prm, '/.well-known/oauth-authorization-server'])
      // It goes into every request as the server wrote it (RFC 8707 §2).
      expect([asked('/authorize')?.['resource'], asked('/token')?.['resource']]).toEqual([
        far.origin,
        far.origin,
      ])
    })
  })

  it('its authorization server is found at each of the places where a path may put it, in their order [D1]', async () => {
    const issuer = `${far.origin}/tenant`
    const places = [
      '/.well-known/oauth-authorization-server/tenant',
      '/.well-known/openid-configuration/tenant',
      '/tenant/.well-known/openid-configuration',
    ]
    const metadata = {
      issuer,
      authorization_endpoint: `${far.origin}/authorize`,
      token_endpoint: `${far.origin}/token`,
      registration_endpoint: `${far.origin}/register`,
      code_challenge_methods_supported: ['S256'],
    }
    far.script.prm = (about) => ({ ...about, authorization_servers: [issuer] })
    far.script.answer = (answer) => ({ ...answer, iss: issuer })
    for (let i = 0; i < places.length; i++) {
      far.asked.length = 0
      far.script.instead = new Map([[places[i] ?? '', () => ({ body: metadata })]])
      const page = await connect()
      expect([page.status, page.paths.filter((path) => path.includes('tenant'))], places[i]).toEqual([
        200,
        places.slice(0, i + 1),
      ])
    }
  })

  it('an issuer without a path is found by OpenID Connect Discovery where RFC 8414 has nothing, and the next server of a list where the first has nothing [D1]', async () => {
    const metadata = {
      issuer: far.origin,
      authorization_endpoint: `${far.origin}/authorize`,
      token_endpoint: `${far.origin}/token`,
      registration_endpoint: `${far.origin}/register`,
      code_challenge_methods_supported: ['S256'],
    }
    far.script.prm = (about) => ({ ...about, authorization_servers: [`${far.origin}/nobody`, far.origin] })
    far.script.absent = new Set(['/.well-known/oauth-authorization-server'])
    far.script.instead.set('/.well-known/openid-configuration', () => ({ body: metadata }))
    const page = await connect()
    const wellKnown = page.paths.filter((path) => path.startsWith('/.well-known/') && !path.startsWith(prm))
    expect([page.status, wellKnown]).toEqual([
      200,
      [
        '/.well-known/oauth-authorization-server/nobody',
        '/.well-known/openid-configuration/nobody',
        '/.well-known/oauth-authorization-server',
        '/.well-known/openid-configuration',
      ],
    ])
  })

  describe('the gateway is known there', () => {
    const reads = (): void => {
      far.script.metadata = (metadata) => ({ ...metadata, client_id_metadata_document_supported: true })
    }
    it('as the operator registered it, whatever else is offered [D3]', async () => {
      reads()
      expect([
        (await connect('known')).status,
        asked('/authorize')?.['client_id'],
        far.count('/register'),
      ]).toEqual([200, 'known-client', 0])
    })
    it('or by its metadata document, where the server reads such [D3]', async () => {
      reads()
      expect([
        (await connect('named')).status,
        asked('/authorize')?.['client_id'],
        asked('/token')?.['client_id'],
        far.count('/register'),
      ]).toEqual([200, document, document, 0])
    })
    it('or by registering itself, once for everybody [D3]', async () => {
      for (let i = 0; i < 2; i++) expect((await connect('named')).status).toBe(200)
      expect([asked('/authorize')?.['client_id'], far.count('/register')]).toEqual([
        expect.stringMatching(/^client-\d+$/),
        1,
      ])
    })
    it('and without a secret where the server gives none, whatever method it repeats [D3]', async () => {
      far.script.metadata = ({ token_endpoint_auth_methods_supported: _, ...metadata }) => ({
        ...metadata,
        issuer: far.origin,
      })
      far.script.instead.set('/register', ({ json }) => ({
        status: 201,
        body: { ...json, client_id: 'without-a-secret' },
      }))
      // A client of another service, so that it is registered here and now.
      const page = await connect('secretless')
      expect([
        page.status,
        asked('/token')?.['client_id'],
        far.asked.findLast(({ path }) => path === '/token')?.headers.authorization,
      ]).toEqual([200, 'without-a-secret', undefined])
    })
    it('and once more when a person says that the server has forgotten it [D3]', async () => {
      await connect()
      const known = asked('/authorize')?.['client_id']
      const page = await connectAt(house, `${house.origin}/connect/auto`, {
        fields: { action: 'anew', account: `account ${++names}` },
      })
      expect([page.status, far.count('/authorize'), asked('/authorize')?.['client_id'] === known]).toEqual([
        200,
        2,
        false,
      ])
      const later = asked('/authorize')?.['client_id']
      await connect()
      expect(asked('/authorize')?.['client_id']).toBe(later)
    })
    it('or not at all, and then the operator is told what to do [D3]', async () => {
      far.script.metadata = ({ registration_endpoint: _, ...metadata }) => metadata
      const page = await connect()
      expect([page.status, far.count('/authorize')]).toEqual([502, 0])
      expect(page.body).toContain('The administrator must register the gateway there')
      expect(page.body.replaceAll('<wbr>', '')).toContain(
        `${house.origin}${await callbackPathOf(far.origin)}`,
      )
    })
    it('at one address for answers, whichever service and person, and no other authorization server', async () => {
      for (const service of ['auto', 'named', 'known']) await connect(service)
      await logInThrough(house, 'auto', { who: yamada })
      expect(
        new Set(
          far.asked.filter(({ path }) => path === '/authorize').map(({ fields }) => fields['redirect_uri']),
        ),
      ).toEqual(new Set([`${house.origin}${await callbackPathOf(far.origin)}`]))
    })
  })

  // RFC 9207 §2.4 and the table of MCP Authorization, Authorization Response Validation.
  it.each([
    ['promised', 'the issuer', 200],
    ['promised', 'nothing', 502],
    ['promised', 'somebody', 502],
    ['not promised', 'the issuer', 200],
    ['not promised', 'nothing', 200],
    ['not promised', 'somebody', 502],
  ])('an iss that is %s, and says %s, is answered with %i [D2]', async (promise, said, status) => {
    if (promise === 'not promised')
      far.script.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
    far.script.answer = ({ iss: _, ...answer }) => ({
      ...answer,
      ...(said === 'the issuer' && { iss: far.origin }),
      ...(said === 'somebody' && { iss: 'https://somebody.test' }),
    })
    expect([(await connect()).status, far.count('/token')]).toEqual([status, status === 200 ? 1 : 0])
  })

  it('a token is renewed five minutes before it ends, without a call that waits for it [D7]', async () => {
    const { caller } = await logInThrough(house, 'named', { who: yamada })
    const used = async (): Promise<string | undefined> =>
      /access-\d+/.exec(await (await caller.post(call())).text())?.[0]
    const first = await used()
    house.advance(54 * 60_000)
    expect([await used(), far.count('/token', 'refresh_token')]).toEqual([first, 0])
    house.advance(70_000)
    expect(await used()).toBe(first)
    await until(() => far.count('/token', 'refresh_token') === 1, 'the renewal')
    expect(asked('/token')).toMatchObject({ grant_type: 'refresh_token', resource: far.url })
    let next = first
    for (let i = 0; i < 50 && next === first; i++) {
      house.advance(1000)
      next = await used()
    }
    expect([next === first, far.count('/token', 'refresh_token')]).toEqual([false, 1])
  })

  it('the gateway publishes what it is as a client, for each authorization server apart', async () => {
    const id = await callbackId(far.origin)
    for (const [path, back] of [
      [`/oauth/client-metadata/${id}.json`, `/connect/callback/${id}`],
      ['/oauth/client-metadata.json', '/connect/callback'],
    ] as const) {
      expect(await (await house.fetch(`${house.origin}${path}`)).json()).toEqual({
        client_id: `${house.origin}${path}`,
        client_name: `Postern at ${new URL(house.origin).host}`,
        client_uri: house.origin,
        redirect_uris: [`${house.origin}${back}`],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        application_type: 'native',
        token_endpoint_auth_method: 'none',
      })
    }
    for (const path of [
      `/oauth/client-metadata/${id}`,
      `/oauth/client-metadata/${id}x.json`,
      '/oauth/client-metadata/a.json',
    ])
      expect((await house.fetch(`${house.origin}${path}`)).status, path).toBe(404)
  })

  it('a browser that knows only the name of the server finds the page by it', async () => {
    const browser = createBrowser(house.fetch, house.origin)
    const page = await browser.go(`/oauth/start?server=${new URL(far.url).host}`)
    const shown = await browser.submit(page, '/login', { username: ana.username, password: ana.password })
    expect([shown.status, new URL(shown.url).pathname]).toEqual([200, '/connect/auto'])
    const out = await browser.submit(shown, '/connect/auto', { action: 'connect', account: 'by name' })
    expect((await browser.go(await through(out.url))).body).toContain('by name')
  })
})
