// For the operator: the issuers of assertions with their keys, and what becomes of an assertion, gate by gate. Nothing is
// issued, and nothing used up.
import { type RefusalCode, Refusal } from '../kit/refusal.ts'
import { type AssertionClaims, type ListedIssuer, idJagType, readAssertion, typeOf } from './assertion.ts'
import type { AssertionIssuers, ListedAssertionIssuer, TestedGate } from '../ports/assertions.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AuthenticatedClient } from './client.ts'
import { acceptIdJag } from './id-jag.ts'
import { createIssuerKeys } from './issuer-keys.ts'
import { type JwtBearerDeps, createUse, listedIssuers, nobody, verified } from './jwt-bearer.ts'
import { subjectOf } from './tokens.ts'
import { acceptWorkload } from './workload.ts'

/** In the order in which they are taken, each with the codes that it refuses with; a prefix ends with a dot. */
const gates = [
  {
    gate: 'form',
    say: 'A signed JWT',
    codes: ['assertion.malformed', 'assertion.encrypted', 'assertion.critical'],
  },
  {
    gate: 'issuer',
    say: 'Of an issuer that is configured',
    codes: ['assertion.type', 'assertion.self', 'assertion.issuer'],
  },
  { gate: 'algorithm', say: 'Signed with an algorithm that is supported', codes: ['assertion.algorithm'] },
  {
    gate: 'key',
    say: 'By a key that the issuer publishes',
    codes: ['assertion.key', 'assertion.keys-unreachable'],
  },
  { gate: 'signature', say: 'The signature is valid', codes: ['assertion.signature'] },
  { gate: 'audience', say: 'For this gateway', codes: ['assertion.audience', 'assertion.audiences'] },
  { gate: 'claims', say: 'With all claims that it must have', codes: ['assertion.claims'] },
  {
    gate: 'time',
    say: 'Valid now, and not for too long',
    codes: ['assertion.expired', 'assertion.early', 'assertion.future', 'assertion.lifetime'],
  },
  {
    gate: 'client',
    say: 'For a client that the issuer’s entry lists',
    codes: ['assertion.client', 'assertion.client-not-listed'],
  },
  { gate: 'tenant', say: 'Of the tenant of the entry', codes: ['assertion.tenant'] },
  {
    gate: 'further',
    say: 'Nothing in it that is not supported',
    codes: ['assertion.details', 'assertion.actor', 'assertion.proof', 'assertion.proof-key'],
  },
  {
    gate: 'resource',
    say: 'For a service that its tokens may be for',
    codes: ['assertion.resource', 'resource.', 'account.service'],
  },
  {
    gate: 'account',
    say: 'About somebody who has access',
    codes: ['assertion.rule', 'assertion.person', 'assertion.email-unverified', 'code.blocked', 'client.'],
  },
  { gate: 'scope', say: 'With a scope that there is', codes: ['account.scope'] },
  { gate: 'use', say: 'Not used before', codes: ['assertion.replayed'] },
] as const satisfies readonly { gate: string; say: string; codes: readonly (RefusalCode | `${string}.`)[] }[]

const gateOf = (code: RefusalCode): number => {
  const found = gates.findIndex(({ codes }) =>
    codes.some((one) => one === code || (one.endsWith('.') && code.startsWith(one))),
  )
  return found < 0 ? gates.length - 1 : found
}

const resultsOf = (refusal: Refusal | undefined): readonly TestedGate[] => {
  const at = refusal ? gateOf(refusal.code) : gates.length
  return gates.map(({ gate, say }, i): TestedGate => {
    if (i < at) return { gate, say, result: 'passed' }
    if (i > at || !refusal) return { gate, say, result: 'not reached' }
    return { gate, say, result: 'refused', code: refusal.code, why: refusal.why }
  })
}

/** The client that is said to send it, as if it had proven who it is. */
const senderOf = (claims: AssertionClaims, id: string | undefined): AuthenticatedClient => ({
  ...nobody,
  id: id ?? (typeof claims['client_id'] === 'string' ? claims['client_id'] : ''),
  proven: true,
})

const keyOf = ({ cnf }: AssertionClaims): string | undefined => {
  const jkt = (cnf as { readonly jkt?: unknown } | null | undefined)?.jkt
  return typeof jkt === 'string' ? jkt : undefined
}

export interface AssertionIssuersDeps extends JwtBearerDeps {
  readonly runtime: JwtBearerDeps['runtime'] & Pick<Runtime, 'timer'>
}

export const createAssertionIssuers = (deps: AssertionIssuersDeps): AssertionIssuers => {
  const keys = createIssuerKeys(deps)
  const listOne = async ({ id, entry }: ListedIssuer): Promise<ListedAssertionIssuer> => {
    const { type, issuer = `spiffe://${entry.trust_domain}` } = entry
    try {
      const { keys: known, fetchedAt } = await keys.of(id, entry)
      return { id, type, issuer, keys: known.length, ...(fetchedAt !== undefined && { fetchedAt }) }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return { id, type, issuer, failure: error.why }
    }
  }
  /** What takes too long goes on, and is known the next time. */
  const listSoon = (one: ListedIssuer, ms: number): Promise<ListedAssertionIssuer> => {
    const { id, entry } = one
    const { type, issuer = `spiffe://${entry.trust_domain}` } = entry
    const { promise, resolve, reject } = Promise.withResolvers<ListedAssertionIssuer>()
    const stop = deps.runtime.timer(ms, () => resolve({ id, type, issuer, failure: 'no response yet' }))
    listOne(one).then(resolve, reject).finally(stop)
    return promise
  }
  const accept = async (text: string, fields: Readonly<Record<string, string>>) => {
    const read = readAssertion(text)
    const client = senderOf(read.claims, fields['client_id'])
    const assertion = await verified(deps, keys, text, { client })
    const request = { client, form: new URLSearchParams(fields), key: keyOf(read.claims) }
    const accepted = await (typeOf(read) === idJagType ? acceptIdJag : acceptWorkload)(
      deps,
      assertion,
      request,
    )
    const { person, address } = accepted.permitted
    await createUse(deps.runtime, assertion).look()
    const { scopes, rule, actor } = accepted
    return {
      issuer: assertion.issuer.id,
      accepted: { person: subjectOf({ person }), service: address.service.id, scopes, rule, actor },
    }
  }
  return {
    list: (ms) =>
      Promise.all(
        listedIssuers(deps.config).map((one) => (ms === undefined ? listOne(one) : listSoon(one, ms))),
      ),
    async test(assertion, fields) {
      try {
        return { ...(await accept(assertion, fields)), gates: resultsOf(undefined) }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return { gates: resultsOf(error) }
      }
    },
  }
}
