// Programs that registered themselves, or published a metadata document: the grant client_credentials where the operator
// allows it, and only for what an administrator has bound to a service account.
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { form } from '../runtimes/login.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, call, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type TestGateway, openInProcess } from '../runtimes/runtimes.ts'

type Json = Readonly<Record<string, unknown>>

const documentUrl = 'https://ci.example/client.json'
const publicUrl = 'https://ci.example/public.json'
const key = await generateKeyPair('ES256')
const documents: Readonly<Record<string, Json>> = {
  [documentUrl]: {
    client_id: documentUrl,
    client_name: 'CI',
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [await exportJWK(key.publicKey)] },
  },
  [publicUrl]: {
    client_id: publicUrl,
    client_name: 'CI in a browser',
    redirect_uris: ['https://ci.example/cb'],
    grant_types: ['authorization_code', 'client_credentials'],
  },
}

const settings = {
  admins: ['local:ana'],
  local_users: [ana, yamada],
  service_accounts: { nightly: { services: ['echo'] }, weekly: { services: ['echo'] } },
}

const open = (upstream: RuledUpstream, config: object): Promise<TestGateway> =>
  openInProcess({
    upstream: upstream.url,
    config: { ...settings, ...config },
    outbound: (url) =>
      Promise.resolve({
        status: documents[url] ? 200 : 404,
        headers: new Headers({ 'content-type': 'application/json' }),
        body: new TextEncoder().encode(JSON.stringify(documents[url] ?? {})),
      }),
  })

const requests = (gateway: TestGateway) => {
  const read = async (answer: Response) => ({
    status: answer.status,
    body: (answer.status === 204 ? {} : await answer.json()) as Json,
  })
  return {
    register: async (members: Json) =>
      read(
        await gateway.fetch(`${gateway.origin}/oauth/register`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(members),
        }),
      ),
    ask: async (fields: Record<string, string>) =>
      read(
        await gateway.fetch(
          `${gateway.origin}/oauth/token`,
          form({ grant_type: 'client_credentials', resource: `${gateway.origin}/echo/mcp`, ...fields }),
        ),
      ),
    offered: async () =>
      (await read(await gateway.fetch(`${gateway.origin}/.well-known/oauth-authorization-server`))).body[
        'grant_types_supported'
      ],
  }
}

const program = { grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post' }

describe('clients that came by themselves', () => {
  let upstream: RuledUpstream
  let gateway: TestGateway
  let admin: Administrator
  let to: ReturnType<typeof requests>
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await open(upstream, { dynamic_registration: { grant_types: ['client_credentials'] } })
    admin = await signInAs(gateway, ana)
    to = requests(gateway)
  })
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })

  const registered = async (members: Json = program) => {
    const { status, body } = await to.register(members)
    expect(status).toBe(201)
    return { client_id: String(body['client_id']), client_secret: String(body['client_secret']), body }
  }
  const asked = ({ client_id, client_secret }: { client_id: string; client_secret: string }) =>
    to.ask({ client_id, client_secret })
  const bind = async (client: string, account = 'nightly') => {
    const { status, body } = await admin.ask('POST', '/api/client-bindings', { client, account })
    return { status, body: JSON.parse(body) as Json }
  }
  const unbind = (client: string) =>
    admin.ask('DELETE', `/api/client-bindings?client=${encodeURIComponent(client)}`)
  const events = (event: string) => gateway.log.filter((line) => line.event === event)
  const statusWith = async ({ body }: { readonly body: Json }) => {
    const caller = callerOf(gateway, `${gateway.origin}/echo/mcp`, String(body['access_token']))
    return (await caller.post(call('search'))).status
  }
  const withKey = async () =>
    to.ask({
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await new SignJWT({ jti: crypto.randomUUID() })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer(documentUrl)
        .setSubject(documentUrl)
        .setAudience(gateway.origin)
        .setIssuedAt()
        .setExpirationTime('2m')
        .sign(key.privateKey),
    })

  it('metadata and the echo say what is on', async () => {
    expect(await to.offered()).toEqual(['authorization_code', 'refresh_token', 'client_credentials'])
    expect((await registered()).body).toMatchObject({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })
    const both = {
      redirect_uris: ['https://app.example/cb'],
      grant_types: ['authorization_code', 'client_credentials', 'password'],
    }
    expect((await registered(both)).body).toMatchObject({
      grant_types: ['authorization_code', 'client_credentials'],
      response_types: ['code'],
    })
    // Nobody asked for it, so it is not there.
    const plain = { redirect_uris: ['https://app.example/cb'] }
    expect((await registered(plain)).body['grant_types']).toEqual(['authorization_code', 'refresh_token'])
  })

  it('a client that registered itself gets nothing until it is bound [H-W12]', async () => {
    const client = await registered()
    expect(await asked(client)).toMatchObject({
      status: 400,
      body: { error: 'unauthorized_client', code: 'client.grant' },
    })
    const before = events('grant.issued').length
    expect((await bind(client.client_id)).status).toBe(201)
    expect(events('client.bound').at(-1)?.fields).toMatchObject({
      client: client.client_id,
      account: 'nightly',
      by: 'local:ana',
    })
    const answer = await asked(client)
    expect([answer.status, 'refresh_token' in answer.body]).toEqual([200, false])
    expect(events('grant.issued')).toHaveLength(before + 1)
    expect(await statusWith(answer)).toBe(200)
    expect(upstream.heard.at(-1)?.headers['x-user-id']).toBe('service:nightly')
    const accounts = JSON.parse((await admin.ask('GET', '/api/service-accounts/nightly')).body) as Json
    expect(accounts['clients']).toContain(client.client_id)
  })

  it('who waits to be bound is listed for administrators, and bound and unbound on the console', async () => {
    const page = '/console/accounts'
    const act = (action: string, fields: Record<string, string>, csrf = admin.csrf) =>
      admin.browser.go(`${gateway.origin}${page}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'origin': gateway.origin,
          'sec-fetch-site': 'same-origin',
        },
        body: new URLSearchParams({ csrf, action, ...fields }).toString(),
      })
    const listed = async () => {
      const { body } = await admin.ask('GET', '/api/client-bindings')
      return JSON.parse(body) as { client_bindings: Json[]; unbound_clients: Json[]; truncated: boolean }
    }
    const client = await registered({ ...program, client_name: '<b>Importer</b>' })
    // Neither one that has not asked for it, nor one that cannot have it.
    const { body: without } = await registered({ redirect_uris: ['https://app.example/cb'] })
    const { unbound_clients: waiting, truncated } = await listed()
    expect(truncated).toBe(false)
    expect(waiting.find((one) => one['client'] === client.client_id)).toEqual({
      client: client.client_id,
      name: '<b>Importer</b>',
      method: 'client_secret_post',
      registered_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    })
    expect(JSON.stringify(waiting)).not.toContain(String(without['client_id']))
    const shown = (await admin.browser.go(page)).body
    expect(shown).toContain('<bdi>&lt;b&gt;Importer&lt;/b&gt;</bdi>')
    expect(shown).not.toContain('<b>Importer')

    const fields = { client: client.client_id, account: 'nightly' }
    expect((await act('bind', fields, 'wrong')).status).toBe(403)
    expect((await asked(client)).status).toBe(400)
    expect((await act('bind', fields)).status).toBe(200)
    const token = await asked(client)
    expect(token.status).toBe(200)
    const after = await listed()
    expect(JSON.stringify(after.unbound_clients)).not.toContain(client.client_id)
    expect(after.client_bindings.find((one) => one['client'] === client.client_id)).toMatchObject({
      account: 'nightly',
      by: 'local:ana',
    })
    expect((await act('bind', { client: '', account: 'nightly' })).status).toBe(400)
    expect((await act('unbind', fields)).status).toBe(200)
    gateway.advance(1000)
    expect(await statusWith(token)).toBe(401)
    const user = await signInAs(gateway, yamada)
    expect((await user.browser.go(page)).status).toBe(403)
  })

  it('its tokens end when it is unbound, or bound to another account', async () => {
    const client = await registered()
    await bind(client.client_id)
    const first = await asked(client)
    await bind(client.client_id, 'weekly')
    gateway.advance(1000)
    expect(await statusWith(first)).toBe(401)
    const second = await asked(client)
    // The same again changes nothing.
    await bind(client.client_id, 'weekly')
    gateway.advance(1000)
    expect(await statusWith(second)).toBe(200)
    expect(JSON.parse((await unbind(client.client_id)).body)).toEqual({ ended: 1 })
    gateway.advance(1000)
    expect(await statusWith(second)).toBe(401)
    expect((await asked(client)).body['error']).toBe('unauthorized_client')
    expect(events('client.unbound').at(-1)?.fields).toMatchObject({ client: client.client_id, grants: 1 })
    expect((await unbind(client.client_id)).status).toBe(400)
  })

  it('what is unbound while its token is made gives none', async () => {
    const client = await registered()
    await bind(client.client_id)
    const answers = await Promise.all([
      asked(client),
      unbind(client.client_id),
      ...Array.from({ length: 10 }, () => asked(client)),
    ])
    gateway.advance(1000)
    for (const answer of answers)
      if (typeof answer.body === 'object' && answer.status === 200)
        expect(await statusWith(answer as { body: Json })).toBe(401)
    expect((await asked(client)).status).toBe(400)
  })

  it('a client with a metadata document is bound by its URL, and proves its key', async () => {
    expect((await withKey()).body).toMatchObject({ error: 'unauthorized_client' })
    expect((await bind(documentUrl)).status).toBe(201)
    const answer = await withKey()
    expect([answer.status, await statusWith(answer)]).toEqual([200, 200])
    expect((await to.ask({ client_id: documentUrl })).body['error']).toBe('invalid_client')
  })

  it('never lets a public client have it, by whatever it says [H-W11]', async () => {
    const none = { token_endpoint_auth_method: 'none' }
    expect((await to.register({ ...program, ...none })).body).toMatchObject({
      error: 'invalid_client_metadata',
    })
    const { client_id, body } = await registered({
      ...none,
      redirect_uris: ['https://app.example/cb'],
      grant_types: ['authorization_code', 'client_credentials'],
    })
    expect(body['grant_types']).toEqual(['authorization_code'])
    for (const id of [client_id, publicUrl]) {
      expect(await bind(id)).toMatchObject({ status: 400, body: { code: 'request.malformed' } })
      expect((await to.ask({ client_id: id })).body['error']).toBe('unauthorized_client')
    }
  })

  it('a bound client that makes itself public, or gives the grant up, gets nothing more', async () => {
    const client = await registered({
      ...program,
      redirect_uris: ['https://app.example/cb'],
      grant_types: ['authorization_code', 'client_credentials'],
    })
    await bind(client.client_id)
    expect((await asked(client)).status).toBe(200)
    const changed = await gateway.fetch(String(client.body['registration_client_uri']), {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        'authorization': `Bearer ${String(client.body['registration_access_token'])}`,
      },
      body: JSON.stringify({
        client_id: client.client_id,
        redirect_uris: ['https://app.example/cb'],
        grant_types: ['authorization_code', 'client_credentials'],
        token_endpoint_auth_method: 'none',
      }),
    })
    expect(((await changed.json()) as Json)['grant_types']).toEqual(['authorization_code'])
    expect((await to.ask({ client_id: client.client_id })).body['error']).toBe('unauthorized_client')
  })

  it('a deleted registration leaves no binding', async () => {
    const client = await registered()
    await bind(client.client_id)
    const answer = await asked(client)
    await gateway.fetch(String(client.body['registration_client_uri']), {
      method: 'DELETE',
      headers: { authorization: `Bearer ${String(client.body['registration_access_token'])}` },
    })
    gateway.advance(1000)
    expect(await statusWith(answer)).toBe(401)
    expect((await admin.ask('GET', '/api/client-bindings')).body).not.toContain(client.client_id)
  })

  it('refuses to bind what is not there, and by whoever is no administrator', async () => {
    const { client_id } = await registered()
    expect(await bind(client_id, 'nobody')).toMatchObject({ status: 404, body: { code: 'person.unknown' } })
    expect(await bind('client_AAAAAAAAAAAAAAAAAAAAAA')).toMatchObject({
      status: 400,
      body: { code: 'client.unknown' },
    })
    const user = await signInAs(gateway, yamada)
    for (const method of ['GET', 'POST', 'DELETE'])
      expect(
        (await user.ask(method, '/api/client-bindings', method === 'POST' ? {} : undefined)).status,
      ).toBe(403)
  })
})

it('where the operator does not allow it, no registration has it [H-W12]', async () => {
  const upstream = await openRuledUpstream()
  const gateway = await open(upstream, {})
  const to = requests(gateway)
  expect(await to.offered()).not.toContain('client_credentials')
  const redirect_uris = ['https://app.example/cb']
  expect((await to.register({ ...program, redirect_uris })).body).toMatchObject({
    error: 'invalid_client_metadata',
  })
  const both = { ...program, redirect_uris, grant_types: ['authorization_code', 'client_credentials'] }
  expect((await to.register(both)).body['grant_types']).toEqual(['authorization_code'])
  expect((await to.ask({ client_id: documentUrl })).body['error']).toBe('unsupported_grant_type')
  await gateway.close()
  await upstream.close()
})
