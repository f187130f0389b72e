// Reads the audit trail for the API, in threads of its own: neither calls nor the writer wait for a search.
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '../kit/refusal.ts'
import type {
  TrailCombinations,
  TrailCounts,
  TrailCountsAsked,
  TrailPage,
  TrailReader,
  TrailSearch,
} from '../ports/runtime.ts'
import type { AuditBody, AuditCheck } from '../ports/store.ts'
import { combinationsOf } from '../stores/audit-combinations.ts'
import { type TextSum, exportPieces } from '../stores/audit-formats.ts'
import { readSearch } from '../stores/audit.ts'
import { type AuditReader, openAuditReader } from './audit-reader.ts'
import { identityOf } from './audit-damaged.ts'

/** A search stops after this, and counting for a chart, which is on a page with a search. */
const longestMs = 250
const longestCountMs = 80
/** Beyond so many that wait, nobody else may. */
const mostWaiting = 32
const idleMs = 60_000

// What the threads say to each other.

/** None of them: the trail is verified. */
interface QueryAsked {
  readonly search?: TrailSearch
  readonly counts?: TrailCountsAsked
  /** Its hash. */
  readonly body?: string
  /** Terms of a search. */
  readonly combinations?: readonly string[]
}

type Asked = QueryAsked & { readonly id: number }
type Answer = TrailPage | TrailCounts | TrailCombinations | AuditCheck | AuditBody | undefined

type Reply = { readonly id: number } & (
  | { readonly answer: Answer }
  /** The search cannot be read. */
  | { readonly wrong: string }
  | { readonly failed: string }
)

interface Waiting {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

const errorOf = (reply: { readonly wrong: string } | { readonly failed: string }): Error =>
  'wrong' in reply ? new RangeError(reply.wrong) : new Refusal('storage.unavailable', reply.failed)

/** A thread that is started when something is asked, and ends when nothing was for a while. */
const createThread = (path: string) => {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  let count = 0
  const end = (why: string): void => {
    clearTimeout(idle)
    worker?.terminate().catch(() => undefined)
    worker = undefined
    for (const { reject } of waiting.values()) reject(new Refusal('storage.unavailable', why))
    waiting.clear()
  }
  const start = (): Worker => {
    const made = new Worker(fileURLToPath(import.meta.url), {
      workerData: { auditQueries: path },
      execArgv: [],
      env: {},
    })
    made.unref()
    made.on('message', (reply: Reply) => {
      const asked = waiting.get(reply.id)
      waiting.delete(reply.id)
      if ('answer' in reply) asked?.resolve(reply.answer)
      else asked?.reject(errorOf(reply))
      clearTimeout(idle)
      if (waiting.size === 0) idle = setTimeout(end, idleMs, 'idle').unref()
    })
    made.once('error', (error) => end(String(error)))
    return made
  }
  return {
    end,
    ask(query: QueryAsked): Promise<Answer> {
      if (waiting.size >= mostWaiting)
        return Promise.reject(new Refusal('rate.limited', 'searches of the audit trail'))
      const { promise, resolve, reject } = Promise.withResolvers<Answer>()
      const id = ++count
      waiting.set(id, { resolve, reject })
      worker ??= start()
      worker.postMessage({ ...query, id } satisfies Asked, [])
      return promise
    },
  }
}

const createSum = (): TextSum => {
  const sum = createHash('sha256')
  return { add: (text) => void sum.update(text), end: () => sum.digest('hex') }
}

export interface AuditQueries extends Required<TrailReader> {
  close(): void
}

export const createAuditQueries = (path: string): AuditQueries => {
  const searching = createThread(path)
  // It may take seconds, and neither searches nor their charts wait for it.
  const counting = createThread(path)
  const page: TrailReader['page'] = async (search) => (await searching.ask({ search })) as TrailPage
  return {
    page,
    counts: async (counts) =>
      (await (counts.perService ? counting : searching).ask({ counts })) as TrailCounts,
    export: (search, format) => exportPieces(page, search, format, createSum()),
    body: async (hash) => (await searching.ask({ body: hash })) as AuditBody | undefined,
    combinations: async (terms) => (await counting.ask({ combinations: terms })) as TrailCombinations,
    async verify() {
      // It may take many seconds, and nothing else waits for it.
      const verifying = createThread(path)
      try {
        return (await verifying.ask({})) as AuditCheck
      } finally {
        verifying.end('verified')
      }
    },
    close() {
      for (const thread of [searching, counting]) thread.end('the gateway is stopping')
    },
  }
}

/** Reads when there are rows of what was recorded before it was asked. */
export const createSettledReader = (reader: AuditQueries, settled: () => Promise<void>): TrailReader => ({
  page: (search) => settled().then(() => reader.page(search)),
  counts: (asked) => settled().then(() => reader.counts(asked)),
  combinations: (terms) => settled().then(() => reader.combinations(terms)),
  body: (hash) => settled().then(() => reader.body(hash)),
  verify: () => settled().then(() => reader.verify()),
  async *export(search, format) {
    await settled()
    yield* reader.export(search, format)
  },
})

// The thread.

/** Of the file that has this name now: a damaged one is set aside, and another begun. */
const createCurrentReader = (path: string) => {
  let reader: AuditReader | undefined
  let opened: string | undefined
  return (): AuditReader | undefined => {
    const identity = identityOf(path)
    if (identity === opened) return reader
    reader?.close()
    reader = openAuditReader(path)
    opened = identity
    return reader
  }
}

const runQueries = (path: string, port: NonNullable<typeof parentPort>): void => {
  const readerOf = createCurrentReader(path)
  const answer = ({ search, counts, body, combinations }: Asked): Answer => {
    const reader = readerOf()
    if (!reader) throw new Error('there is no audit trail')
    if (body !== undefined) return reader.body(body)
    if (combinations)
      return combinationsOf(reader.combinations(readSearch(combinations, Date.now())), reader.subject)
    const until = Date.now() + (counts && !counts.perService ? longestCountMs : longestMs)
    const mayGoOn = (): boolean => Date.now() < until
    if (counts) return reader.counts(counts, Date.now(), mayGoOn)
    return search ? reader.page(search, Date.now(), mayGoOn) : reader.verify()
  }
  const tell = (reply: Reply): void => port.postMessage(reply)
  port.on('message', (asked: Asked) => {
    const { id } = asked
    try {
      tell({ id, answer: answer(asked) })
    } catch (error) {
      const { message } = error as Error
      tell(error instanceof RangeError ? { id, wrong: message } : { id, failed: message })
    }
  })
}

const started = workerData as { readonly auditQueries?: string } | undefined
if (!isMainThread && parentPort && started?.auditQueries) runQueries(started.auditQueries, parentPort)
