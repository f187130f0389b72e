// The page of the console that searches the audit trail: what the API finds, with its chart, and one row explained.
import type { ActivityRow, ActivityView, ConsoleFrame, ConsolePages } from '../ports/console.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { WhoToday } from '../ports/matrix.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime, TrailCounts, TrailReader } from '../ports/runtime.ts'
import type { ChainedRow } from '../ports/store.ts'
import { createCursors, termsIn } from './audit-api.ts'

export interface ActivityDeps {
  readonly runtime: Pick<Runtime, 'trail' | 'keys' | 'now' | 'defer'>
  readonly isAuditor: (person: Person) => boolean
  readonly consolePages: Pick<ConsolePages, 'activity'>
}

const hour = 3_600_000
/** What can be chosen, and in how many slots it is drawn: of a minute, or of half hours, because those are counted ahead. */
const periods = {
  '1h': { ms: hour, slots: 60 },
  '24h': { ms: 24 * hour, slots: 48 },
  '7d': { ms: 168 * hour, slots: 56 },
  '30d': { ms: 720 * hour, slots: 60 },
} as const
type Period = keyof typeof periods

const isPeriod = (text: string): text is Period => Object.hasOwn(periods, text)

const mostText = 2000
const onePage = 50

/** Everybody's events for auditors, their own for everybody else. */
export const ownEvents = (
  { isAuditor }: Pick<ActivityDeps, 'isAuditor'>,
  person: Person,
): string | undefined => (isAuditor(person) ? undefined : personKey(person))

const keyed = (row: ChainedRow): ActivityRow => ({ ...row, key: `${row.at}.${row.seq}.${row.chain}` })

/** One row, by its time and its place in its chain. */
const rowOf = async (
  reader: TrailReader,
  key: string,
  person: string | undefined,
): Promise<ActivityRow | undefined> => {
  const [, at = '', seq = '', chain = ''] = /^(\d{1,15})\.(\d{1,12})\.([\w-]{1,80})$/.exec(key) ?? []
  if (chain === '') return undefined
  const time = (ms: number): string => new Date(ms).toISOString()
  const terms = [`since:${time(Number(at))}`, `until:${time(Number(at) + 1)}`, `chain:${chain}`]
  const { rows } = await reader.page({ terms, person, order: 'newest', limit: 200 })
  const found = rows.find((row) => row.seq === Number(seq))
  return found && keyed(found)
}

/** Counted again in the background after this long, and waited for after that: a large trail takes a while. */
const againMs = 2_000
const staleMs = 60_000

/** Calls of the last day, an hour a slot. Undefined where they cannot be counted now. */
export const createCallsOfADay = ({ runtime }: Pick<ActivityDeps, 'runtime'>) => {
  const singleFlight = createSingleFlight(runtime)
  let kept: { readonly at: number; readonly counts: TrailCounts | undefined } | undefined
  const count = async (now: number): Promise<TrailCounts | undefined> => {
    const until = Math.ceil(now / hour) * hour
    const asked = { terms: ['kind:call'], since: until - 24 * hour, until, slots: 24, perService: true }
    const counts = await runtime.trail?.reader?.counts?.(asked).catch(() => undefined)
    kept = { at: now, counts }
    return counts
  }
  return async (now: number): Promise<TrailCounts | undefined> => {
    const age = kept ? now - kept.at : Infinity
    if (kept && age >= 0 && age < againMs) return kept.counts
    const counting = singleFlight('calls', () => count(now))
    return kept && age >= 0 && age < staleMs ? kept.counts : counting
  }
}

/** A search that cannot be read is told on the page, where it can be mended. */
const problemOf = (error: unknown): string => {
  if (error instanceof RangeError) return error.message
  if (error instanceof Refusal && error.code === 'request.malformed') return error.say
  throw error
}

const askedIn = (searchParams: URLSearchParams): ActivityView['asked'] => {
  const given = (name: string): string | undefined => searchParams.get(name)?.slice(0, mostText) || undefined
  const period = given('period') ?? ''
  return {
    terms: termsIn(given('q') ?? ''),
    period: isPeriod(period) ? period : '24h',
    from: given('from'),
    row: given('row'),
  }
}

export const createActivity = (
  { runtime, isAuditor, consolePages }: ActivityDeps,
  whoToday: (service: string, tool: string) => Promise<WhoToday | undefined>,
) => {
  const cursors = createCursors(runtime.keys)
  const search = async (
    reader: TrailReader,
    asked: ActivityView['asked'],
    { person, now }: { readonly person: string | undefined; readonly now: number },
  ): Promise<NonNullable<ActivityView['found']>> => {
    const { terms, period, from: cursor } = asked
    const timed = terms.some((term) => /^(?:since|until):/.test(term))
    const { ms, slots } = periods[isPeriod(period) ? period : '24h']
    const looked = {
      terms: timed ? terms : [...terms, `since:${period}`],
      person,
      order: 'newest',
      limit: onePage,
    } as const
    const from = await cursors.read(cursor ?? null, looked)
    // Whole slots, with the one that began before the period and the one that is not over.
    const width = ms / slots
    const drawn = { since: Math.floor((now - ms) / width) * width, slots: slots + 1 }
    const until = drawn.since + drawn.slots * width
    const [{ rows, next, partial }, counts] = await Promise.all([
      reader.page({ ...looked, from }),
      from || timed ? undefined : reader.counts?.({ terms, person, until, ...drawn }),
    ])
    return {
      rows: rows.map(keyed),
      next: next && (await cursors.write(next, looked)),
      partial: partial === true,
      counts,
      since: drawn.since,
    }
  }
  return async (frame: ConsoleFrame, { searchParams }: URL): Promise<Response> => {
    const asked = askedIn(searchParams)
    const person = ownEvents({ isAuditor }, frame.person)
    const reader = runtime.trail?.reader
    const own = person !== undefined
    if (!reader) return consolePages.activity(frame, { asked, own, kept: false })
    const about = { person, now: frame.now }
    const [found, row] = await Promise.all([
      search(reader, asked, about).catch(problemOf),
      asked.row === undefined ? undefined : rowOf(reader, asked.row, person),
    ])
    const ofTool = row?.method === 'tools/call' && row.service !== null && row.name !== null
    return consolePages.activity(frame, {
      asked,
      ...(ofTool && { today: await whoToday(row.service, row.name) }),
      ...(typeof found === 'string' ? { problem: found } : { found }),
      row,
      own,
      kept: true,
    })
  }
}
