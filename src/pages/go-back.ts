// After a decision that redirects to an installed app: opens it, and offers a button in case the browser does not.
import { html } from '../kit/html.ts'
import type { ClientView } from '../ports/pages.ts'
import { okIcon, unreachedIcon } from './icons.ts'
import { clientName, named, page, type Gateway } from './shell.ts'
import { leadsToClient } from './untrusted.ts'

export interface GoBackView {
  readonly client: ClientView
  readonly href: string
}

/** Whether the redirect carries an error (RFC 6749 §4.1.2.1). */
const refused = (href: string): boolean => new URLSearchParams(href.split('?', 2)[1] ?? '').has('error')

export const goBackPage = (gateway: Gateway, view: GoBackView): Response => {
  const client = clientName(view.client).text
  const safe = leadsToClient(view.href)
  const no = refused(view.href)
  const said = no ? html`${unreachedIcon}<span>Access denied.</span>` : html`${okIcon}<span>Access granted.</span>`
  const way = html`<a class="button primary" href="${view.href}" rel="noreferrer">Return to ${named(client)}</a>
<p class="muted">Your browser should reopen ${named(client)}; it may ask for permission. Then you can close this page.</p>`
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>Return to ${named(client)}</h1>
<p class="badge ${no ? 'plain' : 'ok'}">${said}</p>
${safe ? way : html`<p>A browser cannot open the redirect URI of this app safely, so nothing was sent to it. Report this to the app’s developer.</p>`}
</div>`
  // A refresh needs neither a script nor a policy for it, unlike a redirect of the form itself, which browsers stop at schemes they do not know.
  const head = safe && !/[\s"']/.test(view.href) ? html`<meta http-equiv="refresh" content="0; url=${view.href}">` : undefined
  return page(gateway, { title: `Return to ${client}`, width: 'narrow', body, ...(head ? { head } : {}) })
}
