// What clients read first: one document, true in every field, wherever they look for it, and one per
// protected address.
import { describe, expect, it } from 'vitest'
import { routeTable } from '../../src/routes.ts'
import { type OAuthEndpoint, endpoints } from '../../src/oauth/metadata.ts'
import { createWorld, get, origin, post, postJson, resource, run, type World } from './oauth-world.ts'

const authorizationServer = (world: World, path: string) => run(world.handlers.authorizationServer, get(path))
const protectedResource = (world: World, path: string, at = origin) =>
  run(world.handlers.protectedResource, new Request(new URL(path, at)))
const root = '/.well-known/oauth-authorization-server'

describe('the metadata of the authorization server', () => {
  it('[A2, A3, A4] [H-A1, H-A18] names its issuer exactly, S256 alone, and what every client looks for', async () => {
    const world = await createWorld({
      services: { echo: { scopes: ['write', 'read'] }, open: { authRequired: false, scopes: ['never'] } },
    })
    const { status, headers, body } = await authorizationServer(world, root)
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(body).toMatchObject({
      issuer: origin,
      authorization_endpoint: `${origin}/oauth/authorize`,
      token_endpoint: `${origin}/oauth/token`,
      registration_endpoint: `${origin}/oauth/register`,
      scopes_supported: ['read', 'write', 'offline_access'],
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      grant_types_supported: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_methods_supported: [
        'none',
        'client_secret_basic',
        'client_secret_post',
        'private_key_jwt',
      ],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
      resource_parameter_supported: true,
    })
    expect(JSON.stringify(body)).not.toMatch(/null|http:/)
  })

  it('[A2] [H-A11] is the same at every place that clients probe, and JSON 404 elsewhere', async () => {
    const world = await createWorld({ services: { echo: {}, open: { authRequired: false } } })
    const { text } = await authorizationServer(world, root)
    const places = [
      '/.well-known/openid-configuration',
      `${root}/`,
      `${root}/echo/mcp`,
      '/.well-known/openid-configuration/echo/mcp',
      `/echo/mcp${root}`,
      '/echo/mcp/.well-known/openid-configuration',
    ]
    for (const place of places)
      expect(await authorizationServer(world, place)).toMatchObject({ status: 200, text })
    for (const place of [`${root}/nope`, `${root}/open/mcp`, `/nope/mcp${root}`, `${root}/echo%2fmcp`])
      expect(await authorizationServer(world, place)).toMatchObject({ status: 404, code: 'route.unknown' })
  })

  it('[A2] [H-A1] advertises nothing that is not there: endpoints, grants, methods', async () => {
    const world = await createWorld()
    const { body } = await authorizationServer(world, root)
    const advertised = Object.entries(body)
      .filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri')
      .map(([, url]) => url)
    const known = [
      endpoints.authorize,
      endpoints.token,
      endpoints.register,
      endpoints.revoke,
      endpoints.introspect,
      endpoints.jwks,
    ].map(({ path }) => origin + path)
    expect(new Set(advertised)).toEqual(new Set(known))
    for (const grant_type of body['grant_types_supported'] as string[]) {
      const client = await run(
        world.handlers.register,
        postJson('/oauth/register', {
          redirect_uris: ['https://a.test/'],
          token_endpoint_auth_method: 'none',
        }),
      )
      expect(
        (
          await run(
            world.handlers.token,
            post('/oauth/token', { grant_type, client_id: String(client.body['client_id']) }),
          )
        ).body['error'],
      ).toBe('invalid_request')
    }
    for (const method of body['token_endpoint_auth_methods_supported'] as string[]) {
      const sent = {
        redirect_uris: ['https://a.test/'],
        token_endpoint_auth_method: method,
        ...(method === 'private_key_jwt' && { jwks_uri: 'https://a.test/jwks' }),
      }
      expect(
        (await run(world.handlers.register, postJson('/oauth/register', sent))).body[
          'token_endpoint_auth_method'
        ],
      ).toBe(method)
    }
  })

  it('stands on the same table of endpoints as the routes: paths, aliases and methods', () => {
    const anything: unknown = new Proxy(() => undefined, { get: () => anything })
    const routes = routeTable({
      handlers: anything as Parameters<typeof routeTable>[0]['handlers'],
      registration: true,
    })
    const shown = (path: string) => (path.endsWith('/') ? `${path}:id` : path)
    for (const [name, { path, alias, methods }] of Object.entries(endpoints) as [string, OAuthEndpoint][]) {
      const route = routes.find(({ paths }) => paths.includes(shown(path)))
      expect([name, route?.paths, Object.keys(route?.methods ?? {})]).toEqual([
        name,
        [shown(path), ...(alias === undefined ? [] : [shown(alias)])],
        methods,
      ])
    }
  })

  it('offers client metadata documents unless they are switched off', async () => {
    expect(
      (await authorizationServer(await createWorld(), root)).body['client_id_metadata_document_supported'],
    ).toBe(true)
    const world = await createWorld({ config: { client_metadata_documents: false } })
    expect(Object.keys((await authorizationServer(world, root)).body)).not.toContain(
      'client_id_metadata_document_supported',
    )
  })

  it('does not name a registration endpoint that is switched off', async () => {
    const world = await createWorld({ config: { dynamic_registration: false } })
    expect(Object.keys((await authorizationServer(world, root)).body)).not.toContain('registration_endpoint')
  })
})

describe('the metadata of a protected address', () => {
  const prm = '/.well-known/oauth-protected-resource'

  it('[B1] [H-A8] has the resource as it is typed, its issuer, and no offline_access', async () => {
    const world = await createWorld({ services: { echo: {}, other: { scopes: ['x', 'y'] } } })
    const { status, body } = await protectedResource(world, `${prm}/echo/mcp`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      resource,
      authorization_servers: [origin],
      bearer_methods_supported: ['header'],
      scopes_supported: ['mcp'],
      resource_documentation: `${origin}/services`,
    })
    for (const place of [`${prm}?service_id=echo`, `/echo/mcp${prm}`, `${prm}/echo/mcp/`])
      expect((await protectedResource(world, place)).body).toEqual(body)
    expect((await protectedResource(world, `${prm}?service_id=other`)).body).toMatchObject({
      resource: `${origin}/other/mcp`,
      scopes_supported: ['x', 'y'],
    })
    expect((await protectedResource(world, prm)).body).toMatchObject({
      resource: origin,
      scopes_supported: ['mcp', 'x', 'y'],
    })
  })

  it('[B1] is at the root where there is one service', async () => {
    const world = await createWorld()
    expect((await protectedResource(world, prm)).body['resource']).toBe(resource)
    expect((await protectedResource(world, `${prm}/mcp`)).body['resource']).toBe(`${origin}/mcp`)
  })

  it('[B1] is on the origin that the client used, when that is one of ours', async () => {
    const world = await createWorld({ origins: [origin, 'http://127.0.0.1:8080'] })
    expect((await protectedResource(world, `${prm}/echo/mcp`, 'http://127.0.0.1:8080')).body).toMatchObject({
      resource: 'http://127.0.0.1:8080/echo/mcp',
      authorization_servers: [origin],
    })
    expect((await protectedResource(world, `${prm}/echo/mcp`, 'http://evil.test')).body).toMatchObject({
      resource,
    })
  })

  it('[H-A10] is refused alike for every name that is not there', async () => {
    const world = await createWorld({ services: { echo: {}, open: { authRequired: false } } })
    const names = [
      '/nope',
      '/echo/mcp/../other',
      '/echo%2fmcp',
      `/${'x'.repeat(4096)}`,
      '/open/mcp',
      '/echo',
      '?service_id=nope',
      '?service_id=open',
      '?service_id=',
    ]
    const answers = await Promise.all(names.map((name) => protectedResource(world, prm + name)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers[0]?.status).toBe(404)
  })
})
