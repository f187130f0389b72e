// Keys that a gateway on Cloudflare Workers reads and does nothing with, because the platform decides what they are about.
import type { Rule } from './draft.ts'

const unused: Readonly<Record<string, string>> = {
  host: 'Cloudflare accepts the requests',
  port: 'Cloudflare accepts the requests',
  storage: 'records are kept in Durable Objects',
  trusted_proxies: 'Cloudflare provides the client address',
  admin_commands: 'a Worker cannot start programs',
}

const workers: Rule = (draft, report) => {
  if (!draft.workers) return
  for (const [key, why] of Object.entries(unused)) if (draft.has(key) || draft.keys(key).length > 0) report.warn([key], `has no effect on Workers: ${why}`)
}

export const workersRules: readonly Rule[] = [workers]
