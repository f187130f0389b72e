// The sign-in page: why it is shown, then the sign-in methods. Each identity provider is a form of its own,
// so nothing needs a script. And the page on which a person who is signed in connects a device.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { DeviceView, LoginView } from '../ports/pages.ts'
import { failedIcon, infoIcon, warnIcon } from './assets.ts'
import { say, sayAgain } from './language.ts'
import {
  type PageContext,
  badge,
  clientName,
  initial,
  named,
  page,
  post,
  readName,
  readText,
  signedInAs,
} from './layout.ts'

const asking = (view: LoginView): Drawable => {
  if (!view.asking) return undefined
  const client = clientName(view.asking.client)
  const names = {
    client: html`<strong>${named(client.text)}</strong>`,
    service: html`<strong>${named(readName(view.asking.service, 'MCP').text)}</strong>`,
  }
  return [
    html`<p>${say('{client} wants to use {service}. Sign in to continue.', names)}</p>`,
    badge(view.asking.client),
  ]
}

/** A mock provider has no page of its own. */
const emailFields = (id: string): Markup =>
  html`<div><label for="email-${id}">${say('Email address')}</label><input id="email-${id}" name="email" type="email" autocomplete="email" required></div>
<div><label for="name-${id}">${say('Name (optional)')}</label><input id="name-${id}" name="name" autocomplete="name"></div>
`

/** The one that this browser used last comes first. */
const sorted = ({ providers, lastUsed }: LoginView): LoginView['providers'] =>
  providers.toSorted((a, b) => Number(b.id === lastUsed) - Number(a.id === lastUsed))

/** Letters stand for marks: those of companies are theirs. Of one way there is nothing to choose. */
const providerButton = (view: LoginView, { id, name: raw }: LoginView['providers'][number]): Markup => {
  const name = readText(raw, 40) || id
  const only = view.providers.length === 1 && !view.password
  const last = !only && id === view.lastUsed
  return html`<button class="provider${only && ' primary'}${last && ' last'}"><span class="mark" aria-hidden="true">${initial(name)}</span><span>${say('Continue with {provider}', { provider: named(name) })}</span>${last && html`<span class="chip new">${say('Last used')}</span>`}</button>`
}

const providers = (view: LoginView): readonly Markup[] =>
  sorted(view).map((provider) =>
    post(
      `/login/${encodeURIComponent(provider.id)}`,
      view.hidden,
      html`${provider.anyEmail && emailFields(provider.id)}${providerButton(view, provider)}`,
      provider.anyEmail ? 'stack' : undefined,
    ),
  )

const passwordForm = (view: LoginView, first: boolean): Markup =>
  post(
    '/login',
    view.hidden,
    html`<div><label for="username">${say('Username')}</label><input id="username" name="username" value="${readText(view.username ?? '', 200)}" autocomplete="username" autocapitalize="none" spellcheck="false" required${first && !view.username && ' autofocus'}${problemOf(view)}></div>
<div><label for="password">${say('Password')}</label><input id="password" name="password" type="password" autocomplete="current-password" required${view.username && ' autofocus'}${problemOf(view)}></div>
<button class="${first && 'primary'}">${say('Sign in')}</button>`,
    'stack',
  )

/** Beside providers the password is for those who use it. */
const isPasswordFirst = ({ password, providers, lastUsed, username }: LoginView): boolean =>
  password && (providers.length === 0 || lastUsed === 'local' || username !== undefined)

const passwordWay = (view: LoginView): Markup => {
  const first = isPasswordFirst(view)
  const form = passwordForm(view, first)
  if (view.providers.length === 0) return form
  return html`<details class="tight"${first && ' open'}><summary>${say('Use a username and password')}</summary>${form}</details>`
}

const problemOf = ({ problem }: Pick<LoginView, 'problem'>): Drawable =>
  problem !== undefined && html` aria-describedby="problem" aria-invalid="true"`

/**
 * This page again, for a person who signed in elsewhere meanwhile; without what asked for a fresh sign-in,
 * which has just taken place.
 */
const goOn = ({ hidden }: LoginView): string => {
  const query = new URLSearchParams(
    Object.entries(hidden).filter(([name]) => name === 'flow' || name === 'return_to'),
  ).toString()
  return query ? `/login?${query}` : '/login'
}

const link = (
  view: LoginView,
): Markup => html`<div class="note info" data-go-on="${goOn(view)}">${infoIcon}<div class="tight">
<p>${say('Open the sign-in link from the gateway’s terminal in this browser. It works once, within 15 minutes. To print a new one, run {command} ({source} in a source checkout).', { command: html`<code>postern admin link</code>`, source: html`<code>npm start -- admin link</code>` })}</p>
<p>${say('Then continue there, or return here and click {link}.', { link: html`<a href="${goOn(view)}">${say('Continue')}</a>` })}</p></div></div>`

export const loginPage = (gateway: PageContext, view: LoginView): Response => {
  const ways = [
    ...providers(view),
    ...(view.password ? [passwordWay(view)] : []),
    ...(view.link ? [link(view)] : []),
  ]
  const split = view.providers.length
  const body = html`<div class="card stack">
<h1${!isPasswordFirst(view) && html` tabindex="-1" autofocus`}>${say('Sign in')}</h1>
${asking(view)}
${view.problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${sayAgain(readText(view.problem, 400))}</span></p>`}
${ways.slice(0, split)}
${split > 0 && ways.length > split && html`<div class="or">${say('or')}</div>`}
${ways.slice(split)}
${
  ways.length === 0 &&
  html`<p class="note warn">${warnIcon}<span>${say('No sign-in method is configured.')}</span></p>
<p>${say('An administrator must add an identity provider under {providers} or a user under {users} in the configuration. This command prints the password hash for a user:', { providers: html`<code>oauth_providers</code>`, users: html`<code>local_users</code>` })}</p>
<code class="copy" data-what="${say('command')}">postern hash-password</code>`
}
</div>`
  return page(gateway, {
    title: say('Sign in'),
    width: 'narrow',
    body,
    status: view.status ?? (view.problem === undefined ? 200 : 401),
  })
}

/**
 * The field says what a code looks like. A filled one is not focused: whoever came by a link reads what stands there
 * first.
 */
export const devicePage = (gateway: PageContext, view: DeviceView): Response => {
  const { code = '', problem, linked } = view
  const fields = html`<div><label for="code">${say('Code on your device')}</label>
<input id="code" name="user_code" class="code" value="${readText(code, 16)}" placeholder="XXXX-XXXX" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="32" required${!linked && html` autofocus`}${problemOf(view)}></div>
${problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${sayAgain(readText(problem, 300))}</span></p>`}
<p class="note warn">${warnIcon}<span>${linked ? say('This code must be on a device in front of you. If somebody sent you this link, close this page: they would get access as you.') : say('This code must be on a device in front of you. If somebody sent you a link or a code, close this page: they would get access as you.')}</span></p>
<button class="primary">${say('Continue')}</button>`
  const body = html`<div class="card stack">
<h1${linked ? html` tabindex="-1" autofocus` : html` tabindex="-1"`}>${say('Connect a device')}</h1>
${signedInAs(view)}
<p>${linked ? say('Compare this code with the one on your device. On the next page you see what asks for access, and decide.') : say('Enter the code that your app or terminal shows. On the next page you see what asks for access, and decide.')}</p>
${post('/device', { csrf: view.csrf }, fields, 'stack')}
</div>`
  return page(gateway, {
    title: say('Connect a device'),
    width: 'narrow',
    body,
    ...(problem === undefined ? {} : { status: 400 }),
  })
}
