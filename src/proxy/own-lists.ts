// Lists that the gateway asks a server for itself, in the name of a caller: what is on them is learnt where every
// list passes.
import { readBounded } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { isEventStream, readEvents } from '../kit/sse.ts'
import { type Rpc, isRecord, messagesOf } from '../mcp/json-rpc.ts'
import { metaKeys } from '../mcp/revisions.ts'
import type { Head } from '../ports/call.ts'
import type { PinKind, ServicePins, ServicePolicy } from '../ports/policy.ts'
import type { ReadCall, StepResult } from './admitted-call.ts'
import { type EndForConsentDeps, endForConsent } from './upstream-credential.ts'

/** A call of the gateway's own in the name of a caller, which passes all steps. */
export type AskServer = (
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

/** Longest page that is read. */
const mostBytes = 8_388_608
/** A list of more pages has no end. */
const mostPages = 100

/** A list that the gateway asks for itself. */
interface Asked {
  readonly method: string
  readonly member: string
}
const lists: Readonly<Record<PinKind, Asked>> = {
  tool: { method: 'tools/list', member: 'tools' },
  prompt: { method: 'prompts/list', member: 'prompts' },
}

/** A request that no client sends: its id names the request that it is for. */
const listRequest = (
  { envelope, head }: ReadCall,
  { method, member }: Asked,
  page: number,
  cursor: string | undefined,
): Rpc => {
  const meta = envelope?.messages[0]?.meta
  const kept = Object.fromEntries(
    Object.values(metaKeys).flatMap((key) => (meta?.[key] === undefined ? [] : [[key, meta[key]]])),
  )
  return {
    jsonrpc: '2.0',
    id: `postern-${member}-${head.requestId}-${page}`,
    method,
    params: {
      ...(cursor === undefined ? {} : { cursor }),
      ...(Object.keys(kept).length > 0 ? { _meta: kept } : {}),
    },
  }
}

const answerIn = (text: string, id: unknown): Rpc | undefined =>
  messagesOf(text).find(({ message }) => message['id'] === id)?.message

/** Reads the whole answer, from which the response sink learns. */
const readAnswer = async (response: Response, id: unknown): Promise<Rpc | undefined> => {
  if (response.body && isEventStream(response.headers.get('content-type') ?? undefined)) {
    let answer: Rpc | undefined
    await readEvents(response.body, mostBytes, ({ data }) => {
      answer ??= answerIn(data, id)
    })
    return answer
  }
  return answerIn(new TextDecoder().decode(await readBounded(response.body, mostBytes)), id)
}

/** Asks for one page. */
type AskPage = (request: Rpc) => Promise<Rpc | undefined>

const askPageBy = (
  { head, session, inbound, askServer }: ReadCall,
  ask: AskServer,
  signal: AbortSignal,
): AskPage => {
  if (askServer) return async (message) => answerIn(await askServer(message), message['id'])
  return async (message) => {
    const version = inbound.versions[0]
    const body = JSON.stringify(message)
    const call = { method: 'POST', session, version, body, message, uncounted: true, signal } as const
    return readAnswer(await ask({ head, path: head.target }, call), message['id'])
  }
}

/** A server without such a list says that it knows no such method (JSON-RPC 2.0 §5.1). */
const isWithout = ({ error }: Rpc): boolean => isRecord(error) && error['code'] === -32601

/** Rejects where a page is no page. */
const readPages = async (call: ReadCall, asked: Asked, askPage: AskPage): Promise<void> => {
  const seen = new Set<string>()
  let cursor: string | undefined
  for (let page = 0; page < mostPages; page++) {
    const answer = (await askPage(listRequest(call, asked, page, cursor))) ?? {}
    if (isWithout(answer)) return
    const { result } = answer
    if (!isRecord(result) || !Array.isArray(result[asked.member]))
      throw new Refusal('upstream.message', `no list of ${asked.member}`)
    const { nextCursor: next } = result
    if (typeof next !== 'string' || seen.has(next)) return
    cursor = next
    seen.add(next)
  }
}

/** For a server that is asked on a connection, where nothing else ends the wait. */
const within = async (signal: AbortSignal, work: Promise<void>): Promise<void> => {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(new Refusal('upstream.timeout', 'no list in time')))
  await Promise.race([work, promise])
}

/** Reads one list to its end. Rejects where the server did not say it in time. */
export const readList = (call: ReadCall, kind: PinKind, ask: AskServer, timeoutMs: number): Promise<void> => {
  const signal = AbortSignal.timeout(timeoutMs)
  return within(signal, readPages(call, lists[kind], askPageBy(call, ask, signal)))
}

// What has to be known of pinned definitions before a call is judged.

interface ReadPinsDeps extends EndForConsentDeps {
  readonly catalog: { walk(call: ReadCall, kind: PinKind): Promise<void> }
}

const pinnedLists: Readonly<Partial<Record<string, readonly [kind: PinKind, listing: boolean]>>> = {
  'tools/list': ['tool', true],
  'tools/call': ['tool', false],
  'prompts/list': ['prompt', true],
  'prompts/get': ['prompt', false],
  'completion/complete': ['prompt', false],
}

/** The lists that the server is to be asked for before this call may go. */
const dueLists = (pins: ServicePins, { judged, envelope, principal, head }: ReadCall): readonly PinKind[] => {
  // What the gateway asks for itself.
  if (head.within === 'uncounted') return []
  const due: PinKind[] = []
  for (const { method } of judged ?? envelope?.messages ?? []) {
    const [kind, listing] = pinnedLists[method ?? ''] ?? []
    if (kind && !due.includes(kind) && pins.isDue(principal, kind, listing === true)) due.push(kind)
  }
  return due
}

/** A server that wants an account of the caller first says nothing of its tools. */
const askToConnect = async (deps: ReadPinsDeps, call: ReadCall): Promise<StepResult> => {
  // On a connection it has been shown one.
  if (call.askServer) return undefined
  try {
    await call.context.credential(call.principal)
    return undefined
  } catch (error) {
    return endForConsent(deps, call, error)
  }
}

/** Undefined where all is known that this call is judged by. */
export const readPins = (
  pins: ServicePins,
  rules: ServicePolicy,
  call: ReadCall,
  deps: ReadPinsDeps,
): Promise<StepResult> | undefined => {
  const { principal } = call
  const { catalog } = deps
  const loading = pins.load(principal)
  if (!loading && dueLists(pins, call).length === 0) return undefined
  // No list is read for who may do nothing here.
  if (!rules.judgeConnection(principal).allowed) return undefined
  const ask = async (): Promise<StepResult> => {
    await loading
    for (const kind of dueLists(pins, call)) {
      const read = () => pins.refresh(principal, kind, () => catalog.walk(call, kind))
      const end =
        (await askToConnect(deps, call)) ??
        (await read().catch(async (error: unknown) => {
          // The server may have said only now that it wants an account.
          const asked = await askToConnect(deps, call)
          if (asked) return asked
          throw error
        }))
      if (end) return end
    }
    return undefined
  }
  return ask()
}
