// The device login from its two ends: the command that asks and waits, and two processes that are asked at once; and
// what else is good once at their token endpoint.
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { login } from '../../src/cli/login.ts'
import { type Browser, type Page, createBrowser } from '../runtimes/browser.ts'
import { authorizeUrl, form, person, redeem, register } from '../runtimes/login.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { type Told, listen } from '../runtimes/printed.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { type Twins, createTwins } from '../runtimes/twins.ts'

type Json = Readonly<Record<string, unknown>>
interface Answer {
  readonly status: number
  readonly body: Json
}

const grantType = 'urn:ietf:params:oauth:grant-type:device_code'

describe('an app on another computer', () => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let told: Told
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await openOnSocket({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        device: { clients: ['postern-cli'], interval: '1s' },
        copy_redirect_url: true,
      },
    })
  })
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })
  beforeEach(() => void (told = listen()))
  afterEach(() => void vi.restoreAllMocks())

  const browserFor = async (decision: string): Promise<void> => {
    await expect.poll(() => told('err')).toMatch(/user_code=[A-Z-]{9}/)
    const browser = createBrowser(gateway.fetch, gateway.origin)
    const link = /http\S+user_code=[A-Z-]{9}/.exec(told('err'))?.[0] ?? ''
    const page = await browser.submit(await browser.go(link), '/login', {
      username: ana.username,
      password: ana.password,
    })
    await browser.submit(await browser.submit(page, '/device', {}), '/oauth/consent', { decision })
  }

  /** The consent page of an app, and what follows when its answer is to be copied. */
  const copied = async (redirect: string) => {
    const client = await register(gateway, { redirect_uris: [redirect] })
    const asking = authorizeUrl(gateway, client, { resource: `${gateway.origin}/echo/mcp` })
    const browser = createBrowser(gateway.fetch, gateway.origin)
    const page = await browser.submit(await browser.go(asking.url), '/login', {
      username: ana.username,
      password: ana.password,
    })
    const shown = await browser.submit(page, '/oauth/consent', { decision: 'copy' })
    const text = /<code class="copy url"[^>]*>(.*?)<\/code>/.exec(shown.body)?.[1] ?? ''
    const url = URL.parse(text.replaceAll('<wbr>', '').replaceAll('&amp;', '&'))
    return { client, asking, page, shown, url }
  }

  it('with a loopback redirect URI is given its redirect URL by hand, once, within a minute', async () => {
    const { client, asking, page, shown, url } = await copied('http://127.0.0.1:5000/cb')
    expect(page.body).toContain('My app runs on another computer')
    expect(shown.body).toContain('Whoever receives this address can act as you')
    expect([url?.searchParams.get('state'), url?.searchParams.get('iss')]).toEqual([
      asking.state,
      gateway.origin,
    ])
    const code = url?.searchParams.get('code') ?? ''
    expect((await redeem(gateway, client, code, asking.verifier)).status).toBe(200)
    expect((await redeem(gateway, client, code, asking.verifier)).status).toBe(400)
    const late = await copied('http://localhost:5000/cb')
    gateway.advance(61_000)
    const answer = await redeem(
      gateway,
      late.client,
      late.url?.searchParams.get('code') ?? '',
      late.asking.verifier,
    )
    expect([answer.status, await answer.json()]).toMatchObject([400, { code: 'code.expired' }])
  })

  it('is not given one for a web address', async () => {
    const web = await copied('https://app.example/cb')
    expect(web.page.body).not.toContain('My app runs')
    expect([web.shown.status, web.url]).toEqual([400, null])
  })

  it('prints the code and, once a person has allowed it in a browser, the token alone on standard output', async () => {
    const service = `${gateway.origin}/echo/mcp`
    await Promise.all([login(service, { device: true }, undefined), browserFor('allow')])
    const token = told('out').trim()
    expect(told('out')).toBe(`${token}\n`)
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
    expect((await callerOf(gateway, service, token).post(list)).status).toBe(200)
    expect(told('err')).toMatch(/enter the code\n\n {4}[A-Z]{4}-[A-Z]{4}\n/)
  })

  it('says what came of it otherwise, and sends no token anywhere unencrypted', async () => {
    const service = `${gateway.origin}/echo/mcp`
    const denied = login(service, { device: true }, undefined)
    denied.catch(() => undefined)
    await browserFor('deny')
    await expect(denied).rejects.toThrow('Access was denied.')
    await expect(login(service, { client: 'other', device: true }, undefined)).rejects.toThrow(
      'lists it under device.clients',
    )
    await expect(login(`${gateway.origin}/none/mcp`, { device: true }, undefined)).rejects.toThrow(
      'answered 404',
    )
    await expect(login('http://mcp.example.com/echo/mcp', {}, undefined)).rejects.toThrow('not the https URL')
    expect(told('out')).toBe('')
  })
})

describe('two processes', () => {
  let upstream: RuledUpstream
  let twins: Twins
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    twins = createTwins(upstream.url)
  })
  afterAll(async () => {
    await twins.close()
    await upstream.close()
  })

  it('never does one device code give two tokens, or one device get two answers', async () => {
    const shared = {
      session_secret: Buffer.alloc(32, 7).toString('base64url'),
      device: { clients: ['tv'] },
      clients: { tv: { name: 'Television' } },
    }
    const both = [await twins.open(shared), await twins.open(shared)] as const
    const { origin, fetch } = twins.inTurn(...both)
    const send = async (path: string, fields: Record<string, string>): Promise<Answer> => {
      const answer = await fetch(`${origin}${path}`, form({ client_id: 'tv', ...fields }))
      return { status: answer.status, body: (await answer.json()) as Json }
    }
    const signIn = async (): Promise<Browser> => {
      const browser = createBrowser(fetch, origin)
      await browser.submit(await browser.go(`${origin}/login`), '/login', {
        username: person.username,
        password: person.password,
      })
      return browser
    }
    const browsers = [await signIn(), await signIn()] as const
    for (let round = 0; round < 5; round++) {
      const { body } = await send('/oauth/device_authorization', {})
      const pages = await Promise.all(
        browsers.map(async (browser) =>
          browser.submit(await browser.go(String(body['verification_uri_complete'])), '/device', {}),
        ),
      )
      const answers = await Promise.all(
        browsers.map((browser, i) =>
          browser.submit(pages[i] as Page, '/oauth/consent', {
            decision: i === round % 2 ? 'allow' : 'deny',
          }),
        ),
      )
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
      const isAllowed = answers.some(({ body: page }) => page.includes('Access granted'))
      const polls = await Promise.all(
        Array.from({ length: 50 }, () =>
          send('/oauth/token', { grant_type: grantType, device_code: String(body['device_code']) }),
        ),
      )
      const told = polls.map(({ status, body: answer }) => (status === 200 ? 'token' : answer['error']))
      expect(told.filter((one) => one === 'token')).toHaveLength(isAllowed ? 1 : 0)
      expect(new Set(told.filter((one) => one !== 'token'))).toEqual(
        new Set([isAllowed ? 'invalid_grant' : 'access_denied']),
      )
    }
  })

  it('never does one assertion of a client give two tokens [H-W15]', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256')
    const shared = {
      session_secret: Buffer.alloc(32, 7).toString('base64url'),
      service_accounts: { nightly: { services: ['echo'] } },
      clients: {
        job: {
          name: 'Job',
          grant_types: ['client_credentials' as const],
          service_account: 'nightly',
          token_endpoint_auth_method: 'private_key_jwt' as const,
          jwks: { keys: [{ ...(await exportJWK(publicKey)) }] },
        },
      },
    }
    const both = [await twins.open(shared), await twins.open(shared)] as const
    const { origin, fetch } = twins.inTurn(...both)
    for (let round = 0; round < 3; round++) {
      const client_assertion = await new SignJWT({ jti: crypto.randomUUID() })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer('job')
        .setSubject('job')
        .setAudience(origin)
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey)
      const fields = {
        grant_type: 'client_credentials',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion,
      }
      const answers = await Promise.all(
        Array.from({ length: 50 }, async () => (await fetch(`${origin}/oauth/token`, form(fields))).status),
      )
      expect(answers.filter((status) => status === 200)).toHaveLength(1)
      expect(answers.filter((status) => status !== 401)).toEqual([200])
    }
  })
})
