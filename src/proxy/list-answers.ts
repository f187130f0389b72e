// Lists on their way to the caller: rewritten where the gateway decides what is on them, and heard where it
// wants to know (MCP tools/list, resources/list, resources/templates/list, prompts/list).
import { Refusal } from '../kit/refusal.ts'
import { foldName, isRecord, parseExactText } from '../mcp/json.ts'
import type { ListAnswers } from '../ports/call.ts'

/** Longest list, or event of a stream with lists, that is read, bytes or characters. */
export const mostRead = 8_388_608

/** The members of a result that hold lists. */
const listMembers = ['tools', 'prompts', 'resources', 'resourceTemplates'] as const
const exactNames = new Map<string, string>(['result', ...listMembers].map((name) => [foldName(name), name]))

export const unreadable = (why: string): Refusal => new Refusal('upstream.message', why)

/**
 * Some clients take a member for another that differs in case alone, and of two of a name one takes the first
 * and another the last: what is written anew has one of each.
 */
const checkSpelling = (value: Readonly<Record<string, unknown>>): void => {
  for (const name of Object.keys(value)) {
    const meant = exactNames.get(foldName(name))
    if (meant !== undefined && meant !== name)
      throw unreadable(`a member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const rewriteResult = (message: Record<string, unknown>, { trim, learn }: ListAnswers): void => {
  const { result } = message
  if (!isRecord(result)) throw unreadable('a result that is no object')
  checkSpelling(result)
  const lists = listMembers.filter((name) => Object.hasOwn(result, name))
  for (const name of lists)
    if (!Array.isArray(result[name])) throw unreadable(`a list of ${name} that is no array`)
  if (lists.length === 0) return
  if (lists.includes('tools')) learn?.(result)
  if (trim) message['result'] = trim(result)
}

/**
 * The message, or the batch, with its lists rewritten; undefined where it holds no result. Throws what cannot
 * be read.
 */
export const rewriteLists = (text: string, lists: ListAnswers): string | undefined => {
  let value: unknown
  try {
    value = parseExactText(text)
  } catch {
    throw unreadable('a body that is no JSON')
  }
  let results = 0
  for (const message of Array.isArray(value) ? value : [value]) {
    if (!isRecord(message)) throw unreadable('a message that is no object')
    checkSpelling(message)
    if (!Object.hasOwn(message, 'result')) continue
    results++
    rewriteResult(message, lists)
  }
  return results === 0 ? undefined : JSON.stringify(value)
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
  const data = lines.filter(({ field }) => field === 'data').map(({ value }) => value)
  const text = data.join('\n')
  if (text === '') return raw
  const rewritten = rewriteLists(text, lists)
  if (rewritten === undefined) return raw
  const others = lines.filter(({ field }) => field !== 'data').map((line) => line.raw)
  return `${others.join('')}data: ${rewritten}\n`
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
      return take(false)
    },
    end() {
      rest += decoder.decode()
      let out = take(true)
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

export const createWholeReading = (lists: ListAnswers): ListReader => {
  const pieces: Uint8Array[] = []
  let size = 0
  return {
    feed(bytes) {
      size += bytes.byteLength
      if (size > mostRead) throw unreadable(`a list of more than ${mostRead} bytes`)
      pieces.push(bytes)
      return ''
    },
    end() {
      const decoder = new TextDecoder()
      const text = pieces.map((piece) => decoder.decode(piece, { stream: true })).join('') + decoder.decode()
      return text.trim() === '' ? '' : (rewriteLists(text, lists) ?? text)
    },
  }
}
