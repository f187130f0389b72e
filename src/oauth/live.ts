// Whether a grant is live: answers that may be half a second old, with one read for however many ask.
import { createOnce } from '../kit/once.ts'
import type { Runtime } from '../ports/runtime.ts'

const liveForMs = 500
const maxLive = 10_000

interface Live<Grant> {
  live(id: string): Promise<Grant | undefined>
  /** What `live` would answer without asking anybody; undefined where it would have to. */
  lately(id: string): Grant | undefined
  forget(id: string): void
}

export const createLive = <Grant extends { readonly state: string }>(runtime: Pick<Runtime, 'now' | 'defer'>, read: (id: string) => Promise<{ readonly grant: Grant } | undefined>): Live<Grant> => {
  const { now } = runtime
  const once = createOnce(runtime)
  const seen = new Map<string, { readonly grant: Grant | undefined; readonly at: number }>()
  const recent = (id: string): { readonly grant: Grant | undefined } | undefined => {
    const known = seen.get(id)
    return known && now() - known.at < liveForMs ? known : undefined
  }
  const ask = async (id: string): Promise<Grant | undefined> => {
    const at = now()
    const found = await read(id)
    const grant = found?.grant.state === 'live' ? found.grant : undefined
    seen.delete(id)
    if (seen.size >= maxLive) seen.delete(seen.keys().next().value as string)
    seen.set(id, { grant, at })
    return grant
  }
  return {
    async live(id) {
      const known = recent(id)
      return known ? known.grant : once(id, () => ask(id))
    },
    lately: (id) => recent(id)?.grant,
    forget: (id) => void seen.delete(id),
  }
}
