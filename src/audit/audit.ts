// What happened, for the people who answer for it: one function, one event a line.
import type { Audit } from '../ports/modules.ts'
import type { Log } from '../ports/runtime.ts'

/** Events that tell of an attack or a loss stand out. */
const grave = new Set([
  'refresh.reuse',
  'code.replayed',
  'session.foreign',
  'callback.other-browser',
  'sign-in.failed',
])

export const createAudit =
  ({ log }: { readonly log: Log }): Audit =>
  (event) =>
    log(grave.has(event.event) ? 'warn' : 'info', event.event, event, true)
