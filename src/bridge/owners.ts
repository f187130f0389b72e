// Whose process it is, as a name for folders and logs that tells nobody who that is.
import { encodeHex, sha256 } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import type { Principal } from '../ports/people.ts'

const mostOwners = 10_000

/** 32 hexadecimal digits for a person, the same ones always; `shared` where everybody has one process, `anyone` where nobody signs in. */
export const createOwners = (shared: boolean): ((principal: Principal | undefined) => string | Promise<string>) => {
  const known = new Map<string, string>()
  return (principal) => {
    if (shared || !principal) return shared ? 'shared' : 'anyone'
    const key = personKey(principal.person)
    const before = known.get(key)
    if (before !== undefined) return before
    return sha256(key).then((bytes) => {
      const owner = encodeHex(bytes.subarray(0, 16))
      if (known.size >= mostOwners) known.delete(known.keys().next().value as string)
      known.set(key, owner)
      return owner
    })
  }
}
