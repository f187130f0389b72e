// What a definition of a tool or a prompt says otherwise than the one that was approved: hints first, then texts word
// by word, then schemas by their paths. Whoever approves reads what a server wrote, so what nobody can see in it is
// written out.
import { isRecord } from '../mcp/json-rpc.ts'
import type { Permission } from '../ports/policy.ts'

/** A run of words: in both texts, only in the approved one, or only in the new one. */
export type WordRun = readonly [is: 'same' | 'removed' | 'added', text: string]

export interface DefinitionChange {
  /** JSON Pointer (RFC 6901). */
  readonly path: string
  readonly is: 'changed' | 'added' | 'removed'
  /** JSON texts. */
  readonly before?: string
  readonly after?: string
  /** Of a text that changed. */
  readonly words?: readonly WordRun[]
  /** What follows for callers. */
  readonly consequence?: string
}

// What nobody sees: controls, characters that are ignored or change the direction of others, and blanks that look
// like a space (Unicode, Default_Ignorable_Code_Point, UAX #9).

const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu

/** A backslash that the text itself has in front of what looks like such a name is written as one too. */
export const visibleText = (text: string): string =>
  text
    .replaceAll('\\u{', '\\u{5c}u{')
    .replaceAll(unseen, (found) =>
      found === '\n' ? '\\n' : `\\u{${(found.codePointAt(0) as number).toString(16)}}`,
    )

// The shortest way from one list of words to the other (E. W. Myers, An O(ND) Difference Algorithm, 1986).

/** Longer texts, and more changes, are shown as one text in place of the other. */
const mostWords = 20_000
const mostSteps = 1_000

const wordsOf = (text: string): readonly string[] =>
  text.match(/\\u\{[0-9a-f]+\}|\\n|[\p{L}\p{M}\p{N}_]+| +|./gu) ?? []

/** For each number of steps, how far each diagonal reaches. Undefined: more steps than anybody reads. */
const reaches = (
  before: readonly string[],
  after: readonly string[],
): readonly Map<number, number>[] | undefined => {
  const trace: Map<number, number>[] = []
  let last = new Map([[1, 0]])
  for (let steps = 0; steps <= mostSteps; steps++) {
    const reached = new Map<number, number>()
    for (let diagonal = -steps; diagonal <= steps; diagonal += 2) {
      const [left, right] = [last.get(diagonal - 1) ?? -1, last.get(diagonal + 1) ?? -1]
      let x = diagonal === -steps || (diagonal !== steps && left < right) ? right : left + 1
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x++
      reached.set(diagonal, x)
      if (x >= before.length && x - diagonal >= after.length) return [...trace, reached]
    }
    trace.push(reached)
    last = reached
  }
  return undefined
}

/** The same way, from its end. */
const runsBackwards = (
  before: readonly string[],
  after: readonly string[],
  trace: readonly Map<number, number>[],
): readonly WordRun[] => {
  const runs: WordRun[] = []
  let [x, y] = [before.length, after.length]
  for (let steps = trace.length - 1; steps >= 0; steps--) {
    const last = steps === 0 ? new Map([[1, 0]]) : (trace[steps - 1] as Map<number, number>)
    const diagonal = x - y
    const [left, right] = [last.get(diagonal - 1) ?? -1, last.get(diagonal + 1) ?? -1]
    const isAdded = diagonal === -steps || (diagonal !== steps && left < right)
    const from = isAdded ? right : left + 1
    while (x > from) {
      runs.push(['same', before[--x] as string])
      y--
    }
    if (steps === 0) break
    if (isAdded) runs.push(['added', after[--y] as string])
    else runs.push(['removed', before[--x] as string])
  }
  return runs
}

export const wordRuns = (before: string, after: string): readonly WordRun[] => {
  const [old, now] = [wordsOf(visibleText(before)), wordsOf(visibleText(after))]
  const trace = old.length + now.length > mostWords ? undefined : reaches(old, now)
  if (!trace)
    return [
      ['removed', old.join('')],
      ['added', now.join('')],
    ]
  const runs: [WordRun[0], string][] = []
  for (const [is, text] of runsBackwards(old, now, trace).toReversed()) {
    const last = runs.at(-1)
    if (last?.[0] === is) last[1] += text
    else runs.push([is, text])
  }
  return runs
}

// By paths.

/** Of one definition; what is beyond is counted by whoever prints them. */
const mostChanges = 500
const mostText = 2_000

const jsonText = (value: unknown): string => {
  const text = visibleText(JSON.stringify(value))
  return text.length > mostText ? `${text.slice(0, mostText)}…` : text
}

const pointer = (path: string, key: string): string =>
  `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`

const isBranch = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isRecord(value) || (Array.isArray(value) && value.some((one) => typeof one === 'object' && one !== null))

const collect = (path: string, before: unknown, after: unknown, found: DefinitionChange[]): void => {
  if (found.length >= mostChanges || JSON.stringify(before) === JSON.stringify(after)) return
  const at = visibleText(path)
  if (before === undefined) return void found.push({ path: at, is: 'added', after: jsonText(after) })
  if (after === undefined) return void found.push({ path: at, is: 'removed', before: jsonText(before) })
  if (isBranch(before) && isBranch(after) && Array.isArray(before) === Array.isArray(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      collect(
        pointer(path, key),
        Object.hasOwn(before, key) ? before[key] : undefined,
        Object.hasOwn(after, key) ? after[key] : undefined,
        found,
      )
    return
  }
  found.push({
    path: at,
    is: 'changed',
    before: jsonText(before),
    after: jsonText(after),
    ...(typeof before === 'string' && typeof after === 'string' && { words: wordRuns(before, after) }),
  })
}

/** Hints first, because they decide what callers need; then what models read; then the rest. */
const ranks = ['/annotations', '/description', '/title', '/inputSchema']
const rankOf = ({ path }: DefinitionChange): number => {
  const rank = ranks.findIndex((start) => path === start || path.startsWith(`${start}/`))
  return rank === -1 ? ranks.length : rank
}

const isHint = ({ path }: DefinitionChange): boolean =>
  path.startsWith('/annotations/') && path.endsWith('Hint')

/** What a tool needs by its hints, where the rules do not name it. Undefined: it has none. */
export type HintedNeed = Permission | undefined

const needText = (need: HintedNeed): string => need ?? 'what `unmarked` says'

/** `before`: undefined where nothing was approved. */
export const changesOf = (
  before: unknown,
  after: unknown,
  needs: { readonly before: HintedNeed; readonly after: HintedNeed },
): readonly DefinitionChange[] => {
  const found: DefinitionChange[] = []
  collect('', before ?? {}, after, found)
  const first = found.toSorted((one, other) => rankOf(one) - rankOf(other))
  if (before === undefined || needs.before === needs.after) return first
  const consequence = `would need ${needText(needs.after)} instead of ${needText(needs.before)}`
  const flipped = first.find(isHint)
  return first.map((change) => (change === flipped ? { ...change, consequence } : change))
}
