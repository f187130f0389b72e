// The magic link: a sign-in link that the terminal prints, valid once and for fifteen minutes.
import { encodeBase64url } from '../kit/bytes.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

/** The built-in person. Exists only while neither local users nor providers are configured. */
export const owner: Person = {
  provider: 'local',
  subject: 'owner',
  login: 'owner',
  name: 'Owner',
  groups: ['admins'],
}

export const linkLifetimeMs = 15 * 60_000

export interface LoginLinks {
  readonly enabled: boolean
  /** A new secret; the link is `{issuer}/?t={secret}`. */
  mint(): Promise<string>
  /** True for exactly one caller per secret, within fifteen minutes. */
  redeem(secret: string): Promise<boolean>
}

export interface LoginLinksDeps {
  readonly runtime: Pick<Runtime, 'random' | 'store' | 'digest'>
  readonly enabled: boolean
}

/** Links in the store under `login-link:{digest}`; the secret itself is kept nowhere. */
export const createLoginLinks = ({ runtime, enabled }: LoginLinksDeps): LoginLinks => ({
  enabled,
  async mint() {
    const secret = encodeBase64url(runtime.random(32))
    await runtime.store.put(`login-link:${runtime.digest(secret)}`, '{}', {
      ttlMs: linkLifetimeMs,
      only: 'absent',
    })
    return secret
  },
  async redeem(secret) {
    if (!enabled || !/^[A-Za-z0-9_-]{43}$/.test(secret)) return false
    return (await runtime.store.take(`login-link:${runtime.digest(secret)}`)) !== undefined
  },
})
