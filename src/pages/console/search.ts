// What the search in the bar found, by kinds.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame, SearchHit, SearchView } from '../../ports/console.ts'
import { type PageContext, initial, named, readText } from '../layout.ts'
import { consolePage, counted, empty, icons } from './shell.ts'

const kinds: readonly (readonly [kind: SearchHit['kind'], heading: string])[] = [
  ['page', 'Pages'],
  ['service', 'Services'],
  ['user', 'People'],
  ['client', 'Clients'],
  ['flow', 'Flows'],
  ['events', 'Activity'],
]

const tile = ({ kind, name }: SearchHit): Markup => {
  if (kind === 'page') return html`<span class="tile" aria-hidden="true">${icons.dash}</span>`
  if (kind === 'events') return html`<span class="tile" aria-hidden="true">${icons.activity}</span>`
  const look = { service: 'service', user: 'person', client: 'client', flow: 'client' }[kind]
  return html`<span class="tile ${look}" aria-hidden="true">${initial(readText(name, 80))}</span>`
}

const hit = (one: SearchHit): Markup => {
  const { kind, name, detail, href } = one
  const label = named(readText(name, 80) || 'Unnamed')
  return html`<li>${tile(one)}<span><a class="strong" href="${href}">${kind === 'events' ? html`Events with ${label}` : label}</a>${detail !== undefined && detail !== name && html` <span class="faint xs">${named(readText(detail, 80))}</span>`}</span></li>`
}

const section = ([kind, heading]: (typeof kinds)[number], { found }: SearchView): Drawable => {
  const hits = found.filter((one) => one.kind === kind)
  return (
    hits.length > 0 &&
    html`<section class="card" aria-labelledby="found-${kind}"><div class="card-head"><h2 id="found-${kind}">${heading}</h2></div><ul class="list">${hits.map(hit)}</ul></section>`
  )
}

export const searchPage = (gateway: PageContext, frame: ConsoleFrame, view: SearchView): Response => {
  const { asked, found, more } = view
  const count = found.filter(({ kind }) => kind !== 'events').length
  const shown = named(readText(asked, 60))
  return consolePage(gateway, frame, {
    page: 'search',
    title: 'Search',
    asked,
    heading: asked === '' ? 'Search' : html`${counted(count, 'result')} for ${shown}`,
    lead: more && html`<p>The first ten of each kind are shown.</p>`,
    body:
      asked === ''
        ? empty('Find anything', 'Type the name of a service, user, client or page, or the ID of a flow.')
        : html`${count === 0 && html`<section class="card empty"><h2>Nothing matches ${shown}</h2><p>Names, URLs, email addresses and IDs of those who have access are searched.</p></section>`}${kinds.map((kind) => section(kind, view))}`,
    commands: ['postern services ls', 'postern people ls', 'postern clients ls'],
  })
}
