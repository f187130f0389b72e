// oidc-provider as its documentation starts it, for the login section: memory adapter, ES256 access tokens,
// refresh tokens that rotate; signs in and allows by itself.
import { exportJWK, generateKeyPair } from 'jose'
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'

const { privateKey } = await generateKeyPair('ES256', { extractable: true })
const server = createServer()
await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const resource = 'https://bench.example/mcp'

const provider = new Provider(origin, {
  clients: [
    {
      client_id: 'bench',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1:5000/cb'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: '1' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  pkce: { required: () => true },
  scopes: ['mcp'],
  findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 3600,
    RefreshToken: 2_592_000,
    AuthorizationCode: 60,
    Session: 86_400,
    Grant: 2_592_000,
    Interaction: 600,
  },
  interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'mcp',
        audience: resource,
        accessTokenTTL: 3600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})

const interact = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { prompt, params } = await provider.interactionDetails(request, response)
  if (prompt.name === 'login')
    return provider.interactionFinished(request, response, { login: { accountId: 'ada' } })
  const grant = new provider.Grant({ accountId: 'ada', clientId: String(params['client_id']) })
  grant.addResourceScope(resource, 'mcp')
  grant.addOIDCScope('mcp')
  return provider.interactionFinished(
    request,
    response,
    { consent: { grantId: await grant.save() } },
    { mergeWithLastSubmission: true },
  )
}

const callback = provider.callback()
server.on('request', (request, response) => {
  if (request.url?.startsWith('/interaction/'))
    interact(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)))
  else callback(request, response)
})
process.on('SIGTERM', () => process.exit(0))
process.stdout.write(`listening ${JSON.stringify({ origin, resource })}\n`)
