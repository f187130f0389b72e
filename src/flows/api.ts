// Flows as they are looked for: by administrators all, by anybody else their own. The command line does the same
// through the same functions (cli/flow-record.ts).
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { FlowAdmin, FlowFilter, FlowOwner, FlowRecord, ListedFlow } from '../ports/flow-record.ts'
import type { Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { serviceGone } from './findings.ts'
import { accessOf, comparedFlows, isGoodBefore, listedFlow, sharedFlow } from './listing.ts'
import { reportOf } from './report.ts'

/** Where flows are read (flows/recorder.ts). */
interface FlowSource extends Pick<FlowAdmin, 'sweep' | 'tellOf'> {
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

interface FlowAdminDeps {
  readonly source: FlowSource
  readonly now: () => number
  /** Of the gateway. */
  readonly version: string
  /** False where it is not known which services there are. */
  readonly isGone: (service: string) => boolean
}

/** How flows are told: one of many, and one by itself. */
const createTelling = ({ source, now, isGone }: FlowAdminDeps) => {
  const listed = (flow: FlowRecord, own: FlowOwner | undefined): ListedFlow => {
    const told = listedFlow(flow, now(), own)
    const isOver = told.state === 'completed' || told.state === 'open'
    return isOver && told.service !== undefined && isGone(told.service)
      ? { ...told, finding: serviceGone }
      : told
  }
  /** Of the same person; where nobody has signed in, none is looked for. */
  const goodBefore = async (flow: FlowRecord): Promise<FlowRecord | undefined> => {
    const others = flow.person === undefined ? [] : await source.ofPerson(flow.person)
    return others.find((other) => isGoodBefore(flow, other, now()))
  }
  const shown = async (flow: FlowRecord, own: FlowOwner | undefined): Promise<ListedFlow> => {
    const good = await goodBefore(flow)
    const before = flow.previous === undefined ? undefined : await source.read(flow.previous)
    return {
      ...listed(flow, own),
      ...(good && { compare: comparedFlows(flow, good) }),
      ...(before && { previous_access: accessOf(before, now()) }),
    }
  }
  return { listed, shown }
}

export const createFlowAdmin = (deps: FlowAdminDeps): FlowAdmin => {
  const { source, now, version } = deps
  const { listed, shown } = createTelling(deps)
  async function* pagesOf(own: FlowOwner | undefined): AsyncGenerator<readonly FlowRecord[]> {
    await source.flush()
    if (own) yield await source.ofPerson(own.person)
    else yield* source.pages()
  }
  const found = async (id: string, own: FlowOwner | undefined): Promise<FlowRecord> => {
    const direct = await source.read(id)
    if (direct && (!own || direct.person === own.person)) return direct
    let read = 0
    for await (const page of pagesOf(own)) {
      const named = page.find((flow) => isNamed(flow, id))
      if (named) return named
      if ((read += page.length) >= mostRead) break
    }
    throw new Refusal('flow.unknown', id.slice(0, 80))
  }
  return {
    sweep: source.sweep,
    tellOf: source.tellOf,
    async list(filter, limit, own) {
      const { since = 0 } = filter
      const flows: ListedFlow[] = []
      let read = 0
      for await (const page of pagesOf(own)) {
        for (const flow of page) {
          if (flow.at < since) return { flows, truncated: false }
          const told = listed(flow, own)
          if (!matches(told, filter)) continue
          if (flows.length === limit) return { flows, truncated: true }
          flows.push(told)
        }
        read += page.length
        if (read >= mostRead) return { flows, truncated: true }
      }
      return { flows, truncated: false }
    },
    async show(id, own, share = false) {
      await source.flush()
      const flow = await found(id, own)
      return share ? sharedFlow(flow, now(), own) : shown(flow, own)
    },
    async report(id, own) {
      await source.flush()
      return reportOf(await shown(await found(id, own), own), version)
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

/** GET /api/flows?user=&client=&service=&state=&since=&limit=, /api/flows/:id?share=1, ?format=markdown */
export const createFlowsApi =
  ({ runtime, flowAdmin, sessions, isAdmin }: FlowsApiDeps): Handler =>
  async (request, { ip }) => {
    const session = await sessions.of(request)
    if (!session) throw new Refusal('login.required', 'session cookie missing or expired')
    if (!flowAdmin)
      throw new Refusal('flow.unknown', 'flows are not recorded', { say: 'Flows are not recorded.' })
    const own = isAdmin(session.person) ? undefined : { person: personKey(session.person), ip }
    const id = idOf(request)
    const query = new URL(request.url).searchParams
    if (id !== '' && query.get('format') === 'markdown')
      return new Response(await flowAdmin.report(id, own), {
        headers: { ...init.headers, 'content-type': 'text/markdown; charset=utf-8' },
      })
    if (id !== '') return Response.json(await flowAdmin.show(id, own, query.get('share') === '1'), init)
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
