// Which clients a person has approved, and for which redirect URI. Anybody may register a client or publish a
// metadata document. Until a person has allowed it something, no error sends a browser to its address (RFC
// 9700 §4.11.2).
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { withoutLoopbackPort } from '../kit/urls.ts'
import type { ClientView } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'

export type ApprovedClient = Pick<ClientView, 'id' | 'name' | 'kind'>

export interface Approvals {
  /** A person allowed the client something at this redirect URI. */
  keep(client: ApprovedClient, redirectUri: string): Promise<void>
  /**
   * Runs the work. An error for the redirect URI of a client that no person approved is shown to the person
   * instead, with a link to the client.
   */
  guard<T>(work: () => Promise<T>, client: ApprovedClient): Promise<T>
}

const keepMs = 365 * 86_400_000

export const createApprovals = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}): Approvals => {
  const records = createRecords<true>(runtime, 'approved:')
  const idOf = ({ id }: ApprovedClient, redirectUri: string): string =>
    runtime.digest(JSON.stringify([id, withoutLoopbackPort(redirectUri)]))
  /** The operator approved a client by writing it into the configuration. */
  const isApproved = async (client: ApprovedClient, redirectUri: string): Promise<boolean> =>
    client.kind === 'registered' || (await records.get(idOf(client, redirectUri))) !== undefined

  return {
    async keep(client, redirectUri) {
      if (client.kind === 'registered') return
      await records.put(idOf(client, redirectUri), true, { ttlMs: keepMs })
    },
    async guard(work, client) {
      try {
        return await work()
      } catch (thrown) {
        const redirect = thrown instanceof Refusal ? thrown.detail.redirect : undefined
        if (!(thrown instanceof Refusal) || !redirect) throw thrown
        if (await isApproved(client, redirect.uri)) throw thrown
        throw new Refusal(thrown.code, thrown.why, {
          ...thrown.detail,
          redirect: { ...redirect, ask: client.name },
        })
      }
    },
  }
}
