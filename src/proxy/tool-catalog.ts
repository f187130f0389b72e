// The tools that servers have said they have: what is on no list is not called, so that no spelling of a name
// can mean one tool to the access rules and another one to the server.
import { readBounded } from '../kit/http.ts'
import type { SingleFlight } from '../kit/single-flight.ts'
import { isEventStream, readEvents } from '../kit/sse.ts'
import { type Rpc, messagesOf, isRecord } from '../mcp/json-rpc.ts'
import { metaKeys } from '../mcp/revisions.ts'
import type { Head } from '../ports/call.ts'
import type { Principal } from '../ports/people.ts'
import type { ToolHint } from '../ports/policy.ts'
import type { Service } from '../ports/services.ts'
import type { ReadCall } from './admitted-call.ts'

/** A call of the gateway's own in the name of a caller, which passes all steps. */
type AskServer = (
  by: { readonly head: Head; readonly path: string },
  call: {
    readonly method: 'POST'
    readonly session: string | undefined
    readonly version: string | undefined
    readonly body: string
    readonly message: Rpc
    readonly uncounted: true
    readonly signal: AbortSignal
  },
) => Promise<Response>

interface KnownTool {
  readonly hint: ToolHint
}

export interface ToolCatalog {
  find(service: Service, principal: Principal | undefined, name: string): KnownTool | undefined
  /**
   * Adds to what is known, because a list may have further pages. A tool that is on the list no more is the
   * server's to refuse.
   */
  learn(
    service: Service,
    principal: Principal | undefined,
    tools: readonly { readonly name: string; readonly hint: ToolHint }[],
  ): void
  /** The server says that its tools have changed. */
  forget(service: Service): void
  /** Asks the server for its list, as this caller would; at most every so often. Never rejects. */
  refresh(call: ReadCall): Promise<void>
}

/** Servers may show each person other tools, so each has a list of their own. */
const mostPeople = 1_000
const mostTools = 5_000
const longestName = 256
const refreshEveryMs = 30_000
const refreshTimeoutMs = 5_000
/** Longest page that is read. */
const mostBytes = 8_388_608
/** A list of more pages has no end. */
const mostPages = 20

interface PersonsTools {
  readonly tools: Map<string, KnownTool>
  /** Epoch ms of the last refresh. */
  refreshedAt: number
}

export interface ToolCatalogDeps {
  readonly ask: AskServer
  readonly now: () => number
  readonly singleFlight: SingleFlight
}

/** A request that no client sends: its id names the request that it is for. */
const listRequest = ({ envelope, head }: ReadCall, page: number, cursor: string | undefined): Rpc => {
  const meta = envelope?.messages[0]?.meta
  const kept = Object.fromEntries(
    Object.values(metaKeys).flatMap((key) => (meta?.[key] === undefined ? [] : [[key, meta[key]]])),
  )
  return {
    jsonrpc: '2.0',
    id: `postern-tools-${head.requestId}-${page}`,
    method: 'tools/list',
    params: {
      ...(cursor === undefined ? {} : { cursor }),
      ...(Object.keys(kept).length > 0 ? { _meta: kept } : {}),
    },
  }
}

const cursorIn = (text: string, id: unknown): string | undefined => {
  const answer = messagesOf(text).find(({ message }) => message['id'] === id)?.message
  const result = answer?.['result']
  const cursor = isRecord(result) ? result['nextCursor'] : undefined
  return typeof cursor === 'string' ? cursor : undefined
}

/** Reads the whole answer, from which the response sink learns, and returns where the list goes on. */
const readCursor = async (response: Response, id: unknown): Promise<string | undefined> => {
  if (response.body && isEventStream(response.headers.get('content-type') ?? undefined)) {
    let cursor: string | undefined
    await readEvents(response.body, mostBytes, ({ data }) => {
      cursor ??= cursorIn(data, id)
    })
    return cursor
  }
  return cursorIn(new TextDecoder().decode(await readBounded(response.body, mostBytes)), id)
}

/** Asks for one page, and resolves with where the list goes on. */
type AskPage = (request: Rpc) => Promise<string | undefined>

const askPageBy = ({ head, session, inbound, askServer }: ReadCall, ask: AskServer): AskPage => {
  if (askServer) return async (message) => cursorIn(await askServer(message), message['id'])
  const signal = AbortSignal.timeout(refreshTimeoutMs)
  return async (message) => {
    const version = inbound.versions[0]
    const body = JSON.stringify(message)
    const call = { method: 'POST', session, version, body, message, uncounted: true, signal } as const
    return readCursor(await ask({ head, path: head.target }, call), message['id'])
  }
}

const readList = async (call: ReadCall, ask: AskServer): Promise<void> => {
  const askPage = askPageBy(call, ask)
  const seen = new Set<string>()
  let cursor: string | undefined
  for (let page = 0; page < mostPages; page++) {
    cursor = await askPage(listRequest(call, page, cursor))
    if (cursor === undefined || seen.has(cursor)) return
    seen.add(cursor)
  }
}

export const createToolCatalog = ({ ask, now, singleFlight }: ToolCatalogDeps): ToolCatalog => {
  const known = new WeakMap<Service, Map<string, PersonsTools>>()
  const toolsOf = (service: Service, principal: Principal | undefined): PersonsTools => {
    const people = known.get(service) ?? new Map<string, PersonsTools>()
    known.set(service, people)
    const person = principal?.personKey ?? ''
    const found = people.get(person) ?? { tools: new Map<string, KnownTool>(), refreshedAt: -Infinity }
    people.delete(person)
    if (people.size >= mostPeople) people.delete(people.keys().next().value as string)
    people.set(person, found)
    return found
  }
  return {
    find: (service, principal, name) =>
      known
        .get(service)
        ?.get(principal?.personKey ?? '')
        ?.tools.get(name),
    learn(service, principal, list) {
      const { tools } = toolsOf(service, principal)
      for (const { name, hint } of list)
        if (name.length <= longestName && (tools.size < mostTools || tools.has(name)))
          tools.set(name, { hint })
    },
    forget: (service) => void known.delete(service),
    async refresh(call) {
      const { service } = call.address
      const person = toolsOf(service, call.principal)
      const key = `${service.id} ${call.principal?.personKey ?? ''}`
      await singleFlight(key, async () => {
        if (now() - person.refreshedAt < refreshEveryMs) return
        person.refreshedAt = now()
        // Whatever goes wrong, the tool stays unknown.
        await readList(call, ask).catch(() => undefined)
      })
    },
  }
}
