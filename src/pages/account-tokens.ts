// A person's personal access tokens: create one, which is shown once, see them, and end them.
import { type Drawable, type Markup, html, isolated } from '../kit/html.ts'
import type { AccountTokensView, TokenForm } from '../ports/pages.ts'
import type { Permission } from '../ports/policy.ts'
import { failedIcon, infoIcon, okIcon, warnIcon } from './assets.ts'
import { type PlainMessage, say, sayAgain, sayCounted, sayDate, sayDuration } from './language.ts'
import {
  type PageContext,
  named,
  page,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
  signedInAs,
} from './layout.ts'

type Token = AccountTokensView['tokens'][number]

const path = '/account/tokens'
const dayMs = 86_400_000

const permissionWords: Readonly<Record<Permission, PlainMessage>> = {
  read: 'Read only',
  write: 'Read and write',
  execute: 'Everything, including delete and overwrite',
  admin: 'Everything and restricted tools, for at most 24 hours',
}

const levelWords: Readonly<Record<Permission, PlainMessage>> = {
  read: 'read only',
  write: 'read and write',
  execute: 'everything',
  admin: 'everything and restricted tools',
}

const listOf = (names: readonly string[]): Markup => {
  const shown = names.slice(0, 12).map((name) => html`<strong>${named(readName(name, name).text)}</strong>`)
  const list = html`${shown.map((name, i) => html`${i > 0 && ', '}${name}`)}`
  return names.length > 12 ? say('{list} and {n} more', { list, n: names.length - 12 }) : list
}

/** A week and a day before the end there is something to do, unless the token was to be short. */
const expiry = ({ expiresAt, createdAt }: Token, now: number): Drawable => {
  const left = expiresAt - now
  const whole = expiresAt - createdAt
  if (left > 7 * dayMs || (whole <= 7 * dayMs && left > dayMs) || whole <= dayMs) return undefined
  const days = Math.ceil(left / dayMs)
  return html`<span class="badge warn">${warnIcon}<span>${days <= 1 ? say('Expires within a day') : sayCounted(days, 'Expires in {n} day', 'Expires in {n} days')}</span></span>`
}

const tokenName = (name: string): Markup =>
  html`<bdi>${readName(name, '').text || say('Unnamed token')}</bdi>`

const tokenBlock = ({ csrf, now }: AccountTokensView, token: Token): Markup => {
  const { id, name, kind, services, permission, createdAt, expiresAt, lastUsedAt } = token
  // A day does not say when a short token ends.
  const lifetime = {
    created: sayDate(createdAt),
    expires: sayDate(expiresAt, expiresAt - createdAt < 2 * dayMs),
  }
  return html`<section class="client tight">
<div class="line"><h2>${tokenName(name)}</h2>${expiry(token, now)}</div>
<p>${say(kind === 'test' ? 'For tests of {services}' : 'Can use {services}', { services: listOf(services) })}${permission && html`: ${say(levelWords[permission])}`}</p>
<p class="muted"><code>ppat_${id.slice(0, 4)}…</code> ${say('Created on {created}, expires on {expires}.', lifetime)} ${lastUsedAt === undefined ? say('Not used yet.') : say('Last used on {date}.', { date: sayDate(lastUsedAt) })}</p>
<details class="tight confirm"><summary>${say('End token')}</summary><p>${say('Programs that use it lose access at once. It cannot be restored.')}</p>${post(path, { csrf, action: 'end', token: id }, html`<button class="slim danger">${say('End token')}</button>`)}</details>
</section>`
}

const select = (
  name: string,
  label: Drawable,
  options: readonly (readonly [value: string, words: Drawable])[],
  chosen: string,
): Markup =>
  html`<div><label for="${name}">${label}</label><select id="${name}" name="${name}">${options.map(([value, text]) => html`<option value="${value}"${value === chosen && ' selected'}>${text}</option>`)}</select></div>`

const serviceBoxes = ({ services, chosen, problem }: TokenForm): Markup => {
  const [only] = services
  const isTicked = (id: string): boolean =>
    chosen.includes(id) || (services.length === 1 && problem === undefined)
  return html`<fieldset class="choices"><legend>${say('Services')}</legend>
${services.map(({ id, name, level, ruled }) => html`<div><input class="check" type="checkbox" id="s-${id}" name="service.${id}" value="on"${isTicked(id) && ' checked'}><label for="s-${id}">${named(readName(name, id).text)}${ruled && only !== undefined && html` <span class="muted">${say('Up to: {level}', { level: say(levelWords[level]) })}</span>`}</label></div>`)}</fieldset>`
}

const createForm = ({ csrf }: AccountTokensView, form: TokenForm): Markup => {
  const { id, services, permissions, permission, lifetimes, lifetime, name, problem } = form
  if (services.length === 0) return html`<p class="muted">${say('No service allows you a token.')}</p>`
  const described = problem !== undefined && html` aria-describedby="problem"`
  return post(
    path,
    { csrf, action: 'create', id },
    html`${problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${sayAgain(readText(problem, 400))}</span></p>`}
<div><label for="name">${say('What it is for')}</label><input id="name" name="name" value="${readText(name, 60)}" maxlength="60" autocomplete="off" required${described}></div>
${serviceBoxes(form)}
${
  permissions.length > 0 &&
  select(
    'permission',
    say('Permission'),
    permissions.map((level) => [level, say(permissionWords[level])] as const),
    permission,
  )
}
${select(
  'lifetime',
  say('Expires after'),
  lifetimes.map((seconds) => [String(seconds), sayDuration(seconds * 1000)] as const),
  String(lifetime),
)}
<button class="primary">${say('Create token')}</button>`,
    'stack',
  )
}

const creating = (view: AccountTokensView): Markup => {
  if (view.form)
    return html`<details class="stack"${(view.tokens.length === 0 || view.form.problem !== undefined) && ' open'}><summary>${say('Create a token')}</summary>${createForm(view, view.form)}</details>`
  return view.signInAgain === undefined
    ? html`<p class="muted">${say('Your administrator creates tokens on this gateway.')}</p>`
    : html`<p><a href="${ownPath(view.signInAgain)}">${say('Sign in again to create a token')}</a></p>`
}

const madeNote = ({ token, name, expiresAt, service, url }: NonNullable<AccountTokensView['made']>): Markup =>
  html`<section class="client stack" aria-labelledby="made">
<div class="line"><h2 id="made">${tokenName(name)}</h2><span class="badge ok">${okIcon}<span>${say('Created')}</span></span></div>
<p>${say('Copy it now: it is not shown again. Whoever has it can act as you until {date}.', { date: sayDate(expiresAt) })}</p>
<code class="copy" data-what="${say('token')}">${token}</code>
${url !== undefined && html`<p class="muted">${say('For example, in Claude Code:')}</p><code class="copy" data-what="${say('command for {client}', { client: 'Claude Code' })}">claude mcp add --transport http ${service} ${readAddress(url)} --header "Authorization: Bearer ${token}"</code>`}
</section>`

export const accountTokensPage = (gateway: PageContext, view: AccountTokensView): Response => {
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${say('Personal access tokens')}</h1>
${signedInAs(view)}
${view.note !== undefined && html`<p class="note info">${infoIcon}<span>${sayAgain(readText(view.note, 400))}</span></p>`}
${view.made && madeNote(view.made)}
<p class="muted">${say('For programs that cannot sign in with a browser. Apps that sign in do not need one.')}</p>
${view.tokens.map((token) => tokenBlock(view, token))}
${creating(view)}
<p><a href="/account/apps">${say('Connected apps')}</a> · <a href="/">${say('Your services')}</a></p>
</div>`
  return page(gateway, {
    title: say('Personal access tokens'),
    width: 'middle',
    body,
    headers: isolated,
    ...(view.form?.problem !== undefined && { status: 400 }),
  })
}
