// What an MCP server says: each answer and progress report finds its call, and what cannot be read ends the
// call that waits for it.
import { Refusal } from '../kit/refusal.ts'
import { type Id, type Rpc, forWriting, kindOf, oneLine, paramsOf, readLine, withId } from './json-rpc.ts'
import { isRecord, answerLike, createTolerantReader, repairAnswer } from './json.ts'

export interface CallEvents {
  /** The message is on its way, on a transport that tells when the server has taken it. */
  sending?(taken: Promise<void>): void
  /** The answer under the caller's id. Nothing follows. */
  answer(text: string, message: Rpc): void
  /** A progress report under the caller's token. */
  progress(text: string): void
  /** No answer will come. */
  failed(refusal: Refusal): void
  /** Silence is no fault: a stream of notifications that may never come. */
  readonly patient?: boolean
}

export interface PeerEvents {
  notification(message: Rpc, text: string): void
  request(message: Rpc, text: string): void
  /** The connection is over; its calls have failed already. */
  ended(): void
}

// Answers of a server that nobody can be given: an error without an id, a message beyond repair, one that is
// too large. The call that is meant must not wait for its timeout, and no other call may fail for it.

/**
 * The call may be answered after all: servers log what they write, and answer notifications with errors that
 * nobody asked for.
 */
const graceMs = 500

/** What becomes of a call that can only be the one that is meant. */
export type LostCall = { readonly refusal: Refusal } | { readonly error: Rpc }

interface Notice {
  readonly lost: LostCall
  /** The calls that may be meant. */
  readonly among: Set<number>
  due: boolean
}

export interface Unanswered {
  /** Something was said that belongs to one of these calls. */
  notice(among: Iterable<number>, lost: LostCall): void
  /** A call was answered, failed or given up. */
  settled(id: number): void
  close(): void
}

/** `end` fails or answers a call; it must lead to `settled`. */
export const createUnanswered = (
  timer: StartTimer,
  end: (id: number, lost: LostCall) => void,
): Unanswered => {
  let notices: Notice[] = []
  const timers = new Set<() => void>()

  /**
   * As many notices as calls that may be meant: it is all of them. With fewer, those that are answered tell
   * which is left.
   */
  const judge = (): void => {
    notices = notices.filter(({ among }) => among.size > 0)
    const due = notices.filter(({ due: isDue }) => isDue)
    const meant = new Set(due.flatMap(({ among }) => [...among]))
    const alone = due.find(({ among }) => among.size === 1)
    const [id] = alone?.among ?? []
    if (alone && id !== undefined) {
      notices = notices.filter((other) => other !== alone)
      end(id, alone.lost)
    } else if (due.length > 0 && due.length >= meant.size) {
      notices = notices.filter((other) => !due.includes(other))
      for (const [at, each] of [...meant].entries()) end(each, (due[at] as Notice).lost)
    }
  }

  return {
    notice(among, lost) {
      const made: Notice = { lost, among: new Set(among), due: false }
      if (made.among.size === 0) return
      notices.push(made)
      const cancel = timer(graceMs, () => {
        timers.delete(cancel)
        made.due = true
        judge()
      })
      timers.add(cancel)
    },
    settled(id) {
      if (notices.length === 0) return
      for (const { among } of notices) among.delete(id)
      judge()
    },
    close() {
      for (const cancel of timers) cancel()
      timers.clear()
      notices = []
    },
  }
}

export interface Pending {
  readonly events: CallEvents
  readonly clientId: Id
  readonly token: Id | undefined
  heardAt: number
}

export type PendingCalls = Map<number, Pending>

export interface IncomingMessages {
  line(line: string): void
  /** A line beyond every bound, of which only the two ends are known. */
  oversized(head: string, tail: string): void
  /** A notification was sent: careless servers answer it with an error that has no id. */
  notified(): void
  /** A call is over, whoever ended it. */
  settled(id: number): void
  close(): void
}

/** Runs the function once, after so many milliseconds; what it returns cancels it. */
export type StartTimer = (ms: number, run: () => void) => () => void

export interface IncomingOptions {
  readonly now: () => number
  readonly timer: StartTimer
  /** What a line was that belongs to nobody. */
  readonly unexpected: (what: string) => void
  /** It wrote what is no message, or none that can be read. `waited`: while calls were going. */
  readonly unreadable: (text: string, waited: boolean) => void
  readonly calls: PendingCalls
  readonly events: PeerEvents
  /** The server has answered something. */
  readonly answered: () => void
}

/** Our ids are numbers; some servers write them as text. */
const numberOf = (id: unknown): number =>
  typeof id === 'string' && /^\d{1,15}$/.test(id) ? Number(id) : (id as number)

const beyondRepair = (): LostCall => ({
  refusal: new Refusal('process.answer', 'response is not a JSON-RPC message'),
})
const tooLarge = (): LostCall => ({
  refusal: new Refusal('process.answer', 'response larger than 32 MB, or several large responses at once', {
    say: 'The response of the MCP server exceeds the limit of 32 MB.',
  }),
})

const methodNotFound = -32_601

/** Gives a message to whom it is for; false for what is no message. */
type Hear = (value: unknown, line: string) => boolean

const createHear = (
  { calls, events, now, unexpected, answered }: IncomingOptions,
  settled: (id: number) => void,
): Hear => {
  const answer = (message: Rpc, text: string): void => {
    const id = numberOf(message['id'])
    const call = calls.get(id)
    if (!call) return unexpected('an answer to no call')
    calls.delete(id)
    answered()
    // Clients refuse an answer with both members, even where one is null (JSON-RPC 2.0 §5).
    const whole =
      message['error'] === null || message['result'] === null
        ? repairAnswer(forWriting(text, message))
        : undefined
    call.events.answer(
      whole ? JSON.stringify({ ...whole, id: call.clientId }) : withId(text, message, call.clientId),
      whole ?? message,
    )
    settled(id)
  }
  const notification = (message: Rpc, text: string): void => {
    if (message['method'] !== 'notifications/progress') return events.notification(message, text)
    const params = paramsOf(message)
    const call = calls.get(numberOf(params['progressToken']))
    if (call?.token === undefined) return unexpected('progress of no call')
    call.heardAt = now()
    const whole = forWriting(text, message)
    call.events.progress(
      JSON.stringify({ ...whole, params: { ...paramsOf(whole), progressToken: call.token } }),
    )
  }
  return (value, line) => {
    const kind = kindOf(value)
    if (kind === undefined) return false
    const message = value as Rpc
    const text = oneLine(line, message)
    if (kind === 'response') answer(message, text)
    else if (kind === 'notification') notification(message, text)
    else events.request(message, text)
    return true
  }
}

const createUnansweredOf = (calls: PendingCalls, timer: StartTimer): Unanswered => {
  const unanswered = createUnanswered(timer, (id, lost) => {
    const call = calls.get(id)
    if (!call) return
    calls.delete(id)
    if ('refusal' in lost) call.events.failed(lost.refusal)
    else call.events.answer(JSON.stringify({ ...lost.error, id: call.clientId }), lost.error)
    unanswered.settled(id)
  })
  return unanswered
}

export const createIncomingMessages = (options: IncomingOptions): IncomingMessages => {
  const { calls, unreadable } = options
  let notifications = 0
  const unanswered = createUnansweredOf(calls, options.timer)
  const hear = createHear(options, unanswered.settled)

  /** Calls that somebody waits for; streams of notifications only where there is nothing else. */
  const waiting = (): readonly number[] => {
    const impatient = [...calls].filter(([, call]) => !call.events.patient)
    return (impatient.length > 0 ? impatient : [...calls]).map(([id]) => id)
  }
  const lose = (text: string, tail: string | undefined, lost: LostCall): void => {
    const like = answerLike(text, tail)
    unreadable(text, calls.size > 0)
    if (!like) return
    const known = like.ids.filter((id) => calls.has(id))
    // With ids that are none of ours it answers something that is over.
    if (known.length > 0 || like.ids.length === 0)
      unanswered.notice(known.length > 0 ? known : waiting(), lost)
  }
  /** JSON that is no message as it stands. */
  const odd = (value: unknown, text: string): void => {
    const mended = isRecord(value) ? repairAnswer(forWriting(text, value)) : undefined
    if (mended && hear(mended, JSON.stringify(mended))) return
    if (!mended || !isRecord(mended['error']) || mended['id'] !== null)
      return lose(text, undefined, beyondRepair())
    unreadable(text, calls.size > 0)
    if (mended['error']['code'] === methodNotFound && notifications > 0) notifications--
    else unanswered.notice(waiting(), { error: mended })
  }
  const one = (value: unknown, text: string): void => {
    if (!hear(value, text)) odd(value, text)
  }
  // Servers of 2025-03-26 may write arrays (basic/index, batching); each element goes its own way.
  const each = (value: unknown, text: string): void => {
    if (!Array.isArray(value)) return one(value, text)
    const whole = forWriting(text, value) as readonly unknown[]
    value.forEach((message, at) => one(message, JSON.stringify(whole[at])))
  }
  const reader = createTolerantReader({
    value: each,
    unreadable: (text) => lose(text, undefined, beyondRepair()),
  })

  return {
    line(line) {
      const read = readLine(line)
      if (read && hear(read.value, line)) {
        if (reader.open) reader.interrupt()
      } else if (read && !reader.open) each(read.value, line)
      else reader.line(line)
    },
    oversized(head, tail) {
      if (reader.open) reader.interrupt()
      lose(head, tail, tooLarge())
    },
    notified: () => void notifications++,
    settled: unanswered.settled,
    close: unanswered.close,
  }
}
