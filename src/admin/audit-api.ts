// The API about the audit trail: searches and exports, for auditors of everybody's events, for everybody else of
// their own. The command line reads the file by itself (cli/audit.ts).
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { foreignSender } from '../kit/http.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, BrowserSession, Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime, TrailPosition, TrailReader, TrailSearch } from '../ports/runtime.ts'
import type { AuditBody, AuditCheck, ChainedRow } from '../ports/store.ts'
import { requireOwnForm } from './services-api.ts'

export interface AuditApi {
  /** GET /api/audit?q=&cursor=&limit= */
  readonly search: Handler
  /** GET /api/audit/export?q=&format= */
  readonly export: Handler
  /** GET /api/audit/bodies/:hash */
  readonly body: Handler
  /** POST /api/audit/verify */
  readonly verify: Handler
}

export interface AuditApiDeps {
  readonly runtime: Pick<Runtime, 'trail' | 'keys'>
  readonly sessions: Sessions
  readonly isAuditor: (person: Person) => boolean
  /** The gateway's own. */
  readonly origins: readonly string[]
  readonly record: Audit
}

/** An event as it is printed: without facts that it does not have. */
export const listedEvent = ({ detail, ...row }: ChainedRow): Readonly<Record<string, unknown>> => ({
  ...Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)),
  time: new Date(row.at).toISOString(),
  ...(detail !== null && { detail: JSON.parse(detail) as unknown }),
})

/** What a verification found, as it is printed. */
export const listedCheck = ({ fault, rows, chains, open, keys, aside }: AuditCheck, sound: boolean) => ({
  ok: sound,
  rows,
  chains,
  open: open.map(({ chain, seq }) => ({ chain, seq })),
  keys,
  damaged: aside.map(({ file, at }) => ({ file, at: new Date(at).toISOString() })),
  ...(fault && { fault }),
})

/** The facts of `audit.verified`. */
const verifiedFacts = ({ fault, rows, chains, open }: AuditCheck) => ({
  rows,
  chains,
  open: open.length,
  ...(fault && { fault: fault.say }),
})

// What may be asked, and by whom.

/** Users are not told these of their own events. */
const operatorsFields = /^-?(?:rule|chain):/

/** As they are typed: separated by spaces, which quotation marks keep together. */
export const termsIn = (text: string): readonly string[] =>
  [...text.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map(([term]) => term.replaceAll('"', ''))

const mostText = 2000
const defaultLimit = 50
const mostListed = 200
const defaultSince = 'since:7d'

interface Asking {
  readonly session: BrowserSession
  readonly reader: TrailReader
  readonly terms: readonly string[]
  /** Absent for auditors. */
  readonly person: string | undefined
  readonly query: URLSearchParams
}

const malformed = (what: string, say: string): Refusal => new Refusal('request.malformed', what, { say })

/** A search that cannot be read is the fault of whoever asks. */
const saidTo = (error: unknown): unknown =>
  error instanceof RangeError ? malformed('search', error.message) : error

const createAsking =
  ({ runtime: { trail }, sessions, isAuditor, origins }: AuditApiDeps) =>
  async (request: Request): Promise<Asking> => {
    const foreign = foreignSender(request, origins)
    if (foreign !== undefined) throw new Refusal('admin.form', foreign)
    const session = await sessions.of(request)
    if (!session) throw new Refusal('login.required', 'session cookie missing or expired')
    if (!trail?.reader) throw new Refusal('audit.none', 'no audit trail is kept')
    const query = new URL(request.url).searchParams
    const text = query.get('q') ?? ''
    if (text.length > mostText) throw malformed('q', `A search may have at most ${mostText} characters.`)
    const terms = termsIn(text)
    const person = isAuditor(session.person) ? undefined : personKey(session.person)
    if (person !== undefined && terms.some((term) => operatorsFields.test(term)))
      throw new Refusal('auditor.required', 'rule or chain')
    return { session, reader: trail.reader, terms, person, query }
  }

const limitOf = (text: string | null): number => {
  const limit = text === null ? defaultLimit : /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= mostListed) return limit
  throw malformed('limit', `limit must be a number from 1 to ${mostListed}.`)
}

// Cursors: a position in the trail, signed for one search of one person.

export const createCursors = (keys: Pick<KeyRing, 'mac'>) => {
  const signed = async ({ segment, id }: TrailPosition, of: TrailSearch): Promise<string> => {
    const text = JSON.stringify([segment, id, of.terms, of.person ?? null])
    const mac = await keys.mac('audit/cursor', text)
    if (!mac) throw new Refusal('storage.sealed', 'no key for cursors')
    return `${segment}.${id}.${encodeBase64url(mac).slice(0, 22)}`
  }
  return {
    write: signed,
    /** Throws for one of another search. */
    async read(cursor: string | null, of: TrailSearch): Promise<TrailPosition | undefined> {
      if (cursor === null) return undefined
      const [, segment, id] = /^(\d{1,9})\.(\d{1,9})\.[\w-]{22}$/.exec(cursor) ?? []
      const position = { segment: Number(segment), id: Number(id) }
      if (segment !== undefined && sameText(cursor, await signed(position, of))) return position
      throw malformed('cursor', 'The cursor does not belong to this search. Search again without it.')
    },
  }
}

// One thread reads for everybody: nobody takes all of its time.

/** Searches and exports of one person at once. */
const mostAtOnce = 4

type Begin = (session: BrowserSession) => () => void

/** Begins one of them and answers what ends it. Throws `rate.limited`. */
const createBegin = (): Begin => {
  const running = new Map<string, number>()
  return ({ person }) => {
    const key = personKey(person)
    const count = running.get(key) ?? 0
    if (count >= mostAtOnce)
      throw new Refusal('rate.limited', `searches of ${key}`, { headers: { 'retry-after': '1' } })
    running.set(key, count + 1)
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const left = (running.get(key) ?? 1) - 1
      if (left > 0) running.set(key, left)
      else running.delete(key)
    }
  }
}

const createSearch = (deps: AuditApiDeps, begin: Begin): Handler => {
  const askingOf = createAsking(deps)
  const cursors = createCursors(deps.runtime.keys)
  return async (request) => {
    const { session, reader, terms, person, query } = await askingOf(request)
    const limit = limitOf(query.get('limit'))
    const timed = terms.some((term) => /^(?:since|until):/.test(term))
    const search = {
      terms: timed ? terms : [...terms, defaultSince],
      person,
      order: 'newest',
      limit,
    } as const
    const from = await cursors.read(query.get('cursor'), search)
    const over = begin(session)
    const { rows, next, partial } = await reader
      .page({ ...search, from })
      .catch((error: unknown) => {
        throw saidTo(error)
      })
      .finally(over)
    return Response.json(
      {
        events: rows.map(listedEvent),
        ...(next && { next: await cursors.write(next, search) }),
        ...(partial && { partial }),
      },
      { headers: { 'cache-control': 'no-store' } },
    )
  }
}

// Exports.

const mediaTypes = { jsonl: 'application/jsonl', csv: 'text/csv' } as const

/** `over`: is called when it was read, is read no more, or failed. */
const streamOf = (
  first: string,
  rest: AsyncIterator<string>,
  over: () => void,
): ReadableStream<Uint8Array> => {
  const encoder = new TextEncoder()
  return new ReadableStream({
    start: (controller) => controller.enqueue(encoder.encode(first)),
    async pull(controller) {
      const { done, value } = await rest.next().catch((error: unknown) => {
        over()
        throw error
      })
      if (!done) return controller.enqueue(encoder.encode(value))
      over()
      controller.close()
    },
    async cancel() {
      over()
      await rest.return?.()
    },
  })
}

const createExport = (deps: AuditApiDeps, begin: Begin): Handler => {
  const askingOf = createAsking(deps)
  return async (request, { ip, requestId }) => {
    const { session, reader, terms, person, query } = await askingOf(request)
    const format = query.get('format') ?? 'jsonl'
    if (format !== 'jsonl' && format !== 'csv') throw malformed('format', 'format must be jsonl or csv.')
    const over = begin(session)
    const pieces = reader.export({ terms, person }, format)[Symbol.asyncIterator]()
    const first = await pieces.next().catch((error: unknown) => {
      over()
      throw saidTo(error)
    })
    deps.record({
      event: 'audit.exported',
      person: personKey(session.person),
      ip,
      request_id: requestId,
      format,
      filter: terms,
      everybody: person === undefined,
    })
    const body = streamOf(first.value ?? '', pieces, over)
    // Of a HEAD nobody reads it, and nobody says so.
    if (request.method === 'HEAD') await body.cancel()
    return new Response(request.method === 'HEAD' ? null : body, {
      headers: {
        'content-type': `${mediaTypes[format]}; charset=utf-8`,
        'content-disposition': `attachment; filename="audit.${format}"`,
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      },
    })
  }
}

/** As it is printed. */
export const listedBody = ({ hash, text, at, person, request }: AuditBody) => {
  const { salt: _, ...kept } = JSON.parse(text) as Readonly<Record<string, unknown>>
  return { body: hash, time: new Date(at).toISOString(), person, request, ...kept }
}

const createBody = (deps: AuditApiDeps): Handler => {
  const askingOf = createAsking(deps)
  return async (request, { ip, requestId }) => {
    const { session, reader, person } = await askingOf(request)
    if (person !== undefined) throw new Refusal('auditor.required', person)
    const hash = new URL(request.url).pathname.slice('/api/audit/bodies/'.length)
    const found = /^[\w-]{43}$/.test(hash) ? await reader.body(hash) : undefined
    if (!found) throw new Refusal('audit.body-unknown', hash.slice(0, 80))
    const by = personKey(session.person)
    const about = { what: 'body', body: hash, of: found.request }
    deps.record({ event: 'admin.viewed', person: by, ip, request_id: requestId, ...about })
    return Response.json(listedBody(found), { headers: { 'cache-control': 'no-store' } })
  }
}

const createVerify = (deps: AuditApiDeps): Handler => {
  const askingOf = createAsking(deps)
  return async (request, { ip, requestId }) => {
    const { session, reader, person } = await askingOf(request)
    if (person !== undefined) throw new Refusal('auditor.required', person)
    requireOwnForm(request, session)
    const check = await reader.verify()
    const by = personKey(session.person)
    deps.record({ event: 'audit.verified', person: by, ip, request_id: requestId, ...verifiedFacts(check) })
    return Response.json(listedCheck(check, check.fault === undefined), {
      headers: { 'cache-control': 'no-store' },
    })
  }
}

export const createAuditApi = (deps: AuditApiDeps): AuditApi => {
  const begin = createBegin()
  return {
    search: createSearch(deps, begin),
    export: createExport(deps, begin),
    body: createBody(deps),
    verify: createVerify(deps),
  }
}
