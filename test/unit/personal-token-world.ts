// A gateway whose users have personal access tokens, for the tests of these.
import { Refusal } from '../../src/kit/refusal.ts'
import { createAppAccess } from '../../src/oauth/connected-apps.ts'
import { createPersonalTokens } from '../../src/oauth/personal-tokens.ts'
import type { Person, WantedToken } from '../../src/ports/people.ts'
import type { ConsentChoices, Denied, Policy, ServicePolicy } from '../../src/ports/policy.ts'
import { ana, createWorld, origin } from './oauth-world.ts'

export const day = 86_400_000

export const level = (own: ConsentChoices['own']): ConsentChoices => ({ own, tools: [] })

export interface Rules {
  /** What a person may do at each service; none: the service has no rules. */
  at: Record<string, ConsentChoices | Denied | undefined>
}

export const setUp = async (rules: Rules = { at: { echo: level('write') } }, more = {}) => {
  const blocked = { is: false }
  const admin = { is: true }
  const world = await createWorld({
    services: { echo: {}, other: {}, open: { authRequired: false } },
    ...more,
  })
  const policy = {
    services: { ruled: true },
    fresh: () => undefined,
    of: ({ id }: { readonly id: string }) =>
      rules.at[id] ? ({ choices: () => rules.at[id] } as unknown as ServicePolicy) : undefined,
  } as unknown as Policy
  const access = createAppAccess({ ...world, record: (event) => void world.events.push(event) })
  const admitted: { person: Person | undefined } = { person: ana }
  const tokens = createPersonalTokens({
    ...world,
    access,
    policy,
    record: (event) => void world.events.push(event),
    grantAdmin: { person: () => Promise.resolve(undefined) },
    blocks: { covers: () => Promise.resolve(blocked.is ? ('blocked' as const) : undefined) },
    people: { all: () => [ana] },
    builtInUser: undefined,
    isAdmin: () => admin.is,
    mayStillSignIn: () => admitted.person,
  })
  const { createPersonalTokenCheck } = await import('../../src/oauth/personal-token.ts')
  const { createAuthenticateBearer } = await import('../../src/oauth/bearer.ts')
  const authenticate = createAuthenticateBearer({
    ...world,
    personal: createPersonalTokenCheck({ ...world, policy }),
  })
  const at = (id = 'echo') => world.directory.addresses.find(({ service }) => service.id === id) as never
  const make = (wanted: Partial<WantedToken> = {}) =>
    tokens.create(ana, { name: 'CI', services: ['echo'], ...wanted }, { by: 'local:ana' })
  const use = async (token: string, id = 'echo') => authenticate([`Bearer ${token}`], at(id))
  const { createApiSessions } = await import('../../src/oauth/api-tokens.ts')
  const api = createApiSessions({
    ...world,
    issuer: origin,
    sessions: { of: () => Promise.resolve(undefined) },
    personal: createPersonalTokenCheck({ ...world, policy }),
    isAdmin: () => admin.is,
  })
  const atApi = (token: string) =>
    api.of(new Request(`${origin}/api/grants`, { headers: { authorization: `Bearer ${token}` } }))
  return { world, tokens, access, make, use, rules, blocked, admitted, admin, atApi }
}

export const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (thrown: unknown) => (thrown instanceof Refusal ? thrown.code : String(thrown)),
  )
