// What servers have said of their tools: in memory for calls, and in the store for the consent page, which a process
// may show that has seen no list.
import { createRecords, isOfUser } from './kit/records.ts'
import type { LearnedTool } from './ports/policy.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Service } from './ports/services.ts'
import { type KnownTools, listedTools } from './proxy/access.ts'

/** Without accounts of users, a list is everybody's. */
const everybody = '-'
/** The consent page shows no more. */
const mostTools = 300
const lifetimeMs = 90 * 86_400_000
/** Lists that this process remembers having written. */
const mostWritten = 2_000

export interface ToolMemory {
  readonly known: KnownTools
  /** Called with every list that passes; writes what is new of it. `person`: key, or empty. */
  keep(service: Service, person: string): void
  /** As `listedTools`, in the store. Nothing while that does not respond. */
  stored(service: Service, person: string, own: boolean): Promise<readonly LearnedTool[]>
}

export const createToolMemory = (
  runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest' | 'defer'>,
): ToolMemory => {
  const known: KnownTools = new WeakMap()
  const records = createRecords<readonly LearnedTool[]>(runtime, 'tools:')
  const written = new Map<string, string>()
  const keyOf = ({ id, generation = '' }: Service, person: string): string => {
    const digest = (text: string): string => runtime.digest(text).slice(0, 22)
    return `${digest(`${id}\n${generation}`)}:${person === everybody ? everybody : digest(person)}`
  }
  const remember = (key: string, text: string): void => {
    written.delete(key)
    if (written.size >= mostWritten) written.delete(written.keys().next().value as string)
    written.set(key, text)
  }
  /** What is to be written after what is being written: a list comes in pages, and the last one has all of it. */
  const next = new Map<string, readonly LearnedTool[] | undefined>()
  const save = async (key: string, first: readonly LearnedTool[]): Promise<void> => {
    try {
      for (let tools: readonly LearnedTool[] | undefined = first; tools; tools = next.get(key)) {
        next.set(key, undefined)
        await records.put(key, tools, { ttlMs: lifetimeMs })
      }
    } catch {
      // The next list is written again.
      written.delete(key)
    } finally {
      next.delete(key)
    }
  }
  const write = (key: string, tools: readonly LearnedTool[]): void => {
    const text = JSON.stringify(tools)
    if (written.get(key) === text) return
    remember(key, text)
    if (next.has(key)) next.set(key, tools)
    else runtime.defer(save(key, tools))
  }
  return {
    known,
    keep(service, person) {
      const tools = listedTools(known, service, person, true).slice(0, mostTools)
      const type = service.auth?.type ?? 'auto'
      const isPersonal = isOfUser(service.auth)
      if (person !== '' && (isPersonal || type === 'auto')) write(keyOf(service, person), tools)
      if (!isPersonal) write(keyOf(service, everybody), tools)
    },
    async stored(service, person, own) {
      const key = keyOf(service, own ? person : everybody)
      return records.get(key).then(
        (found) => found?.value ?? [],
        () => [],
      )
    },
  }
}
