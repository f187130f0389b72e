// Whose process it is, as a name for folders and logs that tells nobody who that is.
import { decodeBase64url, encodeHex } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

const mostOwners = 10_000

/** 32 hexadecimal digits for a person, the same ones always; `shared` where everybody has one process, `anyone` where nobody signs in. */
export const createOwners = (shared: boolean, digest: Runtime['digest']): ((principal: Principal | undefined) => string) => {
  const known = new Map<string, string>()
  return (principal) => {
    if (shared || !principal) return shared ? 'shared' : 'anyone'
    const key = personKey(principal.person)
    const before = known.get(key)
    if (before !== undefined) return before
    const owner = encodeHex((decodeBase64url(digest(key)) as Uint8Array).subarray(0, 16))
    if (known.size >= mostOwners) known.delete(known.keys().next().value as string)
    known.set(key, owner)
    return owner
  }
}
