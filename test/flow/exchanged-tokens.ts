// Token exchange (RFC 8693): an agent trades the token that a person gave another client. What it gets, what it never
// gets, and when that ends.
import { expect, it } from 'vitest'
import type { Administrator } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, redeem } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, call, told } from '../runtimes/ruled-upstream.ts'
import type { RuntimeGateway } from '../runtimes/runtimes.ts'
import { config, exchangeGrant, secrets } from './programs.ts'

type Json = Readonly<Record<string, unknown>>
type Fields = Readonly<Record<string, string | undefined>>

export interface ExchangeWorld {
  readonly gateway: RuntimeGateway
  readonly upstream: RuledUpstream
  readonly admin: Administrator
}

const urn = (type: string) => `urn:ietf:params:oauth:token-type:${type}`
const { people, agent, tail } = config.clients
const peopleClient = { id: 'people', redirectUri: 'https://people.example/cb', secret: people.client_secret }

export const exchangedTokens = (world: () => ExchangeWorld): void => {
  const resource = (id: string) => `${world().gateway.origin}/${id}/mcp`
  /** A person’s token for the client `people`. */
  const given = async (who = ana, id = 'ruled') => {
    const { gateway } = world()
    const asking = authorizeUrl(gateway, peopleClient, { resource: resource(id) })
    const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url, who)
    const answer = await redeem(gateway, peopleClient, back.searchParams.get('code') ?? '', asking.verifier)
    return (await answer.json()) as { access_token: string; refresh_token: string; scope: string }
  }
  const ask = async (fields: Fields, at = 'token') => {
    const sent = Object.entries(fields).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    )
    const { gateway } = world()
    const answer = await gateway.fetch(`${gateway.origin}/oauth/${at}`, form(Object.fromEntries(sent)))
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const exchange = (subject: string, fields: Fields = {}) =>
    ask({
      grant_type: exchangeGrant,
      client_id: 'agent',
      client_secret: agent.client_secret,
      subject_token: subject,
      subject_token_type: urn('access_token'),
      resource: resource('second'),
      ...fields,
    })
  const asTail = { client_id: 'tail', client_secret: tail.client_secret }
  const tokenIn = ({ body }: { readonly body: Json }): string => String(body['access_token'])
  const claimsOf = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Json
  const callWith = async (token: string, name = 'search', id = 'second') => {
    const answer = await callerOf(world().gateway, resource(id), token).post(call(name))
    return { status: answer.status, told: answer.status === 200 ? await told(answer) : undefined }
  }
  const logged = (event: string) => world().gateway.log.filter((line) => line.event === event)
  const ended = async (token: string) => {
    await world().admin.ask('DELETE', `/api/grants/${String(claimsOf(token)['gid'])}`)
    world().gateway.advance(1000)
  }

  it('an agent gets a token that is the person’s, names the agent, and lives no longer', async () => {
    const { access_token: subject } = await given()
    world().gateway.advance(60_000)
    const answer = await exchange(subject)
    const token = tokenIn(answer)
    const claims = claimsOf(token)
    expect(answer.body).toEqual({
      access_token: token,
      issued_token_type: urn('access_token'),
      token_type: 'Bearer',
      expires_in: Number(claims['exp']) - Number(claims['iat']),
      scope: 'mcp mcp:read mcp:write mcp:execute',
    })
    expect(claims).toMatchObject({
      sub: 'local:ana',
      aud: resource('second'),
      client_id: 'agent',
      act: { sub: 'agent' },
      exp: claimsOf(subject)['exp'],
    })
    expect((await callWith(token, 'create')).told?.error).toBeUndefined()
    const heard = world().upstream.heard.at(-1)?.headers
    expect(claimsOf(String(heard?.['x-mcp-identity']))).toMatchObject({
      sub: 'local:ana',
      client_id: 'agent',
      act: { sub: 'agent' },
    })
    const called = () => logged('call').find(({ fields }) => fields['client'] === 'agent')?.fields
    await expect.poll(called).toMatchObject({ person: 'local:ana', client: 'agent', actor: ['agent'] })
    expect(logged('exchange.issued').at(-1)?.fields).toMatchObject({
      person: 'local:ana',
      client: 'agent',
      actor: ['agent'],
      subject_client: 'people',
      parent: claimsOf(subject)['gid'],
    })
    const introspected = await ask(
      { client_id: 'agent', client_secret: agent.client_secret, token },
      'introspect',
    )
    expect(introspected.body).toMatchObject({ active: true, sub: 'local:ana', act: { sub: 'agent' } })
    // All requests for one token are one grant.
    expect(claimsOf(tokenIn(await exchange(subject, { scope: 'mcp:read' })))['gid']).toBe(claims['gid'])
    const { grants } = JSON.parse(
      (await world().admin.ask('GET', '/api/grants?user=local:ana&client=agent')).body,
    ) as { grants: readonly Json[] }
    expect(grants).toMatchObject([{ kind: 'exchange', actor: ['agent'], client: 'agent', service: 'second' }])
    await ended(subject)
  })

  it('whose token was exchanged names each actor, as deep as a rule allows [H-W59]', async () => {
    const { access_token: subject } = await given()
    const first = tokenIn(await exchange(subject))
    const second = tokenIn(await exchange(first, asTail))
    expect(claimsOf(second)['act']).toEqual({ sub: 'tail', act: { sub: 'agent' } })
    expect((await callWith(second)).status).toBe(200)
    expect((await exchange(second)).body).toMatchObject({ error: 'invalid_request', code: 'exchange.depth' })
    await ended(subject)
    for (const token of [first, second]) expect((await callWith(token)).status).toBe(401)
  })

  it('a service account acts where its own client shows its token', async () => {
    const { access_token: subject } = await given()
    const own = await ask({
      grant_type: 'client_credentials',
      client_id: 'agent',
      client_secret: agent.client_secret,
      resource: resource('second'),
    })
    const actor = { actor_token: tokenIn(own), actor_token_type: urn('access_token') }
    expect(claimsOf(tokenIn(await exchange(subject, actor)))['act']).toEqual({ sub: 'service:nightly' })
    const others = await ask({
      grant_type: 'client_credentials',
      client_id: 'post',
      client_secret: secrets.post,
    })
    for (const bad of [
      { ...actor, actor_token: tokenIn(others) },
      { ...actor, actor_token: subject },
      { ...actor, actor_token: 'x.y.z' },
      { ...actor, actor_token_type: urn('id_token') },
      { actor_token: tokenIn(own) },
      { actor_token_type: urn('access_token') },
    ])
      expect((await exchange(subject, bad)).body).toMatchObject({
        error: 'invalid_request',
        code: 'exchange.actor',
      })
    await ended(subject)
  })

  it('never gives a token for one that is not ours, not live, or not an access token [H-W57]', async () => {
    const given_ = await given()
    const subject = given_.access_token
    const [head, body] = subject.split('.')
    const unlisted = await tokenOf(world().gateway, ana, resource('ruled'))
    for (const bad of [
      {},
      { subject_token: undefined },
      { subject_token: '' },
      { subject_token: `${head}.${body}.${'A'.repeat(86)}` },
      { subject_token: given_.refresh_token },
      { subject_token: `ppat_${'a'.repeat(12)}_${'b'.repeat(38)}` },
      { subject_token: 'x'.repeat(9000) },
      { subject_token: unlisted },
      { subject_token: subject, subject_token_type: urn('id_token') },
      { subject_token: subject, subject_token_type: urn('jwt') },
      { subject_token: subject, subject_token_type: undefined },
    ])
      expect((await exchange('x.y.z', bad)).body).toMatchObject({
        error: 'invalid_request',
        code: 'exchange.subject',
      })
    await ended(subject)
    expect((await exchange(subject)).body['code']).toBe('exchange.subject')
  })

  it('never gives more than the exchanged token has, or to anybody else [H-W58, H-W59a]', async () => {
    const { access_token: subject, scope } = await given()
    expect(scope).toContain('mcp:admin')
    const refusedWith = async (fields: Fields) => {
      const { body } = await exchange(subject, fields)
      return [body['error'], body['code'], 'access_token' in body]
    }
    const rows: readonly (readonly [Fields, string, string])[] = [
      [{ scope: 'mcp:admin' }, 'invalid_scope', 'scope.exceeded'],
      [{ scope: 'openid' }, 'invalid_scope', 'scope.exceeded'],
      [{ resource: resource('ruled'), scope: 'mcp:execute' }, 'invalid_scope', 'scope.exceeded'],
      [{ resource: resource('echo') }, 'invalid_target', 'exchange.rule'],
      [{ resource: 'https://elsewhere.example/mcp' }, 'invalid_target', 'resource.unknown'],
      [{ audience: 'https://elsewhere.example/mcp' }, 'invalid_target', 'resource.unknown'],
      [{ audience: resource('ruled') }, 'invalid_target', 'resource.unknown'],
      [{ resource: `${world().gateway.origin}/api` }, 'invalid_target', 'resource.unknown'],
      [{ requested_token_type: urn('refresh_token') }, 'invalid_request', 'request.malformed'],
      [{ client_id: 'post', client_secret: secrets.post }, 'unauthorized_client', 'client.grant'],
      [asTail, 'invalid_request', 'exchange.subject'],
    ]
    for (const [fields, error, code] of rows)
      expect([fields, await refusedWith(fields)]).toEqual([fields, [error, code, false]])
    // A rule that allows less gives less.
    const less = await exchange(subject, { resource: resource('ruled') })
    expect(less.body['scope']).toBe('mcp mcp:read mcp:write')
    const denied = (await callWith(tokenIn(less), 'delete_all', 'ruled')).told?.error?.data
    expect(denied?.['code']).toBe('account.permission')
    // Nor may the client itself exchange what it has got.
    expect((await exchange(tokenIn(less))).body).toMatchObject({ code: 'exchange.subject' })
    await ended(subject)
  })

  it('its user sees it on their page, and keeps it away', async () => {
    const { gateway, admin } = world()
    const { access_token: subject } = await given()
    const child = tokenIn(await exchange(subject))
    const page = await admin.browser.go(`${gateway.origin}/account/apps`)
    expect(page.body).toContain('Got access by exchanging the token of another app')
    await admin.browser.go(`${gateway.origin}/account/apps`, {
      ...form({ csrf: admin.csrf, action: 'block', client: 'agent' }),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': gateway.origin,
        'sec-fetch-site': 'same-origin',
      },
    })
    gateway.advance(1000)
    expect((await callWith(child)).status).toBe(401)
    expect((await exchange(subject)).body).toMatchObject({ code: 'code.blocked' })
    await admin.ask('DELETE', '/api/blocks?client=agent&user=local:ana')
    await ended(subject)
  })

  it('never for a service that its user may not use', async () => {
    const { access_token: subject } = await given(yamada)
    expect((await exchange(subject)).body).toMatchObject({ error: 'invalid_target', code: 'exchange.rule' })
    await ended(subject)
  })

  it('never outlives the token that it came of, and stays away while it is blocked', async () => {
    const { admin, gateway } = world()
    const { access_token: subject } = await given()
    const child = tokenIn(await exchange(subject))
    expect((await callWith(child)).status).toBe(200)
    await admin.ask('POST', '/api/blocks', { client: 'agent', user: 'local:ana' })
    gateway.advance(1000)
    expect((await callWith(child)).status).toBe(401)
    expect((await exchange(subject)).body).toMatchObject({ error: 'invalid_grant', code: 'code.blocked' })
    await admin.ask('DELETE', '/api/blocks?client=agent&user=local:ana')
    const again = tokenIn(await exchange(subject))
    expect((await callWith(again)).status).toBe(200)
    expect((await callWith(child)).status).toBe(401)
    await ended(subject)
    expect((await callWith(again)).status).toBe(401)
    const { grants } = JSON.parse(
      (await admin.ask('GET', '/api/grants?user=local:ana&client=agent')).body,
    ) as {
      grants: readonly Json[]
    }
    expect(grants).toEqual([])
  })
}
