// A person's personal access tokens: create one, which is shown once, see them, and end them.
import { type Drawable, type Markup, html, isolated } from '../kit/html.ts'
import type { AccountTokensView, TokenForm } from '../ports/pages.ts'
import type { Permission } from '../ports/policy.ts'
import { failedIcon, infoIcon, okIcon, warnIcon } from './assets.ts'
import {
  type PageContext,
  day,
  named,
  page,
  account as personOf,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
} from './layout.ts'

type Token = AccountTokensView['tokens'][number]

const path = '/account/tokens'
const dayMs = 86_400_000

const time = (ms: number): Markup => html`<time datetime="${new Date(ms).toISOString()}">${day(ms)}</time>`

/** A day does not say when a short token ends. */
const minute = (ms: number): Markup => {
  const text = new Date(ms).toISOString()
  return html`<time datetime="${text}">${text.slice(0, 16).replace('T', ' ')} UTC</time>`
}

const permissionWords: Readonly<Record<Permission, string>> = {
  read: 'Read only',
  write: 'Read and write',
  execute: 'Everything, including delete and overwrite',
  admin: 'Everything and restricted tools, for at most 24 hours',
}

const levelWords: Readonly<Record<Permission, string>> = {
  read: 'read only',
  write: 'read and write',
  execute: 'everything',
  admin: 'everything and restricted tools',
}

const listOf = (names: readonly string[]): Markup => {
  const shown = names.slice(0, 12).map((name) => html`<strong>${named(readName(name, name).text)}</strong>`)
  return html`${shown.map((name, i) => html`${i > 0 && ', '}${name}`)}${names.length > 12 && ` and ${names.length - 12} more`}`
}

/** A week and a day before the end there is something to do, unless the token was to be short. */
const expiry = ({ expiresAt, createdAt }: Token, now: number): Drawable => {
  const left = expiresAt - now
  const whole = expiresAt - createdAt
  if (left > 7 * dayMs || (whole <= 7 * dayMs && left > dayMs) || whole <= dayMs) return undefined
  const days = Math.ceil(left / dayMs)
  return html`<span class="badge warn">${warnIcon}<span>${days <= 1 ? 'Expires within a day' : `Expires in ${days} days`}</span></span>`
}

const tokenBlock = ({ csrf, now }: AccountTokensView, token: Token): Markup => {
  const { id, name, kind, services, permission, createdAt, expiresAt, lastUsedAt } = token
  return html`<section class="client tight">
<div class="line"><h2>${named(readName(name, 'Unnamed token').text)}</h2>${expiry(token, now)}</div>
<p>${kind === 'test' ? 'For tests of ' : 'Can use '}${listOf(services)}${permission && html`: ${levelWords[permission]}`}</p>
<p class="muted"><code>ppat_${id.slice(0, 4)}…</code> Created on ${time(createdAt)}, expires on ${expiresAt - createdAt < 2 * dayMs ? minute(expiresAt) : time(expiresAt)}. ${lastUsedAt === undefined ? 'Not used yet.' : html`Last used on ${time(lastUsedAt)}.`}</p>
<details class="tight confirm"><summary>End token</summary><p>Programs that use it lose access at once. It cannot be restored.</p>${post(path, { csrf, action: 'end', token: id }, html`<button class="slim danger">End token</button>`)}</details>
</section>`
}

const words = (seconds: number): string => {
  const [count, unit] =
    seconds % 86_400 === 0
      ? [seconds / 86_400, 'day']
      : seconds % 3600 === 0
        ? [seconds / 3600, 'hour']
        : [Math.round(seconds / 60), 'minute']
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

const select = (
  name: string,
  label: string,
  options: readonly (readonly [value: string, words: string])[],
  chosen: string,
): Markup =>
  html`<div><label for="${name}">${label}</label><select id="${name}" name="${name}">${options.map(([value, text]) => html`<option value="${value}"${value === chosen && ' selected'}>${text}</option>`)}</select></div>`

const serviceBoxes = ({ services, chosen, problem }: TokenForm): Markup => {
  const [only] = services
  const isTicked = (id: string): boolean =>
    chosen.includes(id) || (services.length === 1 && problem === undefined)
  return html`<fieldset class="choices"><legend>Services</legend>
${services.map(({ id, name, level, ruled }) => html`<div><input class="check" type="checkbox" id="s-${id}" name="service.${id}" value="on"${isTicked(id) && ' checked'}><label for="s-${id}">${named(readName(name, id).text)}${ruled && only !== undefined && html` <span class="muted">Up to: ${levelWords[level]}</span>`}</label></div>`)}</fieldset>`
}

const createForm = ({ csrf }: AccountTokensView, form: TokenForm): Markup => {
  const { id, services, permissions, permission, lifetimes, lifetime, name, problem } = form
  if (services.length === 0) return html`<p class="muted">No service allows you a token.</p>`
  const described = problem !== undefined && html` aria-describedby="problem"`
  return post(
    path,
    { csrf, action: 'create', id },
    html`${problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${readText(problem, 400)}</span></p>`}
<div><label for="name">What it is for</label><input id="name" name="name" value="${readText(name, 60)}" maxlength="60" autocomplete="off" required${described}></div>
${serviceBoxes(form)}
${
  permissions.length > 0 &&
  select(
    'permission',
    'Permission',
    permissions.map((level) => [level, permissionWords[level]] as const),
    permission,
  )
}
${select(
  'lifetime',
  'Expires after',
  lifetimes.map((seconds) => [String(seconds), words(seconds)] as const),
  String(lifetime),
)}
<button class="primary">Create token</button>`,
    'stack',
  )
}

const creating = (view: AccountTokensView): Markup => {
  if (view.form)
    return html`<details class="stack"${(view.tokens.length === 0 || view.form.problem !== undefined) && ' open'}><summary>Create a token</summary>${createForm(view, view.form)}</details>`
  return view.signInAgain === undefined
    ? html`<p class="muted">Your administrator creates tokens on this gateway.</p>`
    : html`<p><a href="${ownPath(view.signInAgain)}">Sign in again to create a token</a></p>`
}

const madeNote = ({ token, name, expiresAt, service, url }: NonNullable<AccountTokensView['made']>): Markup =>
  html`<section class="client stack" aria-labelledby="made">
<div class="line"><h2 id="made">${named(readName(name, 'Unnamed token').text)}</h2><span class="badge ok">${okIcon}<span>Created</span></span></div>
<p>Copy it now: it is not shown again. Whoever has it can act as you until ${time(expiresAt)}.</p>
<code class="copy" data-what="token">${token}</code>
${url !== undefined && html`<p class="muted">For example, in Claude Code:</p><code class="copy" data-what="command for Claude Code">claude mcp add --transport http ${service} ${readAddress(url)} --header "Authorization: Bearer ${token}"</code>`}
</section>`

export const accountTokensPage = (gateway: PageContext, view: AccountTokensView): Response => {
  const person = personOf(view.person)
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>Personal access tokens</h1>
<p class="who"><span>Signed in as <strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span><a href="${ownPath(view.switchAccount)}">Switch account</a></p>
${view.note !== undefined && html`<p class="note info">${infoIcon}<span>${readText(view.note, 400)}</span></p>`}
${view.made && madeNote(view.made)}
<p class="muted">For programs that cannot sign in with a browser. Apps that sign in do not need one.</p>
${view.tokens.map((token) => tokenBlock(view, token))}
${creating(view)}
<p><a href="/account/apps">Connected apps</a> · <a href="/">Your services</a></p>
</div>`
  return page(gateway, {
    title: 'Personal access tokens',
    width: 'middle',
    body,
    headers: isolated,
    ...(view.form?.problem !== undefined && { status: 400 }),
  })
}
