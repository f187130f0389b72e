// Activity: what the audit trail says, as a chart and a table, and one row with all that is known of it.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ActivityRow, ActivityView, ConsoleFrame } from '../../ports/console.ts'
import { type PageContext, named, readAddress, readName, readText } from '../layout.ts'
import { barHeight, stackedBars, sumOf } from './charts.ts'
import { clockTime, consolePage, counted, empty, icons, linkTo, quoted, status } from './shell.ts'

const path = '/console/activity'

type Asked = ActivityView['asked']

const queryOf = (terms: readonly string[]): string | undefined =>
  terms.length === 0 ? undefined : terms.map((term) => (/\s/.test(term) ? `"${term}"` : term)).join(' ')

const linkOf = ({ terms, period, from, row }: Asked, change: Partial<Asked> = {}): string => {
  const next = { terms, period, from, row, ...change }
  return linkTo(path, {
    q: queryOf(next.terms),
    period: next.period === '24h' ? undefined : next.period,
    from: next.from,
    row: next.row,
  })
}

// What is asked for.

const periods = [
  ['1h', '1 h'],
  ['24h', '24 h'],
  ['7d', '7 d'],
  ['30d', '30 d'],
] as const

const token = (asked: Asked, term: string): Markup => {
  const [, field, value] = /^(-?[a-z_]+):(.*)$/s.exec(term) ?? []
  const without = linkOf(asked, {
    terms: asked.terms.filter((one) => one !== term),
    from: undefined,
    row: undefined,
  })
  return html`<span class="token">${field !== undefined && html`<b>${field}</b>`}${named(readText(value ?? term, 80))}<a href="${without}" aria-label="Remove ${readText(term, 80)}">${icons.cross}</a></span>`
}

const searchForm = ({ asked, problem }: ActivityView): Markup => {
  const { terms, period } = asked
  return html`<form class="bar" role="search" aria-label="Activity" method="get" action="${path}">
<div class="query">${icons.filter}<label class="vh" for="q">Search</label><input id="q" name="q" value="${queryOf(terms)}" placeholder="user:ana tool:create_issue decision:denied" autocomplete="off" autocapitalize="none" spellcheck="false"${problem !== undefined && html` aria-invalid="true" aria-describedby="wrong"`}></div>
${period !== '24h' && html`<input type="hidden" name="period" value="${period}">`}<button class="btn">Search</button>
<nav class="row" aria-label="Period">${periods.map(([value, label]) => html`<a class="seg-link" href="${linkOf(asked, { period: value, from: undefined, row: undefined })}"${value === period && html` aria-current="true"`}>${label}</a>`)}</nav></form>
${terms.length > 0 && html`<p class="row tokens">${terms.map((term) => token(asked, term))}</p>`}
${problem !== undefined && html`<p class="note bad" id="wrong">${icons.bad}<span>${readText(problem, 400)}</span></p>`}`
}

// The chart.

const dayAndTime = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ')

const chart = ({ found, asked }: ActivityView, { now }: ConsoleFrame): Drawable => {
  if (!found?.counts) return undefined
  const { slots, from } = found.counts
  const { allowed, denied, failed } = sumOf(slots)
  const all = allowed + denied + failed
  const numbers = `${allowed.toLocaleString('en')} allowed, ${denied.toLocaleString('en')} denied, ${failed.toLocaleString('en')} errors`
  return html`<section class="card"><div class="card-body"><div class="row between gap-bottom"><div class="legend"><span>Allowed ${allowed.toLocaleString('en')}</span><span class="d">Denied ${denied.toLocaleString('en')}</span><span class="e">Errors ${failed.toLocaleString('en')}</span></div><span class="muted sm">${counted(all, 'event')}${from !== undefined && html` since ${dayAndTime(from)}; older ones were not counted`}</span></div>
<svg class="hist" viewBox="0 0 960 ${barHeight}" preserveAspectRatio="none" role="img" aria-label="Events of the last ${asked.period}: ${numbers}"><line class="grid" x1="0" x2="960" y1="8" y2="8"/><line class="grid" x1="0" x2="960" y1="52" y2="52"/>${stackedBars(slots)}</svg>
<div class="axis"><span>${dayAndTime(found.since)}</span><span class="only-wide">${dayAndTime((found.since + now) / 2)}</span><span>Now</span></div></div></section>`
}

// The table.

const outcomes = {
  allowed: ['ok', 'Allowed'],
  denied: ['warn', 'Denied'],
  'step-up': ['warn', 'Asked for more'],
  failed: ['bad', 'Failed'],
} as const

const outcomeOf = ({ decision, is_error: wrong, status: code }: ActivityRow): Markup => {
  const [look, word] = outcomes[decision]
  if (decision === 'failed' && code !== null && code >= 400) return status(look, `Error ${code}`)
  return wrong === 1 ? status('bad', 'Tool error') : status(look, word)
}

const tookOf = ({ ms }: ActivityRow): string => {
  if (ms === null) return ''
  return ms < 10_000 ? `${ms.toLocaleString('en')} ms` : `${(ms / 1000).toFixed(1)} s`
}

const whoOf = ({ person, actor }: ActivityRow): Drawable => {
  const key = person ?? actor
  return key === null
    ? html`<span class="faint">Nobody signed in</span>`
    : named(readText(key.slice(key.indexOf(':') + 1), 60))
}

const whatOf = ({ kind, method, name }: ActivityRow): Markup =>
  kind === 'call'
    ? html`<code>${readText(name ?? method ?? 'call', 80)}</code>`
    : html`${readText(kind, 60)}${name !== null && html` <code>${readText(name, 60)}</code>`}`

const whereOf = ({ service, client }: ActivityRow, { services }: ConsoleFrame): Drawable => {
  if (service !== null)
    return named(
      readName(services.find(({ id }) => id === service)?.name ?? service, readText(service, 64)).text,
    )
  return client === null ? '' : named(readAddress(URL.parse(client)?.host || client).slice(0, 48))
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

const tableRow = (asked: Asked, row: ActivityRow, frame: ConsoleFrame): Markup => {
  const iso = new Date(row.at).toISOString()
  const open = row.key === asked.row
  return html`<tr${open && html` aria-selected="true"`}><td class="nowrap muted a-time"><a href="${linkOf(asked, { row: open ? undefined : row.key })}"><time datetime="${iso}" title="${iso}">${dayOf(row.at) === dayOf(frame.now) ? clockTime(iso) : iso.slice(5, 16).replace('T', ' ')}</time></a></td>
<th scope="row" class="a-who strong">${whoOf(row)}</th>
<td class="a-tool">${whatOf(row)}<span class="sub">${whereOf(row, frame)}</span></td>
<td class="a-dec">${outcomeOf(row)}</td>
<td class="num muted hide-sm">${tookOf(row)}</td></tr>`
}

// One row.

const detailOf = ({ detail }: ActivityRow): Drawable => {
  if (detail === null) return undefined
  const facts = Object.entries(JSON.parse(detail) as Readonly<Record<string, unknown>>)
  return facts.map(
    ([name, value]) =>
      html`<dt>${readText(name, 40)}</dt><dd>${readText(typeof value === 'string' ? value : JSON.stringify(value), 400)}</dd>`,
  )
}

const fact = (label: string, value: Drawable): Drawable =>
  value !== undefined &&
  value !== null &&
  value !== '' &&
  value !== false &&
  html`<dt>${label}</dt><dd>${value}</dd>`

const why = (row: ActivityRow, frame: ConsoleFrame): Drawable => {
  const { decision, code, rule, person, service } = row
  if (row.kind !== 'call' && decision === 'allowed') return undefined
  const passed = decision === 'allowed' || decision === 'failed'
  return html`<section><h2>Why</h2><ul class="trace">
${person !== null && html`<li><span class="ok-text">${icons.ok}</span><span>The token was good${service !== null && html` for ${whereOf(row, frame)}`}</span></li>`}
${rule !== null && html`<li><span class="${passed ? 'ok-text' : 'bad-text'}">${passed ? icons.ok : icons.cross}</span><span>Rule <b>${readText(rule, 120)}</b>${!passed && ' does not allow it'}</span></li>`}
${code !== null && html`<li><span class="bad-text">${icons.cross}</span><span>Refused or failed with <code>${readText(code, 80)}</code></span></li>`}
${rule === null && code === null && html`<li><span class="ok-text">${icons.ok}</span><span>No rule stood in the way</span></li>`}
</ul></section>`
}

/** By the rules of now, which may not be those that decided the call. */
const today = ({ today: who, row }: ActivityView): Drawable => {
  if (!who || !row) return undefined
  const { person, service, name } = row
  const groups = html`${who.groups.map((group, i) => html`${i > 0 && ', '}${named(readText(group, 60))}`)}`
  const why = linkTo('/console/access', { service: service ?? '', person: person ?? '', tool: name ?? '' })
  return html`<section><h2>Who could do this today</h2><p class="sm">${who.everyone ? 'Everyone who can sign in' : who.groups.length === 0 ? 'No group. Rules may name single users.' : html`People in ${groups}`}</p>${person !== null && html`<p class="sm"><a href="${why}#why">Why can or can’t this user?</a></p>`}</section>`
}

const drawer = (view: ActivityView, frame: ConsoleFrame): Drawable => {
  const { asked, row } = view
  if (asked.row === undefined) return undefined
  const close = html`<a class="btn quiet icon sm" href="${linkOf(asked, { row: undefined })}" aria-label="Close">${icons.cross}</a>`
  if (!row)
    return html`<aside class="drawer" aria-label="Event"><div class="drawer-head"><div><b>This event is not there</b><p class="muted sm">It was not found, or you may not see it.</p></div>${close}</div></aside>`
  const iso = new Date(row.at).toISOString()
  return html`<aside class="drawer" aria-label="Event"><div class="drawer-head"><div><b>${outcomeOf(row)} ${whatOf(row)}</b><p class="muted sm">${whoOf(row)}, <time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time></p></div>${close}</div>
${why(row, frame)}
${today(view)}
<section><h2>Details</h2><dl class="kv">
${fact('Client', row.client !== null && html`<code>${readAddress(row.client).slice(0, 200)}</code>`)}
${fact('Method', row.method !== null && html`<code>${readText(row.method, 80)}</code>`)}
${fact('Status', row.status)}
${fact('Took', tookOf(row))}
${fact('From', row.ip !== null && readText(row.ip, 60))}
${fact('By', row.actor !== null && readText(row.actor, 120))}
${fact('Request', row.request !== null && html`<code>${readText(row.request, 80)}</code>`)}
${fact('Login', row.flow !== null && html`<a href="/console/flows/${encodeURIComponent(row.flow)}">The flow it came from</a>`)}
${fact('Grant', row.grant !== null && html`<a href="${linkTo(path, { q: `grant:${row.grant}`, period: asked.period })}"><code>${readText(row.grant, 80)}</code></a>`)}
${fact('Arguments', row.digest !== null && html`Not recorded. Digest <code>${row.digest.slice(0, 16)}…</code>`)}
${detailOf(row)}
</dl></section></aside>`
}

const table = (view: ActivityView, frame: ConsoleFrame): Drawable => {
  const { found, asked } = view
  if (!found) return undefined
  const { rows, next, partial } = found
  if (rows.length === 0 && !next) {
    const longer = asked.period === '30d' ? undefined : linkOf(asked, { period: '30d', from: undefined })
    return html`<section class="card empty"><h2>${asked.terms.length > 0 ? 'No event matches' : 'Nothing happened'}</h2><p>In the last ${asked.period}.${longer !== undefined && html` <a href="${longer}">Search 30 days</a>`}</p></section>${drawer(view, frame)}`
  }
  return html`<section class="card"><div class="${asked.row !== undefined && 'with-drawer'}"><div class="scroll"><table class="table tight fold act"><caption class="vh">Events, newest first</caption><thead><tr><th scope="col">Time (UTC)</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Decision</th><th class="num" scope="col">Took</th></tr></thead><tbody>
${rows.map((row) => tableRow(asked, row, frame))}</tbody></table><div class="card-foot"><span>${partial ? 'The search took long and goes on with the next page.' : counted(rows.length, 'event')}</span><span class="btns">${asked.from !== undefined && html`<a class="btn sm" href="${linkOf(asked, { from: undefined, row: undefined })}">Newest</a>`}${next !== undefined && html`<a class="btn sm" href="${linkOf(asked, { from: next, row: undefined })}">Older</a>`}</span></div></div>${drawer(view, frame)}</div></section>`
}

const command = ({ asked }: ActivityView): string =>
  [
    'postern audit query',
    ...asked.terms.map((term) => quoted(readText(term, 300))),
    ...(asked.terms.some((term) => /^(?:since|until):/.test(term)) ? [] : [`--since ${asked.period}`]),
  ].join(' ')

export const activityPage = (gateway: PageContext, frame: ConsoleFrame, view: ActivityView): Response => {
  const { asked, own, kept } = view
  const exported = (format: string): string =>
    linkTo('/api/audit/export', {
      q: queryOf([
        ...asked.terms,
        ...(asked.terms.some((term) => /^(?:since|until):/.test(term)) ? [] : [`since:${asked.period}`]),
      ]),
      format,
    })
  return consolePage(gateway, frame, {
    page: 'activity',
    title: 'Activity',
    lead: html`<p>${own ? 'Your own events. Whoever is listed under auditors sees those of everybody.' : 'Every sign-in, approval, change and call.'}</p>`,
    ...(kept && {
      actions: html`<a class="btn" href="${exported('csv')}">Export CSV</a><a class="btn only-wide" href="${exported('jsonl')}">Export JSONL</a>`,
    }),
    body: kept
      ? html`${searchForm(view)}${chart(view, frame)}${table(view, frame)}`
      : empty(
          'No audit trail is kept',
          html`To keep one, add <code>audit: {}</code> to the configuration and restart the gateway.`,
        ),
    commands: [command(view)],
  })
}
