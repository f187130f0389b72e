// The end of grants: of one, of some, and of all of a client.
import { type Records, createRecords, personKey, takeAll } from '../kit/records.ts'
import type { Audit, AuditEvent } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Grant, ReadGrant } from './grant.ts'

export interface GrantsEnd {
  /** Ends the grant, whatever it is at the moment. */
  revoke(id: string, reason: string): Promise<void>
  /** Ends all grants of a client and returns how many there were. */
  revokeOfClient(clientId: string, reason: string): Promise<number>
  /** All grants that are kept, or those of a client, so many at once. */
  pages(clientId?: string): AsyncIterable<readonly Grant[]>
  /** Ends these grants and returns how many had not ended before. */
  end(grants: readonly Grant[], reason: string): Promise<number>
}

/**
 * On Workers a page of grants is read with one call to each object and removed with another, and one
 * invocation may make 50 calls.
 */
const grantsAtOnce = 1000

/** Whoever looks at lists of them looks again and again, and to open 1000 sealed records takes 40 ms. */
const createPages = (
  runtime: GrantsEndDeps['runtime'],
  { tagOf }: Pick<GrantsEndDeps, 'tagOf'>,
): GrantsEnd['pages'] => {
  const all = createRecords<Grant>(runtime, 'grant:', { listed: 6 * grantsAtOnce })
  return async function* (client) {
    const tagged = client !== undefined && createRecords<Grant>(runtime, `grant:${tagOf(client)}`)
    for await (const found of (tagged || all).pages(grantsAtOnce))
      yield found.map(({ value }) => value).filter((one) => client === undefined || one.clientId === client)
  }
}

const revokedEvent = (grant: Grant, reason: string): AuditEvent => ({
  event: 'grant.revoked',
  grant: grant.id,
  client: grant.clientId,
  person: personKey(grant.person),
  resource: grant.resource,
  reason,
  flow: grant.flow,
})

interface GrantsEndDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log'>
  readonly record: Audit
  readonly records: Records<Grant>
  readonly readKept: (id: string) => Promise<ReadGrant | undefined>
  /** Nothing of it is remembered any more. */
  readonly forget: (id: string) => void
  /** What the IDs of a client’s grants begin with. */
  readonly tagOf: (clientId: string) => string
  /** Of the entry on the list of its person. */
  readonly listKey: (grant: Grant) => string
  readonly ttlOf: (grant: Grant) => number
}

export const createGrantsEnd = ({
  runtime,
  record,
  records,
  readKept,
  forget,
  ...of
}: GrantsEndDeps): GrantsEnd => {
  const pages = createPages(runtime, of)
  const ended = (grant: Grant, reason: string): void => {
    forget(grant.id)
    if (grant.state !== 'revoked') record(revokedEvent(grant, reason))
  }
  const revoke: GrantsEnd['revoke'] = async (id, reason) => {
    for (;;) {
      const found = await readKept(id)
      if (!found || found.grant.state === 'revoked') return
      const revoked: Grant = {
        ...found.grant,
        state: 'revoked',
        revokedReason: reason,
        revokedAt: runtime.now(),
      }
      const ttlMs = of.ttlOf(revoked)
      if (!(await records.put(id, revoked, { ttlMs, only: found.mark }))) continue
      ended(found.grant, reason)
      return
    }
  }
  const end: GrantsEnd['end'] = async (grants, reason) => {
    // An absent grant means the same as a revoked one, and is one step instead of two.
    const gone = grants.filter(({ token }) => token === undefined)
    await takeAll(runtime.store, [
      ...gone.map(({ id }) => `grant:${id}`),
      ...grants.map((grant) => of.listKey(grant)),
    ])
    for (const grant of gone) ended(grant, reason)
    // Who presents a token from a configuration file is told that it was ended, and when.
    for (const { id, token } of grants) if (token) await revoke(id, reason)
    return grants.filter(({ state }) => state !== 'revoked').length
  }
  return {
    pages,
    end,
    revoke,
    async revokeOfClient(clientId, reason) {
      let count = 0
      for await (const grants of pages(clientId)) {
        await end(grants, reason)
        count += grants.length
      }
      return count
    },
  }
}
