// The URL generator: a server's domain in, the URL to give a client out.
import { type Drawable, html, isolated, type Markup } from '../kit/html.ts'
import type { EncodeView } from '../ports/pages.ts'
import { failedIcon } from './icons.ts'
import { breakable, caution, named, page, type Gateway } from './shell.ts'
import { readAddress, readName } from './untrusted.ts'

type Served = NonNullable<EncodeView['served']>[number]

const copyable = (url: string): Markup => html`<code class="copy url" data-what="URL">${breakable(readAddress(url))}</code>`

const older = ({ sse }: Served): Drawable => sse !== undefined && html`<p class="muted">For HTTP+SSE clients: <code>${breakable(readAddress(sse))}</code></p>`

const servedBlock = (served: readonly Served[]): Markup => {
  const [first, ...others] = served as readonly [Served, ...Served[]]
  if (others.length === 0) return html`<section class="tight"><h2>Add this URL to your MCP client</h2>${copyable(first.url)}${older(first)}</section>`
  return html`<h2>Add one of these URLs to your MCP client</h2>${served.map((each) => html`<section class="tight"><h3>${named(readName(each.name, each.id).text)}</h3>${copyable(each.url)}${older(each)}</section>`)}`
}

const notConfiguredBlock = (host: string): Markup => html`<section class="tight"><h2>No server configured for this domain</h2>
<p>Its hostname would be <code>${breakable(readAddress(host))}</code>.</p>
${caution('An administrator must add the server first.')}</section>`

export const encodePage = (gateway: Gateway, view: EncodeView): Response => {
  const { asked, host, served = [], problem } = view
  const wrong = problem !== undefined && html` aria-invalid="true" aria-describedby="problem"`
  const body = html`<div class="card stack">
<h1 tabindex="-1"${asked !== '' && ' autofocus'}>Get the URL of an MCP server</h1>
<p>Each server has its own hostname, derived from its domain. Enter the domain from the server’s original URL.</p>
<form method="get" action="/encode" class="stack">
<div><label for="domain">Server domain</label>
<input id="domain" name="domain" value="${asked.slice(0, 300)}" placeholder="mcp.example.com" autocomplete="off" autocapitalize="none" spellcheck="false" required${asked === '' && ' autofocus'}${wrong}></div>
${problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${problem}</span></p>`}
<button${host === undefined && html` class="primary"`}>Get URL</button>
</form>
${host !== undefined && (served.length > 0 ? servedBlock(served) : notConfiguredBlock(host))}
</div>`
  return page(gateway, { title: 'Get the URL of an MCP server', width: 'middle', body, headers: isolated, ...(problem === undefined ? {} : { status: 400 }) })
}
