// Adding services: the form, and the page that is sent while servers are asked, step by step. It needs no script: a browser
// shows each part of a page when it arrives.
import { type Drawable, type Markup, html, htmlText, isolated, pageHeaders, trusted } from '../../kit/html.ts'
import type { ConsoleFrame } from '../../ports/console.ts'
import type { AddView, AddingEvent } from '../../ports/services.ts'
import { type PageContext, named, post, readAddress, readText } from '../layout.ts'
import { consoleMarkup, consolePage, counted, icons } from './shell.ts'

const path = '/console/add'
const commands = ['postern services add ID URL', 'postern import server.json --write']

const form = ({ source, id, problem, commands: may }: AddView, { csrf }: ConsoleFrame): Markup =>
  html`<section class="card"><div class="card-body">${post(
    path,
    { csrf, action: 'add' },
    html`<div class="field"><label for="source">${may ? 'URL, command, mcpServers block or registry entry' : 'URL, mcpServers block or registry entry'}</label><textarea class="input code" id="source" name="source" rows="4" required spellcheck="false" autocapitalize="none"${problem !== undefined && html` aria-invalid="true" aria-describedby="problem"`}>${source}</textarea>${problem !== undefined && html`<p class="error" id="problem">${icons.bad}<span>${readText(problem, 600)}</span></p>`}<p class="hint">For example <code>https://mcp.example.com/mcp</code>${may && html`, <code>npx -y some-server</code>`} the block of a client’s configuration, or a <code>server.json</code> of the MCP registry, pasted or as its URL.${!may && ' Commands can be added on the gateway’s host, or here with admin_commands: true.'}</p></div>
<div class="field"><label for="id">Name</label><input class="input" id="id" name="id" value="${id}" maxlength="63" autocomplete="off" autocapitalize="none" placeholder="Taken from the URL or command"><p class="hint">It is part of the URL for clients: <code>/name/mcp</code></p></div>
<div class="btns"><button class="btn primary">Check and add</button><a class="btn" href="/console/services">Cancel</a></div>`,
    'stack',
  )}</div></section>`

const crumb = html`<nav class="crumb" aria-label="Breadcrumb"><a href="/console/services">Services</a>${icons.chevron}<span>Add</span></nav>`

export const addPage = (gateway: PageContext, frame: ConsoleFrame, view: AddView): Response =>
  consolePage(gateway, frame, {
    page: 'services',
    title: 'Add a service',
    above: crumb,
    lead: html`<p>The server is asked what it is and what it can do. It is added if it responds as an MCP server.</p>`,
    body: form(view, frame),
    commands,
  })

// While servers are asked.

const mark: Readonly<Record<'yes' | 'no' | 'unknown', readonly [look: string, icon: Markup, word: string]>> =
  {
    yes: ['ok-text', icons.ok, 'Passed'],
    no: ['bad-text', icons.bad, 'Failed'],
    unknown: ['faint', icons.dash, 'Not known'],
  }

const stepItem = (look: 'yes' | 'no' | 'unknown', say: Drawable): Markup => {
  const [colour, icon, word] = mark[look]
  return html`<li><span class="${colour}">${icon}<span class="vh">${word}: </span></span><span>${say}</span></li>`
}

/** Sections are opened and closed as servers come and go, so that what has arrived is always a whole. */
const eventMarkup = (event: AddingEvent): Markup => {
  switch (event.kind) {
    case 'note':
      return html`<p class="note warn">${icons.warn}<span>${readText(event.say, 600)}</span></p>`
    case 'service':
      return html`<section class="card adding" aria-label="${event.id}"><div class="card-head"><h2>${named(event.id)}</h2><p><code>${readAddress(event.where).slice(0, 200)}</code></p></div><ul class="trace card-body">`
    case 'step':
      return stepItem(event.result, readText(event.say, 600))
    case 'added':
      return html`${stepItem('yes', html`<b>Added.</b> Clients reach it at <code class="copy" data-what="URL">${event.url}</code>`)}</ul><div class="card-foot"><span></span><a class="btn sm" href="/console/services/${event.id}">Open ${event.id}</a></div></section>`
    case 'failed':
      return html`${stepItem('no', html`<b>Not added.</b> ${readText(event.say, 600)} <span class="faint xs">${event.code}</span>`)}</ul></section>`
  }
}

const onward = html`<p class="btns"><a class="btn primary" href="/console/services">All services</a><a class="btn" href="${path}">Add another</a></p>`

/** Where the steps go in a page that is whole; a text of somebody else cannot hold it, because it is escaped. */
const gap = '<!--steps-->'

/** `run` tells what happens; the page ends when it has resolved. */
export const addingPage = (
  gateway: PageContext,
  frame: ConsoleFrame,
  view: AddView & { readonly count: number },
  run: (push: (event: AddingEvent) => void) => Promise<void>,
): Response => {
  const [before = '', after = ''] = htmlText(
    consoleMarkup(gateway, frame, {
      page: 'services',
      title: 'Add a service',
      heading: view.count === 1 ? 'Checking the server' : `Checking ${counted(view.count, 'server')}`,
      above: crumb,
      lead: html`<p>Each step appears here when it is done. A server that is added is served at once, without a restart.</p>`,
      body: trusted(gap),
      commands,
    }),
  ).split(gap)
  const encoder = new TextEncoder()
  let open = true
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      const send = (text: string): void => {
        if (open) controller.enqueue(encoder.encode(text))
      }
      let failed = false
      send(before)
      try {
        await run((event) => {
          failed ||= event.kind === 'failed'
          send(htmlText(eventMarkup(event)))
        })
        send(htmlText(failed ? html`<h2>Change it and try again</h2>${form(view, frame)}` : onward))
        send(after)
      } finally {
        if (open) controller.close()
        open = false
      }
    },
    // Whoever left does not undo what they asked for.
    cancel() {
      open = false
    },
  })
  return new Response(body, { headers: { ...pageHeaders, ...isolated } })
}
