// One-time links with which an administrator connects an account for a service account, which has no browser of its own.
import { encodeBase64url } from '../kit/bytes.ts'
import { createRecords, personKey, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { connectPath } from './upstream.ts'

/** `connect-link:{digest of token}`, sealed. */
interface AccountLink {
  readonly service: string
  /** Key of the service account. */
  readonly owner: string
}

const lifetimeMs = 600_000

export interface AccountLinksDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly directory: Directory
  readonly mayStillSignIn: MayStillSignIn
  readonly isAdmin: (person: Person) => boolean
}

export interface AccountLinks {
  /** Throws `person.unknown` where there is no such service account, or it may not use the service. */
  create(service: string, owner: string): Promise<{ readonly url: string; readonly expiresAt: number }>
  /** Whose account it is for; it stays good. Throws `connection.state` and `admin.required`. */
  read(token: string, service: string, by: Person): Promise<Person>
  /** The same, once. */
  take(token: string, service: string, by: Person): Promise<Person>
  /** Whoever is asked again when the browser is back. Throws `admin.required` and `person.unknown`. */
  confirm(owner: Person, service: string, by: Person): Person
}

export const createAccountLinks = ({
  runtime,
  directory,
  mayStillSignIn,
  isAdmin,
}: AccountLinksDeps): AccountLinks => {
  const records = createRecords<AccountLink>(runtime, 'connect-link:')

  const ownerOf = (key: string, service: string): Person => {
    const address = directory.addresses.find((one) => one.service.id === service)
    const [provider, ...subject] = key.split(':')
    const owner =
      provider === serviceAccounts && address
        ? mayStillSignIn({ provider, subject: subject.join(':'), groups: [] }, address.resource)
        : undefined
    if (owner) return owner
    throw new Refusal('person.unknown', `${key.slice(0, 80)} at ${service}`, {
      say: 'There is no such service account, or it may not use this service.',
    })
  }
  const confirm: AccountLinks['confirm'] = (owner, service, by) => {
    if (!isAdmin(by)) throw new Refusal('admin.required', `${personKey(by)} is not listed in admins`)
    return ownerOf(personKey(owner), service)
  }
  const admit = (link: AccountLink | undefined, service: string, by: Person): Person => {
    if (!isAdmin(by)) throw new Refusal('admin.required', `${personKey(by)} is not listed in admins`)
    if (link?.service !== service) throw new Refusal('connection.state', 'link unknown, used or expired')
    return ownerOf(link.owner, service)
  }
  const kept = async (token: string): Promise<AccountLink | undefined> =>
    (await records.get(runtime.digest(token)))?.value

  return {
    async create(service, key) {
      const owner = personKey(ownerOf(key, service))
      const token = encodeBase64url(runtime.random(32))
      await records.put(runtime.digest(token), { service, owner }, { ttlMs: lifetimeMs, only: 'absent' })
      return {
        url: `${directory.issuer}${connectPath(service)}?link=${token}`,
        expiresAt: runtime.now() + lifetimeMs,
      }
    },
    read: async (token, service, by) => admit(await kept(token), service, by),
    async take(token, service, by) {
      // Looked at first: whoever may not use it does not use it up.
      admit(await kept(token), service, by)
      return admit((await records.take(runtime.digest(token)))?.value, service, by)
    },
    confirm,
  }
}
