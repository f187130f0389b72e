// For whom a remembered answer stands: whoever proves who it is, or holds an https domain. Any program can
// take the name of a public client on this computer (RFC 8252 §8.6).
import { describe, expect, it } from 'vitest'
import { ask, cookiesOf, decide, register, type Registered, toConsent } from './oauth-steps.ts'
import { createWorld, get, resource, run, type World } from './oauth-world.ts'

const own = { 'sec-fetch-site': 'none' }
const begin = async (options?: Parameters<typeof createWorld>[0]): Promise<World> => {
  const world = await createWorld(options)
  world.signIn()
  return world
}
/**
 * The page that the same request shows again, opened by hand; a redirect with a code when nobody is asked.
 */
const again = async (
  world: World,
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
) => {
  const asked = await ask(world, client, more, own)
  return run(
    world.handlers.consentPage,
    get(`/oauth/consent?flow=${asked.location?.searchParams.get('flow')}`, {
      cookie: cookiesOf(asked),
      ...own,
    }),
  )
}
const isAsked = async (...of: Parameters<typeof again>): Promise<boolean> =>
  (await again(...of)).location === undefined
const allow = async (
  world: World,
  client: Pick<Registered, 'id' | 'redirectUri'>,
  more: Record<string, string | undefined> = {},
) => decide(world, await toConsent(world, client, more), 'allow')
const noticeIn = ({ text }: { readonly text: string }): string | undefined =>
  /You allowed this app before[^<]*/.exec(text)?.[0]

const local = 'http://127.0.0.1:5000/cb'
const document = { client_id: 'https://cimd.test/client.json', client_name: 'Doc', redirect_uris: [local] }

describe('never', () => {
  it.each([
    ['a loopback host', local],
    ['localhost by name', 'http://localhost:3118/callback'],
    ['a loopback host of IPv6', 'http://[::1]:9/cb'],
    ['a scheme of its own', 'cursor://anysphere.cursor-mcp/oauth/callback'],
  ])('is a public client at %s let in again without a question, nor by prompt=none', async (_, redirect) => {
    const world = await begin()
    const client = await register(world, { redirect_uris: [redirect] })
    await allow(world, client)
    expect(await isAsked(world, client)).toBe(true)
    expect(
      (await again(world, client, { prompt: 'none' })).location?.searchParams.get('error') ??
        'consent_required',
    ).toBe('consent_required')
    expect(world.events.filter(({ how }) => how === 'remembered')).toEqual([])
  })

  it.each([
    ['configured', 'app'],
    ['known by its document', document.client_id],
  ])('is a public client that is %s', async (_, id) => {
    const world = await begin({ config: { clients: { app: { name: 'App', redirect_uris: [local] } } } })
    world.web.pages.set(document.client_id, { body: document })
    await allow(world, { id, redirectUri: local })
    expect(await isAsked(world, { id, redirectUri: local })).toBe(true)
  })
})

describe('a remembered answer stands', () => {
  it('for a public client at an https redirect URI', async () => {
    const world = await begin()
    const client = await register(world)
    await allow(world, client)
    expect(await isAsked(world, client)).toBe(false)
  })

  it('for a client with a secret, at exactly the address that was allowed', async () => {
    const world = await begin()
    const client = await register(world, {
      redirect_uris: [local],
      token_endpoint_auth_method: 'client_secret_basic',
    })
    await allow(world, client)
    expect(await isAsked(world, client)).toBe(false)
    expect(await isAsked(world, { ...client, redirectUri: 'http://127.0.0.1:5001/cb' })).toBe(true)
  })

  it('for one generation of the service alone', async () => {
    const generations = ['one', 'two', 'one'].map((generation) => ({ services: { echo: { generation } } }))
    const [first, second, third] = generations
    const world = await begin(first)
    const shared = { store: () => world.store, keys: world.runtime.keys }
    const client = await register(world)
    await allow(world, client)
    expect(await isAsked(await begin({ ...second, ...shared }), client)).toBe(true)
    expect(await isAsked(await begin({ ...third, ...shared }), client)).toBe(false)
  })
})

describe('a client that is asked about again', () => {
  it('is shown with what changed: nothing, further access, or its own description', async () => {
    const world = await begin({ services: { echo: { scopes: ['read', 'write'] } } })
    const client = await register(world, { redirect_uris: [local] })
    expect(noticeIn(await again(world, client, { resource, scope: 'read' }))).toBeUndefined()
    await allow(world, client, { resource, scope: 'read' })
    const same = await again(world, client, { resource, scope: 'read' })
    expect(noticeIn(same)).toBe('You allowed this app before. Nothing has changed since.')
    expect(same.text.match(/Already allowed/g)).toHaveLength(1)
    const more = await again(world, client, { resource, scope: 'read write' })
    expect(noticeIn(more)).toBe('You allowed this app before. It now requests more permissions.')
    expect([more.text.match(/Already allowed/g)?.length, more.text.match(/chip new/g)?.length]).toEqual([
      1, 1,
    ])
  })

  it('is known by another port of the same address, which it may choose each time', async () => {
    const world = await begin()
    const client = await register(world, { redirect_uris: [local] })
    await allow(world, client)
    expect(noticeIn(await again(world, { ...client, redirectUri: 'http://127.0.0.1:61234/cb' }))).toBe(
      'You allowed this app before. Nothing has changed since.',
    )
  })

  it('that describes itself differently has nothing allowed already', async () => {
    const world = await begin()
    const client = { id: document.client_id, redirectUri: local }
    const publish = (more: Record<string, unknown>) =>
      world.web.pages.set(document.client_id, {
        body: { ...document, ...more },
        headers: { 'cache-control': 'no-store' },
      })
    publish({})
    await allow(world, client)
    publish({ client_uri: 'https://elsewhere.test/' })
    const changed = await again(world, client)
    expect(noticeIn(changed)).toBe('You allowed this app before, but its registration details have changed.')
    expect(changed.text).not.toContain('Already allowed')
  })
})
