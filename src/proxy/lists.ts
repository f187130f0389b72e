// Which calls have answers with lists in them, and what is done with those.
import type { ListAnswers, Trim, Upstream } from '../ports/call.ts'
import type { Principal } from '../ports/people.ts'
import type { Service } from '../ports/services.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { type RepeatableTools, createRepeatableTools } from './retry.ts'

/** What a caller is to see of the lists of a service; undefined: all of it. */
export type TrimFor = (call: {
  readonly service: Service
  readonly principal: Principal | undefined
}) => Trim | undefined

const listMethods: ReadonlySet<string | undefined> = new Set([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
])

const asksForList = ({ envelope }: AdmittedCall): boolean => {
  const messages = envelope?.messages ?? []
  for (let i = 0; i < messages.length; i++) if (listMethods.has(messages[i]?.method)) return true
  return false
}

/** Whether the list begins with the page that is asked for. */
const isFirstPage = (body: Uint8Array | undefined): boolean => {
  const { params } = JSON.parse(new TextDecoder().decode(body)) as { params?: { cursor?: unknown } }
  return params?.cursor === undefined
}

export interface Lists {
  /** Tools whose calls may be repeated. */
  readonly tools: RepeatableTools
  /** Undefined for most calls: their answers pass as they come. */
  listsOf(call: AdmittedCall, upstream: Upstream): ListAnswers | undefined
}

/**
 * The stream of an HTTP+SSE client is the gateway's own; each of its messages is a call that comes here too.
 */
const trimOf = (call: AdmittedCall, listens: boolean, trimFor: TrimFor | undefined): ListAnswers['trim'] => {
  if (!trimFor || call.address.transport === 'sse' || !(listens || asksForList(call))) return undefined
  return trimFor({ service: call.address.service, principal: call.principal })
}

/** The method of a message that comes alone. */
const firstMethod = ({ envelope }: AdmittedCall): string | undefined =>
  envelope?.batch === false ? envelope.messages[0]?.method : undefined

export const createLists = (trimFor: TrimFor | undefined): Lists => {
  const tools = createRepeatableTools()
  return {
    tools,
    listsOf(call, upstream) {
      const { service } = call.address
      // A stream that is taken up again brings what was answered on another one (2025-11-25 transports,
      // resumability).
      const listens = call.head.method === 'GET' || call.inbound.resume !== undefined
      const trim = trimOf(call, listens, trimFor)
      if (upstream.kind !== 'http') return trim && { trim, learn: undefined, changed: undefined }
      const first = firstMethod(call)
      const learn =
        first === 'tools/list'
          ? (result: Readonly<Record<string, unknown>>): void =>
              tools.learn(service, result['tools'] as readonly unknown[], isFirstPage(call.body))
          : undefined
      const changed = listens || first === 'subscriptions/listen' ? () => tools.forget(service) : undefined
      return trim || learn || changed ? { trim, learn, changed } : undefined
    },
  }
}

/** The same fields, but for what the caller takes: the gateway reads the answer itself (RFC 9110 §12.5.3). */
export const withoutCoding = (fields: readonly string[]): readonly string[] => [
  ...fields.filter((_, i) => (fields[i - (i % 2)] as string).toLowerCase() !== 'accept-encoding'),
  'Accept-Encoding',
  'identity',
]
