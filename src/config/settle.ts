// What follows from what was written, without being written.
import type { Draft } from './draft.ts'
import { isLoopbackHost, isLoopbackUrl } from './hosts.ts'
import { knownIssuers } from './rules-people.ts'
import { setsRootAside } from './rules-secrets.ts'
import type { Config } from './schema.ts'

/** Whether the gateway is reached on this computer only: by its public URL, or by where it listens when none is pinned (a host at fault is told as such, and not as public too). */
export const isLoopbackDraft = (draft: Pick<Draft, 'text' | 'has'>): boolean => (draft.has('issuer') ? isLoopbackUrl(draft.text('issuer') ?? '') : isLoopbackHost(draft.text('host') ?? 'localhost'))

/** One spelling of the public URL, known issuers filled in, a weak development secret set aside. */
export const settle = (config: Config, draft: Draft): Config => {
  const { session_secret, issuer, ...rest } = config
  const oauth_providers = Object.fromEntries(
    Object.entries(config.oauth_providers).map(([id, provider]) => [id, Object.hasOwn(knownIssuers, id) ? { ...knownIssuers[id], ...provider } : provider]),
  )
  return {
    ...rest,
    oauth_providers,
    ...(issuer === undefined ? {} : { issuer: issuer.replace(/\/$/, '') }),
    ...(session_secret === undefined || setsRootAside(draft) ? {} : { session_secret }),
  }
}
