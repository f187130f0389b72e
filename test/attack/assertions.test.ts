// Forged, borrowed, replayed and otherwise bad assertions, and what becomes of them.
import { SignJWT } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import { signWith } from '../providers/assertion-issuer.ts'
import { type Answer, type Json, assertionWorld, secrets, bea, idJag } from '../runtimes/assertion-world.ts'
import { type Prover, createProver } from '../runtimes/proofs.ts'
import { runtimes } from '../runtimes/runtimes.ts'

describe.each(runtimes)('%s', (_, open) => {
  const world = assertionWorld(open)
  const {
    advance,
    now,
    resource,
    ask,
    claims,
    signed,
    send,
    redeem,
    job,
    run,
    token,
    lastEvent,
    provision,
    read,
    desk,
  } = world

  describe('never gives a token', () => {
    let heard = 0
    beforeEach(() => void (heard = world.upstream.heard.length))
    /** Status, code and trail of a refusal; nothing was issued and the upstream heard nothing. */
    const refused = (answer: Answer): readonly unknown[] => {
      const event = answer.body['code'] === 'assertion.replayed' ? 'assertion.replayed' : 'assertion.refused'
      expect(answer.body).not.toHaveProperty('access_token')
      expect(world.upstream.heard.length).toBe(heard)
      expect(lastEvent(event)).toMatchObject({
        refusal: answer.body['code'],
        request_id: answer.body['request_id'],
      })
      return [answer.status, answer.body['error'], answer.body['code']]
    }
    const grant = (code: string) => [400, 'invalid_grant', `assertion.${code}`]
    const part = (value: Json) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const replaced = async (index: number, change: (text: string) => string, more: Json = {}) => {
      const parts = (await signed(more)).split('.')
      parts[index] = change(parts[index] ?? '')
      return parts.join('.')
    }

    const forged: readonly (readonly [string, string, () => Promise<string> | string])[] = [
      [
        '26: an unsigned one',
        'algorithm',
        async () => `${part({ alg: 'none', ...idJag })}.${part({ iss: world.company.url, ...claims() })}.`,
      ],
      [
        '27: one whose HMAC key is the public key',
        'algorithm',
        async () => {
          return new SignJWT({ iss: world.company.url, ...claims() })
            .setProtectedHeader({ alg: 'HS256', kid: world.company.key.kid, ...idJag })
            .sign(new TextEncoder().encode(JSON.stringify(world.company.key.jwk)))
        },
      ],
      ['28: typ JWT', 'type', () => signed({}, { typ: 'JWT' })],
      ['28: typ at+jwt', 'type', () => signed({}, { typ: 'at+jwt' })],
      ['31: our own access token', 'type', async () => token(await redeem())],
      ['32: one in our own name', 'self', () => signed({ iss: world.gateway.origin })],
      ['33: one for the resource', 'audience', () => signed({ aud: resource() })],
      [
        '33: one for two servers',
        'audiences',
        () => signed({ aud: [world.gateway.origin, 'https://b.example'] }),
      ],
      ['33: one for another host', 'audience', () => signed({ aud: 'https://else.example' })],
      ['34: one for another client', 'client', () => signed({ client_id: 'other' })],
      ['35: a foreign resource', 'resource', () => signed({ resource: 'https://else.example/mcp' })],
      [
        '35: a foreign resource beside ours',
        'resource',
        () => signed({ resource: [resource(), 'https://else.example/mcp'] }),
      ],
      ['35: a numeric resource', 'resource', () => signed({ resource: 7 })],
      ['36: no jti', 'claims', () => signed({ jti: undefined })],
      ['36: a jti of 300 characters', 'claims', () => signed({ jti: 'x'.repeat(300) })],
      ['36: a jti of 10 kB', 'malformed', () => signed({ jti: 'x'.repeat(10_000) })],
      ['37: exp in a year', 'lifetime', () => signed({ exp: now() + 31_536_000 })],
      ['37: exp as text', 'claims', () => signed({ exp: String(now() + 300) })],
      ['37: iat in ten minutes', 'future', () => signed({ iat: now() + 600, exp: now() + 700 })],
      ['37: nbf in ten minutes', 'early', () => signed({ nbf: now() + 600 })],
      ['37: an expired one', 'expired', () => signed({ iat: now() - 400, exp: now() - 100 })],
      ['38: authorization_details', 'details', () => signed({ authorization_details: [] })],
      ['39: another tenant', 'tenant', () => signed({ tenant: 'other' })],
      ['39: another aud_tenant', 'tenant', () => signed({ aud_tenant: 'other' })],
      [
        '40: another subject with the same address',
        'person',
        () => signed({ sub: 'bea2', email: bea, email_verified: true }),
      ],
      [
        '41: an unverified address',
        'email-unverified',
        () =>
          signed({
            tenant: 'new',
            sub: 'x1',
            resource: resource('second'),
            email: bea,
            email_verified: false,
          }),
      ],
      [
        '41: an address verified in text',
        'email-unverified',
        () =>
          signed({
            tenant: 'new',
            sub: 'x2',
            resource: resource('second'),
            email: bea,
            email_verified: 'true',
          }),
      ],
      ['an actor where none is permitted', 'actor', () => signed({ act: { sub: 'agent' } })],
      ['44: cnf without proof', 'proof', () => signed({ cnf: { jkt: 'x'.repeat(43) } })],
      [
        'critical header parameters',
        'critical',
        () => replaced(0, () => part({ alg: 'ES256', crit: ['x'], x: 1, ...idJag })),
      ],
      ['an encrypted one', 'encrypted', () => `${part({ alg: 'RSA-OAEP', enc: 'A256GCM' })}.a.b.c.d`],
      ['text that is no JWT', 'malformed', () => 'not-a-jwt'],
      [
        '47: a member twice',
        'malformed',
        () =>
          replaced(1, (text) =>
            Buffer.from(`{"sub":"${bea}",${Buffer.from(text, 'base64url').toString().slice(1)}`).toString(
              'base64url',
            ),
          ),
      ],
      ['47a: padded base64', 'malformed', () => replaced(2, (text) => `${text}==`)],
      [
        '47a: another spelling of the signature',
        'malformed',
        // The last of 86 characters has two bits that belong to no byte.
        () =>
          replaced(
            2,
            (text) => text.slice(0, -1) + ({ A: 'B', Q: 'R', g: 'h', w: 'x' }[text.slice(-1)] ?? ''),
          ),
      ],
      [
        'a signature of another assertion',
        'signature',
        async () =>
          replaced(
            2,
            await (async () => {
              const other = (await signed()).split('.')[2] ?? ''
              return () => other
            })(),
          ),
      ],
      [
        'changed claims',
        'signature',
        () => replaced(1, () => part({ iss: world.company.url, ...claims({ sub: 'x' }) })),
      ],
    ]
    it.each(forged)('for %s', async (_what, code, make) =>
      expect(refused(await send(await make()))).toEqual(grant(code)),
    )

    it('29: of an issuer that is not listed, and asks it nothing', async () => {
      const before = world.mesh.asked()
      const assertion = await world.mesh.sign(claims(), idJag)
      expect(refused(await send(assertion))).toEqual(grant('issuer'))
      expect(world.mesh.asked()).toBe(before)
    })

    it('30: for keys that the assertion brings along', async () => {
      const { kid } = world.company.key
      const forge = (header: Json) =>
        signWith({ ...world.mesh.key, kid }, { iss: world.company.url, ...claims() }, { ...idJag, ...header })
      expect(refused(await send(await forge({ jku: `${world.mesh.url}/jwks` })))).toEqual(grant('signature'))
      expect(refused(await send(await forge({ jwk: world.mesh.key.jwk })))).toEqual(grant('signature'))
      expect(world.mesh.asked()).toBe(0)
    })

    it('34: to another client, to one that does not authenticate, and to one that registered itself', async () => {
      const assertion = await signed({ client_id: 'other' })
      const as = (client_id: string, client_secret?: string) =>
        ask({ assertion, client_id, ...(client_secret !== undefined && { client_secret }) })
      expect(refused(await as('other', secrets.other))).toEqual(grant('client-not-listed'))
      expect(await as('desk')).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
      expect(await ask({ assertion })).toMatchObject({ status: 401 })
      expect(refused(await as('open'))).toEqual([400, 'unauthorized_client', 'client.grant'])
    })

    it('36: twice, and another issuer’s jti is not its own', async () => {
      const jti = crypto.randomUUID()
      expect((await run({ jti })).status).toBe(200)
      const assertion = await signed({ jti })
      expect((await send(assertion)).status).toBe(200)
      expect(refused(await send(assertion))).toEqual(grant('replayed'))
      // A refused one is not used up.
      const kept = await signed()
      expect((await send(kept, { scope: 'none' })).status).toBe(400)
      expect((await send(kept)).status).toBe(200)
    })

    it('of 50 for one jti gives one', async () => {
      const assertion = await signed()
      const answers = await Promise.all(Array.from({ length: 50 }, () => send(assertion)))
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
      expect(answers.filter(({ body }) => body['code'] === 'assertion.replayed')).toHaveLength(49)
    })

    it('42: for whom the provider has removed, and knows whom it has pushed', async () => {
      const schemas = ['urn:ietf:params:scim:schemas:core:2.0:User']
      const user = { schemas, userName: 'cleo@corp.test', externalId: 'cleo', active: true }
      const { id } = await provision('POST', 'Users', user)
      const cleo = { tenant: 'staff', sub: 'cleo', email: 'cleo@corp.test', email_verified: true }
      expect((await redeem(cleo)).status).toBe(200)
      // Nobody is known by a name or an address.
      expect(refused(await redeem({ ...cleo, sub: 'cleo@corp.test' }))).toEqual(grant('person'))
      await provision('PUT', `Users/${String(id)}`, { ...user, active: false })
      expect(refused(await redeem(cleo))).toEqual(grant('person'))
    })

    /** What becomes of a bound token with its own key, with another, and without a proof. */
    const used = async (access: string, own: Prover, other: Prover) => {
      const send = async (headers: Record<string, string>) => {
        const answer = await world.gateway.fetch(resource(), {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            'accept': 'application/json, text/event-stream',
            ...headers,
          },
          body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
        })
        const body = await answer.text()
        return answer.status === 200 ? 200 : (JSON.parse(body) as Json)['code']
      }
      const proof = (by: Prover) => by.proof({ url: resource(), token: access, now: now() * 1000 })
      const authorization = `DPoP ${access}`
      return [
        await send({ authorization, dpop: await proof(own) }),
        await send({ authorization, dpop: await proof(other) }),
        await send({ authorization: `Bearer ${access}` }),
      ]
    }

    it('44: with the proof of another key; with that of its own it is bound to it', async () => {
      const [own, other] = await Promise.all([createProver(), createProver()])
      const url = `${world.gateway.origin}/oauth/token`
      const proofOf = (prover: Prover) => prover.proof({ url, now: now() * 1000 })
      const assertion = await signed({ cnf: { jkt: own.jkt } })
      expect(refused(await ask({ ...desk, assertion }, await proofOf(other)))).toEqual(grant('proof-key'))
      const answer = await ask({ ...desk, assertion }, await proofOf(own))
      expect(answer.body).toMatchObject({ token_type: 'DPoP' })
      expect(read(token(answer))['cnf']).toEqual({ jkt: own.jkt })
      // A workload that is bound to a key, and an assertion that is bound to none, sent with a proof.
      const work = async (more: Json, by: Prover) =>
        ask({ assertion: await world.platform.sign(world.job(more)) }, await proofOf(by))
      const keyed = { cnf: { jkt: own.jkt } }
      expect(refused(await run(keyed))).toEqual(grant('proof'))
      expect(refused(await work(keyed, other))).toEqual(grant('proof-key'))
      // A service that requires a key gives no bearer token, and nothing is used up by asking.
      const keyless = await signed({ resource: resource('keyed') })
      expect(refused(await send(keyless))).toEqual([400, 'invalid_dpop_proof', 'proof.missing'])
      expect((await ask({ ...desk, assertion: keyless }, await proofOf(own))).body).toMatchObject({
        token_type: 'DPoP',
      })
      const plain = await ask({ ...desk, assertion: await signed() }, await proofOf(own))
      for (const given of [answer, plain, await work(keyed, own), await work({}, own)])
        expect(await used(token(given), own, other)).toEqual([200, 'proof.key', 'token.bound'])
    })

    it('45: for a key that was removed', async () => {
      const former = world.company.key
      await world.company.rotate(false)
      advance(601_000)
      expect((await redeem()).status).toBe(200)
      const assertion = await world.company.sign(claims({ resource: resource() }), idJag, former)
      expect(refused(await send(assertion))).toEqual(grant('key'))
    })

    it('45: for a key that a platform has removed; while it publishes two, both are good', async () => {
      const former = world.platform.key
      const byFormer = async () => ask({ assertion: await world.platform.sign(job(), {}, former) })
      for (const keepFormer of [true, false]) {
        await world.platform.rotate(keepFormer)
        advance(601_000)
        expect((await run()).status).toBe(200)
        if (keepFormer) expect((await byFormer()).status).toBe(200)
      }
      expect(refused(await byFormer())).toEqual(grant('key'))
    })

    it.each(['fails', 'redirects', 'is no key set', 'is large'] as const)(
      '46: when the key set %s, and spends nothing',
      async (how) => {
        world.company.misbehave(how)
        advance(3_700_000)
        const assertion = await signed()
        expect(await send(assertion)).toMatchObject({
          status: 503,
          body: { error: 'temporarily_unavailable', code: 'assertion.keys-unreachable' },
        })
        world.company.misbehave(undefined)
        advance(10_000)
        expect((await send(assertion)).status).toBe(200)
      },
    )

    const programs: readonly (readonly [string, string, Json])[] = [
      ['51: the right name with another repository_id', 'rule', { repository_id: '9' }],
      ['52: a branch that begins alike', 'rule', { ref: 'refs/heads/main-evil' }],
      ['52: an owner that begins alike', 'rule', { sub: 'repo:acme/app/x:release', ref: 'x' }],
      ['53: another namespace', 'rule', { 'kubernetes.io': { namespace: 'ci2' } }],
      ['54: one without exp', 'claims', { exp: undefined }],
      ['54: a token for a year', 'lifetime', { exp: now() + 31_536_000 }],
      ['55: a list for a text', 'rule', { ref: ['refs/heads/main'] }],
      ['several audiences', 'audiences', { aud: [world.gateway?.origin, 'https://b.example'] }],
      ['a key-bound one', 'proof', { cnf: { jkt: 'x' } }],
    ]
    it.each(programs)('to a program for %s', async (_what, code, more) => {
      const own = Array.isArray(more['aud']) ? { aud: [world.gateway.origin, 'https://b.example'] } : more
      const time = typeof more['exp'] === 'number' ? { exp: now() + 31_536_000 } : {}
      expect(refused(await run({ ...own, ...time }))).toEqual(grant(code))
    })

    it('to a program twice for one assertion, with or without a jti', async () => {
      for (const more of [{}, { jti: undefined }]) {
        const assertion = await world.platform.sign(job(more))
        expect((await ask({ assertion })).status).toBe(200)
        expect(refused(await ask({ assertion }))).toEqual(grant('replayed'))
      }
    })

    it('56: to a SPIFFE identity of another trust domain, or with an issuer that is not configured', async () => {
      const svid = {
        aud: world.gateway.origin,
        sub: 'spiffe://prod.example.evil/ns/ci/sa/nightly',
        exp: now() + 600,
      }
      expect(refused(await ask({ assertion: await signWith(world.mesh.key, svid) }))).toEqual(grant('issuer'))
      const sub = 'spiffe://prod.example/ns/ci/sa/nightly'
      expect(
        refused(
          await ask({ assertion: await signWith(world.mesh.key, { ...svid, sub, iss: world.mesh.url }) }),
        ),
      ).toEqual(grant('issuer'))
    })

    it('and none of them is in the log', () => {
      const text = JSON.stringify(world.gateway.log)
      expect(text).not.toMatch(/eyJ[\w-]{20,}\.eyJ/)
    })
  })
})
