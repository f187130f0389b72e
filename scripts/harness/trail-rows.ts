// Events of an audit trail that are unlike one another in every way that can be searched for.
import type { AuditRow } from '../../src/ports/store.ts'

const pick = <T>(items: readonly T[], i: number): T => items[i % items.length] as T
const tools = Array.from({ length: 200 }, (_, i) => `tool_${i}`)
/** The event of that number, at that time. */
export const trailRow = (i: number, at: number): AuditRow => ({
  at,
  kind: i % 50 === 0 ? 'grant.refreshed' : 'call',
  person: `okta:person${(i * 7919) % 5000}`,
  actor: null,
  client: `https://app${(i * 31) % 40}.example/client.json`,
  service: `service${(i * 13) % 20}`,
  method: i % 50 === 0 ? null : 'tools/call',
  name: pick(tools, i * 17),
  decision: i % 400 === 0 ? 'denied' : 'allowed',
  code: i % 400 === 0 ? 'policy.tool' : null,
  rule: null,
  status: 200,
  is_error: 0,
  ms: (i * 37) % 900,
  ip: `192.0.${(i * 3) % 256}.${(i * 11) % 256}`,
  request: `request-${i}`,
  flow: null,
  grant: `grant${(i * 101) % 20_000}`,
  digest: null,
  subject: null,
  detail: '{"http":"POST","result":"answered","first_byte_ms":3,"bytes_in":120,"bytes_out":900}',
})
