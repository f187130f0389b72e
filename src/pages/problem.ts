// The error page: what happened, who must act, what to do, and the id under which the operator finds it.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { Actor, Hop, ProblemView } from '../ports/pages.ts'
import { adminIcon, failedIcon, infoIcon, okIcon, unreachedIcon } from './assets.ts'
import { type PageContext, page, withCode, ownPath, readAddress, readText } from './layout.ts'

const actors: Readonly<Record<Actor, string>> = {
  you: 'What you can do',
  app: 'The app’s developer needs to fix this',
  admin: 'Contact your administrator',
  nobody: 'Temporary problem, try again',
}

const dots = { ok: okIcon, failed: failedIcon, unreached: unreachedIcon }
const states = { ok: 'worked', failed: 'failed here', unreached: 'not reached' }

const hop = ({ name, state }: Hop): Markup =>
  html`<li class="${state}"><span class="dot">${dots[state]}</span><span class="name">${name}</span><span class="state">${states[state]}</span></li>`

interface Shared {
  readonly start: number
  readonly end: number
}

/** How many characters two texts share at the start and, beyond that, at the end. */
const shared = (a: string, b: string): Shared => {
  const most = Math.min(a.length, b.length)
  let start = 0
  while (start < most && a[start] === b[start]) start++
  let end = 0
  while (end < most - start && a.at(-1 - end) === b.at(-1 - end)) end++
  return { start, end }
}

/**
 * Marks where a value leaves the one that comes closest to it: a redirect URI that is off by a character is
 * hard to see otherwise.
 */
const marked = (value: string, others: readonly string[]): Drawable => {
  const [closest] = others
    .map((other) => shared(value, other))
    .toSorted((a, b) => b.start + b.end - (a.start + a.end))
  if (!closest) return value
  const end = value.length - closest.end
  return html`${value.slice(0, closest.start)}<mark>${value.slice(closest.start, end)}</mark>${value.slice(end)}`
}

const factValue = (value: string): string =>
  /^[a-z][a-z0-9+.-]*:/i.test(value) ? readAddress(value).slice(0, 600) : readText(value, 300)

const factList = (facts: ProblemView['facts']): Drawable => {
  if (facts.length === 0) return undefined
  // The last fact is the one at fault; of a long list before it a part will do.
  const shown = [...facts.slice(0, -1).slice(0, 11), ...facts.slice(-1)].map(({ name, value }) => ({
    name: readText(name, 60),
    value: factValue(value),
  }))
  const registered = shown.filter(({ name }) => name === 'Registered').map(({ value }) => value)
  return html`<dl class="facts">${shown.map(({ name, value }) => html`<div><dt>${name}</dt><dd><code>${name === 'Requested' ? marked(value, registered) : value}</code></dd></div>`)}</dl>`
}

const recipeList = (recipes: ProblemView['recipes']): Drawable =>
  recipes &&
  recipes.length > 0 &&
  html`<dl class="rows">${recipes.map(
    (recipe) =>
      html`<div><dt>${recipe.client}</dt><dd class="tight"><div>${recipe.say}</div>${recipe.command !== undefined && html`<code class="copy" data-what="command">${recipe.command}</code>`}</dd></div>`,
  )}</dl>`

/** This app is not verified, so its host is shown beside the name it gave itself. */
const clientLink = (client: ProblemView['client']): Drawable =>
  client &&
  html`<p class="muted">You are not redirected to this app automatically.</p>
<p><a href="${client.href}" rel="noreferrer">Return to ${readText(client.name, 80)} (${readText(client.host, 120)})</a></p>`

export const problemPage = (gateway: PageContext, view: ProblemView): Response => {
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${view.title}</h1>
${view.hops && view.hops.length > 0 && html`<ol class="hops" aria-label="Where it stopped">${view.hops.map(hop)}</ol>`}
<p>${withCode(readText(view.what, 600))}</p>
${factList(view.facts)}
${view.who && html`<p class="note info">${view.who === 'admin' ? adminIcon : infoIcon}<strong>${actors[view.who]}</strong></p>`}
${view.steps.length === 1 && html`<p>${withCode(view.steps[0] ?? '')}</p>`}
${view.steps.length > 1 && html`<ol class="steps">${view.steps.map((step) => html`<li>${withCode(step)}</li>`)}</ol>`}
${recipeList(view.recipes)}
${view.onward && html`<a class="button primary" href="${ownPath(view.onward.href)}">${view.onward.label}</a>`}
${clientLink(view.client)}
${view.instead && html`<p><a href="${ownPath(view.instead.href)}">${view.instead.label}</a></p>`}
<div class="tight"><p class="muted small">Reference for support</p><code class="copy" data-what="reference">${view.code} · ${view.requestId}</code>${view.docs !== undefined && html`<p class="small"><a href="${view.docs}" rel="noreferrer">About this error</a></p>`}</div>
</div>`
  return page(gateway, { title: view.title, width: 'middle', body, status: view.status })
}
