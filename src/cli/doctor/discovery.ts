// The first steps of a client: the network, the challenge, and the metadata of the server and of its authorization
// server.
import {
  metadataUrls,
  authorizationServerUrls,
  coversEndpoint,
  type Challenge,
  readChallenge,
} from '../../kit/discovery.ts'
import { isAddress } from '../../kit/addresses.ts'
import { networkCause } from '../../kit/log.ts'
import { sameIssuer } from '../../kit/urls.ts'
import { initialize } from '../../services/probe-steps.ts'
import {
  type HttpAnswer,
  type Ask,
  type Document,
  type DoctorNetwork,
  isAnswer,
  isPrivateHost,
  jsonBody,
  objectOf,
  quote,
  textsOf,
} from './exchange.ts'
import { type Finding, type FindingCode, type DoctorStep, findingKinds, stepOf } from './findings.ts'

const dayMs = 86_400_000

/** The first request of every client (MCP 2025-11-25 lifecycle). */
export const firstRequest = jsonBody(initialize, 'application/json, text/event-stream')

const networkCodes: readonly (readonly [RegExp, FindingCode])[] = [
  [/resolved/, 'doctor.name'],
  [/refused/, 'doctor.refused'],
  [/TLS/, 'doctor.tls'],
  [/in time/, 'doctor.timeout'],
]

/** Why there was no answer, as a finding. */
const networkFinding = (failure: string): Finding => {
  const cause = networkCause(failure) ?? ''
  const code = networkCodes.find(([form]) => form.test(cause))?.[1] ?? 'doctor.network'
  return { code, evidence: `${quote(failure)}.` }
}

const addressFindings = (url: URL, addresses: readonly string[]): readonly Finding[] => {
  const found: Finding[] = []
  const near = [url.hostname, ...addresses].some(isPrivateHost)
  if (near)
    found.push({
      code: 'doctor.private-address',
      evidence: `${url.hostname} is not reachable from the internet${isAddress(url.hostname) || addresses.length === 0 ? '' : `: ${addresses.join(', ')}`}.`,
    })
  if (near) return found
  if (url.protocol === 'http:')
    found.push({ code: 'doctor.plain-http', evidence: `${url.origin} is plain http.` })
  if (addresses.length > 0 && addresses.every((address) => address.includes(':')))
    found.push({ code: 'doctor.ipv6-only', evidence: `${url.hostname} has IPv6 addresses only.` })
  if (url.protocol === 'https:' && url.port !== '')
    found.push({ code: 'doctor.port', evidence: `The URL uses port ${url.port}.` })
  return found
}

const redirectFinding = (url: URL, { headers }: HttpAnswer): Finding => {
  const location = headers.get('location') ?? ''
  const to = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined
  const evidence = `${url.href} redirects to ${quote(to?.href ?? location)}.`
  return { code: 'doctor.redirect', evidence }
}

/** The user agents with which clients in the cloud come, and those that bot protection likes to stop. */
const otherAgents = ['Claude-User', 'python-httpx/0.28.1', '']

const edgeFindings = async (url: URL, ask: Ask, first: HttpAnswer): Promise<readonly Finding[]> => {
  for (const agent of otherAgents) {
    const again = await ask(url.href, {
      ...firstRequest,
      headers: { ...firstRequest.headers, 'user-agent': agent },
    })
    if (isAnswer(again) && again.status === first.status) continue
    const got = isAnswer(again) ? `status ${again.status}` : quote(again.failure)
    return [
      {
        code: 'flow.edge-block',
        evidence: `With the user agent ${JSON.stringify(agent)} the answer is ${got} instead of status ${first.status}.`,
      },
    ]
  }
  return []
}

const answerFindings = (url: URL, answer: HttpAnswer): readonly Finding[] => {
  const { status, ms } = answer
  if (status >= 300 && status < 400) return [redirectFinding(url, answer)]
  if (status >= 500)
    return [{ code: 'doctor.server-error', evidence: `${url.href} answers with status ${status}.` }]
  if (status === 404)
    return [{ code: 'doctor.not-found', evidence: `Nothing is served at ${url.href} (status 404).` }]
  return ms > 10_000
    ? [{ code: 'doctor.slow', evidence: `The first answer took ${Math.round(ms / 1000)} seconds.` }]
    : []
}

const tlsFindings = (end: number | undefined, now: number): readonly Finding[] =>
  end !== undefined && end - now < 14 * dayMs
    ? [
        {
          code: 'doctor.tls-expires',
          evidence: `The certificate ends in ${Math.floor((end - now) / dayMs)} days.`,
        },
      ]
    : []

/** The first answer, where there is one on which the next steps can rest. */
export interface Reached {
  readonly step: DoctorStep
  readonly answer?: HttpAnswer
}

/** 1: names, addresses, TLS, redirects, and what stands in front of the server. */
export const checkReachable = async (
  url: URL,
  addresses: readonly string[],
  ask: Ask,
  { certificateEnd, now }: DoctorNetwork,
): Promise<Reached> => {
  const answer = await ask(url.href, firstRequest)
  const where = addressFindings(url, addresses)
  if (!isAnswer(answer))
    return {
      step: stepOf('reachable', `${url.origin} cannot be reached.`, [
        networkFinding(answer.failure),
        ...where,
      ]),
    }
  const end = url.protocol === 'https:' ? await certificateEnd(url) : undefined
  const wrong = answerFindings(url, answer)
  const findings = [
    ...wrong,
    ...where,
    ...(wrong.length > 0 ? [] : await edgeFindings(url, ask, answer)),
    ...tlsFindings(end, now()),
  ]
  const facts = [
    addresses.length > 0 ? addresses.slice(0, 3).join(', ') : url.hostname,
    ...(end === undefined ? [] : [`certificate valid for ${Math.floor((end - now()) / dayMs)} days`]),
    `${answer.ms} ms`,
  ]
  const step = stepOf('reachable', `${url.href} answers (${facts.join(', ')}).`, findings)
  return wrong.some(({ code }) => findingKinds[code].severity === 'error') ? { step } : { step, answer }
}

export interface Challenged {
  readonly step: DoctorStep
  /** `open`: no sign-in is needed. */
  readonly access: 'open' | 'login'
  readonly challenge?: Challenge | undefined
}

/** 2: whether a request without a token is told where to sign in (RFC 9728 §5.1). */
export const checkChallenge = (url: URL, { status, headers }: HttpAnswer): Challenged => {
  if (status >= 200 && status < 300)
    return {
      access: 'open',
      step: stepOf('challenge', 'No sign-in is required: the server is open to everyone.'),
    }
  const challenge = readChallenge([headers.get('www-authenticate') ?? ''])
  if (status !== 401)
    return {
      access: 'login',
      challenge,
      step: stepOf('challenge', `A request without a token is answered with status ${status}.`, [
        { code: 'doctor.challenge-status', evidence: `${url.href} answers with status ${status}, not 401.` },
      ]),
    }
  if (challenge?.metadata !== undefined)
    return { access: 'login', challenge, step: stepOf('challenge', '401 with resource_metadata.') }
  const got = headers.get('www-authenticate')
  return {
    access: 'login',
    challenge,
    step: stepOf('challenge', '401 without resource_metadata.', [
      {
        code: 'flow.challenge-stripped',
        evidence:
          got === null ? 'The 401 has no WWW-Authenticate header.' : `WWW-Authenticate is: ${quote(got)}.`,
      },
    ]),
  }
}

export interface Described {
  readonly step: DoctorStep
  /** The authorization server that the metadata names first. */
  readonly issuer?: string
  readonly scopes?: readonly string[]
  readonly metadataUrl?: string
}

const resourceFinding = (url: URL, resource: unknown): Finding | undefined => {
  if (typeof resource === 'string' && coversEndpoint(resource, url)) return undefined
  const evidence = `The metadata says that the resource is ${quote(resource)}; the URL is ${url.href}.`
  const named = typeof resource === 'string' && URL.canParse(resource) ? new URL(resource) : undefined
  return {
    code:
      named?.protocol === 'http:' && url.protocol === 'https:' ? 'flow.scheme-http' : 'flow.resource-differs',
    evidence,
  }
}

const judgeResource = (url: URL, at: string, document: Document): Described => {
  const differs = resourceFinding(url, document['resource'])
  const [issuer] = textsOf(document['authorization_servers'])
  const findings: Finding[] = differs ? [differs] : []
  if (issuer === undefined)
    findings.push({ code: 'doctor.resource-servers', evidence: `${at} names no authorization server.` })
  return {
    step: stepOf('resource', `${at} names ${quote(issuer ?? 'no authorization server')}.`, findings),
    metadataUrl: at,
    ...(issuer === undefined ? {} : { issuer }),
    scopes: textsOf(document['scopes_supported']),
  }
}

/** 3: the protected resource metadata (RFC 9728 §3). */
export const checkResource = async (
  url: URL,
  challenge: Challenge | undefined,
  ask: Ask,
): Promise<Described> => {
  const tried: string[] = []
  const urls = [...metadataUrls({ url }, challenge), ...metadataUrls({ url })]
  for (const at of new Set(urls)) {
    const answer = await ask(at, { headers: { accept: 'application/json' } })
    const document = isAnswer(answer) && answer.status === 200 ? objectOf(answer.text) : undefined
    if (document) return judgeResource(url, at, document)
    const why = isAnswer(answer)
      ? answer.status === 200
        ? 'is no JSON object'
        : `answers with status ${answer.status}`
      : `cannot be read: ${quote(answer.failure)}`
    tried.push(`${at} ${why}`)
  }
  return {
    step: stepOf('resource', 'There is no resource metadata.', [
      { code: 'doctor.resource-missing', evidence: `${tried.join('; ')}.` },
    ]),
  }
}

export interface AuthorizationServer {
  readonly step: DoctorStep
  /** Absent where it does not lead to endpoints that may be asked. */
  readonly metadata?: Document
}

const isSecureEndpoint = (value: unknown): value is string =>
  typeof value === 'string' &&
  URL.canParse(value) &&
  (value.startsWith('https:') || isPrivateHost(new URL(value).hostname))

const serverFindings = (issuer: string, metadata: Document): readonly Finding[] => {
  const found: Finding[] = []
  const named = metadata['issuer']
  if (typeof named !== 'string' || !sameIssuer(named, issuer))
    found.push({
      code: 'doctor.issuer',
      evidence: `The metadata says that the issuer is ${quote(named)}; it was found as ${issuer}.`,
    })
  const missing = ['authorization_endpoint', 'token_endpoint'].filter(
    (key) => !isSecureEndpoint(metadata[key]),
  )
  if (missing.length > 0)
    found.push({
      code: 'doctor.endpoints',
      evidence: `${missing.map((key) => `${key} is ${quote(metadata[key])}`).join('; ')}.`,
    })
  if (!textsOf(metadata['code_challenge_methods_supported']).includes('S256'))
    found.push({
      code: 'doctor.pkce',
      evidence: `code_challenge_methods_supported is ${quote(metadata['code_challenge_methods_supported'])}.`,
    })
  if (!textsOf(metadata['grant_types_supported']).includes('refresh_token'))
    found.push({
      code: 'doctor.no-refresh',
      evidence: `grant_types_supported is ${quote(metadata['grant_types_supported'])}.`,
    })
  return found
}

/** 4: the metadata of the authorization server (RFC 8414 §3, MCP Authorization Server Discovery). */
export const checkServer = async (issuer: string, ask: Ask): Promise<AuthorizationServer> => {
  if (!URL.canParse(issuer))
    return {
      step: stepOf('server', 'The authorization server has no URL.', [
        { code: 'doctor.server-missing', evidence: `${quote(issuer)} is no URL.` },
      ]),
    }
  const tried: string[] = []
  for (const at of authorizationServerUrls(new URL(issuer))) {
    const answer = await ask(at, { headers: { accept: 'application/json' } })
    const metadata = isAnswer(answer) && answer.status === 200 ? objectOf(answer.text) : undefined
    if (metadata) {
      const findings = serverFindings(issuer, metadata)
      const usable = !findings.some(({ code }) => code === 'doctor.endpoints')
      return {
        step: stepOf('server', `${at} describes ${quote(issuer)}.`, findings),
        ...(usable ? { metadata } : {}),
      }
    }
    tried.push(`${at}: ${isAnswer(answer) ? `status ${answer.status}` : quote(answer.failure)}`)
  }
  return {
    step: stepOf('server', `${quote(issuer)} publishes no metadata.`, [
      { code: 'doctor.server-missing', evidence: `${tried.join('; ')}.` },
    ]),
  }
}
