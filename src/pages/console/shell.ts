// The frame of the console: navigation with what needs somebody, the bar above, the page, and its command; and the small
// parts that its pages share.
import { type Drawable, type Markup, html, htmlResponse, isolated, trusted } from '../../kit/html.ts'
import type { Attention, ConsoleFrame, ConsolePage } from '../../ports/console.ts'
import { assetPaths } from '../assets.ts'
import { brandMark, brandName } from '../brand.ts'
import { type PageContext, account, day, documentHead, initial, named, post, readText } from '../layout.ts'

// Icons, in the colour of the words beside them. Decoration only.

const icon = (paths: string, more = ''): Markup =>
  trusted(`<svg class="i${more}" viewBox="0 0 16 16" aria-hidden="true">${paths}</svg>`)

const triangle = '<path d="M8 2.1 1.6 13.3h12.8zM8 6.4v3.2M8 11.4v.1"/>'
export const icons = {
  overview: icon('<path d="M2.5 13.5v-6M6.2 13.5V4M9.8 13.5V9M13.5 13.5V2.5"/>'),
  services: icon(
    '<rect x="2" y="2.5" width="12" height="4.5" rx="1.2"/><rect x="2" y="9" width="12" height="4.5" rx="1.2"/><path d="M4.7 4.75h.1M4.7 11.25h.1"/>',
  ),
  access: icon('<path d="M8 1.6 2.8 3.5v4.1c0 3.1 2.1 5.3 5.2 6.8 3.1-1.5 5.2-3.7 5.2-6.8V3.5z"/>'),
  flows: icon(
    '<circle cx="3.6" cy="3.6" r="1.8"/><circle cx="12.4" cy="12.4" r="1.8"/><path d="M3.6 5.4v4.2a2.8 2.8 0 0 0 2.8 2.8h4.2M5.4 3.6h6M9.6 1.8l1.8 1.8-1.8 1.8"/>',
  ),
  activity: icon('<path d="M1.8 8.2h2.7l2-5 3 9.6 2-4.6h2.7"/>'),
  filter: icon('<path d="M2 3.5h12M4.2 8h7.6M6.6 12.5h2.8"/>'),
  people: icon(
    '<circle cx="6" cy="5.2" r="2.5"/><path d="M1.6 13.4c.3-2.5 2-4 4.4-4s4.1 1.5 4.4 4M10.6 2.9a2.5 2.5 0 0 1 0 4.6M12 9.8c1.4.5 2.2 1.8 2.4 3.6"/>',
  ),
  clients: icon(
    '<rect x="2" y="2" width="5" height="5" rx="1.2"/><rect x="9" y="2" width="5" height="5" rx="1.2"/><rect x="2" y="9" width="5" height="5" rx="1.2"/><path d="M11.5 9.2v4.6M9.2 11.5h4.6"/>',
  ),
  globe: icon(
    '<circle cx="8" cy="8" r="6.2"/><path d="M1.8 8h12.4M8 1.8c2 2 2.6 4 2.6 6.2s-.6 4.2-2.6 6.2C6 12.2 5.4 10.2 5.4 8S6 3.8 8 1.8"/>',
  ),
  warn: icon(triangle),
  bad: icon('<circle cx="8" cy="8" r="6.2"/><path d="M8 4.8v3.7M8 11v.1"/>'),
  ok: icon('<path d="m3.2 8.4 3.1 3.1 6.5-7"/>'),
  dash: icon('<path d="M4 8h8"/>'),
  search: icon('<circle cx="7" cy="7" r="4.6"/><path d="m10.5 10.5 3.3 3.3"/>'),
  cross: icon('<path d="m4 4 8 8m0-8-8 8"/>'),
  person: icon('<circle cx="8" cy="5" r="2.8"/><path d="M2.5 14c.5-3 2.7-4.5 5.5-4.5s5 1.5 5.5 4.5"/>'),
  clock: icon('<circle cx="8" cy="8" r="6.2"/><path d="M8 4.4V8l2.5 1.6"/>'),
  sessions: icon('<rect x="1.8" y="2.8" width="12.4" height="8.4" rx="1.4"/><path d="M5.5 13.6h5"/>'),
  connections: icon(
    '<path d="M6.6 9.4a2.6 2.6 0 0 0 3.7 0l2.4-2.4a2.6 2.6 0 0 0-3.7-3.7L7.9 4.4M9.4 6.6a2.6 2.6 0 0 0-3.7 0L3.3 9A2.6 2.6 0 0 0 7 12.7l1.1-1.1"/>',
  ),
  tokens: icon('<circle cx="5.2" cy="10.8" r="3"/><path d="m7.4 8.6 6-6M11 5l2 2"/>'),
  accounts: icon(
    '<rect x="1.8" y="2.8" width="12.4" height="10.4" rx="1.4"/><path d="m4.6 6.2 2 1.8-2 1.8M8.6 10h2.8"/>',
  ),
  key: icon('<circle cx="5.2" cy="10.8" r="3"/><path d="m7.4 8.6 6-6M11 5l2 2"/>'),
  settings: icon(
    '<path d="M2 4.5h6.2M11.8 4.5H14M2 11.5h2.2M7.8 11.5H14"/><circle cx="10" cy="4.5" r="1.8"/><circle cx="6" cy="11.5" r="1.8"/>',
  ),
  chevron: icon('<path d="m6 3.5 4.5 4.5L6 12.5"/>', ' sm chev'),
} as const

const menuIcon = icon('<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>')
const downIcon = icon('<path d="m3.5 6 4.5 4.5L12.5 6"/>', ' sm')

// What needs somebody.

/** The page of the navigation at which it is counted. */
const pageOf: Readonly<Record<Attention['kind'], ConsolePage>> = {
  locked: 'services',
  trail: 'activity',
  'trail-fault': 'activity',
  disk: 'activity',
  service: 'services',
  definitions: 'access',
  flow: 'flows',
}

export const isBad = ({ kind }: Attention): boolean =>
  ['locked', 'trail', 'trail-fault', 'service'].includes(kind)

export const counted = (count: number, one: string, several = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : several}`

/** `4 things need you`. */
export const needsYou = (count: number): string =>
  count === 1 ? '1 thing needs you' : `${counted(count, 'thing')} need you`

// The frame.

const paths: Readonly<Record<ConsolePage, string>> = {
  overview: '/console',
  services: '/console/services',
  access: '/console/access',
  people: '/console/people',
  clients: '/console/clients',
  sessions: '/console/sessions',
  connections: '/console/connections',
  tokens: '/console/tokens',
  accounts: '/console/accounts',
  activity: '/console/activity',
  flows: '/console/flows',
  settings: '/console/settings',
  search: '/console/search',
}

const sections: readonly (readonly [
  heading: string | undefined,
  pages: readonly (readonly [ConsolePage, string])[],
])[] = [
  [undefined, [['overview', 'Overview']]],
  [
    'Gateway',
    [
      ['services', 'Services'],
      ['access', 'Access'],
    ],
  ],
  [
    'Who',
    [
      ['people', 'People'],
      ['clients', 'Clients'],
      ['sessions', 'Sessions'],
      ['connections', 'Connections'],
      ['tokens', 'Tokens'],
      ['accounts', 'Service accounts'],
    ],
  ],
  [
    'What happened',
    [
      ['activity', 'Activity'],
      ['flows', 'Flows'],
    ],
  ],
  ['This gateway', [['settings', 'Settings']]],
]

const flagOf = (page: ConsolePage, attention: readonly Attention[]): Drawable => {
  const here = attention.filter(({ kind }) => pageOf[kind] === page)
  if (here.length === 0) return undefined
  const bad = here.some(isBad)
  return html`<span class="flag ${bad ? 'bad-text' : 'warn-text'}">${bad ? icons.bad : icons.warn}${here.length}<span class="vh"> to look at</span></span>`
}

const navigation = (gateway: PageContext, { attention }: ConsoleFrame, current: ConsolePage): Markup => {
  const link = ([page, label]: readonly [ConsolePage, string]): Markup =>
    html`<li><a href="${paths[page]}"${page === current && html` aria-current="page"`}>${icons[page]}${label}${flagOf(page, attention)}</a></li>`
  return html`<nav class="side" id="nav" popover aria-label="Console">
<a class="org" href="/"><span class="logo">${brandMark(gateway.brand)}</span><span>${named(brandName(gateway.brand))}<small>${URL.parse(gateway.issuer)?.host}</small></span></a>
<div class="nav">${sections.map(([heading, pages]) => html`${heading !== undefined && html`<h2>${heading}</h2>`}<ul>${pages.map(link)}</ul>`)}</div>
<p class="side-foot">Postern ${gateway.version}</p>
</nav>`
}

const topBar = ({ attention, person, csrf }: ConsoleFrame, asked: string | undefined): Markup => {
  const { name } = account(person)
  const count = attention.length
  const status =
    count === 0
      ? html`<span class="status ok">Nothing needs you</span>`
      : html`<a class="status ${attention.some(isBad) ? 'bad' : 'warn'}" href="${paths.overview}"><span>${count}<span class="only-wide"> ${needsYou(count).replace(/^\d+ /, '')}</span><span class="vh only-narrow"> to look at</span></span></a>`
  return html`<header class="top">
<button class="btn quiet icon menu-btn" type="button" popovertarget="nav" aria-label="Menu">${menuIcon}</button>
<form class="search" role="search" aria-label="Everything" method="get" action="${paths.search}"${asked !== undefined && html` aria-current="page"`}><label class="vh" for="find">Find anything</label>${icons.search}<input class="input" id="find" name="q" type="search" value="${asked}" placeholder="Find anything" autocomplete="off" aria-keyshortcuts="/ Control+K Meta+K"></form>
<span class="fill"></span>${status}
<details class="menu"><summary class="who"><span class="vh">Account </span><span class="tile person" aria-hidden="true">${initial(name)}</span><span class="t">${named(name)}</span>${downIcon}</summary><div class="pop"><a href="/">Your services</a><a href="/account/apps">Connected apps</a><a href="/account/tokens">Tokens</a>${post('/logout', { csrf }, html`<button>Sign out</button>`)}</div></details>
</header>`
}

export interface ConsoleContent {
  readonly page: ConsolePage
  readonly title: string
  /** What was typed into the bar, on the page that answers it. */
  readonly asked?: string
  /** Absent: the title. */
  readonly heading?: Drawable
  readonly above?: Drawable
  readonly lead?: Drawable
  readonly actions?: Drawable
  readonly body: Drawable
  /** The same in a terminal. */
  readonly commands: readonly string[]
}

export const consoleMarkup = (gateway: PageContext, frame: ConsoleFrame, content: ConsoleContent): Markup => {
  const { page, title, heading = title, above, lead, actions, body, commands } = content
  return html`${documentHead(gateway, title, assetPaths.consoleStylesheet)}
<body>
<a class="skip" href="#main">Skip to content</a>
<div class="console">
${navigation(gateway, frame, page)}
<div class="page">
${topBar(frame, content.asked)}
<main class="content" id="main">
<div class="head"><div>${above}<h1>${heading}</h1>${lead}</div>${actions !== undefined && html`<div class="btns">${actions}</div>`}</div>
<div class="stack">${body}</div>
<footer class="cli"><span>Same in a terminal</span>${commands.map((command) => html`<code class="copy" data-what="command">${command}</code>`)}</footer>
</main>
</div>
</div>
</body>
</html>
`
}

export const consolePage = (gateway: PageContext, frame: ConsoleFrame, content: ConsoleContent): Response =>
  htmlResponse(consoleMarkup(gateway, frame, content), { headers: isolated })

// The small parts.

/** A word of a command line. */
export const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/** `postern flows ls --user ana`: options without a value are left out. */
export const commandOf = (verb: string, options: Readonly<Record<string, string | undefined>>): string =>
  [
    `postern ${verb}`,
    ...Object.entries(options).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name} ${quoted(readText(value, 300))}`],
    ),
  ].join(' ')

/** A path with a query; values that are undefined are left out. */
export const linkTo = (path: string, values: Readonly<Record<string, string | undefined>>): string => {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, value)
  return query.size > 0 ? `${path}?${query}` : path
}

const ago = (ms: number): string => {
  if (ms < 60_000) return 'just now'
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`
  return ms < 86_400_000 ? `${Math.floor(ms / 3_600_000)} h ago` : ''
}

/** `12 min ago`, and a date from a day on; the whole time on the side. */
export const timeAgo = (at: number, now: number): Markup => {
  const iso = new Date(at).toISOString()
  return html`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">${ago(now - at) || day(at)}</time>`
}

/** `13:58:02`, UTC. */
export const clockTime = (iso: string): string => iso.slice(11, 19)

export const status = (look: 'ok' | 'warn' | 'bad' | 'off', word: Drawable): Markup =>
  html`<span class="status ${look}">${word}</span>`

/** What an administrator has to do without a page of its own: one line. */
export const off = (say: Drawable): Markup => html`<p class="muted sm">${say}</p>`

export const empty = (title: string, say: Drawable, command?: string): Markup =>
  html`<section class="card empty"><h2>${title}</h2><p>${say}</p>${command !== undefined && html`<code class="copy" data-what="command">${command}</code>`}</section>`
