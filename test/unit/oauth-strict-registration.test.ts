// Registrations that another reader of the same bytes would understand otherwise, and clients that send a
// right secret in another way than they registered.
import { describe, expect, it } from 'vitest'
import { createLimit, paces } from '../../src/policy/rate-limit.ts'
import { register, type Registered } from './oauth-steps.ts'
import { createWorld, origin, post, run, type World } from './oauth-world.ts'

const json = 'application/json'
const form = 'application/x-www-form-urlencoded'
const uri = 'https://app.test/cb'
const bytes = (...parts: readonly (string | readonly number[])[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === 'string' ? [...new TextEncoder().encode(part)] : [...part])),
  )
const request = (
  path: string,
  body: Uint8Array<ArrayBuffer>,
  { type = json, method = 'POST', token = '' } = {},
): Request => {
  const init: RequestInit = {
    method,
    headers: { 'content-type': type, ...(token && { authorization: `Bearer ${token}` }) },
    body,
  }
  return new Request(`${origin}${path}`, init)
}
const send = async ({ handlers }: World, body: Uint8Array<ArrayBuffer>, type = json) =>
  run(handlers.register, request('/oauth/register', body, { type }))

const bent: readonly (readonly [string, Uint8Array<ArrayBuffer>, string, string])[] = [
  [
    'a byte order mark',
    bytes([0xef, 0xbb, 0xbf], `{"redirect_uris":["${uri}"]}`),
    json,
    'The body must not start with a byte order mark.',
  ],
  [
    'a byte that is no UTF-8',
    bytes(`{"redirect_uris":["${uri}"],"client_name":"`, [0xff], '"}'),
    json,
    'The body is not valid UTF-8.',
  ],
  [
    'an overlong form',
    bytes(`{"redirect_uris":["${uri}"],"client_name":"`, [0xc0, 0xaf], '"}'),
    json,
    'The body is not valid UTF-8.',
  ],
  [
    'half a surrogate pair in UTF-8',
    bytes(`{"redirect_uris":["${uri}"],"client_name":"`, [0xed, 0xa0, 0x80], '"}'),
    json,
    'The body is not valid UTF-8.',
  ],
  [
    'repeated redirect_uris',
    bytes(`{"redirect_uris":["https://one.test/"],"redirect_uris":["${uri}"]}`),
    json,
    'A member was sent more than once.',
  ],
  [
    'a member that is repeated in another spelling',
    bytes(`{"redirect_uris":["${uri}"],"\\u0072edirect_uris":["https://two.test/"]}`),
    json,
    'A member was sent more than once.',
  ],
  [
    'a member that is repeated further in',
    bytes(`{"redirect_uris":["${uri}"],"jwks":{"keys":[{"kty":"EC","kty":"RSA"}]}}`),
    json,
    'A member was sent more than once.',
  ],
  [
    'nesting without end',
    bytes(`{"redirect_uris":["${uri}"],"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`),
    json,
    'The JSON is nested too deeply.',
  ],
  [
    'a byte that is no UTF-8, in a form',
    bytes(`redirect_uris=${uri}&client_name=%FF`),
    form,
    'The body is not valid UTF-8.',
  ],
  [
    'a raw one in a form',
    bytes(`redirect_uris=${uri}&client_name=`, [0xff]),
    form,
    'The body is not valid UTF-8.',
  ],
  [
    'a byte order mark before a form',
    bytes([0xef, 0xbb, 0xbf], `redirect_uris=${uri}`),
    form,
    'The body must not start with a byte order mark.',
  ],
]

describe('a registration', () => {
  it.each(bent)('with %s is refused whole, and nothing is kept', async (_, body, type, say) => {
    const world = await createWorld()
    expect(await send(world, body, type)).toMatchObject({
      status: 400,
      body: { error: 'invalid_client_metadata', error_description: say },
    })
    expect(await world.store.list('client:')).toEqual([])
  })

  it.each(bent.filter(([, , type]) => type === json))(
    'is not replaced by one with %s either',
    async (_, body, type) => {
      const world = await createWorld()
      const client = await register(world)
      const put = request(`/oauth/register/${client.id}`, body, { type, method: 'PUT', token: client.access })
      expect(await run(world.handlers.manage, put)).toMatchObject({
        status: 400,
        body: { error: 'invalid_client_metadata' },
      })
    },
  )

  it.each(['%00', '%0a', '%0D%0A', '%1f', '%7F', '%7f'])(
    'with %s in its redirect URI is refused, wherever that stands',
    async (code) => {
      const world = await createWorld()
      for (const bad of [
        `https://app.test/cb${code}`,
        `https://app.test/cb?x=${code}`,
        `http://127.0.0.1:5000/${code}/cb`,
        `cursor://app/${code}`,
      ])
        expect(await send(world, bytes(JSON.stringify({ redirect_uris: [bad] })))).toMatchObject({
          status: 400,
          body: { error: 'invalid_redirect_uri' },
        })
      const mixed = await send(
        world,
        bytes(JSON.stringify({ redirect_uris: [`https://app.test/cb${code}`, uri] })),
      )
      expect([mixed.status, mixed.body['redirect_uris']]).toEqual([201, [uri]])
    },
  )

  it('may hold what only looks like a repetition: the same name in two objects, colons and braces in text', async () => {
    const world = await createWorld()
    const sent = {
      redirect_uris: [uri, 'https://app.test/a%20b'],
      client_name: 'A: "quoted" {app} \\',
      jwks: undefined,
      contacts: ['a:b'],
      x: [{ a: 1 }, { a: 2 }],
    }
    expect((await send(world, bytes(JSON.stringify(sent)))).status).toBe(201)
  })
})

describe('a document of a client', () => {
  it('that names a member twice is no document', async () => {
    const world = await createWorld()
    const id = 'https://cimd.test/client.json'
    world.web.pages.set(id, {
      body: `{"client_id":"${id}","client_name":"A","redirect_uris":["https://one.test/"],"redirect_uris":["${uri}"]}`,
    })
    const asked = await run(
      world.handlers.authorize,
      new Request(
        `${origin}/oauth/authorize?client_id=${encodeURIComponent(id)}&redirect_uri=${encodeURIComponent(uri)}`,
      ),
    )
    expect(asked.code).toBe('client.document')
  })
})

const basicOf = ({ id, secret }: Registered, used = secret): Record<string, string> => ({
  authorization: `Basic ${btoa(`${id}:${used}`)}`,
})
const token = (world: World, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  run(
    world.handlers.token,
    post('/oauth/token', { grant_type: 'refresh_token', refresh_token: 'pr_x', ...fields }, headers),
  )
const usual = 'Client authentication failed, or the registration no longer exists. Register again.'

describe('a right secret that is sent in another way than was registered', () => {
  it.each([
    [undefined, 'client_secret_basic'],
    ['client_secret_basic', 'client_secret_basic'],
  ])('(registered %s) in the body is told where it belongs', async (method, told) => {
    const world = await createWorld()
    const client = await register(world, { token_endpoint_auth_method: method })
    const answer = await token(world, { client_id: client.id, client_secret: String(client.secret) })
    expect(answer).toMatchObject({ status: 401, code: 'client.auth', body: { error: 'invalid_client' } })
    expect(answer.body['error_description']).toBe(
      `The secret is right, but this client is registered with token_endpoint_auth_method ${told} and sent it by client_secret_post. Send it in the Authorization header, as HTTP Basic credentials.`,
    )
  })

  it('(registered client_secret_post) in the header is told so, with the challenge of the header', async () => {
    const world = await createWorld()
    const client = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    const answer = await token(world, {}, basicOf(client))
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="postern", charset="UTF-8"',
    ])
    expect(answer.body['error_description']).toBe(
      'The secret is right, but this client is registered with token_endpoint_auth_method client_secret_post and sent it by client_secret_basic. Send it as client_secret in the body, without an Authorization header.',
    )
  })

  it('is of no help to whoever has not the secret: wrong ones, none, and unknown clients hear the same', async () => {
    const world = await createWorld()
    const [basic, posted, open] = await Promise.all(
      ['client_secret_basic', 'client_secret_post', 'none'].map((method) =>
        register(world, { token_endpoint_auth_method: method }),
      ),
    )
    const attempts = [
      token(world, { client_id: basic?.id ?? '', client_secret: 'wrong' }),
      token(world, { client_id: basic?.id ?? '', client_secret: String(posted?.secret) }),
      token(world, { client_id: basic?.id ?? '' }),
      token(world, {}, basicOf(posted as Registered, 'wrong')),
      token(world, { client_id: open?.id ?? '', client_secret: 'anything' }),
      token(world, { client_id: 'client_aaaaaaaaaaaaaaaaaaaaaa', client_secret: 'wrong' }),
    ]
    expect(
      (await Promise.all(attempts)).map(({ status, body }) => [
        status,
        body['error'],
        body['error_description'],
      ]),
    ).toEqual(attempts.map(() => [401, 'invalid_client', usual]))
  })
})

it.each(['client_secret_post', 'client_secret_basic'])(
  'failed authentications (%s) are counted for each client at each address, and stop nobody who has the secret [H-P5]',
  async (method) => {
    const world = await createWorld({ limit: createLimit({ now: () => 0, loopback: false }) })
    const client = await register(world, { token_endpoint_auth_method: method })
    const other = await register(world, { token_endpoint_auth_method: method })
    const send = async ({ id, secret }: Registered, ip = '192.0.2.1', path = '/oauth/token') => {
      const fields = { grant_type: 'refresh_token', refresh_token: 'pr_x', token: 'x' }
      const inBody = { ...fields, client_id: id, client_secret: String(secret) }
      const request =
        method === 'client_secret_post'
          ? post(path, inBody)
          : post(path, fields, basicOf({ id, secret } as Registered))
      const { token: tokens, introspect } = world.handlers
      return (await run(path === '/oauth/token' ? tokens : introspect, request, ip)).status
    }
    const wrong = { ...client, secret: 'wrong' }
    const many = Array.from({ length: paces['refused-clients'].points }, () => send(wrong))
    expect(new Set(await Promise.all(many))).toEqual(new Set([401]))
    expect([await send(wrong), await send(wrong, '192.0.2.1', '/oauth/introspect')]).toEqual([429, 429])
    // Whoever has the secret, whoever fails elsewhere, and whoever fails as another client.
    expect([
      await send(client),
      await send(wrong, '192.0.2.2'),
      await send({ ...other, secret: 'x' }),
    ]).toEqual([400, 401, 401])
  },
)
