// The error page: what happened, who must act, what to do, and the id under which the operator finds it.
import { type Drawable, type Markup, html, inLanguage } from '../kit/html.ts'
import type { Actor, Hop, ProblemView } from '../ports/pages.ts'
import { adminIcon, failedIcon, infoIcon, okIcon, unreachedIcon } from './assets.ts'
import { refusals } from '../kit/refusal.ts'
import { type PlainMessage, isSayable, say, sayAgain } from './language.ts'
import { type PageContext, page, withCode, ownPath, readAddress, readText } from './layout.ts'

const actors: Readonly<Record<Actor, PlainMessage>> = {
  you: 'What you can do',
  app: 'The app’s developer needs to fix this',
  admin: 'Contact your administrator',
  nobody: 'Temporary problem, try again',
}

const dots = { ok: okIcon, failed: failedIcon, unreached: unreachedIcon }
const states = { ok: 'worked', failed: 'failed here', unreached: 'not reached' } as const

const hop = ({ name, state }: Hop): Markup =>
  html`<li class="${state}"><span class="dot">${dots[state]}</span><span class="name">${sayAgain(name)}</span><span class="state">${say(states[state])}</span></li>`

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
  return html`<dl class="facts">${shown.map(({ name, value }) => html`<div><dt>${sayAgain(name)}</dt><dd><code>${name === 'Requested' ? marked(value, registered) : sayAgain(value)}</code></dd></div>`)}</dl>`
}

export interface Recipe {
  readonly client: string
  readonly say: PlainMessage
  readonly command?: string
}

/** How each client forgets a registration that this gateway no longer knows. */
export const forget: readonly Recipe[] = [
  {
    client: 'Claude Code',
    say: 'Type /mcp, select the server and choose Clear authentication. Or remove the server and add it again.',
  },
  { client: 'claude.ai, ChatGPT', say: 'In the settings, remove the connector, then add it again.' },
  {
    client: 'Claude Desktop',
    say: 'Remove the connector in the settings, then add it again. If it connects through mcp-remote, also run:',
    command: 'rm -rf ~/.mcp-auth',
  },
  {
    client: 'VS Code',
    say: 'In the command palette, run Authentication: Remove Dynamic Authentication Providers. Then restart the server.',
  },
  { client: 'Cursor', say: 'In the MCP settings, remove the server, then add it again.' },
  {
    client: 'Codex',
    say: 'Log out and log in again. Replace demo with the name of your server:',
    command: 'codex mcp logout demo && codex mcp login demo',
  },
  {
    client: 'Your own app',
    say: 'Register again and use the new client_id. Or publish a client metadata document, which needs no registration.',
  },
]

const recipeList = (recipes: ProblemView['recipes']): Drawable =>
  recipes &&
  recipes.length > 0 &&
  html`<dl class="rows">${recipes.map(
    (recipe) =>
      html`<div><dt>${sayAgain(recipe.client)}</dt><dd class="tight"><div>${sayAgain(recipe.say)}</div>${recipe.command !== undefined && html`<code class="copy" data-what="${say('command')}">${recipe.command}</code>`}</dd></div>`,
  )}</dl>`

/** This app is not verified, so its host is shown beside the name it gave itself. */
const clientLink = (client: ProblemView['client']): Drawable =>
  client &&
  html`<p class="muted">${say('You are not redirected to this app automatically.')}</p>
<p><a href="${client.href}" rel="noreferrer">${say('Return to {client}', { client: say('{client} ({host})', { client: readText(client.name, 80), host: readText(client.host, 120) }) })}</a></p>`

/**
 * The sentence of this occurrence. In another language the one of its code stands in for a sentence that only exists in
 * English, which follows it for whoever helps.
 */
const whatHappened = ({ code, what }: ProblemView): Markup => {
  const text = readText(what, 600)
  const usual: string | undefined = Object.hasOwn(refusals, code)
    ? refusals[code as keyof typeof refusals].say
    : undefined
  if (usual === undefined || isSayable(text) || !isSayable(usual))
    return html`<p>${sayAgain(text, withCode)}</p>`
  const original = html`<span lang="en">${withCode(text)}</span>`
  return inLanguage((language) =>
    language === 'en'
      ? html`<p>${withCode(text)}</p>`
      : html`<p>${sayAgain(usual)}</p><p class="muted">${say('In English: {text}', { text: original })}</p>`,
  )
}

export const problemPage = (gateway: PageContext, view: ProblemView): Response => {
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${sayAgain(view.title)}</h1>
${view.hops && view.hops.length > 0 && html`<ol class="hops" aria-label="${say('Where it stopped')}">${view.hops.map(hop)}</ol>`}
${whatHappened(view)}
${factList(view.facts)}
${view.who && html`<p class="note info">${view.who === 'admin' ? adminIcon : infoIcon}<strong>${say(actors[view.who])}</strong></p>`}
${view.steps.length === 1 && html`<p>${sayAgain(view.steps[0] ?? '', withCode)}</p>`}
${view.steps.length > 1 && html`<ol class="steps">${view.steps.map((step) => html`<li>${sayAgain(step, withCode)}</li>`)}</ol>`}
${recipeList(view.recipes)}
${view.onward && html`<a class="button primary" href="${ownPath(view.onward.href)}">${sayAgain(view.onward.label)}</a>`}
${clientLink(view.client)}
${view.instead && html`<p><a href="${ownPath(view.instead.href)}">${sayAgain(view.instead.label)}</a></p>`}
<div class="tight"><p class="muted small">${say('Reference for support')}</p><code class="copy" data-what="${say('reference')}">${view.code} · ${view.requestId}</code>${view.docs !== undefined && html`<p class="small"><a href="${view.docs}" rel="noreferrer">${say('About this error')}</a></p>`}</div>
</div>`
  return page(gateway, { title: sayAgain(view.title), width: 'middle', body, status: view.status })
}
