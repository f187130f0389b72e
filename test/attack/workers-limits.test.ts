// What the platform's limit on calls of one invocation does to what is open for long: never does it keep open
// what has ended.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openInWorkerd, type WorkerGateway } from '../runtimes/runtimes.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, logIn, redeem } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const ping = { jsonrpc: '2.0', id: 1, method: 'ping' }

let house: WorkerGateway
let upstream: Upstream
beforeAll(async () => {
  upstream = await openUpstream((request, response) => {
    if (request.method === 'GET')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    else response.writeHead(405).end()
  })
  house = await openInWorkerd({ upstream: upstream.url, config: { heartbeat: 1 } })
}, 60_000)
afterAll(async () => {
  await house.close()
  await upstream.close()
})
const calls = async (): Promise<string[]> => JSON.parse(String(await house.tell('__calls'))) as string[]

/** A stream: how many heartbeats, one a second, it has brought, and how long it was open. */
const openStream = async () => {
  const resource = `${house.origin}/echo/mcp`
  const { client, tokens } = await logIn(house, resource)
  const stream = await callerOf(house, resource, tokens.access_token).get()
  const from = Date.now()
  const state = { beats: 0, openMs: undefined as number | undefined }
  const read = async (): Promise<void> => {
    for await (const piece of stream.body?.pipeThrough(new TextDecoderStream()) ?? [])
      state.beats += piece.split(': keep-alive').length - 1
    state.openMs = Date.now() - from
  }
  const revoke = () =>
    house.fetch(`${house.origin}/oauth/revoke`, form({ token: tokens.refresh_token, client_id: client.id }))
  return { state, ended: read(), revoke }
}

describe('never does a stream outlive the access of its caller in workerd', () => {
  it('however long it was open, where one invocation may make 30 calls: it makes two, and hears of the end within two seconds', async () => {
    await house.tell('__limit?calls=30')
    const { ended, state, revoke } = await openStream()
    await calls()
    // Long enough for the object to hibernate, and to be asked once whether it is still there.
    await until(() => state.beats >= 17, 'seventeen heartbeats', 30_000)
    // One subscription, and one look once it stands; nothing else, as long as nothing changes.
    expect(await calls()).toEqual(['fetch grant', 'read grant'])
    const from = Date.now()
    await revoke()
    await ended
    expect(Date.now() - from).toBeLessThan(2000)
  }, 60_000)

  it('nor where no call is left at all: after two looks without an answer it is over', async () => {
    const { ended, state } = await openStream()
    // The next call of every invocation is one too many.
    await house.tell('__limit?calls=0')
    try {
      await ended
      expect(state.openMs).toBeGreaterThan(2000)
      expect(state.openMs).toBeLessThan(12_000)
    } finally {
      await house.tell('__limit?calls=30')
    }
  }, 60_000)
})

describe('never does a client that is deleted leave a grant behind', () => {
  it('where it has 120 of them and one invocation may make 50 calls; and what was cut short goes on when it is asked again', async () => {
    await house.tell('__limit?calls=1000000')
    const metadata = {
      client_name: 'Many',
      redirect_uris: ['http://127.0.0.1:5000/cb'],
      token_endpoint_auth_method: 'none',
    }
    const made = await house.fetch(`${house.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(metadata),
    })
    const { client_id: id, registration_access_token: token } = (await made.json()) as {
      client_id: string
      registration_access_token: string
    }
    const client = { id, redirectUri: metadata.redirect_uris[0] as string }
    const browser = createBrowser(house.fetch, house.origin)
    const tokens: string[] = []
    for (let i = 0; i < 120; i++) {
      const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
      const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
      tokens.push(
        ((await (await redeem(house, client, code, asking.verifier)).json()) as { access_token: string })
          .access_token,
      )
    }
    const remove = () =>
      house.fetch(`${house.origin}/oauth/register/${id}`, {
        method: 'DELETE',
        headers: { authorization: `Bearer ${token}` },
      })
    const statusOf = async (access: string): Promise<number> =>
      (await callerOf(house, `${house.origin}/echo/mcp`, access).post(ping)).status
    // Too few for the whole: the client is gone at once, and the rest when it is asked for again.
    await house.tell('__limit?calls=25')
    const cut = await remove()
    expect([cut.status, cut.headers.get('retry-after')]).toEqual([503, '1'])
    await house.tell('__limit?calls=50')
    expect((await house.fetch(`${house.origin}/oauth/authorize?client_id=${id}`)).status).toBe(400)
    await calls()
    expect((await remove()).status).toBe(204)
    expect((await calls()).length).toBeLessThanOrEqual(36)
    house.advance(1000)
    expect(new Set(await Promise.all(tokens.map(statusOf)))).toEqual(new Set([401]))
    expect((await remove()).status).toBe(404)
  }, 120_000)
})
