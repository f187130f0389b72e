// PKCE cannot be talked down, neither in what a client sends nor in what lies in the store.
import { describe, expect, it } from 'vitest'
import { approved, ask, codeFor, exchange, register } from './oauth-steps.ts'
import { ana, createWorld, post, resource, run, verifier } from './oauth-world.ts'

const grantWith = async (challenge: unknown) => {
  const world = await createWorld()
  const client = await register(world)
  const wanted = {
    person: ana,
    clientId: client.id,
    clientName: 'App',
    redirectUri: client.redirectUri,
    redirectSent: true,
    resource,
    scopes: ['mcp'],
    challenge: challenge as string,
    refreshable: true,
    authTime: world.clock.now,
  }
  const { grant, secret } = await world.grants.create(wanted)
  return { world, client, code: world.tokens.code(grant, secret) }
}

describe('a code', () => {
  it.each(['', undefined, null, verifier])(
    '[A1] [H-G8] whose record holds %j as challenge is redeemed by nothing',
    async (challenge) => {
      const { world, client, code } = await grantWith(challenge)
      for (const code_verifier of [verifier, '', ' '.repeat(43), '-'.repeat(43)])
        expect([400, 401]).toContain((await exchange(world, client, code, { code_verifier })).status)
      expect((await world.store.list('grant:')).length).toBe(1)
    },
  )

  it('[A1] [H-G8] with a challenge is not redeemed without the verifier, by an empty one, or by the challenge itself', async () => {
    const world = await createWorld()
    const client = await register(world)
    const code = await codeFor(world, client)
    const fields = {
      grant_type: 'authorization_code',
      code,
      client_id: client.id,
      redirect_uri: client.redirectUri,
    }
    const challenge = 'challenge-of-this-code-is-not-what-is-hashed'.slice(0, 43)
    for (const more of [
      {},
      { code_verifier: '' },
      { code_verifier: challenge },
      { code_challenge: verifier, code_challenge_method: 'plain', code_verifier: challenge },
    ])
      expect(['invalid_request', 'invalid_grant']).toContain(
        (await run(world.handlers.token, post('/oauth/token', { ...fields, ...more }))).body['error'],
      )
    expect((await exchange(world, client, code)).status).toBe(200)
  })

  it('[A3] [H-G8] is never made for a request without a challenge', async () => {
    const world = await createWorld()
    world.signIn()
    const client = await approved(world)
    for (const more of [
      { code_challenge: undefined, code_challenge_method: undefined },
      { code_challenge: undefined },
      { code_challenge_method: undefined },
      { code_challenge_method: 'plain' },
      { code_challenge: '' },
    ])
      expect((await ask(world, client, more)).location?.searchParams.get('error')).toBe('invalid_request')
    expect(await world.store.list('authorization-request:')).toEqual([])
  })
})
