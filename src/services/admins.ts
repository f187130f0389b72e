// Who may change what the gateway does while it runs.
import { personKey } from '../kit/person-key.ts'
import type { Person } from '../ports/people.ts'

/** `admins` as configured: person keys and verified e-mail addresses. `owner`: the built-in person, while there is one. */
export const createIsAdmin = (admins: () => readonly string[], owner: Person | undefined): ((person: Person) => boolean) => {
  const builtIn = owner && personKey(owner)
  return (person) => {
    const key = personKey(person)
    // Mail addresses differ in case between providers; person keys never do. `email` is there only when the provider says it is verified.
    return key === builtIn || admins().some((entry) => entry === key || (entry.includes('@') && !entry.includes(':') && entry.toLowerCase() === person.email?.toLowerCase()))
  }
}
