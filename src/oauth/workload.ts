// Workload identity: the platform that runs a program says which one it is, and a rule of the operator which service
// account that is. The account never comes from a claim.
import type { AssertionIssuer } from '../config/assertion-keys.ts'
import { type Assertion, type AssertionClaims, checkKey, refuse } from './assertion.ts'
import { type ClientCredentialsDeps, permittedAccount } from './client-credentials.ts'
import type { Accepted } from './id-jag.ts'
import { type TokenRequest, one } from './parameters.ts'
import { narrowedScopes } from './silent-grant.ts'

export const workloadClaims = ['exp', 'sub']

/** The client of its grants; no client has such an ID. */
export const workloadClient = (issuer: string): string => `workload:${issuer}`

const own = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as AssertionClaims)[name]
    : undefined

/**
 * A claim by its name or by its path, whose parts a slash separates: `ref`, `kubernetes.io/serviceaccount/name`. A name
 * may hold a slash itself, so the longest name that is there comes first.
 */
export const claimAt = (value: unknown, path: string): unknown => {
  const whole = own(value, path)
  if (whole !== undefined) return whole
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
    const found = claimAt(own(value, path.slice(0, slash)), path.slice(slash + 1))
    if (found !== undefined) return found
  }
  return undefined
}

/** Exact, or with `*` for what stands within one part of the value; never a list for a text. */
export const matchesClaim = (value: unknown, pattern: string): boolean => {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return false
  const text = String(value)
  if (!pattern.includes('*')) return text === pattern
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
  return new RegExp(`^${parts.join('[^/:\\n]+')}$`, 'u').test(text)
}

const ruleFor = ({ rules }: AssertionIssuer, claims: AssertionClaims): number =>
  rules.findIndex(({ claims: wanted }) =>
    Object.entries(wanted).every(([path, pattern]) => matchesClaim(claimAt(claims, path), pattern)),
  )

/** What the assertion lets its program have. Throws `assertion.rule`, `account.*` or `resource.unknown`. */
export const acceptWorkload = async (
  deps: ClientCredentialsDeps,
  { claims, subject, issuer: { id, entry } }: Assertion,
  { form, key }: Pick<TokenRequest, 'form' | 'key'>,
): Promise<Accepted> => {
  checkKey(claims, key)
  const rule = ruleFor(entry, claims)
  const account = entry.rules[rule]?.service_account
  if (account === undefined) throw refuse('assertion.rule', `${id}: ${subject}`)
  const permitted = await permittedAccount(
    deps,
    { id: account, clientId: workloadClient(id) },
    form.getAll('resource'),
  )
  return {
    permitted,
    scopes: narrowedScopes(one(form, 'scope'), permitted, 'account.scope'),
    rule: `assertion_issuers.${id}.rules[${rule}]`,
  }
}
