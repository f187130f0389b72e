// The authorization server at which a person is to connect an account, found when they are about to.
import { Refusal } from '../kit/refusal.ts'
import { challengeOf, refusalAfter } from './account-needs.ts'
import { type Discovered, discover, probe, unchallenged } from './discover.ts'
import { signInRefusal } from './faults.ts'
import type { Upstream } from './upstream.ts'
import type { Web } from './web.ts'

/** The authorization server, and what to throw where it does not take us. */
interface Way extends Discovered {
  readonly refuse: (thrown: unknown) => never
}

/** A server that answers everybody, and says nothing of signing in. */
const noAccount = ({ id, name }: Upstream): Refusal =>
  new Refusal('connection.unknown', `${id} has no upstream sign-in`, {
    say: `${name} does not require an account.`,
  })

/** Throws `connection.*`, and `upstream.credential` where nobody but the operator can help. */
export const findServer = async (upstream: Upstream, web: Web): Promise<Way> => {
  const fail = (thrown: unknown): never => {
    throw signInRefusal(thrown, upstream, 'code')
  }
  // What the operator wrote about its sign-in counts, whatever the server answers to a call.
  if (upstream.auth.type !== 'auto' || upstream.auth.client_id !== undefined)
    return { ...(await discover(upstream, web).catch(fail)), refuse: fail }
  const probed = await probe(upstream, web)
  const refused = (thrown: unknown): never => {
    throw typeof probed === 'string'
      ? signInRefusal(thrown, upstream, 'code')
      : refusalAfter(upstream, probed, thrown)
  }
  const way = await discover(
    upstream,
    web,
    typeof probed === 'string' ? unchallenged : challengeOf(upstream, probed),
  ).catch(refused)
  if (probed === 'open' && way.by === 'default') throw noAccount(upstream)
  return { ...way, refuse: way.by === 'origin' || way.by === 'default' ? refused : fail }
}
