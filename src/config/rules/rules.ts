// Every rule that joins keys, in the order in which faults of one place are told.
import { durationText } from '../key-types.ts'
import { didYouMean } from '../shape.ts'
import { type Path, printable } from '../tree.ts'
import { accessRules, isOpenEscape, openEscape } from './access.ts'
import { assertionRules } from './assertions.ts'
import type { RawConfig, Rule } from './draft.ts'
import { addressRules, hostRules } from './network.ts'
import { clientRules, peopleRules, secretRules } from './people.ts'
import { serviceAccountRules } from './service-accounts.ts'
import { commandRules, serviceRules } from './services.ts'
import { storageRules } from './storage.ts'
import { upstreamRules } from './upstream-auth.ts'

// Lifetimes that contradict one another, and revisions of MCP that nobody
// published.

const lifetimes: Rule = (draft, report) => {
  const [access, refresh, client] = [
    draft.duration('access_token_lifetime'),
    draft.duration('refresh_token_lifetime'),
    draft.duration('client_lifetime'),
  ]
  if (access !== undefined && refresh !== undefined && refresh < access) {
    const at = draft.has('refresh_token_lifetime') ? 'refresh_token_lifetime' : 'access_token_lifetime'
    report.fault(
      [at],
      `makes refresh tokens (${durationText(refresh, 's')}) expire before access tokens (${durationText(access, 's')}): set refresh_token_lifetime to at least access_token_lifetime`,
    )
  }
  if (client !== undefined && client !== 0 && refresh !== undefined && client < refresh) {
    report.warn(
      draft.has('client_lifetime') ? ['client_lifetime'] : ['refresh_token_lifetime'],
      `makes client registrations (${durationText(client, 's')}) expire before their refresh tokens (${durationText(refresh, 's')}): users will have to sign in again`,
    )
  }
}

// Tokens that are bound to a key.

const boundTokens: Rule = (draft, report) => {
  const isOn = draft.has('dpop') && draft.text('dpop', 'mode') !== 'off'
  const owners = ['clients', 'mcp_services'].flatMap((kind) =>
    draft.keys(kind).map((id): readonly [string, string] => [kind, id]),
  )
  for (const owner of owners) {
    const mode = draft.text(...owner, 'dpop')
    if (mode === undefined || mode === 'off') continue
    if (!isOn)
      report.fault([...owner, 'dpop'], 'needs DPoP to be on: add `dpop: { mode: optional }` at the top level')
    else if (draft.has(...owner, 'auth_required') && !draft.flag(...owner, 'auth_required'))
      report.fault([...owner, 'dpop'], 'has no effect, because `auth_required` is false: nobody has a token')
  }
  if (draft.text('dpop', 'replay') !== 'memory' || !draft.has('dpop')) return
  if (draft.workers)
    report.fault(['dpop', 'replay'], 'is not available on Workers, where calls reach many processes')
  else if (draft.text('dpop', 'nonce') === 'off')
    report.fault(
      ['dpop', 'replay'],
      'needs `nonce: required`: without nonces, a restart forgets proofs that are still valid',
    )
}

const revisions: Rule = (draft, report) => {
  const { revisions: known } = draft
  if (!known) return
  for (const { value, path } of draft.texts('protocol_versions'))
    if (!known.includes(value))
      report.fault(path, `${draft.said(...path)} is not a supported MCP revision: use ${known.join(', ')}`)
}

// Rate limits of calls: what their patterns name.

const allRates = (draft: RawConfig): readonly Path[] => [
  ...draft.positions('rate_limits').map((i): Path => ['rate_limits', i]),
  ...draft
    .keys('mcp_services')
    .flatMap((id) =>
      draft
        .positions('mcp_services', id, 'rate_limits')
        .map((i): Path => ['mcp_services', id, 'rate_limits', i]),
    ),
]

const rates: Rule = (draft, report) => {
  const known = draft.keys('mcp_services')
  for (const path of allRates(draft)) {
    for (const key of ['tools', 'services'])
      for (const { value, path: at } of draft.texts(...path, key))
        if (isOpenEscape(value)) report.fault(at, openEscape(draft.said(...at)))
    for (const { value, path: at } of draft.texts(...path, 'services'))
      if (!/[*?\\]/.test(value) && !known.includes(value))
        // It may be added while the gateway runs.
        report.warn(
          at,
          `names "${printable(value)}", which is not in mcp_services${didYouMean(value, known)}`,
        )
  }
}

export const limitRules: readonly Rule[] = [lifetimes, boundTokens, revisions, rates]

// Keys that a gateway on Cloudflare Workers reads and does nothing with, because the platform decides what
// they are about.

const unused: Readonly<Record<string, string>> = {
  host: 'Cloudflare accepts the requests',
  port: 'Cloudflare accepts the requests',
  storage: 'records are kept in Durable Objects',
  trusted_proxies: 'Cloudflare provides the client address',
  forward_auth: 'a Worker does not see which proxy asks',
  admin_commands: 'a Worker cannot start programs',
  metrics: 'Cloudflare counts the requests of a Worker',
  telemetry: 'Cloudflare exports the traces of a Worker',
  workers: 'Cloudflare decides how many processes there are',
  cluster: 'sessions are kept in Durable Objects',
}

const workers: Rule = (draft, report) => {
  if (!draft.workers) return
  for (const [key, why] of Object.entries(unused))
    if (draft.has(key) || draft.keys(key).length > 0) report.warn([key], `has no effect on Workers: ${why}`)
}

/** Keys that only one kind of sink has. */
const sinks: Rule = (draft, report) => {
  const anchors: Path = ['audit', 'anchors', 'headers']
  if (draft.has(...anchors) && draft.text('audit', 'anchors', 'url')?.startsWith('file:'))
    report.fault(anchors, 'has no effect here: only an HTTP URL gets headers')
  for (const id of draft.keys('audit', 'sinks')) {
    const url = draft.text('audit', 'sinks', id, 'url')
    if (url === undefined) continue
    const [headers, syslogId] = ['headers', 'syslog_id'].map((key): Path => ['audit', 'sinks', id, key])
    if (headers && draft.has(...headers) && !/^https?:/.test(url))
      report.fault(headers, 'has no effect here: only an OpenTelemetry collector gets headers')
    if (syslogId && draft.has(...syslogId) && !url.startsWith('syslog'))
      report.fault(syslogId, 'has no effect here: only syslog has structured data')
  }
}

/** What the trail of a Worker cannot do. */
const trail: Rule = (draft, report) => {
  if (!draft.workers) return
  for (const key of ['sinks', 'anchors'])
    if (draft.has('audit', key))
      report.fault(
        ['audit', key],
        'is not available on Workers: remove it; Logpush sends the log of the Worker, which has all audit events',
      )
  if (draft.has('audit', 'spill'))
    report.fault(
      ['audit', 'spill'],
      'is not available on Workers: remove it; a Worker has no disk, and keeps in memory what it could not write',
    )
  if (draft.has('audit', 'durability'))
    report.warn(
      ['audit', 'durability'],
      'has no effect on Workers: what a Durable Object has written is on several disks',
    )
}

/** A service that needs the trail would refuse every call of a gateway that keeps none. */
const requiredTrail: Rule = (draft, report) => {
  const kept = draft.has('audit') && draft.flag('audit', 'enabled')
  for (const id of draft.keys('mcp_services'))
    if (!kept && draft.flag('mcp_services', id, 'audit', 'required'))
      report.fault(['mcp_services', id, 'audit', 'required'], 'needs an audit trail: add `audit: {}`')
}

export const workersRules: readonly Rule[] = [workers, trail, sinks, requiredTrail]

export const rules: readonly Rule[] = [
  ...addressRules,
  ...secretRules,
  ...peopleRules,
  ...serviceRules,
  ...upstreamRules,
  ...commandRules,
  ...hostRules,
  ...clientRules,
  ...serviceAccountRules,
  ...assertionRules,
  ...accessRules,
  ...limitRules,
  ...storageRules,
  ...workersRules,
]
