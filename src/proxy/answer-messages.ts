// Messages of a server on their way to the caller: read where the gateway decides what is on lists or what else may
// be said, and heard where it wants to know.
import { Refusal } from '../kit/refusal.ts'
import { type Rpc, foldName, hasRepeats, isRecord, parseExactText } from '../mcp/json-rpc.ts'
import type { ListAnswers } from '../ports/call.ts'

/** Longest answer, or event of a stream, that is read, bytes or characters. */
export const mostRead = 8_388_608

/** The members of a result that hold lists. */
const listMembers: readonly string[] = ['tools', 'prompts', 'resources', 'resourceTemplates']
const namesOf = (names: readonly string[]): ReadonlyMap<string, string> =>
  new Map(names.map((name) => [foldName(name), name]))
const messageNames = namesOf(['jsonrpc', 'id', 'method', 'params', 'result', ...listMembers])
const resultNames = namesOf(['result', ...listMembers])

export const unreadable = (why: string): Refusal => new Refusal('upstream.message', why)

/**
 * Some clients take a member for another that differs in case alone, and of two of a name one takes the first
 * and another the last: what is written anew has one of each.
 */
const checkSpelling = (value: Rpc, exact: ReadonlyMap<string, string>): void => {
  for (const name of Object.keys(value)) {
    const meant = exact.get(foldName(name))
    if (meant !== undefined && meant !== name)
      throw unreadable(`a member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const rewriteResult = (message: Rpc, { trim, learn, expects }: ListAnswers): Rpc => {
  const { result } = message
  if (!isRecord(result)) throw unreadable('a result that is no object')
  checkSpelling(result, resultNames)
  const lists = listMembers.filter((name) => Object.hasOwn(result, name))
  for (const name of lists)
    if (!Array.isArray(result[name])) throw unreadable(`a list of ${name} that is no array`)
  if (expects !== undefined && !lists.includes(expects)) throw unreadable(`a result without ${expects}`)
  if (lists.includes('tools')) learn?.(result)
  return trim && lists.length > 0 ? { ...message, result: trim(result) } : message
}

/** One message as its caller reads it; undefined for one that is not passed on. */
const rewriteMessage = (message: unknown, lists: ListAnswers): Rpc | undefined => {
  if (!isRecord(message)) throw unreadable('a message that is no object')
  checkSpelling(message, messageNames)
  if (String(message['method']).endsWith('list_changed')) lists.changed?.()
  const shown = lists.message ? lists.message(message) : message
  return shown && Object.hasOwn(shown, 'result') ? rewriteResult(shown, lists) : shown
}

/**
 * The message, or the batch, as its caller reads it: empty where nothing of it is passed on, undefined where it goes
 * as it came. What holds a result is written anew in any case, so that all parsers read it alike. Throws what cannot
 * be read.
 */
export const rewriteMessages = (text: string, lists: ListAnswers): string | undefined => {
  let value: unknown
  try {
    value = parseExactText(text)
  } catch {
    throw unreadable('a body that is no JSON')
  }
  const messages = Array.isArray(value) ? (value as readonly unknown[]) : [value]
  const shown = messages.map((message) => rewriteMessage(message, lists))
  const kept = shown.filter((message) => message !== undefined)
  const isSame = shown.every(
    (message, i) => message === messages[i] && !Object.hasOwn(message ?? {}, 'result'),
  )
  // Of a member that is there twice one parser reads the first and another the last.
  if (isSame && !(lists.message && hasRepeats(text, value))) return undefined
  if (kept.length === 0) return ''
  return JSON.stringify(Array.isArray(value) ? kept : kept[0])
}

// The events of a stream, each with its lines as they came (WHATWG HTML §9.2).

interface EventField {
  /** With its end. */
  readonly raw: string
  readonly field: string
  readonly value: string
}

const knownFields = new Set(['data', 'event', 'id', 'retry'])

const fieldOf = (text: string, end: string): EventField => {
  const colon = text.indexOf(':')
  const [field, rest] = colon === -1 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  return { raw: text + end, field, value: rest.startsWith(' ') ? rest.slice(1) : rest }
}

const rewriteEvent = (lines: readonly EventField[], lists: ListAnswers): string => {
  const raw = lines.map((line) => line.raw).join('')
  const text = lines
    .filter(({ field }) => field === 'data')
    .map(({ value }) => value)
    .join('\n')
  if (text === '') return raw
  const rewritten = rewriteMessages(text, lists)
  if (rewritten === undefined) return raw
  const others = lines.filter(({ field }) => field !== 'data')
  // An event without data is none, but where a stream goes on is still said (WHATWG HTML §9.2.6).
  const [kept, data] =
    rewritten === '' ? [others.filter(({ field }) => field === 'id'), ''] : [others, `data: ${rewritten}\n`]
  return `${kept.map((line) => line.raw).join('')}${data}`
}

export interface ListReader {
  feed(bytes: Uint8Array): string
  end(): string
}

/**
 * What no client reads is left out: fields without a meaning, and the words of comments. Throws what cannot
 * be read.
 */
export const createEventReading = (lists: ListAnswers): ListReader => {
  let first = (lists.denied ?? []).map((error) => `event: message\ndata: ${error}\n\n`).join('')
  const decoder = new TextDecoder()
  let rest = ''
  let searched = 0
  let lines: EventField[] = []
  let size = 0
  const event = (): string => {
    const said = lines
    lines = []
    size = 0
    return rewriteEvent(said, lists)
  }
  const addField = (text: string, end: string): string => {
    if (text === '') return event() + end
    const read = fieldOf(text, end)
    if (read.field === '') return `:${end}`
    if (!knownFields.has(read.field)) return ''
    lines.push(read)
    size += text.length
    return ''
  }
  const take = (last: boolean): string => {
    let out = ''
    for (;;) {
      const at = rest.slice(searched).search(/[\r\n]/)
      if (at === -1) break
      const stop = searched + at
      // The line feed that completes a carriage return may be in the next piece.
      if (rest[stop] === '\r' && stop + 1 === rest.length && !last) break
      const end = rest.startsWith('\r\n', stop) ? '\r\n' : (rest[stop] as string)
      out += addField(rest.slice(0, stop), end)
      rest = rest.slice(stop + end.length)
      searched = 0
    }
    searched = rest.endsWith('\r') ? rest.length - 1 : rest.length
    if (rest.length + size > mostRead) throw unreadable(`an event of more than ${mostRead} characters`)
    return out
  }
  return {
    feed(bytes) {
      rest += decoder.decode(bytes, { stream: true })
      const out = first + take(false)
      first = ''
      return out
    },
    end() {
      rest += decoder.decode()
      let out = first + take(true)
      if (rest !== '') out += addField(rest, '\n')
      if (lines.length === 0) return out
      // Some servers leave out the blank line behind their last event; what was cut off is no JSON, and not
      // told.
      try {
        return `${out}${event()}\n`
      } catch {
        return out
      }
    },
  }
}

/** An answer with the errors of the messages that the server did not hear. */
const withDenied = (text: string, denied: readonly string[]): string => {
  const [inner] = /^\s*\[([\s\S]*)\]\s*$/.exec(text)?.slice(1) ?? [text]
  return `[${[...(inner?.trim() ? [inner] : []), ...denied].join(',')}]`
}

/** `orNothing`: of what cannot be read nothing is passed on, and the answer stands. */
export const createWholeReading = (lists: ListAnswers, orNothing = false): ListReader => {
  const rewritten = (text: string): string => {
    try {
      return rewriteMessages(text, lists) ?? text
    } catch (error) {
      if (orNothing) return ''
      throw error
    }
  }
  const pieces: Uint8Array[] = []
  let size = 0
  return {
    feed(bytes) {
      size += bytes.byteLength
      if (size > mostRead) throw unreadable(`an answer of more than ${mostRead} bytes`)
      pieces.push(bytes)
      return ''
    },
    end() {
      const decoder = new TextDecoder()
      const text = pieces.map((piece) => decoder.decode(piece, { stream: true })).join('') + decoder.decode()
      const shown = text.trim() === '' ? '' : rewritten(text)
      return lists.denied ? withDenied(shown, lists.denied) : shown
    },
  }
}
