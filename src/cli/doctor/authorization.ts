// The steps of a client at the authorization server: it registers, opens the authorization endpoint, and redeems a
// code. Nobody signs in, and nothing is issued: the code is made up.
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { encodeBase64url } from '../../kit/bytes.ts'
import {
  type HttpAnswer,
  type Ask,
  type Document,
  formBody,
  isAnswer,
  jsonBody,
  objectOf,
  quote,
  textsOf,
} from './exchange.ts'
import { type ClientName, type Finding, type DoctorStep, skipped, stepOf } from './findings.ts'

/** What is known of the authorization server when a client comes to it. */
export interface ServerFacts {
  readonly metadata: Document
  /** Goes into `resource` (RFC 8707 §2). */
  readonly resource: string
  readonly scopes: readonly string[]
}

/** A client that the server knows. */
interface KnownClient {
  readonly id: string
  readonly secret?: string
  readonly redirectUri: string
}

export interface Registered {
  readonly step: DoctorStep
  readonly client?: KnownClient | undefined
}

interface Registration {
  readonly clients: readonly ClientName[]
  readonly redirectUris: readonly string[]
}

const loopbackRedirect = 'http://127.0.0.1:33418/callback'

/** As these clients register (RFC 7591 §2), with the redirect URIs that were seen of them in 2026. */
const registrations: readonly Registration[] = [
  { clients: ['Claude Code', 'Codex', 'mcp-remote', 'MCP Inspector'], redirectUris: [loopbackRedirect] },
  { clients: ['claude.ai'], redirectUris: ['https://claude.ai/api/mcp/auth_callback'] },
  { clients: ['ChatGPT'], redirectUris: ['https://chatgpt.com/connector_platform_oauth_redirect'] },
  {
    clients: ['Cursor'],
    redirectUris: [
      'cursor://anysphere.cursor-mcp/oauth/callback',
      'https://www.cursor.com/agents/mcp/oauth/callback',
      'http://localhost:8787/callback',
    ],
  },
  {
    clients: ['VS Code'],
    redirectUris: [
      'https://insiders.vscode.dev/redirect',
      'https://vscode.dev/redirect',
      'http://127.0.0.1/',
      'http://127.0.0.1:33418/',
    ],
  },
]

/** A client ID metadata document that everybody can read, for servers without registration. */
const documentClient: KnownClient = {
  id: 'https://claude.ai/oauth/claude-code-client-metadata',
  redirectUri: 'http://localhost:3118/callback',
}

const registrationBody = ({ redirectUris }: Registration) =>
  jsonBody({
    client_name: 'postern doctor',
    redirect_uris: redirectUris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  })

/** What RFC 6749 §5.2 and RFC 7591 §3.2.2 put into an error, or the status. */
const errorOf = ({ status, text }: HttpAnswer): string => {
  const { error, error_description: description } = objectOf(text) ?? {}
  return typeof error === 'string'
    ? `status ${status}, ${quote(error)}${typeof description === 'string' ? `: ${quote(description)}` : ''}`
    : `status ${status}`
}

const answerFinding = (
  endpoint: string,
  { text }: HttpAnswer,
  { redirectUris }: Registration,
): Finding | undefined => {
  const {
    client_id: id,
    client_secret: secret,
    client_secret_expires_at: expires,
    redirect_uris: uris,
  } = objectOf(text) ?? {}
  const wrong =
    typeof id !== 'string'
      ? `client_id is ${quote(id)}`
      : !textsOf(uris).some((uri) => redirectUris.includes(uri))
        ? `redirect_uris is ${quote(uris)}`
        : secret !== undefined && !Number.isInteger(expires)
          ? `client_secret_expires_at is ${quote(expires)}`
          : undefined
  return wrong === undefined
    ? undefined
    : { code: 'doctor.registration-answer', evidence: `In the answer of ${endpoint}, ${wrong}.` }
}

const refusalOf = (answer: HttpAnswer, { clients, redirectUris }: Registration): Finding =>
  answer.status === 429
    ? { code: 'doctor.registration-limit', evidence: `Registration answers with ${errorOf(answer)}.` }
    : {
        code: 'doctor.registration-refused',
        clients,
        evidence: `A registration with ${redirectUris.join(', ')} is answered with ${errorOf(answer)}.`,
      }

const isClosed = ({ status }: HttpAnswer): boolean => status === 401 || status === 403 || status === 404

const closed = (evidence: string): Registered => ({
  step: stepOf('registration', 'Clients cannot register.', [{ code: 'flow.registration-off', evidence }]),
})

const clientOf = ({ text }: HttpAnswer, { redirectUris }: Registration): KnownClient | undefined => {
  const { client_id: id, client_secret: secret } = objectOf(text) ?? {}
  const [redirectUri = ''] = redirectUris
  return typeof id === 'string'
    ? { id, redirectUri, ...(typeof secret === 'string' ? { secret } : {}) }
    : undefined
}

interface Attempt {
  readonly finding?: Finding | undefined
  readonly client?: KnownClient | undefined
}

const judgeRegistration = (endpoint: string, answer: HttpAnswer, registration: Registration): Attempt =>
  answer.status === 201 || answer.status === 200
    ? { finding: answerFinding(endpoint, answer, registration), client: clientOf(answer, registration) }
    : { finding: refusalOf(answer, registration) }

const registerAll = async (endpoint: string, ask: Ask): Promise<Registered> => {
  const attempts: Attempt[] = []
  for (const registration of registrations) {
    const answer = await ask(endpoint, registrationBody(registration))
    if (!isAnswer(answer)) return closed(`${endpoint}: ${quote(answer.failure)}.`)
    if (attempts.length === 0 && isClosed(answer)) return closed(`${endpoint}: ${errorOf(answer)}.`)
    attempts.push(judgeRegistration(endpoint, answer, registration))
    if (answer.status === 429) break
  }
  const client = attempts.find((attempt) => attempt.client)?.client
  const findings = attempts.flatMap(({ finding }) => finding ?? [])
  const say = client ? 'Clients can register.' : 'No client could register.'
  return { step: stepOf('registration', say, findings), client }
}

/** 5: how a client that the server does not know gets an ID (RFC 7591, client ID metadata documents). */
export const checkRegistration = async (
  { metadata }: ServerFacts,
  ask: Ask,
  register: boolean,
): Promise<Registered> => {
  const documents = metadata['client_id_metadata_document_supported'] === true
  const endpoint = metadata['registration_endpoint']
  if (typeof endpoint === 'string' && register) {
    const { step, client } = await registerAll(endpoint, ask)
    return { step, client: client ?? (documents ? documentClient : undefined) }
  }
  if (documents)
    return {
      step: stepOf('registration', 'Clients identify themselves with a client ID metadata document.'),
      client: documentClient,
    }
  return typeof endpoint === 'string'
    ? { step: skipped('registration', 'Not tried (--no-register).') }
    : {
        step: stepOf('registration', 'Clients cannot register.', [
          {
            code: 'flow.registration-off',
            evidence:
              'The metadata has neither registration_endpoint nor client_id_metadata_document_supported.',
          },
        ]),
      }
}

const codeVerifier = 'a'.repeat(43)

const challengeOf = async (): Promise<string> =>
  encodeBase64url(
    new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(codeVerifier))),
  )

const authorizationUrl = async (
  { metadata, resource, scopes }: ServerFacts,
  clientId: string,
  redirectUri: string,
): Promise<string> => {
  const url = new URL(String(metadata['authorization_endpoint']))
  const parameters = {
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    state: 'postern-doctor',
    code_challenge: await challengeOf(),
    code_challenge_method: 'S256',
    resource,
    ...(scopes.length > 0 ? { scope: scopes.join(' ') } : {}),
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/** Where an answer sends the browser. */
const targetOf = (at: string, { status, headers }: HttpAnswer): URL | undefined => {
  const location = headers.get('location') ?? ''
  return status >= 300 && status < 400 && URL.canParse(location, at) ? new URL(location, at) : undefined
}

const strangerId = 'postern-doctor-unknown-client'
const strangerRedirect = 'https://client.invalid/callback'

const openRedirect = async (facts: ServerFacts, ask: Ask): Promise<readonly Finding[]> => {
  const at = await authorizationUrl(facts, strangerId, strangerRedirect)
  const answer = await ask(at)
  return isAnswer(answer) && targetOf(at, answer)?.hostname === new URL(strangerRedirect).hostname
    ? [
        {
          code: 'doctor.open-redirect',
          evidence: `An unknown client_id is redirected to ${strangerRedirect}.`,
        },
      ]
    : []
}

/** What is wrong with the answer to an authorization request that is right; undefined when nothing is. */
const refusedRequest = async (
  facts: ServerFacts,
  clientId: string,
  redirectUri: string,
  ask: Ask,
): Promise<string | undefined> => {
  const at = await authorizationUrl(facts, clientId, redirectUri)
  const answer = await ask(at, { headers: { accept: 'text/html' } })
  if (!isAnswer(answer)) return quote(answer.failure)
  if (answer.status >= 400) return errorOf(answer)
  const error = targetOf(at, answer)?.searchParams.get('error')
  return error === null || error === undefined ? undefined : `error=${quote(error)}`
}

/** The same redirect URI on another port; undefined where it is no loopback one (RFC 8252 §7.3). */
const onOtherPort = (redirectUri: string): string | undefined =>
  isLoopbackUrl(redirectUri) ? redirectUri.replace(/:\d+\//, ':49152/') : undefined

const clientFindings = async (
  facts: ServerFacts,
  { id, redirectUri }: KnownClient,
  ask: Ask,
): Promise<readonly Finding[]> => {
  const refused = await refusedRequest(facts, id, redirectUri, ask)
  if (refused !== undefined)
    return [{ code: 'doctor.authorize', evidence: `An authorization request is answered with ${refused}.` }]
  const otherPort = onOtherPort(redirectUri)
  const portRefused = otherPort === undefined ? undefined : await refusedRequest(facts, id, otherPort, ask)
  return portRefused === undefined
    ? []
    : [
        {
          code: 'doctor.loopback-port',
          evidence: `${otherPort} is answered with ${portRefused}; ${redirectUri} was registered.`,
          clients: ['Claude Code', 'Codex', 'VS Code'],
        },
      ]
}

/** 6: whether the authorization endpoint takes a client to the sign-in page, and strangers nowhere. */
export const checkAuthorize = async (
  facts: ServerFacts,
  client: KnownClient | undefined,
  ask: Ask,
): Promise<DoctorStep> => {
  const strangers = await openRedirect(facts, ask)
  if (!client && strangers.length === 0) return skipped('authorize', 'No client ID to try it with.')
  const findings = [...strangers, ...(client ? await clientFindings(facts, client, ask) : [])]
  return stepOf(
    'authorize',
    findings.length === 0 ? 'It leads to a sign-in page.' : 'It does not do what clients need.',
    findings,
  )
}

/** 7: whether the token endpoint refuses a code that was never issued, and says so as clients expect. */
export const checkToken = async (
  { metadata, resource }: ServerFacts,
  client: KnownClient | undefined,
  ask: Ask,
): Promise<DoctorStep> => {
  const endpoint = String(metadata['token_endpoint'])
  const answer = await ask(
    endpoint,
    formBody({
      grant_type: 'authorization_code',
      code: 'postern-doctor-no-such-code',
      redirect_uri: client?.redirectUri ?? loopbackRedirect,
      code_verifier: codeVerifier,
      resource,
      client_id: client?.id ?? strangerId,
      ...(client?.secret === undefined ? {} : { client_secret: client.secret }),
    }),
  )
  if (!isAnswer(answer))
    return stepOf('token', 'The token endpoint does not answer.', [
      { code: 'doctor.token-answer', evidence: `${endpoint}: ${quote(answer.failure)}.` },
    ])
  const { error, access_token: token } = objectOf(answer.text) ?? {}
  if (token !== undefined)
    return stepOf('token', 'The token endpoint takes any code.', [
      { code: 'doctor.token-open', evidence: `${endpoint} issued a token for a made-up code.` },
    ])
  const right = (answer.status === 400 || answer.status === 401) && typeof error === 'string'
  return stepOf(
    'token',
    right
      ? `It refuses a made-up code (${quote(error)}).`
      : 'It refuses a made-up code in another way than clients expect.',
    right ? [] : [{ code: 'doctor.token-answer', evidence: `${endpoint} answers with ${errorOf(answer)}.` }],
  )
}
