// What a flow came to: its state, and where it stopped, who must act and what to do. Everything is worked out
// from the steps and the time, so that silence is told whether or not a process was running when it began.
import { personKey } from '../kit/records.ts'
import { Refusal, type RefusalCode, refusals } from '../kit/refusal.ts'
import type {
  FlowActor,
  FlowAdmin,
  FlowFilter,
  FlowFinding,
  FlowOwner,
  FlowRecord,
  FlowStep,
  FlowStepKind,
  FlowStory,
  ListedFlow,
} from '../ports/modules.ts'
import type { Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

/** How long the next step may take before its absence is told, ms. */
export const silence = {
  register: 120_000,
  consent: 60_000,
  token: 15_000,
  /** A page, an identity provider or an authorization server. */
  person: 600_000,
} as const

// Refusals, by who must act: the first prefix that fits.

const actors: readonly (readonly [prefix: string, acts: FlowActor, fix: string])[] = [
  [
    'client.unknown',
    'user',
    'In the app, remove this server and add it again, so that the app registers anew.',
  ],
  ['client.document-unreachable', 'operator', 'Let the gateway reach the app’s website.'],
  ['registration.', 'app', 'Report this to the app’s developer.'],
  ['redirect.mismatch', 'app', 'The app must use a redirect URI that it registered.'],
  ['pkce.', 'app', 'The app must send the code verifier of the same attempt.'],
  ['code.blocked', 'operator', 'Unblock the user or the app: postern blocks ls.'],
  ['code.', 'app', 'Connect again in the app. If it happens again, report this to the app’s developer.'],
  ['refresh.', 'app', 'Connect again in the app.'],
  ['resource.', 'app', 'Use the URL of the service as the home page shows it.'],
  ['provider.denied', 'user', 'Sign in again, or ask the administrator of the identity provider for access.'],
  ['provider.', 'operator', 'Compare the settings in oauth_providers with those at the identity provider.'],
  ['person.wrong-provider', 'user', 'Sign in with the provider that this service asks for.'],
  ['person.blocked', 'operator', 'Unblock the user: postern blocks ls.'],
  ['person.', 'operator', 'Add the account to the allow list, or tell the user to use another account.'],
  ['access.blocked', 'operator', 'Unblock the user or the app: postern blocks ls.'],
  ['sign-in.', 'user', 'Check the username and the password.'],
  ['login.', 'user', 'Return to the app and connect again.'],
  ['flow.', 'user', 'Return to the app and connect again.'],
  ['consent.denied', 'user', 'Connect again in the app and allow access.'],
  ['consent.', 'user', 'Return to the app and connect again.'],
  ['connection.denied', 'user', 'Try again and allow access at the MCP server’s authorization server.'],
  ['connection.registration', 'operator', 'Register the gateway there and set client_id in upstream_auth.'],
  ['connection.untrusted', 'operator', 'Compare the server’s metadata with upstream_auth.'],
  ['connection.unreachable', 'server', 'Wait until the server’s authorization server responds.'],
  ['connection.', 'user', 'Return to the app and connect again.'],
  ['upstream.consent', 'user', 'Connect the account on the home page.'],
  ['upstream.', 'server', 'Check that the MCP server is running and reachable: postern validate --connect.'],
  ['process.', 'operator', 'Check the command of the service: postern validate --connect.'],
  ['policy.', 'operator', 'Check the access rules: postern policy explain.'],
  ['storage.', 'operator', 'Check the storage: its disk, its permissions, the root secret.'],
  ['fault', 'operator', 'The log has the cause under the request ID.'],
  ['rate.', 'app', 'Wait a moment. If it happens again, the app repeats requests too fast.'],
]

const says: Readonly<Partial<Record<string, string>>> = { 'sign-in.failed': 'Invalid credentials.' }

/** The finding of a refusal, in its own sentence. */
const refused = (code: string): FlowFinding => {
  const [, acts, fix] = actors.find(([prefix]) => code.startsWith(prefix)) ?? [
    '',
    'app' as const,
    'Report this to the app’s developer.',
  ]
  const say = says[code] ?? (code in refusals ? refusals[code as RefusalCode].say : code)
  return { code, acts, say, fix }
}

// Silence.

const seconds = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`

const appOf = ({ clientName, client }: FlowRecord): string => clientName ?? client ?? 'The app'

interface Silence {
  readonly after: number
  readonly state: 'stalled' | 'abandoned'
  readonly finding: (flow: FlowRecord, step: FlowStep) => FlowFinding
}

const stopped = (after: number, code: string, say: (app: string) => string, fix: string): Silence => ({
  after,
  state: 'stalled',
  finding: (flow) => ({ code, acts: 'app', say: say(appOf(flow)), fix }),
})

const left = (say: (step: FlowStep) => string): Silence => ({
  after: silence.person,
  state: 'abandoned',
  finding: (_, step) => ({
    code: 'flow.left',
    acts: 'user',
    say: say(step),
    fix: 'Return to the app and connect again.',
  }),
})

const leftPage = left(() => 'The user left the page without an answer.')

/** What is told when nothing follows a step. */
const silences: Readonly<Partial<Record<FlowStepKind, Silence>>> = {
  register: stopped(
    silence.register,
    'flow.registered-only',
    (app) => `${app} registered and sent nobody to sign in.`,
    'Its browser did not open: look for a URL in the app and open it yourself.',
  ),
  authorize: leftPage,
  'sign-in': leftPage,
  'provider-redirect': left(
    ({ answer }) => `The user was sent to ${String(answer['to'])} and has not come back.`,
  ),
  'provider-callback': leftPage,
  'upstream-connect': left(
    ({ answer }) => `The user was sent to ${String(answer['to'] ?? 'the server')} and has not come back.`,
  ),
  token: stopped(
    silence.token,
    'flow.token-unused',
    (app) => `${app} has a token and has not used it.`,
    'If the app shows an error, something between app and gateway may remove the Authorization header or block the app. Otherwise restart the app.',
  ),
}

/** An answer on the consent page, where the app has to fetch its token next; or nobody answered. */
const codeUnused = stopped(
  silence.consent,
  'flow.code-unused',
  (app) => `${app} did not fetch its token.`,
  'The browser’s answer did not reach the app, or the app stopped. Start the app and connect again.',
)

const silenceAfter = ({ step, result }: FlowStep): Silence | undefined => {
  if (step === 'consent') return result === 'done' ? codeUnused : leftPage
  return silences[step]
}

// The story.

const isCalled = ({ step, result }: FlowStep): boolean => step === 'first-call' && result === 'done'

/** How late the first call came after its token, ms; 0 when it was in time. */
const lateness = ({ steps }: FlowRecord): number => {
  const token = steps.find(({ step, result }) => step === 'token' && result === 'done')
  const call = steps.find(isCalled)
  return token && call ? Math.max(0, call.at - token.at - silence.token) : 0
}

const revoked = ({ answer }: FlowStep): FlowFinding => ({
  code: 'flow.revoked',
  acts: 'user',
  say: `Access was ended (${String(answer['reason'] ?? 'revoked')}).`,
  fix: 'To use the app again, connect again in the app.',
})

/** An app that comes again and again, whatever became of this time. */
const repeated = (flow: FlowRecord): FlowFinding | undefined => {
  const { attempts = 1, registrations = 1 } = flow
  if (registrations >= 3)
    return {
      code: 'flow.registers-again',
      acts: 'app',
      say: `${appOf(flow)} registered ${registrations} times within an hour.`,
      fix: 'The app should keep its client_id. Report this to the app’s developer.',
    }
  if (attempts < 3) return undefined
  return {
    code: 'flow.login-repeated',
    acts: 'app',
    say: `${appOf(flow)} asked this user for access ${attempts} times within 10 minutes.`,
    fix: 'The app loses its tokens or does not use them. Update or restart it; nothing has to change here.',
  }
}

const completed = (flow: FlowRecord): FlowStory => {
  const again = repeated(flow)
  if (again) return { state: 'completed', finding: again }
  const late = lateness(flow)
  if (late === 0) return { state: 'completed' }
  const say = `The first call came ${seconds(late + silence.token)} after the token, late by ${seconds(late)}.`
  return { state: 'completed', finding: { code: 'flow.late', acts: 'nobody', say } }
}

/** The state of a flow at a time, and what there is to say of it. */
export const storyOf = (flow: FlowRecord, now: number): FlowStory => {
  const last = flow.steps.at(-1)
  if (!last) return { state: 'open' }
  if (last.step === 'revoke') return { state: 'failed', finding: revoked(last) }
  if (last.result === 'refused')
    return {
      state: last.step === 'sign-in' && now - last.at < silence.person ? 'waiting' : 'failed',
      finding: refused(last.code ?? 'fault'),
    }
  if (flow.steps.some(isCalled)) return completed(flow)
  const quiet = silenceAfter(last)
  if (!quiet) return { state: 'open' }
  if (now - last.at >= quiet.after) return { state: quiet.state, finding: quiet.finding(flow, last) }
  const again = repeated(flow)
  return { state: quiet.state === 'abandoned' ? 'waiting' : 'open', ...(again && { finding: again }) }
}

// A flow as it is told.

const timeOf = (ms: number): string => new Date(ms).toISOString()

/**
 * `own`: for the person of the flow, who is told neither what is the operator's to know nor addresses that are
 * not where they ask from.
 */
export const listedFlow = (flow: FlowRecord, now: number, own?: { readonly ip: string }): ListedFlow => {
  const { id, at, client, clientName, service, person, grant, steps, cut, previous } = flow
  return {
    id,
    at: timeOf(at),
    ...storyOf(flow, now),
    ...(client !== undefined && { client }),
    ...(clientName !== undefined && { client_name: clientName }),
    ...(service !== undefined && { service }),
    ...(person !== undefined && { user: person }),
    ...(grant !== undefined && { grant }),
    ...(previous !== undefined && { previous }),
    steps: steps.map(({ at: time, ip, requestId, answer, ...step }, i) => {
      const { why, ...told } = answer
      return {
        at: timeOf(time),
        after_ms: time - (steps[i - 1]?.at ?? time),
        ...step,
        answer: own || why === undefined ? told : answer,
        ...(ip !== undefined && (!own || own.ip === ip) && { ip }),
        ...(requestId !== undefined && { request_id: requestId }),
      }
    }),
    ...(cut && { cut }),
  }
}

// Flows as they are looked for: by administrators all, by anybody else their own. The command line does the same
// through the same functions (cli/flow-record.ts).

/** Where flows are read (flows/recorder.ts). */
interface FlowSource {
  flush(): Promise<void>
  read(id: string): Promise<FlowRecord | undefined>
  pages(): AsyncIterable<readonly FlowRecord[]>
  ofPerson(person: string): Promise<readonly FlowRecord[]>
}

/** Looked at for one answer. */
const mostRead = 20_000

const matches = (flow: ListedFlow, { user, client, service, state }: FlowFilter): boolean =>
  (user === undefined || flow.user === user || flow.user?.split(':').slice(1).join(':') === user) &&
  (client === undefined || flow.client === client || flow.client_name === client) &&
  (service === undefined || flow.service === service) &&
  (state === undefined || flow.state === state)

const isNamed = ({ id, grant, client, steps }: FlowRecord, named: string): boolean =>
  [id, grant, client].includes(named) || steps.some(({ requestId }) => requestId === named)

export const createFlowAdmin = (source: FlowSource, now: () => number): FlowAdmin => {
  async function* pagesOf(own: FlowOwner | undefined): AsyncGenerator<readonly FlowRecord[]> {
    await source.flush()
    if (own) yield await source.ofPerson(own.person)
    else yield* source.pages()
  }
  return {
    async list(filter, limit, own) {
      const { since = 0 } = filter
      const flows: ListedFlow[] = []
      let read = 0
      for await (const page of pagesOf(own)) {
        for (const flow of page) {
          if (flow.at < since) return { flows, truncated: false }
          const listed = listedFlow(flow, now(), own)
          if (!matches(listed, filter)) continue
          if (flows.length === limit) return { flows, truncated: true }
          flows.push(listed)
        }
        read += page.length
        if (read >= mostRead) return { flows, truncated: true }
      }
      return { flows, truncated: false }
    },
    async show(id, own) {
      await source.flush()
      const direct = await source.read(id)
      if (direct && (!own || direct.person === own.person)) return listedFlow(direct, now(), own)
      let read = 0
      for await (const page of pagesOf(own)) {
        const found = page.find((flow) => isNamed(flow, id))
        if (found) return listedFlow(found, now(), own)
        if ((read += page.length) >= mostRead) break
      }
      throw new Refusal('flow.unknown', id.slice(0, 80))
    },
  }
}

// The API.

export interface FlowsApiDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly flowAdmin: FlowAdmin | undefined
  readonly sessions: Sessions
  readonly isAdmin: (person: Person) => boolean
}

const defaultLimit = 50
const mostListed = 500

const limitOf = (text: string | undefined): number => {
  if (text === undefined) return defaultLimit
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= mostListed) return limit
  throw new Refusal('request.malformed', 'limit', { say: `limit must be a number from 1 to ${mostListed}.` })
}

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `30m`, `24h`, `7d` or a date in ISO 8601, as epoch ms; undefined for anything else. */
const readSince = (text: string, now: number): number | undefined => {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? []
  if (number !== undefined) return now - Number(number) * (unitMs[unit ?? ''] ?? 0)
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? undefined : at
}

const sinceOf = (text: string | undefined, now: number): number | undefined => {
  if (text === undefined) return undefined
  const since = readSince(text, now)
  if (since !== undefined) return since
  throw new Refusal('request.malformed', 'since', { say: 'since must be like 30m, 24h, 7d or 2026-11-29.' })
}

const init = { headers: { 'cache-control': 'no-store' } }

const idOf = (request: Request): string => new URL(request.url).pathname.slice('/api/flows/'.length)

/** GET /api/flows?user=&client=&service=&state=&since=&limit=, /api/flows/:id */
export const createFlowsApi =
  ({ runtime, flowAdmin, sessions, isAdmin }: FlowsApiDeps): Handler =>
  async (request, { ip }) => {
    const session = await sessions.of(request)
    if (!session) throw new Refusal('login.required', 'session cookie missing or expired')
    if (!flowAdmin)
      throw new Refusal('flow.unknown', 'flows are not recorded', { say: 'Flows are not recorded.' })
    const own = isAdmin(session.person) ? undefined : { person: personKey(session.person), ip }
    const id = idOf(request)
    if (id !== '') return Response.json(await flowAdmin.show(id, own), init)
    const query = new URL(request.url).searchParams
    const named = (name: string): string | undefined => query.get(name) || undefined
    const filter = {
      user: named('user'),
      client: named('client'),
      service: named('service'),
      state: named('state'),
      since: sinceOf(named('since'), runtime.now()),
    }
    return Response.json(await flowAdmin.list(filter, limitOf(named('limit')), own), init)
  }
