// OAuth mix-up (RFC 9700 §4.4): an authorization server that the gateway asks sends the person's browser on
// to another one,
// which answers, without `iss`, with a code that the first would like to have.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { callbackPathOf } from '../../src/kit/urls.ts'
import { connectAt, through } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana } from '../runtimes/people.ts'

const client = { client_secret: 'a-secret-that-belongs-to-one-server', allow_origins: ['http://127.0.0.1:*'] }

describe.each(runtimes)('never %s', (_name, open) => {
  let honest: FarServer
  let evil: FarServer
  let second: FarServer
  let house: TestGateway
  beforeAll(async () => {
    ;[honest, evil, second] = await Promise.all([openFarServer(), openFarServer(), openFarServer()])
    const written = ({ origin, url }: FarServer, redirectUri: string) => ({
      url,
      upstream_auth: {
        type: 'oauth' as const,
        issuer: origin,
        client_id: `written at ${origin}`,
        redirect_uri: redirectUri,
        ...client,
      },
    })
    const auth = { type: 'oauth' as const, allow_origins: ['http://127.0.0.1:*'] }
    house = await open({
      upstream: honest.url,
      config: {
        local_users: [ana],
        mcp_services: {
          honest: { url: honest.url, upstream_auth: auth },
          evil: { url: evil.url, upstream_auth: auth },
          second: { url: second.url, upstream_auth: auth },
          first_written: written(honest, 'http://localhost:8080/connect/callback'),
          evil_written: written(evil, 'http://localhost:8080/connect/callback'),
        },
      },
    })
  })
  afterAll(async () => {
    await Promise.all([honest, evil, second, house].map((one) => one.close()))
  })
  beforeEach(() => {
    for (const one of [honest, evil, second]) {
      // Nobody says who answers.
      one.script.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
      one.script.answer = ({ iss: _, ...answer }) => answer
      one.script.instead.clear()
      one.asked.length = 0
    }
    honest.script.strict = true
  })

  const connect = (service: string, way = follow) =>
    connectAt(house, `${house.origin}/connect/${service}`, {
      way,
      fields: { action: 'connect', account: `account ${++n}` },
    })
  let n = 0
  /** As a browser does, to the gateway or to a page that ends it. */
  const follow = async (url: string): Promise<string> => {
    const next = await through(url)
    return next.startsWith(house.origin) ? next : follow(next)
  }
  const stopped = async (url: string): Promise<string> => follow(url).catch(() => `${house.origin}/services`)
  const honestClient = async (): Promise<Record<string, string>> => {
    expect((await connect('honest')).status).toBe(200)
    return honest.asked.findLast(({ path }) => path === '/authorize')?.fields ?? {}
  }
  /** The browser goes on to the honest server, with what the evil one makes of the request. */
  const forwards = (from: FarServer, made: Readonly<Record<string, string>>): void => {
    from.script.instead.set('/authorize', ({ query }) => {
      const next = new URL(`${honest.origin}/authorize`)
      for (const [name, value] of Object.entries({ ...Object.fromEntries(query), ...made }))
        next.searchParams.set(name, value)
      return { status: 302, headers: { location: next.href }, body: '' }
    })
  }
  const codesOf = (server: FarServer): number =>
    server.asked.filter(({ path }) => path === '/authorize').length
  const nothingReached = (...thieves: readonly FarServer[]): void => {
    for (const thief of thieves)
      expect([thief.count('/token'), /code-\d|code_verifier/.test(JSON.stringify(thief.asked))]).toEqual([
        0,
        false,
      ])
  }

  it('never lets an authorization server have the code of another, to which it forwarded the browser', async () => {
    const { client_id: id = '', redirect_uri: redirectUri = '' } = await honestClient()
    expect(redirectUri).toBe(`${house.origin}${await callbackPathOf(honest.origin)}`)
    for (const [service, thief] of [
      ['evil', evil],
      ['second', second],
    ] as const) {
      forwards(thief, { client_id: id, redirect_uri: redirectUri })
      const page = await connect(service)
      expect([page.status, page.body.includes('failed validation')], service).toEqual([502, true])
    }
    expect(codesOf(honest)).toBe(3)
    nothingReached(evil, second)
    expect(honest.count('/token')).toBe(1)
    expect(
      String(house.log.findLast(({ fields }) => fields['refusal'] === 'connection.untrusted')?.fields['why']),
    ).toContain(await callbackPathOf(honest.origin))
  })

  it('never has a redirect URI that two authorization servers know it by', async () => {
    const { client_id: id = '' } = await honestClient()
    for (const service of ['evil', 'second']) expect((await connect(service)).status).toBe(200)
    const used = [honest, evil, second].map(
      ({ asked }) => asked.findLast(({ path }) => path === '/authorize')?.fields['redirect_uri'],
    )
    expect(used).toEqual(
      await Promise.all(
        [honest, evil, second].map(async ({ origin }) => `${house.origin}${await callbackPathOf(origin)}`),
      ),
    )
    expect(new Set(used).size).toBe(3)
    for (const one of [evil, second]) one.asked.length = 0
    // Unchanged, or with the honest server's client: it sends nobody to an address that it does not know.
    for (const made of [{}, { client_id: id }]) {
      forwards(evil, made)
      await connect('evil', stopped)
    }
    nothingReached(evil, second)
  })

  it('never redeems what comes to an address of version 0.1.0, which old registrations still name', async () => {
    const old = (await (
      await fetch(`${honest.origin}/register`, {
        method: 'POST',
        body: JSON.stringify({
          redirect_uris: ['/connect/callback', '/oauth/callback', '/callback'].map(
            (path) => `${house.origin}${path}`,
          ),
        }),
      })
    ).json()) as { client_id: string }
    for (const path of ['/connect/callback', '/oauth/callback', '/callback']) {
      forwards(evil, { client_id: old.client_id, redirect_uri: `${house.origin}${path}` })
      expect([path, (await connect('evil')).status]).toEqual([path, 502])
    }
    nothingReached(evil)
  })

  it('never sends anybody out whose answer would come to the address of another server', async () => {
    const page = await connect('evil_written', stopped)
    expect([page.status, evil.count('/authorize')]).toEqual([502, 0])
    expect(page.body.replaceAll('<wbr>', '')).toContain(`${house.origin}${await callbackPathOf(evil.origin)}`)
    honest.script.strict = false
    const way = async (url: string): Promise<string> =>
      (await follow(url).catch(() => '')).replace('http://localhost:8080', house.origin)
    await connect('first_written', way)
    expect(honest.asked.findLast(({ path }) => path === '/authorize')?.fields['redirect_uri']).toBe(
      'http://localhost:8080/connect/callback',
    )
  })

  it('never believes an answer without iss where one was announced, nor one of somebody else', async () => {
    const { client_id: id = '', redirect_uri: redirectUri = '' } = await honestClient()
    evil.script.metadata = (metadata) => metadata
    honest.script.strict = false
    for (const made of [{ client_id: id, redirect_uri: redirectUri }, {}]) {
      forwards(evil, made)
      expect((await connect('evil')).status).toBe(502)
    }
    evil.script.metadata = ({ authorization_response_iss_parameter_supported: _, ...metadata }) => metadata
    honest.script.answer = (answer) => answer
    forwards(evil, {})
    expect((await connect('evil')).status).toBe(502)
    nothingReached(evil)
  })
})
