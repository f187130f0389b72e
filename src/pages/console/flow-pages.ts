// Flows: every attempt of a client to get access, and one of them step by step, with the place where it stopped.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame, FlowView, FlowsFilter, FlowsView } from '../../ports/console.ts'
import type { FlowFacts, ListedFlow, ListedFlowStep } from '../../ports/flow-record.ts'
import { type PageContext, named, readName, readText } from '../layout.ts'
import {
  actors,
  appOf,
  asTitle,
  expectedAfter,
  laneOf,
  personOf,
  sentenceOf,
  serviceOf,
  stateOf,
} from './flow-words.ts'
import {
  clockTime,
  commandOf,
  consolePage,
  counted,
  empty,
  icons,
  linkTo,
  quoted,
  status,
  timeAgo,
} from './shell.ts'

const path = '/console/flows'

// The list.

const outcomes: readonly (readonly [state: string | undefined, label: string])[] = [
  [undefined, 'All'],
  ['stalled', 'Stopped'],
  ['failed', 'Failed'],
  ['abandoned', 'Left'],
  ['completed', 'Done'],
]

const stoppedAt: Readonly<Record<string, string>> = {
  'sign-in': 'at sign-in',
  'consent': 'before access was allowed',
  'token': 'before the token',
  'call': 'before the first call',
}

const filterForm = (
  { filter }: FlowsView,
  { services }: ConsoleFrame,
): Markup => html`<form class="bar" method="get" action="${path}">
<nav class="row" aria-label="Outcome">${outcomes.map(([state, label]) => html`<a class="seg-link" href="${linkTo(path, { ...filter, stopped: undefined, state })}"${state === filter.state && filter.stopped === undefined && html` aria-current="true"`}>${label}</a>`)}</nav>
<span class="fill"></span>${filter.state !== undefined && html`<input type="hidden" name="state" value="${filter.state}">`}
<label class="vh" for="user">User</label><input class="input half" id="user" name="user" value="${filter.user?.slice(0, 300)}" placeholder="User" autocomplete="off" autocapitalize="none" spellcheck="false">
<label class="vh" for="service">Service</label><select class="input half" id="service" name="service"><option value="">All services</option>${services.map(({ id, name }) => html`<option value="${id}"${id === filter.service && html` selected`}>${readName(name, id).text}</option>`)}</select>
<button class="btn">Show</button></form>`

const row = (flow: ListedFlow, frame: ConsoleFrame): Markup => {
  const [look, word] = stateOf(flow)
  return html`<tr><th scope="row"><a class="strong" href="${path}/${flow.id}">${personOf(flow)}</a></th>
<td data-l="Client">${appOf(flow)}</td>
<td data-l="Service">${serviceOf(flow, frame) ?? html`<span class="faint">Not said</span>`}</td>
<td class="nowrap">${status(look, word)}</td>
<td class="full muted">${readText(flow.finding?.say ?? '', 160)}</td>
<td class="num faint">${timeAgo(Date.parse(flow.at), frame.now)}</td></tr>`
}

const isFiltered = (filter: FlowsFilter): boolean =>
  Object.values(filter).some((value) => value !== undefined)

const list = ({ found, filter }: FlowsView, frame: ConsoleFrame): Drawable => {
  if (!found)
    return empty(
      'Flows are not recorded',
      html`To see where logins stop, add <code>flows: {}</code> to the configuration and restart the gateway.`,
    )
  if (found.flows.length === 0)
    return isFiltered(filter)
      ? html`<section class="card empty"><h2>No flow matches</h2><p><a href="${path}">Show all flows</a></p></section>`
      : empty(
          'No client has asked for access yet',
          'Flows appear here while clients register, users sign in and apps fetch their tokens.',
        )
  return html`<section class="card scroll"><table class="table fold"><caption class="vh">Flows, newest first</caption>
<thead><tr><th scope="col">User</th><th scope="col">Client</th><th scope="col">Service</th><th scope="col">Outcome</th><th scope="col">What happened</th><th class="num" scope="col">Began</th></tr></thead>
<tbody>${found.flows.map((flow) => row(flow, frame))}</tbody></table></section>
${found.truncated && html`<p class="muted sm">There are older flows. Narrow the list to find them.</p>`}`
}

export const flowsPage = (gateway: PageContext, frame: ConsoleFrame, view: FlowsView): Response => {
  const { filter, found } = view
  const { stopped, state, ...named } = filter
  return consolePage(gateway, frame, {
    page: 'flows',
    title: 'Flows',
    lead: html`<p>How clients got access, or where they stopped.${stopped !== undefined && ` Shown: logins of the last 24 hours that stopped ${stoppedAt[stopped] ?? ''}.`}</p>`,
    body: html`${found && filterForm(view, frame)}${list(view, frame)}`,
    commands: [commandOf('flows ls', { outcome: state, ...named })],
  })
}

// One flow.

const later = (ms: number): string =>
  ms < 1000 ? `+${ms} ms` : ms < 120_000 ? `+${(ms / 1000).toFixed(1)} s` : `+${Math.round(ms / 60_000)} min`

const factLines = (facts: FlowFacts): string =>
  Object.entries(facts)
    .map(
      ([name, value]) =>
        `${name}: ${readText(typeof value === 'object' ? value.join(' ') : String(value), 300)}`,
    )
    .join('\n')

const wire = ({ request, answer, status: code, ip, request_id: id }: ListedFlowStep): Drawable => {
  const from = [
    factLines(request),
    ip === undefined ? '' : `from: ${readText(ip, 60)}`,
    id === undefined ? '' : `request: ${id}`,
  ]
    .filter(Boolean)
    .join('\n')
  const to = [code === undefined ? '' : String(code), factLines(answer)].filter(Boolean).join('\n')
  if (from === '' && to === '') return undefined
  return html`<details><summary class="more">${icons.chevron}Request and response</summary><div class="wire">${from !== '' && html`<pre>${from}</pre>`}${to !== '' && html`<pre>${to}</pre>`}</div></details>`
}

const stepRow = (flow: ListedFlow, step: ListedFlowStep, i: number): Markup => {
  const { lane, via, label } = laneOf(step)
  const lost = step.result === 'refused'
  const drawn = lost && lane !== 'self' ? lane.replace(' auth', '').concat(' lost') : lane
  return html`<li${lost && html` class="gap"`}><span class="at"><b>${clockTime(step.at)}</b>${i > 0 && later(step.delta)}</span><div class="say"><span class="via">${via}</span>${lost ? html`<b>${sentenceOf(flow, step)}</b>` : sentenceOf(flow, step)}${step.code !== undefined && html` <code>${step.code}</code>`}${wire(step)}</div><div class="lanes"><span class="${drawn}">${label}${step.status !== undefined && lane !== 'self' && ` ${step.status}`}</span></div></li>`
}

/** The row of what did not come. */
const gapRow = ({ state, steps }: ListedFlow, now: number): Drawable => {
  const last = steps.at(-1)
  const expected = last && expectedAfter[last.name]
  if (!expected || (state !== 'stalled' && state !== 'abandoned')) return undefined
  const { lane, via, label } = laneOf({ name: expected.next, result: 'asked' })
  return html`<li class="gap"><span class="at"><b>Nothing since</b>${timeAgo(Date.parse(last.at), now)}</span><div class="say"><span class="via">${via}</span><b>${expected.say}</b></div><div class="lanes"><span class="${lane === 'self' ? 'self lost' : `${lane.replace(' auth', '')} lost`}">${label}</span></div></li>`
}

const titleOf = ({ flow }: FlowView, frame: ConsoleFrame): Drawable => {
  const service = serviceOf(flow, frame)
  const where = service && html` to ${service}`
  if (flow.finding) return asTitle(flow.finding.say)
  return flow.state === 'completed'
    ? html`${appOf(flow)} got access${where}`
    : html`${appOf(flow)} asks for access${where}`
}

const finding = ({ flow }: FlowView): Drawable => {
  const { finding: found } = flow
  if (!found) return undefined
  const { title, look } = actors[found.acts]
  return html`<section class="actor ${look}">${look === 'wait' ? icons.clock : icons.person}<div><b>${title}</b>${found.fix !== undefined && html`<p>${readText(found.fix, 300)}</p>`}<p><code>${found.code}</code></p></div></section>`
}

const timeTo = (flow: ListedFlow, step: ListedFlowStep['name']): string => {
  const found = flow.steps.find((one) => one.name === step && one.result === 'done')
  return found === undefined
    ? 'none'
    : later(Date.parse(found.at) - Date.parse(flow.at)).replace('+', 'after ')
}

const compared = (view: FlowView): Drawable => {
  const { flow, good } = view
  if (!good) return undefined
  const line = (label: string, before: string, now: string): Markup =>
    html`<dt>${label}</dt><dd>${before === now ? now : html`<del>${before}</del> <ins>${now}</ins>`}</dd>`
  const scopes = ({ steps }: ListedFlow): string =>
    readText(
      steps
        .map(({ answer }) => answer['scopes'])
        .find((value) => value !== undefined)
        ?.toString() ?? 'none',
      160,
    )
  return html`<section class="card"><div class="card-head"><h2>Compared with the last good login</h2><a class="sm" href="${path}/${good.id}">${personOf(good)}, ${good.at.slice(0, 10)}</a></div><div class="card-body"><dl class="kv">
${differences(view) !== '' && html`<dt>Differs</dt><dd>${readText(differences(view), 300)}</dd>`}
${line('Steps', String(good.steps.length), String(flow.steps.length))}
${line('Scopes', scopes(good), scopes(flow))}
${line('Token', timeTo(good, 'token'), timeTo(flow, 'token'))}
${line('First call', timeTo(good, 'first-call'), timeTo(flow, 'first-call'))}
</dl></div></section>`
}

/** What the client, or its browser, saw last. */
const heardBy = ({ steps }: ListedFlow): Drawable => {
  const last = steps.findLast(({ status: code }) => code !== undefined)
  return (
    last && html`HTTP ${String(last.status)}${last.code !== undefined && html` <code>${last.code}</code>`}`
  )
}

const about = (
  { flow }: FlowView,
  frame: ConsoleFrame,
): Markup => html`<section class="card"><div class="card-head"><h2>Who and what</h2></div><div class="card-body"><dl class="kv">
<dt>Client</dt><dd>${appOf(flow)}${flow.client !== undefined && html`<br><code>${readText(flow.client, 200)}</code>`}</dd>
<dt>Service</dt><dd>${serviceOf(flow, frame) ?? 'Not said'}</dd>
<dt>User</dt><dd>${flow.user === undefined ? 'Nobody signed in' : named(readText(flow.user, 120))}</dd>
${flow.grant !== undefined && html`<dt>Grant</dt><dd><code>${flow.grant}</code></dd>`}
<dt>Events</dt><dd><a href="${linkTo('/console/activity', { q: `flow:${flow.id}`, period: '30d' })}">In the audit trail</a></dd>
${flow.previous !== undefined && html`<dt>Before</dt><dd><a href="${path}/${flow.previous}">The flow before this one</a>${flow.previous_access !== undefined && html`<br>${readText(flow.previous_access, 300)}`}</dd>`}
${heardBy(flow) !== undefined && html`<dt>Last answer</dt><dd>${heardBy(flow)}</dd>`}
</dl></div></section>`

const differences = ({ flow: { compare } }: FlowView): string =>
  (compare?.steps ?? [])
    .filter(({ differs }) => differs !== 'same')
    .map(({ name, differs, facts = [] }) => [name, differs, ...facts].join(' '))
    .join(', ')

/** Text that can be selected at once; the script puts a button beside it. */
const report = ({
  flow,
  report: text,
}: FlowView): Markup => html`<section class="card"><div class="card-head"><h2>Report for an issue</h2><a class="sm" href="/api/flows/${flow.id}?share=1">JSON without names</a></div>
<details><summary class="more">${icons.chevron}Copy report (Markdown)</summary><p class="muted sm">It names the app and the URL of the service, and no users or addresses.</p><code class="copy" data-what="report">${text}</code></details></section>`

export const flowPage = (gateway: PageContext, frame: ConsoleFrame, view: FlowView): Response => {
  const { flow } = view
  const [look, word] = stateOf(flow)
  return consolePage(gateway, frame, {
    page: 'flows',
    title: 'Flow',
    heading: titleOf(view, frame),
    above: html`<nav class="crumb" aria-label="Breadcrumb"><a href="${path}">Flows</a>${icons.chevron}<code>${flow.id}</code></nav>`,
    lead: html`<p class="row">${status(look, word)}<span>${counted(flow.steps.length, 'step')}, began ${timeAgo(Date.parse(flow.at), frame.now)}</span></p>`,
    body: html`${finding(view)}
<section class="card" aria-label="Steps"><ol class="flow">
<li class="flow-head" aria-hidden="true"><span class="at">Time (UTC)</span><span class="say">What happened</span><div class="lanes-head"><span>CLIENT</span><span>GATEWAY</span><span>IDENTITY PROVIDER</span><span>UPSTREAM</span></div></li>
${flow.steps.map((step, i) => stepRow(flow, step, i))}${gapRow(flow, frame.now)}
</ol></section>
${flow.cut && html`<p class="muted sm">There were more steps than are kept.</p>`}
<div class="cols even">${compared(view)}${about(view, frame)}</div>
${report(view)}`,
    commands: [`postern flows show ${quoted(flow.id)}`, `postern flows show ${quoted(flow.id)} --report`],
  })
}
