// The first page of the console: whether the gateway works, what needs somebody, and how far logins come.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { Attention, ConsoleFrame, Funnel, OverviewView } from '../../ports/console.ts'
import type { ListedFlow } from '../../ports/flow-record.ts'
import type { TrailServiceCounts } from '../../ports/runtime.ts'
import { type PageContext, initial, named, post, readName, readText } from '../layout.ts'
import { appOf, asTitle, personOf, serviceOf, stateOf } from './flow-words.ts'
import { spark, sumOf, took } from './charts.ts'
import {
  clockTime,
  consolePage,
  counted,
  icons,
  isBad,
  linkTo,
  needsYou,
  off,
  status,
  timeAgo,
} from './shell.ts'

// What needs attention: a finding, what it means, and the one button that helps.

interface Row {
  readonly title: Drawable
  readonly say: Drawable
  readonly act: Drawable
}

const link = (label: string, href: string): Markup => html`<a class="btn sm" href="${href}">${label}</a>`

const serviceName = ({ id, name }: { readonly id: string; readonly name: string }): Markup =>
  named(readName(name, id).text)

const definitionsRow = (
  { service, changed, fresh, item, name, at, held }: Extract<Attention, { kind: 'definitions' }>,
  { now }: ConsoleFrame,
): Row => {
  const alone = changed + fresh === 1
  const what = alone ? html`<code>${readText(name, 60)}</code>` : counted(changed || fresh, item)
  return {
    title:
      changed > 0
        ? html`${serviceName(service)} changed ${what}`
        : html`${serviceName(service)} has new ${item}s: ${what}`,
    say: held
      ? html`Blocked for everyone since ${timeAgo(at, now)}, until you review ${alone ? 'it' : 'them'}.`
      : html`Seen ${timeAgo(at, now)}. Still in use: this service warns of changes and blocks nothing.`,
    act: link(alone ? 'Review change' : 'Review changes', linkTo('/console/access', { service: service.id })),
  }
}

const toService = (flow: ListedFlow, frame: ConsoleFrame): Drawable => {
  const service = serviceOf(flow, frame)
  return service && html` to ${service}`
}

const flowRow = ({ flow, more }: Extract<Attention, { kind: 'flow' }>, frame: ConsoleFrame): Row => ({
  title: asTitle(flow.finding?.say ?? ''),
  say: html`${personOf(flow)} with ${appOf(flow)}${toService(flow, frame)}, ${timeAgo(Date.parse(flow.at), frame.now)}.${more > 0 && ` ${counted(more, 'other login')} stopped in the same way.`}`,
  act: link('Open login', `/console/flows/${encodeURIComponent(flow.id)}`),
})

const rowOf = (one: Attention, frame: ConsoleFrame): Row => {
  switch (one.kind) {
    case 'locked':
      return {
        title: 'The gateway is locked',
        say: html`Every MCP request is refused. Locked by ${named(readText(one.by, 80))}, ${timeAgo(one.at, frame.now)}.`,
        act: post(
          '/console',
          { csrf: frame.csrf, action: 'unlock' },
          html`<button class="btn sm">Unlock</button>`,
        ),
      }
    case 'trail':
      return {
        title: 'The audit trail cannot be written',
        say: 'Services that require it refuse calls, and administrators cannot change anything. Check the disk and the permissions of the state directory.',
        act: link('See activity', '/console/activity'),
      }
    case 'trail-fault':
      return {
        title: 'The audit trail is not as it was written',
        say: html`The daily verification found: ${readText(one.fault, 200)}. Run <code>postern audit verify</code> to check again.`,
        act: link('See activity', '/console/activity'),
      }
    case 'disk':
      return {
        title: 'The disk is nearly full',
        say: 'Less than 5 % of the disk of the state directory is free. When it is full, audit events are lost.',
        act: link('See activity', '/console/activity'),
      }
    case 'service':
      return {
        title: html`${serviceName(one.service)} is down`,
        say: html`<code>${readText(one.where, 120)}</code> does not respond. Calls to it are refused.`,
        act: link('See service', `/console/services/${one.service.id}`),
      }
    case 'definitions':
      return definitionsRow(one, frame)
    case 'flow':
      return flowRow(one, frame)
  }
}

const todo = (frame: ConsoleFrame): Drawable => {
  if (frame.attention.length === 0) return undefined
  return html`<section class="card" aria-labelledby="attention"><div class="card-head"><h2 id="attention">Needs attention</h2></div>
<ul class="todo">${frame.attention.map((one) => {
    const { title, say, act } = rowOf(one, frame)
    return html`<li><span class="${isBad(one) ? 'bad-text' : 'warn-text'}">${isBad(one) ? icons.bad : icons.warn}</span><div><b>${title}</b><p>${say}</p></div>${act}</li>`
  })}</ul></section>`
}

// Logins.

/** `of`: the bar before it; `lost`: the part of it that went away here. */
const funnelStep = (count: number, before: number, whole: number, what: string, drop: Drawable): Markup => {
  const width = (n: number): string => ((100 * n) / Math.max(1, whole)).toFixed(1)
  return html`<li><svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="lost" width="100" height="6"/><rect class="gone" width="${width(before)}" height="6"/><rect width="${width(count)}" height="6"/></svg><span class="n">${count.toLocaleString('en')}</span><span class="what">${what}</span><span class="drop">${drop}</span></li>`
}

const funnelOf = (funnel: Funnel): Markup => {
  const { started, signedIn, allowed, token, called } = funnel
  const drop = (lost: number, say: string, query: string): Drawable =>
    lost > 0 && html`<a href="/console/flows?stopped=${query}">${lost.toLocaleString('en')} ${say}</a>`
  return html`<ol class="funnel">
${funnelStep(started, started, started, 'Started', '')}
${funnelStep(signedIn, started, started, 'Signed in', drop(started - signedIn, 'left at sign-in', 'sign-in'))}
${funnelStep(allowed, signedIn, started, 'Allowed', drop(signedIn - allowed, 'did not allow', 'consent'))}
${funnelStep(token, allowed, started, 'Got a token', drop(allowed - token, 'fetched no token', 'token'))}
${funnelStep(called, token, started, 'Made a call', drop(token - called, 'never called', 'call'))}
</ol>`
}

const loginRow = (flow: ListedFlow, frame: ConsoleFrame): Markup => {
  const [look, word] = stateOf(flow)
  const person = personOf(flow)
  return html`<li><span class="tile person" aria-hidden="true">${initial(flow.user?.split(':')[1] ?? '?')}</span><span><a class="strong" href="/console/flows/${flow.id}">${person}</a> <span class="muted">${appOf(flow)}${toService(flow, frame)}</span></span><span class="end row">${status(look, word)}<span class="faint xs">${timeAgo(Date.parse(flow.at), frame.now)}</span></span></li>`
}

const logins = ({ logins: known }: OverviewView): Markup => {
  const head = html`<div class="card-head"><h2 id="logins">Logins</h2>${known && html`<p>${known.funnel.more && 'The newest '}${known.funnel.more && known.funnel.started.toLocaleString('en')}${known.funnel.more ? ' of the last' : 'Last'} 24 hours</p>`}</div>`
  if (!known)
    return html`<section class="card" aria-labelledby="logins">${head}<div class="card-body">${off(html`Logins are not recorded. Add <code>flows: {}</code> to the configuration and restart the gateway to see where they stop.`)}</div></section>`
  if (known.funnel.started === 0)
    return html`<section class="card" aria-labelledby="logins">${head}<div class="card-body">${off('No client has asked for access in the last 24 hours.')}</div></section>`
  return html`<section class="card" aria-labelledby="logins">${head}<div class="card-body">${funnelOf(known.funnel)}</div></section>`
}

const recent = ({ logins: known }: OverviewView, frame: ConsoleFrame): Drawable =>
  known &&
  known.flows.length > 0 &&
  html`<section class=\"card\" aria-labelledby=\"recent\"><div class="card-head"><h2 id="recent">Recent logins</h2><a class="sm" href="/console/flows">All flows</a></div>
<ul class="list">${known.flows.map((flow) => loginRow(flow, frame))}</ul></section>`

// Calls.

const callsRow = (
  { service, slots, p95 }: TrailServiceCounts,
  { services, attention }: ConsoleFrame,
): Markup => {
  const { allowed, denied, failed } = sumOf(slots)
  const down = attention.some((one) => one.kind === 'service' && one.service.id === service)
  const name = services.find(({ id }) => id === service)?.name ?? service
  return html`<tr><th scope="row"><a class="strong" href="${linkTo('/console/activity', { q: `service:${service} kind:call` })}">${named(readName(name, readText(service, 64)).text)}</a>${down && html` <span class="tag bad">Down</span>`}</th><td class="only-wide">${spark(slots, 'Calls per hour, last 24 hours', down)}</td><td class="num">${(allowed + denied + failed).toLocaleString('en')}</td><td class="num">${took(p95)}</td><td class="num">${denied.toLocaleString('en')}</td><td class="num${failed > 0 && ' bad-text'}">${failed.toLocaleString('en')}</td></tr>`
}

const mostServices = 12

const calls = ({ calls: known, trail }: OverviewView, frame: ConsoleFrame): Drawable => {
  const section = (about: Drawable, body: Drawable): Markup =>
    html`<section class="card" aria-labelledby="calls"><div class="card-head"><h2 id="calls">Calls</h2>${about}</div>${body}</section>`
  if (trail === 'off')
    return section(
      undefined,
      html`<div class="card-body">${off(html`Calls are not counted. Add <code>audit: {}</code> to the configuration and restart the gateway to keep an audit trail of them.`)}</div>`,
    )
  if (!known) return undefined
  const { allowed, denied, failed } = sumOf(known.slots)
  const all = allowed + denied + failed
  if (all === 0)
    return section(undefined, html`<div class="card-body">${off('No call in the last 24 hours.')}</div>`)
  const since =
    known.from === undefined
      ? 'in 24 hours'
      : `since ${clockTime(new Date(known.from).toISOString()).slice(0, 5)} UTC`
  const total = ({ slots }: TrailServiceCounts): number => {
    const counts = sumOf(slots)
    return counts.allowed + counts.denied + counts.failed
  }
  const most = known.services.toSorted((one, other) => total(other) - total(one))
  return section(
    html`<p>${all.toLocaleString('en')} ${since}, ${counted(failed, 'error')}</p>`,
    html`<div class="scroll"><table class="table tight"><caption class="vh">Calls of the last 24 hours, by service</caption><thead><tr><th scope="col">Service</th><th scope="col" class="only-wide">Calls an hour</th><th class="num" scope="col">Calls</th><th class="num" scope="col">p95</th><th class="num" scope="col">Denied</th><th class="num" scope="col">Errors</th></tr></thead><tbody>${most.slice(0, mostServices).map((one) => callsRow(one, frame))}</tbody></table></div>
${most.length > mostServices && html`<div class="card-foot"><span>${counted(most.length - mostServices, 'other service')} had fewer calls.</span></div>`}`,
  )
}

// The first sentence, and the line below it.

const finding = ({ people, clients, services, more }: OverviewView, { attention }: ConsoleFrame): string => {
  const many = more ? 'More than ' : ''
  const counts = `${many}${counted(people, 'person', 'people')}, ${counted(clients, 'client')}, ${counted(services, 'service')}.`
  const needs = attention.length === 0 ? 'Nothing needs you.' : `${needsYou(attention.length)}.`
  return `${counts} ${needs}`
}

const trailStatus = ({ trail }: OverviewView): Markup => {
  if (trail === 'off') return status('off', 'No audit trail')
  return trail === 'written' ? status('ok', 'Audit trail') : status('bad', 'Audit trail cannot be written')
}

const health = (view: OverviewView): Markup => {
  const { up, down, services } = view
  const quiet = services - up - down
  const said = [
    `${up} of ${counted(services, 'service')} up`,
    ...(quiet > 0 ? [`${quiet} not called yet`] : []),
  ]
  return html`<div class="health">${status('ok', 'Storage')}${trailStatus(view)}${services > 0 && status(down > 0 ? 'bad' : up > 0 ? 'ok' : 'off', said.join(', '))}</div>`
}

// The first run.

const checklist = (
  { services, clients, signIn, reachable }: OverviewView,
  { person }: ConsoleFrame,
): Markup => {
  const step = (done: boolean, title: string, say: Drawable): Markup =>
    html`<li><span class="${done ? 'ok-text' : 'faint'}">${done ? icons.ok : icons.clock}</span><div><b>${title}</b>${done && html`<span class="vh"> (done)</span>`}<p>${say}</p></div></li>`
  return html`<section class="card"><ul class="todo">
${step(true, 'Sign in as an administrator', html`Done: ${named(readText(person.email ?? person.login ?? person.subject, 80))}.`)}
${step(services > 0, 'Add a service', services > 0 ? html`Done: ${counted(services, 'service')}.` : html`Run <code>postern services add ID URL</code> on the gateway’s host, or add it under <code>mcp_services</code> in the configuration.`)}
${step(clients > 0, 'Connect a client', html`Paste the URL of a service into Claude, ChatGPT, Cursor or VS Code and make the first call. <a href="/">See the URLs</a>`)}
${step(signIn, 'Let your team sign in', html`Add an identity provider under <code>oauth_providers</code>, or users under <code>local_users</code>.`)}
${step(reachable, 'Set a public URL', html`Claude and ChatGPT connect from the internet. Set <code>issuer</code> to an https address that leads here.`)}
</ul></section>`
}

/** Calls, and logins beside them. */
const side = (view: OverviewView, frame: ConsoleFrame): Drawable => {
  const [left, right] = [calls(view, frame), recent(view, frame)]
  return left && right ? html`<div class="cols">${left}${right}</div>` : (left ?? right)
}

export const overviewPage = (gateway: PageContext, frame: ConsoleFrame, view: OverviewView): Response => {
  const first = view.services === 0 || view.clients === 0
  const title = first ? 'Welcome. A few steps and your team is in.' : finding(view, frame)
  return consolePage(gateway, frame, {
    page: 'overview',
    title: 'Overview',
    heading: title,
    lead: first ? html`<p>This list disappears when a client is connected.</p>` : health(view),
    body: html`${todo(frame)}${first ? checklist(view, frame) : html`${logins(view)}${side(view, frame)}`}`,
    commands: ['postern services ls', 'postern flows ls --since 24h'],
  })
}
