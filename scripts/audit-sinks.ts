// The sinks of the audit trail against rsyslog as Debian has it, where it is installed: a gateway is called with
// hostile names while the server goes away and comes back, and every row must have arrived as the trail has it.
import { join } from 'node:path'
import type { ChainedRow } from '../src/ports/store.ts'
import { openAuditReader } from '../src/node/audit-reader.ts'
import { readSearch } from '../src/stores/audit.ts'
import { startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { type ReadMessage, type Rsyslog, openRsyslog } from './harness/rsyslog.ts'
import type { createVerdicts } from './harness/verdict.ts'

type Verdicts = ReturnType<typeof createVerdicts>

const hostile = [
  'plain',
  '"] forged="1"][x y="2"]',
  'back\\slash\\',
  '\\"]',
  'new\nline\r\n<13>1 - - - - - - forged',
  '\u001B[2J\u0000\u0085\u009B31m',
  '\u202Eright to left\u2066',
  'Zoë 😀 日本',
  '%s %n ${jndi:ldap://x} $!all-json',
  'x'.repeat(1_048_000),
  '{"json":"[\\"]"}',
  '',
]

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

/** Rows that did not arrive, or not as they are. */
const differing = (rows: readonly ChainedRow[], read: readonly ReadMessage[]): readonly ChainedRow[] => {
  const arrived = new Map(
    read.map((each) => {
      const facts = each.data['postern@32473'] ?? {}
      return [`${facts['chain']} ${facts['seq']}`, { each, facts }]
    }),
  )
  return rows.filter((row) => {
    const found = arrived.get(`${row.chain} ${row.seq}`)
    return (
      found === undefined ||
      found.each.kind !== row.kind ||
      found.each.facility !== '13' ||
      (found.facts['tool'] ?? null) !== (row.name === '' ? '' : row.name) ||
      (found.facts['person'] ?? null) !== row.person ||
      found.facts['decision'] !== row.decision ||
      found.facts['hash'] !== row.hash
    )
  })
}

const callAll = async (origin: string, names: readonly string[]): Promise<void> => {
  for (const name of names)
    await fetch(`${origin}/echo/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'accept': 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } }),
    }).then((answer) => answer.text())
}

const send = async (rsyslog: Rsyslog, scheme: string, away: boolean): Promise<readonly ChainedRow[]> => {
  const upstream = await openUpstream()
  const state = temporaryState()
  const sinks = { siem: { url: `syslog+${scheme}://127.0.0.1:${rsyslog.port}` } }
  await rsyslog.start()
  const gateway = await startProcess({
    config: { audit: { sinks }, mcp_services: { echo: { url: upstream.url, auth_required: false } } },
    stateDir: state.dir,
    env: { NO_PROXY: '*' },
  })
  await callAll(gateway.origin, hostile)
  if (away) {
    await pause(2500)
    await rsyslog.stop()
    await callAll(gateway.origin, hostile)
    await pause(3000)
    await rsyslog.start()
    await pause(6000)
  }
  await callAll(gateway.origin, hostile)
  await gateway.end()
  await pause(1000)
  const trail = openAuditReader(join(state.dir, 'audit.db'))
  const rows = [...(trail?.all(readSearch([], Date.now())) ?? [])]
  trail?.close()
  await rsyslog.stop()
  await upstream.close()
  state.remove()
  return rows
}

/** `folder`: for rsyslog's files. */
export const proveSinks = async (verdicts: Verdicts, folder: string): Promise<void> => {
  for (const [scheme, away] of [
    ['tcp', true],
    ['udp', false],
  ] as const) {
    const rsyslog = await openRsyslog(join(folder, scheme))
    if (!rsyslog) {
      console.log('rsyslog is not installed (apt-get install rsyslog): the sinks are not proved against it')
      return
    }
    const rows = await send(rsyslog, scheme, away)
    const read = rsyslog.messages()
    const wrong = differing(rows, read)
    verdicts.claim(
      rows.length > 20 && wrong.length === 0,
      `rsyslog reads every row of the trail over ${scheme.toUpperCase()} as it is${away ? ', also of the time when it was away' : ''}`,
      `${rows.length} rows, ${read.length} messages, ${wrong.length} missing or different${wrong[0] ? `: ${JSON.stringify(wrong[0]).slice(0, 300)}` : ''}`,
    )
    verdicts.claim(
      !read.some(({ data }) => Object.keys(data).some((id) => id !== 'postern@32473')),
      'no name makes structured data of its own',
      `${read.length} messages`,
    )
  }
}
