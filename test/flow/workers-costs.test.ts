// What a call, a login and a stream cost on Workers, in calls to Durable Objects: the numbers of
// docs/reference/workers.md.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createBrowser } from '../runtimes/browser.ts'
import { openInWorkerd, type WorkerGateway } from '../runtimes/runtimes.ts'
import { authorizeUrl, logIn, person, redeem, refresh, register } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { startWorkerd } from '../runtimes/workerd.ts'

let house: WorkerGateway
let upstream: Upstream
/** What a gateway whose objects are 900 ms away answers. It goes on beside the other tests. */
let far: Promise<readonly number[]>
const loginFromAfar = async (): Promise<readonly number[]> => {
  const gateway = await openInWorkerd({ upstream: upstream.url })
  try {
    await gateway.tell('__slow?ms=900')
    const { client, tokens } = await logIn(gateway)
    const refreshed = await refresh(gateway, client, tokens.refresh_token)
    const caller = callerOf(gateway, `${gateway.origin}/echo/mcp`, tokens.access_token)
    return [refreshed.status, (await caller.post(call())).status]
  } finally {
    await gateway.close()
  }
}
beforeAll(async () => {
  upstream = await openUpstream()
  // Whether a server wants an account of each person is found out beside the work, and read then: one more.
  const echo = { url: upstream.url, upstream_auth: { type: 'none' as const } }
  house = await openInWorkerd({ upstream: upstream.url, config: { mcp_services: { echo } } })
  far = loginFromAfar()
  far.catch(() => undefined)
}, 60_000)
afterAll(async () => {
  await house.close()
  await upstream.close()
})
const calls = async (): Promise<string[]> => JSON.parse(String(await house.tell('__calls'))) as string[]

describe('calls to objects', () => {
  it('of a first login, step by step: thirty-one, and three of a refresh', async () => {
    // Signing keys are there, and it is known that no service was ever added.
    await logIn(house)
    await calls()
    const resource = `${house.origin}/echo/mcp`
    const steps: [string, readonly string[]][] = []
    const step = async <T>(what: string, work: Promise<T>): Promise<T> => {
      const answer = await work
      steps.push([what, (await calls()).toSorted()])
      return answer
    }
    await step('challenge', house.fetch(resource, { method: 'POST' }))
    await step('metadata', house.fetch(`${house.origin}/.well-known/oauth-protected-resource/echo/mcp`))
    await step('metadata', house.fetch(`${house.origin}/.well-known/oauth-authorization-server`))
    const client = await step('register', register(house))
    const asking = authorizeUrl(house, client, { resource })
    const browser = createBrowser(house.fetch, house.origin)
    const page = await step('authorize, login page', browser.go(asking.url))
    const consent = await step('password, consent page', browser.submit(page, '/login', { ...person }))
    const back = await step('allow', browser.submit(consent, '/oauth/consent', { decision: 'allow' }))
    const answer = await step(
      'redeem',
      redeem(house, client, new URL(back.url).searchParams.get('code') ?? '', asking.verifier),
    )
    const tokens = (await answer.json()) as { access_token: string; refresh_token: string }
    await step('refresh', refresh(house, client, tokens.refresh_token))
    expect(steps).toEqual([
      ['challenge', []],
      ['metadata', []],
      ['metadata', []],
      ['register', ['count kept-registrations', 'write client']],
      [
        'authorize, login page',
        ['count kept-flows', 'read authorization-request', 'read client', 'write authorization-request'],
      ],
      [
        'password, consent page',
        [
          'count sign-in',
          'count sign-in',
          'read authorization-request',
          'read authorization-request',
          'read blocks',
          'read blocks',
          'read blocks',
          'read consent',
          'read session',
          'write session',
        ],
      ],
      [
        'allow',
        [
          'read authorization-request',
          'read blocks',
          'read client',
          'read consent',
          'read session',
          'write approved',
          'write authorization-request',
          'write client',
          'write consent',
          'write grant',
          'write person-grant',
        ],
      ],
      ['redeem', ['read blocks', 'read client', 'read grant', 'write grant']],
      ['refresh', ['read client', 'read grant', 'write grant']],
    ])
  })

  it('of a call: one when nobody called for half a second, none back to back, and the services beside it once in half a minute', async () => {
    const resource = `${house.origin}/echo/mcp`
    const { tokens } = await logIn(house, resource)
    const caller = callerOf(house, resource, tokens.access_token)
    const cost = async (aheadMs: number): Promise<string[]> => {
      house.advance(aheadMs)
      await calls()
      expect((await caller.post(call())).status).toBe(200)
      return calls()
    }
    // What is read once a minute beside the work has just been read.
    await cost(61_000)
    for (let i = 0; i < 5; i++) expect(await cost(1000)).toEqual(['read grant'])
    const from = Date.now()
    const reads = await cost(1000)
    for (let i = 0; i < 5; i++) reads.push(...(await cost(0)))
    // On a machine that is busy half a second may have passed meanwhile.
    expect(reads.slice(0, 1 + Math.floor((Date.now() - from) / 500))).toEqual(reads)
    expect(new Set(reads)).toEqual(new Set(['read grant']))
    expect((await cost(31_000)).toSorted()).toEqual(['read grant', 'read services-version'])
  })
})

describe('a WebSocket of a client', () => {
  const opened = async (origin: string, token: string): Promise<WebSocket> => {
    const socket = new WebSocket(`${origin.replace('http', 'ws')}/echo/ws`, ['mcp'], {
      headers: { authorization: `Bearer ${token}` },
    })
    await new Promise((resolve, reject) => void socket.once('open', resolve).once('error', reject))
    return socket
  }

  it('ends in the Worker and in no object, and costs two calls however long it is idle; a client of HTTP+SSE has an object', async () => {
    const { tokens } = await logIn(house, `${house.origin}/echo/mcp`)
    await calls()
    const socket = await opened(house.origin, tokens.access_token)
    expect((await calls()).filter((name) => name.endsWith(' session'))).toEqual([])
    const idle: string[] = []
    await until(async () => idle.push(...(await calls())) >= 2, 'two calls')
    expect(idle).toEqual(['fetch grant', 'read grant'])
    socket.terminate()
    const gone = new AbortController()
    const stream = await callerOf(house, `${house.origin}/echo/sse`, tokens.access_token).get(
      {},
      { signal: gone.signal },
    )
    expect([stream.status, (await calls()).filter((name) => name.endsWith(' session'))]).toEqual([
      200,
      ['fetch session'],
    ])
    gone.abort()
  }, 60_000)
})

describe('the first record of a deployment', () => {
  it('has every object made beside it, from the same place', async () => {
    const fresh = await openInWorkerd({ upstream: upstream.url })
    try {
      await fresh.fetch(`${fresh.origin}/oauth/jwks`)
      const made = JSON.parse(String(await fresh.tell('__calls'))) as string[]
      expect(made.filter((name) => name === 'list ')).toHaveLength(16)
      await fresh.fetch(`${fresh.origin}/oauth/jwks`)
      expect(JSON.parse(String(await fresh.tell('__calls')))).toEqual([])
    } finally {
      await fresh.close()
    }
  }, 60_000)
})

describe('the place of the records', () => {
  it('is asked for with every call to an object, and a word that means no place is told at the start', async () => {
    const placing = await startWorkerd({ entry: 'test/workers/placing.ts' })
    try {
      const asked = async (query: string): Promise<unknown> =>
        (await fetch(`${placing.origin}/?${query}`)).json()
      expect(await asked('')).toEqual([[null, 'records-12', null]])
      expect(await asked('hint=weur')).toEqual([[null, 'records-12', { locationHint: 'weur' }]])
      expect(await asked('hint=weur&jurisdiction=eu')).toEqual([
        ['eu', 'records-12', { locationHint: 'weur' }],
      ])
    } finally {
      await placing.close()
    }
    const secret = {
      SESSION_SECRET: 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU',
      LOCAL_USER: 'ana',
      LOCAL_PASSWORD: person.password,
    }
    const wrong = await startWorkerd({ vars: { ...secret, LOCATION_HINT: 'europe', JURISDICTION: 'de' } })
    try {
      const answer = await fetch(`${wrong.origin}/`)
      expect([answer.status, ((await answer.json()) as { faults: unknown }).faults]).toEqual([
        503,
        [
          'LOCATION_HINT – is not a known Durable Objects location. Use one of: wnam, enam, sam, weur, eeur, apac, oc, afr, me.',
          'JURISDICTION – is not a known Durable Objects location. Use one of: eu, us, fedramp, fedramp-high.',
        ],
      ])
    } finally {
      await wrong.close()
    }
  }, 60_000)
})

describe('a deployment whose objects are 900 ms away', () => {
  it('serves a whole login, a refresh and a call', async () => {
    expect(await far).toEqual([200, 200])
  }, 90_000)
})
