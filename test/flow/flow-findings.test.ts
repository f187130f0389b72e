// What is found of a login that went wrong: each finding by the fault that causes it, through the gateway. The
// addresses are those of different networks, so that no case is taken for another.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Outbound } from '../../src/ports/runtime.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type FlowWorld, credentials, openFlowWorld, stepsOf } from '../runtimes/flow-world.ts'
import {
  type Client,
  type LoginTarget,
  type Tokens,
  allow,
  authorizeUrl,
  redeem,
  register,
} from '../runtimes/login.ts'
import { fromNetwork } from '../runtimes/networks.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

const documentAt = 'https://app.example/client.json'
const redirectUri = 'https://app.example/cb'

/** The app's website, and nothing else. */
const website: Outbound = async (url) => ({
  status: url === documentAt ? 200 : 404,
  headers: new Headers({ 'content-type': 'application/json' }),
  body: new TextEncoder().encode(
    JSON.stringify({ client_id: documentAt, client_name: 'Notes', redirect_uris: [redirectUri] }),
  ),
})

let world: FlowWorld
let ruled: RuledUpstream
beforeAll(async () => {
  ruled = await openRuledUpstream()
  const access = { allow: [{ everyone: true, permissions: ['admin'] }] }
  const config = {
    client_metadata_documents: true,
    access: { default: 'everyone' },
    mcp_services: { ruled: { url: ruled.url, access } },
  }
  world = await openFlowWorld(openInProcess, config, { outbound: website })
})
afterAll(async () => {
  await world.close()
  await ruled.close()
})

let networks = 0
/** A computer in a network of its own. */
const another = () => fromNetwork(world.house, `198.51.100.${++networks}`)
const resourceOf = ({ origin }: LoginTarget) => `${origin}/echo/mcp`
const challenged = async (from: LoginTarget) =>
  (await callerOf(from, resourceOf(from), '').post(call(), { 'user-agent': 'notes/1.0' })).status
const read = (from: LoginTarget, path: string) =>
  from.fetch(`${from.origin}/.well-known/oauth-${path}`, { headers: { 'user-agent': 'notes/1.0' } })
const described: Client = { id: documentAt, redirectUri }
/** Sends a browser that allows access. */
const allowed = async (browserAt: LoginTarget, client: Client, params = {}) => {
  const asking = authorizeUrl(browserAt, client, { resource: resourceOf(browserAt), ...params })
  const browser = createBrowser(browserAt.fetch, browserAt.origin)
  const back = await allow(browser, asking.url, credentials(ana))
  return { ...asking, code: back.searchParams.get('code') ?? '' }
}
/** `app`: where the app runs; `browserAt`: where the user is. */
const tokensOf = async (app: LoginTarget, client: Client, browserAt = app, params = {}) => {
  const { code, verifier } = await allowed(browserAt, client, params)
  const answer = await redeem({ ...app, fetch: withAgent(app) }, client, code, verifier)
  return (await answer.json()) as Tokens
}
const withAgent =
  ({ fetch }: LoginTarget): LoginTarget['fetch'] =>
  (url, init = {}) =>
    fetch(url, {
      ...init,
      headers: { ...Object.fromEntries(new Headers(init.headers)), 'user-agent': 'notes/1.0' },
    })
const newest = async () => (await world.list('?limit=1')).flows[0]
const found = async (id?: string) => {
  const { state, finding } = (id === undefined ? await newest() : await world.flowOf(id)) ?? {}
  return [state, finding?.code, finding?.acts]
}

describe('before anybody knows the app', () => {
  it('tells of metadata that was read by somebody who stopped, and accuses nobody', async () => {
    const app = another()
    expect(await challenged(app)).toBe(401)
    await read(app, 'protected-resource/echo/mcp')
    expect(await found()).toEqual(['open', undefined, undefined])
    world.house.advance(60_000)
    expect(await found()).toEqual(['stalled', 'flow.metadata-stop', 'nobody'])
    expect((await newest())?.finding).toMatchObject({
      say: 'Probably: The app read the metadata and stopped.',
      confidence: 0.5,
    })
  })

  it('tells of a challenge that did not arrive', async () => {
    const app = another()
    await challenged(app)
    await read(app, 'protected-resource')
    world.house.advance(60_000)
    expect(await found()).toEqual(['stalled', 'flow.challenge-stripped', 'nobody'])
  })

  it('says nothing of somebody who only looked', async () => {
    await challenged(another())
    world.house.advance(60_000)
    expect(await found()).toEqual(['abandoned', undefined, undefined])
  })

  it('believes more of a client that is known, alone in its network', async () => {
    const app = another()
    await challenged(app)
    await read(app, 'protected-resource/echo/mcp')
    await allowed(app, described)
    const flow = await newest()
    expect(flow && stepsOf(flow)).toEqual([
      'challenge done',
      'resource-metadata done',
      'client-document done',
      'authorize done',
      'sign-in asked',
      'sign-in done',
      'consent asked',
      'consent done',
      'code done',
      'redirect done',
    ])
    expect(flow?.steps.map(({ confidence = 1 }) => confidence).slice(0, 3)).toEqual([0.7, 0.7, 1])
  })

  it('takes neither of two attempts, and names both', async () => {
    const app = another()
    await challenged(app)
    await callerOf(app, resourceOf(app), '').post(call(), { 'user-agent': 'other/1.0' })
    await allowed(app, described)
    // The attempts may have begun in the same millisecond.
    const flow = (await world.list('?limit=3')).flows.find(({ client }) => client === documentAt)
    expect(flow?.related).toHaveLength(2)
    expect(flow?.steps[0]?.name).toBe('client-document')
  })
})

describe('of an app', () => {
  it('whose token does not arrive', async () => {
    const app = another()
    await tokensOf(app, described)
    world.house.advance(1000)
    expect(await challenged(app)).toBe(401)
    world.house.advance(14_000)
    expect(await found()).toEqual(['stalled', 'flow.authorization-stripped', 'operator'])
  })

  it('that got less than it asked for', async () => {
    await tokensOf(another(), described, undefined, { scope: 'mcp jira:write' })
    world.house.advance(15_000)
    expect(await found()).toEqual(['stalled', 'flow.scope-short', 'app'])
    expect((await newest())?.finding?.say).toContain('jira:write')
  })

  it('that runs on another computer than the browser', async () => {
    const app = another()
    const client = await register(app, { client_name: 'Remote' })
    await allowed(another(), client)
    world.house.advance(60_000)
    expect(await found(client.id)).toEqual(['stalled', 'flow.loopback-remote', 'user'])
  })

  it('that listens no longer', async () => {
    const app = another()
    const client = await register(app, { client_name: 'Closed' })
    await allowed(app, client)
    world.house.advance(60_000)
    expect(await found(client.id)).toEqual(['stalled', 'flow.loopback-closed', 'user'])
  })

  it('that did not redeem its code', async () => {
    await allowed(another(), described)
    world.house.advance(60_000)
    expect(await found()).toEqual(['stalled', 'flow.code-unused', 'app'])
  })

  it('that asks for the service by another URL', async () => {
    const app = another()
    const resource = resourceOf(app).replace('http:', 'https:')
    const { url } = authorizeUrl(app, described, { resource })
    await createBrowser(app.fetch, app.origin).go(url)
    expect(await found()).toEqual(['failed', 'flow.resource-differs', 'user'])
    expect((await newest())?.finding?.say).toBe(
      `${documentAt} asks for ${resource}, and the service is ${resourceOf(app)}.`,
    )
  })

  it('that guesses the endpoints', async () => {
    const app = another()
    const tokens = await tokensOf(app, described)
    const { url } = authorizeUrl(app, described, { resource: resourceOf(app) })
    const browser = createBrowser(app.fetch, app.origin)
    const back = await allow(browser, url.replace('/oauth/authorize', '/authorize'), credentials(ana))
    expect(back.searchParams.get('code')).toMatch(/^pc_[\w-]{32}\.[\w-]{32}$/)
    expect(tokens.token_type).toBe('Bearer')
    expect((await newest())?.steps.find(({ name }) => name === 'authorize')?.request['path']).toBe(
      '/authorize',
    )
  })

  it('that needs more rights again and again', async () => {
    const app = another()
    const resource = `${app.origin}/ruled/mcp`
    const asking = authorizeUrl(app, described, { resource })
    const readOnly = { decision: 'allow', preset: 'read' }
    const browser = createBrowser(app.fetch, app.origin)
    const back = await allow(browser, asking.url, credentials(ana), readOnly)
    const code = back.searchParams.get('code') ?? ''
    const tokens = (await (await redeem(app, described, code, asking.verifier)).json()) as Tokens
    const caller = callerOf(app, resource, tokens.access_token)
    const rpc = (method: string, params: object) => ({ jsonrpc: '2.0', id: 1, method, params })
    expect((await caller.post(rpc('tools/list', {}))).status).toBe(200)
    for (let n = 0; n < 3; n++)
      expect((await caller.post(rpc('tools/call', { name: 'create', arguments: {} }))).status).toBe(403)
    expect(await found()).toEqual(['completed', 'flow.stepup-loop', 'app'])
  })

  it('whose user opened the page where cookies are off', async () => {
    const app = another()
    const { url } = authorizeUrl(app, described, { resource: resourceOf(app) })
    const sent = await app.fetch(url)
    const page = new URL(sent.headers.get('location') ?? '', app.origin)
    await app.fetch(page.href.replace('/login', '/oauth/consent'))
    const { steps, finding } = (await newest()) ?? {}
    expect([steps?.at(-1)?.code, finding?.code]).toEqual(['flow.other-browser', 'flow.cookies'])
  })
})
