// The URL generator: a server's domain in, the URL to give a client out.
import { html, isolated } from '../kit/html.ts'
import type { EncodeView } from '../ports/pages.ts'
import { failedIcon } from './icons.ts'
import { breakable, caution, page, type Gateway } from './shell.ts'
import { readAddress } from './untrusted.ts'

export const encodePage = (gateway: Gateway, view: EncodeView, requestId: string): Response => {
  const { asked, host, url, registered, problem } = view
  const result = url !== undefined && html`<h2>${registered ? 'Give this URL to a client' : 'Its host would be'}</h2>
<code class="copy url" data-what="URL">${breakable(readAddress(registered ? url : (host ?? '')))}</code>
${!registered && caution('Nobody is served there yet: an administrator adds the server first. Only servers that were added are ever reached.')}`
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>The URL of an MCP server</h1>
<form method="get" action="/encode" class="stack">
<label for="domain">Domain of the server</label>
<input id="domain" name="domain" value="${asked.slice(0, 300)}" placeholder="mcp.example.com" autocomplete="off" autocapitalize="none" spellcheck="false" required>
${problem !== undefined && html`<p class="note bad" role="alert">${failedIcon}<span>${problem}</span></p>`}
<button>Show its URL</button>
</form>
${result}
</div>`
  return page(gateway, { title: 'The URL of an MCP server', width: 'middle', body, requestId, headers: isolated, ...(problem === undefined ? {} : { status: 400 }) })
}
