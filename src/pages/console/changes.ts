// Access: definitions of tools and prompts that are not as they were approved, word by word, and the decision.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ChangesView, ConsoleFrame, DefinitionDifference, HeldDefinition } from '../../ports/console.ts'
import { type PageContext, named, post, readName, readText } from '../layout.ts'
import { matrixPart, whyCommand, whyPart } from './matrix.ts'
import { commandOf, consolePage, counted, empty, icons, linkTo, off, quoted, timeAgo } from './shell.ts'

const path = '/console/access'

/** Texts that a server wrote are shown by what they say, never as markup; what cannot be seen was written out before. */
const side = ({ words, before, after }: DefinitionDifference, which: 'removed' | 'added'): Drawable => {
  if (words)
    return words
      .filter(([is]) => is === 'same' || is === which)
      .map(([is, text]) =>
        is === 'same' ? text : is === 'removed' ? html`<del>${text}</del>` : html`<ins>${text}</ins>`,
      )
  const text = which === 'removed' ? before : after
  if (text === undefined) return html`<span class="faint">Not there</span>`
  return which === 'removed' ? html`<del>${text}</del>` : html`<ins>${text}</ins>`
}

const labels: Readonly<Record<string, string>> = {
  '': 'Definition',
  '/description': 'Description',
  '/title': 'Title',
  '/inputSchema': 'Arguments',
  '/outputSchema': 'Result',
  '/annotations': 'Hints',
}

const labelOf = (at: string): Drawable => labels[at] ?? html`<code>${readText(at, 120)}</code>`

const difference = (one: DefinitionDifference, fresh: boolean): Markup =>
  html`<div class="diff${fresh && ' alone'}">${!fresh && html`<div><h3>${labelOf(one.path)}, as approved</h3><p>${side(one, 'removed')}</p></div>`}<div><h3>${labelOf(one.path)}${!fresh && ', now'}</h3><p>${fresh ? one.after : side(one, 'added')}</p>${one.consequence !== undefined && html`<p class="note warn">${icons.warn}<span>Calls ${readText(one.consequence, 120)}.</span></p>`}</div></div>`

const titles: Readonly<Record<HeldDefinition['state'], string>> = {
  changed: 'changed',
  new: 'is new',
  blocked: 'is blocked',
  approved: 'is approved',
}

const mostShown = 6

const decisionForms = (
  frame: ConsoleFrame,
  { service, kind, name, digest, state }: HeldDefinition,
): Markup => {
  const fields = { csrf: frame.csrf, service: service.id, kind, name }
  return html`<div class="btns">${
    state !== 'blocked' &&
    post(path, { ...fields, action: 'block' }, html`<button class="btn danger">Block</button>`)
  }${
    digest !== undefined &&
    post(path, { ...fields, digest, action: 'approve' }, html`<button class="btn">Approve</button>`)
  }</div>`
}

const byWords: Readonly<Record<string, string>> = {
  'cli': 'the command line',
  'first list': 'being on the first list',
  'configuration': 'the configuration',
}

const byWhom = (by: string): Drawable => byWords[by] ?? named(readText(by, 80))

const sayOf = ({ kind, state, approved, blocked, account, held }: HeldDefinition, now: number): Drawable => {
  const where = account === undefined ? '' : ' Listed for one account.'
  if (state === 'blocked' && blocked)
    return html`Blocked by ${byWhom(blocked.by)}, ${timeAgo(blocked.at, now)}.${where}`
  const until = held ? 'Blocked for everyone until you decide.' : `Clients can use this ${kind} meanwhile.`
  if (approved)
    return html`${until} Approved before by ${byWhom(approved.by)}, ${timeAgo(approved.at, now)}.${where}`
  return `${until}${where}`
}

const card = (frame: ConsoleFrame, held: HeldDefinition): Markup => {
  const { service, name, state, at, changes } = held
  const fresh = !held.approved
  const [first, rest] = [changes.slice(0, mostShown), changes.slice(mostShown)]
  return html`<section class="card"><div class="card-head"><h2 class="row"><span class="${state === 'blocked' ? 'faint' : 'warn-text'}">${icons.warn}</span><span><code>${readText(name, 128)}</code> ${titles[state]} <span class="muted">${timeAgo(at, frame.now)}</span></span></h2><p>${named(readName(service.name, service.id).text)}</p></div>
${first.map((one) => difference(one, fresh))}
${rest.length > 0 && html`<details class="rest"><summary class="more">${icons.chevron}${counted(rest.length, 'more part')}</summary>${rest.map((one) => difference(one, fresh))}</details>`}
<div class="card-foot"><span>${sayOf(held, frame.now)}</span>${decisionForms(frame, held)}</div></section>`
}

const picker = (
  { service }: ChangesView,
  { services }: ConsoleFrame,
): Markup => html`<form class="bar" method="get" action="${path}">
<label class="vh" for="service">Service</label><select class="input half" id="service" name="service"><option value="">Changes of all services</option>${services.map(({ id, name }) => html`<option value="${id}"${id === service && html` selected`}>${readName(name, id).text}</option>`)}</select><button class="btn">Show</button></form>`

const finding = ({ held, more }: ChangesView): string => {
  const waiting = held.filter(({ state }) => state !== 'blocked').length + more
  return waiting === 0
    ? 'No definition waits for a decision'
    : `${counted(waiting, 'definition')} ${waiting === 1 ? 'waits' : 'wait'} for your decision`
}

const nothingHeld = (known: number): Markup =>
  known > 0
    ? empty(
        'Everything is as it was approved',
        html`${counted(known, 'definition')} of tools and prompts are pinned.`,
      )
    : empty(
        'No definitions are pinned yet',
        html`To notice when a server changes its tools, add <code>pinning: quarantine</code> under <code>access</code> of its service. Definitions are remembered when a client lists them for the first time.`,
      )

const commandsOf = ({ held, service, matrix, why }: ChangesView): readonly string[] => {
  const first = held.find(({ state }) => state !== 'blocked') ?? held[0]
  return [
    ...(matrix ? ['postern access ls'] : []),
    ...(why && service !== undefined ? whyCommand(service, why) : []),
    commandOf('tools ls', { service }),
    ...(first ? [`postern tools show ${quoted(first.service.id)} ${quoted(readText(first.name, 128))}`] : []),
  ]
}

const openDefinitions = ({ held, service, more, known, matrix }: ChangesView, frame: ConsoleFrame): Markup =>
  html`${held.map((one) => card(frame, one))}
${more > 0 && off(html`${counted(more, 'other')} not shown. ${service === undefined ? 'Choose a service.' : html`See <code>${commandOf('tools ls', { service })}</code>.`}`)}
${held.length === 0 && !matrix && nothingHeld(known)}`

/** Of one service: its matrix. */
const rights = ({ service, matrix, why }: ChangesView, name: string, frame: ConsoleFrame): Drawable =>
  service !== undefined &&
  html`${matrix && matrixPart({ id: service, name }, matrix, frame)}${why && whyPart(service, why)}`

export const changesPage = (gateway: PageContext, frame: ConsoleFrame, view: ChangesView): Response => {
  const { service, matrix } = view
  const name = readName(frame.services.find(({ id }) => id === service)?.name ?? '', service ?? '').text
  const about = matrix
    ? {
        title: `Access to ${name}`,
        heading: html`Access to ${named(name)}`,
        lead: html`<p><b class="strong">Allow</b> works at once, <b class="strong">Never</b> hides the tool and refuses its calls.</p>`,
      }
    : {
        title: 'Access',
        heading: finding(view),
        lead: html`<p>What tools and prompts say of themselves is approved once. What a server changes afterwards waits here for your decision.</p>`,
      }
  return consolePage(gateway, frame, {
    page: 'access',
    ...about,
    actions: html`<a class="btn" href="${linkTo('/account/access', { service: matrix && service })}">Who has access</a>`,
    body: html`${frame.services.length > 0 && picker(view, frame)}
${openDefinitions(view, frame)}
${rights(view, name, frame)}`,
    commands: commandsOf(view),
  })
}
