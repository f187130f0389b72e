// Which people have signed in under which names: whoever a provider deactivates is found by them, without looking
// through the grants of everybody.
import { createRecords } from '../kit/records.ts'
import type { Person } from '../ports/people.ts'
import { type ScimTokens, type ScimRuntime, folded } from './scim-users.ts'

/** Sealed, under `scim-person:{provider}:{digest of a name}:{digest of the subject}`. */
type SignedInPerson = Pick<Person, 'provider' | 'subject' | 'login' | 'email' | 'groups'>

export interface ScimPeople {
  /** The person has signed in, or has a grant. */
  note(person: Person): Promise<void>
  /** People who have had one of these names. Some may have others by now. */
  find(provider: string, names: readonly string[]): Promise<readonly Person[]>
  /** Whether everybody with a grant has been noted, so that nobody is missed. */
  isComplete(provider: string): Promise<boolean>
  completed(provider: string): Promise<unknown>
}

/** As long as a grant may live at most, and a sign-in before it. */
const keptMs = 400 * 86_400_000
/** Grants that are refreshed live on: their people are noted again before the notes end. */
const completeMs = 180 * 86_400_000

export const createScimPeople = (runtime: ScimRuntime, providers: ScimTokens): ScimPeople => {
  const { store, digest } = runtime
  const recordsOf = (provider: string, name: string) =>
    createRecords<SignedInPerson>(runtime, `scim-person:${provider}:${digest(folded(name))}:`)
  const completeKey = (provider: string): string => `scim-people:${provider}`
  const left = new Set<string>()
  return {
    async note({ provider, subject, login, email }) {
      if (providers[provider]?.scim_token === undefined) {
        // Somebody is not noted, should the provider get a token again.
        if (!left.has(provider)) await store.take(completeKey(provider))
        left.add(provider)
        return
      }
      const names = [subject, login, email].flatMap((name) => (name ? [folded(name)] : []))
      const person: SignedInPerson = {
        provider,
        subject,
        groups: [],
        ...(login !== undefined && { login }),
        ...(email !== undefined && { email }),
      }
      for (const name of new Set(names))
        await recordsOf(provider, name).put(digest(subject), person, { ttlMs: keptMs })
    },
    async find(provider, names) {
      const found = new Map<string, Person>()
      for (const name of names)
        for await (const page of recordsOf(provider, name).pages(500))
          for (const { value } of page) found.set(value.subject, value)
      return [...found.values()]
    },
    isComplete: async (provider) => (await store.get(completeKey(provider))) !== undefined,
    completed: (provider) => store.put(completeKey(provider), '', { ttlMs: completeMs }),
  }
}
