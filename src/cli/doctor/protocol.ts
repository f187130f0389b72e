// What clients in browsers need, and the first call with a token.
import type { Outbound, Timer } from '../../ports/runtime.ts'
import { probeServer } from '../../services/probe.ts'
import { type HttpAnswer, type Ask, type Document, isAnswer } from './exchange.ts'
import { type Finding, type DoctorStep, stepOf } from './findings.ts'
import { firstRequest } from './discovery.ts'

const origin = 'http://localhost:6274'

const allows = ({ headers }: HttpAnswer): boolean =>
  ['*', origin].includes(headers.get('access-control-allow-origin') ?? '')

const names = ({ headers }: HttpAnswer, field: string): readonly string[] =>
  (headers.get(field) ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())

/** What a page needs to send (Fetch, CORS protocol): a `*` does not cover Authorization. */
const sent = ['authorization', 'content-type', 'mcp-protocol-version', 'mcp-session-id']

const preflightFault = async (url: string, method: string, fields: readonly string[], ask: Ask) => {
  const answer = await ask(url, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': method,
      'access-control-request-headers': fields.join(','),
    },
  })
  if (!isAnswer(answer) || !allows(answer) || answer.status >= 300)
    return `${url} refuses the preflight request`
  const allowed = names(answer, 'access-control-allow-headers')
  const missing = fields.filter(
    (field) => !allowed.includes(field) && (field === 'authorization' || !allowed.includes('*')),
  )
  return missing.length > 0 ? `${url} does not allow the header ${missing.join(', ')}` : undefined
}

const exposeFault = async (url: URL, login: boolean, ask: Ask): Promise<string | undefined> => {
  const answer = await ask(url.href, { ...firstRequest, headers: { ...firstRequest.headers, origin } })
  if (!isAnswer(answer) || !allows(answer)) return `A page may not read the answer of ${url.href}`
  const exposed = names(answer, 'access-control-expose-headers')
  const wanted = login ? 'www-authenticate' : 'mcp-session-id'
  const hidden = answer.headers.has(wanted) && !exposed.includes(wanted) && !exposed.includes('*')
  return hidden ? `${url.href} does not expose the header ${wanted}` : undefined
}

const readFault = async (url: string, ask: Ask): Promise<string | undefined> => {
  const answer = await ask(url, { headers: { origin } })
  return isAnswer(answer) && allows(answer) ? undefined : `A page may not read ${url}`
}

export interface BrowserFacts {
  readonly url: URL
  readonly login: boolean
  readonly metadataUrl: string | undefined
  readonly metadata: Document | undefined
}

/** 8: what a browser enforces for clients that run in a page. */
export const checkBrowser = async (
  { url, login, metadataUrl, metadata }: BrowserFacts,
  ask: Ask,
): Promise<DoctorStep> => {
  const faults = [await preflightFault(url.href, 'POST', sent, ask), await exposeFault(url, login, ask)]
  if (metadataUrl !== undefined) faults.push(await readFault(metadataUrl, ask))
  for (const key of ['token_endpoint', 'registration_endpoint']) {
    const endpoint = metadata?.[key]
    if (typeof endpoint === 'string')
      faults.push(await preflightFault(endpoint, 'POST', ['content-type'], ask))
  }
  const findings = faults.flatMap((fault): readonly Finding[] =>
    fault === undefined ? [] : [{ code: 'doctor.cors', evidence: `${fault}.` }],
  )
  return stepOf(
    'browser',
    findings.length > 0
      ? 'A client in a browser cannot use this server.'
      : 'CORS lets clients in browsers pass.',
    findings,
  )
}

/** 9: the handshake and the tools, with a token where one is needed. */
export const checkCall = async (
  url: URL,
  token: string | undefined,
  { outbound, timer }: { readonly outbound: Outbound; readonly timer: Timer },
): Promise<DoctorStep> => {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const steps = await probeServer(
    url.href,
    {
      outbound: (at, options = {}) =>
        outbound(at, { ...options, headers: { ...options.headers, ...authorization } }),
      timer,
    },
    () => undefined,
  )
  if (token !== undefined && steps.some(({ step, result }) => step === 'authorization' && result === 'yes'))
    return stepOf('call', 'The token is refused.', [
      { code: 'doctor.token-refused', evidence: `${url.href} refuses the token.` },
    ])
  const bad = steps.find(({ step, result }) => result === 'no' && step !== 'authorization')
  if (bad) return stepOf('call', 'No MCP server answers.', [{ code: 'doctor.mcp', evidence: bad.say }])
  return stepOf(
    'call',
    steps
      .filter(({ step }) => step === 'mcp' || step === 'tools')
      .map(({ say }) => say)
      .join(' '),
  )
}
