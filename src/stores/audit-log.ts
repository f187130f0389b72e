// Events of the audit trail that are told in the log alone: requests that were refused before anybody knew whose
// they were, and what processes and the configuration went through.
import type { Log } from '../ports/runtime.ts'

type Fields = Readonly<Record<string, unknown>>

/** Kinds by what the log calls them. */
const toldKinds: Readonly<Record<string, string>> = {
  'process.started': 'process.started',
  'process.ended': 'process.ended',
  'config.reloaded': 'config.loaded',
  'config.refused': 'config.refused',
  'upstream.refresh-failed': 'connection.refresh-failed',
  'signing-keys.rotated': 'key.rotated',
  'session.rotated': 'session.rotated',
}

/** Who was kept out at a sign-in. */
const signIns: ReadonlySet<unknown> = new Set([
  'provider.denied',
  'provider.untrusted',
  'person.not-allowed',
  'person.blocked',
  'person.deactivated',
  'person.wrong-provider',
  'login.link-spent',
])
const limits: ReadonlySet<unknown> = new Set([
  'rate.limited',
  'sign-in.busy',
  'calls.limited',
  'calls.rate',
  'calls.bytes',
])
const bearers: ReadonlySet<unknown> = new Set([
  'token.missing',
  'token.repeated',
  'token.malformed',
  'token.expired',
  'token.audience',
  'token.revoked',
  'token.bound',
  'token.unbound',
])

/** OAuth endpoints by the end of their path. */
const endpoints: readonly (readonly [RegExp, string])[] = [
  [/^\/(?:oauth\/)?token$/, 'token.refused'],
  [/^\/(?:oauth\/)?authorize$/, 'authorize.refused'],
  [/^\/(?:oauth\/)?register(?:\/|$)/, 'client.refused'],
]

/** The kind of a refused request; undefined for one that is told of elsewhere, or that concerns nobody. */
const refusedKind = ({ refusal, path, service }: Fields): string | undefined => {
  if (limits.has(refusal)) return 'limit.hit'
  if (signIns.has(refusal)) return 'sign-in.failed'
  if (bearers.has(refusal) && service !== undefined) return 'bearer.refused'
  const at = String(path)
  return endpoints.find(([form]) => form.test(at))?.[1]
}

/** Every kind that is told so. A test compares them with the table of kinds. */
export const loggedKinds: readonly string[] = [
  ...new Set([
    ...Object.values(toldKinds),
    ...['bearer.refused', 'limit.hit', 'sign-in.failed', ...endpoints.map(([, kind]) => kind)],
  ]),
]

// Strangers may be refused as often as they like: of refusals alike the first is told, and then at most one a
// minute, with how many there were.

const everyMs = 60_000
/** Beyond so many, addresses are told of together. */
const mostKnown = 2_000

interface Repeated {
  readonly event: Fields & { readonly event: string }
  /** Epoch ms of the row that was written last. */
  toldAt: number
  count: number
}

type Keep = (event: Fields & { readonly event: string }) => void

const createRepeats = (keep: Keep, now: () => number) => {
  const known = new Map<string, Repeated>()
  const tell = (repeated: Repeated): void => {
    keep({ ...repeated.event, count: repeated.count })
    repeated.count = 0
    repeated.toldAt = now()
  }
  return {
    add(event: Repeated['event']) {
      const { event: kind, ip, refusal, service } = event
      const own = JSON.stringify([kind, ip, refusal, service])
      const full = !known.has(own) && known.size >= mostKnown
      const key = full ? JSON.stringify([kind]) : own
      const repeated = known.get(key)
      if (!repeated) {
        const { ip: _, person: __, client: ___, why: ____, path: _____, ...others } = event
        const first = { event: full ? others : event, toldAt: 0, count: 1 }
        known.set(key, first)
        tell(first)
        return
      }
      repeated.count++
      if (now() - repeated.toldAt >= everyMs) tell(repeated)
    },
    /** Tells what has waited for a minute, and forgets what was not seen for one. `all`: whatever waits. */
    sweep(all: boolean) {
      for (const [key, repeated] of known) {
        if (!all && now() - repeated.toldAt < everyMs) continue
        if (repeated.count > 0) tell(repeated)
        else known.delete(key)
      }
    },
  }
}

export interface AuditLog {
  /** The log, of which the trail keeps what belongs there. */
  readonly log: Log
  /** To be called every minute, and with `all` at the end. */
  sweep(all: boolean): void
}

/** `keep`: puts an event into the trail, and nowhere else. */
export const createAuditLog = (log: Log, keep: Keep, now: () => number): AuditLog => {
  const repeats = createRepeats(keep, now)
  const keepRefused = (fields: Fields): void => {
    const event = refusedKind(fields)
    if (event === undefined) return
    // The method and the flow of a page are no facts of MCP.
    const { method: _, flow: __, ...facts } = fields
    if (event === 'sign-in.failed') keep({ ...facts, event, user: fields['person'] })
    else repeats.add({ ...facts, event })
  }
  return {
    log(level, event, fields = {}, audit = false, json) {
      log(level, event, fields, audit, json)
      if (audit) return
      if (event === 'refused') keepRefused(fields)
      else if (Object.hasOwn(toldKinds, event)) keep({ ...fields, event: toldKinds[event] as string })
    },
    sweep: repeats.sweep,
  }
}
