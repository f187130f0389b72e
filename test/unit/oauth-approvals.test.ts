// Which clients hear their errors by redirect: those that a person has allowed something, at that redirect
// URI.
import { describe, expect, it } from 'vitest'
import { ask, decide, register, toConsent } from './oauth-steps.ts'
import { createWorld, type World } from './oauth-world.ts'

interface Asking {
  readonly id: string
  readonly redirectUri: string
}
const wrong = { response_type: 'token' }
/** Where an error goes; undefined where the person is shown it. */
const toldAt = async (world: World, client: Asking): Promise<string | undefined> => {
  const { location } = await ask(world, client, wrong)
  return location && `${location.origin}${location.pathname}`
}
const answer = async (world: World, client: Asking, decision: string): Promise<void> => {
  const { location } = await decide(world, await toConsent(world, client), decision)
  expect([`${location?.origin}${location?.pathname}`, location?.searchParams.get('error')]).toEqual([
    client.redirectUri,
    decision === 'deny' ? 'access_denied' : null,
  ])
}

describe('an approval', () => {
  it('is an Allow, never a no, and holds for one redirect URI of one client', async () => {
    const world = await createWorld()
    world.signIn()
    const [first, other] = ['https://app.test/cb', 'https://app.test/other']
    const { id } = await register(world, { redirect_uris: [first, other] })
    const twin = await register(world, { redirect_uris: [first] })
    await answer(world, { id, redirectUri: first }, 'deny')
    expect(await toldAt(world, { id, redirectUri: first })).toBeUndefined()
    await answer(world, { id, redirectUri: first }, 'allow')
    expect(await toldAt(world, { id, redirectUri: first })).toBe(first)
    for (const client of [{ id, redirectUri: other }, twin])
      expect(await toldAt(world, client)).toBeUndefined()
  })

  it('holds at every port of a loopback redirect URI, and on one host', async () => {
    const world = await createWorld()
    world.signIn()
    const redirect_uris = ['http://127.0.0.1/cb', 'http://localhost/cb', 'http://[::1]/cb']
    const { id } = await register(world, { redirect_uris })
    await answer(world, { id, redirectUri: 'http://127.0.0.1:5000/cb' }, 'allow')
    for (const uri of ['http://127.0.0.1:61234/cb', 'http://127.0.0.1/cb'])
      expect(await toldAt(world, { id, redirectUri: uri })).toBe(uri)
    for (const uri of ['http://localhost:5000/cb', 'http://[::1]:5000/cb'])
      expect(await toldAt(world, { id, redirectUri: uri })).toBeUndefined()
    await answer(world, { id, redirectUri: 'http://[::1]:5000/cb' }, 'allow')
    expect(await toldAt(world, { id, redirectUri: 'http://[::1]:7/cb' })).toBe('http://[::1]:7/cb')
  })

  it('is needed of a client with a metadata document, and of none that the operator configured', async () => {
    const redirectUri = 'https://app.test/cb'
    const secret = 'Kq7vX2mZ9tLw4sRb8nYc1fHd6gJp3aUe'
    const monitor = { name: 'Monitor', redirect_uris: [redirectUri], client_secret: secret }
    const world = await createWorld({ config: { clients: { monitor } } })
    world.signIn()
    const id = 'https://cimd.test/client.json'
    world.web.pages.set(id, { body: { client_id: id, client_name: 'Doc', redirect_uris: [redirectUri] } })
    expect(await toldAt(world, { id, redirectUri })).toBeUndefined()
    await answer(world, { id, redirectUri }, 'allow')
    expect(await toldAt(world, { id, redirectUri })).toBe(redirectUri)
    expect(await toldAt(world, { id: 'monitor', redirectUri })).toBe(redirectUri)
  })

  it('is a year old at most', async () => {
    const world = await createWorld()
    world.signIn()
    await answer(world, await register(world), 'allow')
    world.clock.now += 364 * 86_400_000
    const approved = () => world.store.list('approved:')
    expect(await approved()).toHaveLength(1)
    world.clock.now += 2 * 86_400_000
    expect(await approved()).toEqual([])
  })
})
