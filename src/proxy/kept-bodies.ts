// Arguments and results of tool calls that a service wants kept beside the audit trail: redacted, cut to a length, and
// with a salt, so that the digest in the trail tells nothing of a body that has been deleted.
import { encodeBase64url, utf8, utf8Text } from '../kit/bytes.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { BodyPlan } from '../ports/services.ts'
import type { ReadCall } from './admitted-call.ts'
import { joined } from './client-response.ts'

/** Keeps the bodies of a call, and returns their digests by message. `answer`: its text, where that was listened to. */
export type KeepBodies = (
  call: Pick<ReadCall, 'body' | 'address' | 'principal' | 'head'>,
  answer: string | undefined,
) => readonly (string | undefined)[] | undefined

// The answer of a call, as it passes.

export interface KeptAnswer {
  add(piece: string | Uint8Array): void
  /** Undefined where it was too long. */
  text(): string | undefined
}

const mostBytes = 1_048_576

export const createKeptAnswer = (): KeptAnswer => {
  const parts: Uint8Array[] = []
  let size = 0
  return {
    add(piece) {
      // Whoever reads from a socket uses the memory again.
      const bytes = typeof piece === 'string' ? utf8(piece) : new Uint8Array(piece)
      size += bytes.length
      if (size > mostBytes) parts.length = 0
      else parts.push(bytes)
    },
    text: () => (size > mostBytes ? undefined : utf8Text(new Uint8Array(joined(parts, size)))),
  }
}

// What is redacted: paths in which `*` is one name and `**` any number of them, in whatever case.

const redactedText = '[redacted]'
const mostDepth = 64

type Pattern = readonly string[]

/** What is left of the patterns below a name. */
const below = (patterns: readonly Pattern[], name: string): readonly Pattern[] =>
  patterns.flatMap(([first = '', ...rest]): readonly Pattern[] => {
    if (first === '**') return [[first, ...rest], ...below([rest], name)]
    return first === '*' || first === name.toLowerCase() ? [rest] : []
  })

const isMet = (patterns: readonly Pattern[]): boolean => patterns.some(({ length }) => length === 0)

const redacted = (value: unknown, patterns: readonly Pattern[], depth = 0): unknown => {
  if (typeof value !== 'object' || value === null || patterns.length === 0) return value
  if (depth === mostDepth) return redactedText
  const inner = (name: string, item: unknown): unknown => {
    const left = below(patterns, name)
    return isMet(left) ? redactedText : redacted(item, left, depth + 1)
  }
  if (Array.isArray(value)) return value.map((item, i) => inner(String(i), item))
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, inner(name, item)]))
}

// What is read.

type Message = Readonly<Record<string, unknown>>

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Every message in a text, which is one, several in an array, or a stream of events. */
const messagesIn = (text: string): readonly Message[] => {
  const whole = parsed(text)
  if (whole !== undefined) return [whole].flat().filter(isMessage)
  const lines = text.split(/\r\n?|\n/).filter((line) => line.startsWith('data:'))
  return lines.map((line) => parsed(line.slice(5))).filter(isMessage)
}

const argumentsOf = ({ params }: Message): unknown => (isMessage(params) ? (params['arguments'] ?? {}) : {})

const resultOf = (answers: readonly Message[], id: unknown): unknown => {
  const answer = answers.find((one) => one['id'] === id && one['method'] === undefined)
  return answer && (answer['result'] ?? answer['error'])
}

// What is kept.

/** As it is, or as much of its JSON as there is room for. */
const capped = (value: unknown, most: number): { readonly value: unknown; readonly cut: boolean } => {
  const text = JSON.stringify(value)
  return text.length <= most ? { value, cut: false } : { value: text.slice(0, most), cut: true }
}

const createMake = ({ random }: Pick<Runtime, 'random'>, plan: BodyPlan) => {
  const patterns = plan.redact.map((path) => path.toLowerCase().split('.'))
  return (message: Message, answers: readonly Message[]): string | undefined => {
    const facts: Record<string, unknown> = { salt: encodeBase64url(random(16)) }
    const cut: string[] = []
    const keep = (name: string, found: unknown): void => {
      if (found === undefined) return
      const part = capped(redacted(found, patterns), plan.cap)
      facts[name] = part.value
      if (part.cut) cut.push(name)
    }
    if (plan.arguments) keep('arguments', argumentsOf(message))
    if (plan.results) keep('result', resultOf(answers, message['id']))
    if (!('arguments' in facts || 'result' in facts)) return undefined
    return JSON.stringify(cut.length === 0 ? facts : { ...facts, cut })
  }
}

/** Whatever a message looks like, its call ends as it would without. */
const attempted = <T>(work: () => T): T | undefined => {
  try {
    return work()
  } catch {
    return undefined
  }
}

export const createKeepBodies =
  (runtime: Pick<Runtime, 'trail' | 'random' | 'digest' | 'now'>): KeepBodies =>
  ({ body, address, principal, head }, answer) => {
    const { auditBodies: plan } = address.service
    const { trail, digest, now } = runtime
    if (!plan || !body || !trail?.keepBody) return undefined
    const make = createMake(runtime, plan)
    const facts = { at: now(), person: principal?.personKey ?? null, request: head.requestId }
    return attempted(() => {
      const answers = answer === undefined ? [] : messagesIn(answer)
      return messagesIn(utf8Text(new Uint8Array(body))).map((message) => {
        const text = message['method'] === 'tools/call' ? make(message, answers) : undefined
        if (text === undefined) return undefined
        const hash = digest(text)
        trail.keepBody?.({ ...facts, hash, text })
        return hash
      })
    })
  }
