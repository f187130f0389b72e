// Who has signed in, or was pushed by their provider: a company may say for them later that an app may act for them,
// without a browser (oauth/id-jag.ts). Nobody is known by an e-mail address.
import type { Config } from '../config/schema.ts'
import { createRecords, personKey } from '../kit/records.ts'
import type { FindKnownPerson, Person } from '../ports/people.ts'
import { type ScimRuntime, createScimUsers } from './scim-users.ts'

export interface KnownPeople {
  /** The person has just signed in. */
  note(person: Person): Promise<void>
  readonly find: FindKnownPerson
}

/** As long as a grant may live at most, and a sign-in before it. */
const keptMs = 400 * 86_400_000

interface KnownPeopleDeps {
  readonly runtime: ScimRuntime
  readonly config: Pick<Config, 'assertion_issuers' | 'oauth_providers'>
  /** Grants of the person: whoever had one before there was a record of them. */
  readonly ofPerson: (key: string) => Promise<readonly { readonly person: Person }[]>
}

export const createKnownPeople = ({ runtime, config, ofPerson }: KnownPeopleDeps): KnownPeople => {
  const providers = new Set(Object.values(config.assertion_issuers).map(({ provider }) => provider))
  const records = createRecords<Person>(runtime, 'known-person:')
  const idOf = (key: string): string => runtime.digest(key)

  /** As pushed: the ID that the provider gave the user there must be the subject itself. */
  const pushed = async (provider: string, subject: string): Promise<Person | undefined> => {
    if (config.oauth_providers[provider]?.scim_token === undefined) return undefined
    const found = await createScimUsers(runtime, provider).ofPerson({ provider, subject, groups: [] })
    const [user] = found.filter(({ value }) => value.user.externalId === subject && value.user.active)
    if (!user) return undefined
    const { userName: login, displayName: name } = user.value.user
    return { provider, subject, login, groups: [], ...(name !== undefined && { name }) }
  }

  return {
    async note(person) {
      if (providers.has(person.provider))
        await records.put(idOf(personKey(person)), person, { ttlMs: keptMs })
    },
    async find(provider, subject) {
      const key = personKey({ provider, subject })
      const kept = await records.get(idOf(key))
      if (kept) return kept.value
      const [granted] = await ofPerson(key)
      return granted?.person ?? pushed(provider, subject)
    },
  }
}
