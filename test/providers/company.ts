// The identity provider of a company, which exchanges the sign-in of its people for identity assertions and tokens of
// MCP servers (RFC 8693, Enterprise-Managed Authorization): oidc-provider with a grant registered for it.
import { SignJWT, createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import { randomBytes } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Context, Provider } from 'oidc-provider'

type Fields = Readonly<Record<string, unknown>>

export interface CompanyScript {
  /** The error of the next exchanges, with members of its answer. */
  deny: Fields | undefined
  /** Claims, header parameters and members of the answer in place of what was asked for. */
  claims: Fields
  header: Fields
  answer: Fields
  /** Answers to refreshes hold no ID token. */
  silent: boolean
  /** Refresh tokens are refused. */
  over: boolean
}

export interface Company {
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** An app of the company, which MCP servers know by another ID. */
  readonly app: { readonly clientId: string; readonly clientSecret: string }
  readonly script: CompanyScript
  /** Exchanges that were asked for, with the claims of the subject token where it is an ID token. */
  readonly exchanges: readonly {
    readonly form: Fields
    readonly subject: Fields
    readonly authorization: string
  }[]
  /** Forms of refreshes. */
  readonly refreshes: readonly Fields[]
  /** Queries of the authorization endpoint. */
  readonly authorizations: readonly Readonly<Record<string, string>>[]
  close(): Promise<void>
}

const client = { client_id: 'postern', client_secret: 'company-secret' }
const app = { client_id: 'desk-at-company', client_secret: 'secret-of-the-desk' }
/** By their IDs here, the IDs that clients have at MCP servers. */
const atServers: Readonly<Record<string, string>> = {
  [client.client_id]: 'gateway-at-server',
  [app.client_id]: 'desk',
}
const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
const kind = (name: string): string => `urn:ietf:params:oauth:token-type:${name}`

const configuration = (keys: readonly object[], provider: () => Provider) => ({
  clients: [
    {
      ...client,
      application_type: 'native',
      redirect_uris: ['http://localhost/oauth/callback', 'http://127.0.0.1/oauth/callback'],
      grant_types: ['authorization_code', 'refresh_token', grant],
      response_types: ['code'],
    },
    {
      ...app,
      application_type: 'native',
      token_endpoint_auth_method: 'client_secret_post',
      redirect_uris: ['http://127.0.0.1/oauth/callback'],
      grant_types: ['authorization_code', 'refresh_token', grant],
      response_types: ['code'],
    },
    {
      client_id: 'exchanger',
      client_secret: 'secret of the exchanger',
      redirect_uris: [],
      response_types: [],
      grant_types: [grant],
    },
  ],
  jwks: { keys },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  scopes: ['openid', 'email', 'profile'],
  features: { devInteractions: { enabled: false } },
  pkce: { required: () => true },
  issueRefreshToken: () => true,
  rotateRefreshToken: false,
  ttl: {
    ...{ AccessToken: 600, AuthorizationCode: 60, Grant: 3600, IdToken: 600 },
    ...{ Interaction: 600, RefreshToken: 3600, Session: 3600 },
  },
  interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
  findAccount: (_: unknown, sub: string) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Olga', email: 'olga@corp.test', email_verified: true }),
  }),
  loadExistingGrant: async ({ oidc }: Context) => {
    const given = new (provider().Grant)({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    })
    given.addOIDCScope('openid email profile')
    await given.save()
    return given
  },
})

export const openCompany = async (): Promise<Company> => {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  const key = { alg: 'RS256', use: 'sig', kid: 'company' }
  const jwks = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), ...key }] })
  const script: CompanyScript = {
    ...{ deny: undefined, claims: {}, header: {}, answer: {}, silent: false, over: false },
  }
  const exchanges: { form: Fields; subject: Fields; authorization: string }[] = []
  const refreshes: Fields[] = []
  const authorizations: Record<string, string>[] = []
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const keys = [{ ...(await exportJWK(privateKey)), ...key }]
  const provider: Provider = new Provider(
    url,
    configuration(keys, () => provider),
  )

  const issue = async (form: Fields, from: string): Promise<Fields> => {
    const wanted = form['requested_token_type']
    if (wanted !== kind('id-jag'))
      return {
        access_token: `exchanged-${exchanges.length}`,
        issued_token_type: kind('access_token'),
        token_type: 'Bearer',
        expires_in: 3600,
      }
    const claims = { resource: form['resource'], client_id: atServers[from], ...script.claims }
    const jag = new SignJWT({ aud: form['audience'] as string, ...claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'oauth-id-jag+jwt', kid: 'company', ...script.header })
      .setIssuer(url)
      .setSubject('olga')
      .setJti(randomBytes(8).toString('hex'))
      .setIssuedAt()
      .setExpirationTime('5m')
    return {
      access_token: await jag.sign(privateKey),
      issued_token_type: wanted,
      token_type: 'N_A',
      expires_in: 300,
    }
  }
  const subjectOf = async (form: Fields, from: string): Promise<Fields> => {
    const token = String(form['subject_token'])
    if (form['subject_token_type'] !== kind('id_token')) return {}
    await jwtVerify(token, jwks, { issuer: url, audience: from, clockTolerance: 3600 })
    return decodeJwt(token)
  }
  provider.registerGrantType(
    grant,
    async (context) => {
      const form: Fields = { ...context.oidc.params }
      const from = context.oidc.client.clientId
      const subject = await subjectOf(form, from)
      exchanges.push({ form, subject, authorization: context.get('authorization') })
      context.status = script.deny ? 400 : 200
      context.body = script.deny ?? { ...(await issue(form, from)), ...script.answer }
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'],
  )
  provider.use(async (context, next) => {
    if (context.path === '/auth')
      authorizations.push(Object.fromEntries(new URLSearchParams(context.querystring)))
    await next()
    if (context.path !== '/token' || context.oidc.params['grant_type'] !== 'refresh_token') return
    refreshes.push({ ...context.oidc.params })
    if (script.over) {
      context.status = 400
      context.body = { error: 'invalid_grant' }
    } else if (script.silent) context.body = { ...(context.body as Fields), id_token: undefined }
  })
  const answer = provider.callback()
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (!request.url?.startsWith('/interaction/')) return answer(request, response)
    provider
      .interactionFinished(request, response, { login: { accountId: 'olga' }, consent: {} })
      .catch((error: unknown) => response.writeHead(500).end(String(error)))
  })
  return {
    url,
    clientId: client.client_id,
    clientSecret: client.client_secret,
    app: { clientId: app.client_id, clientSecret: app.client_secret },
    script,
    exchanges,
    refreshes,
    authorizations,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
