// What the app may do, on the consent page: tools by what they can do, three presets, and what this person may not
// use. Without a script the radios and boxes say everything; the stylesheet shows what a preset leaves out.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import { isEnough, ladder } from '../kit/levels.ts'
import type { ConsentLevels } from '../ports/pages.ts'
import type { Permission } from '../ports/policy.ts'
import { chevron, failedIcon, lockIcon, okIcon } from './assets.ts'
import { type PlainMessage, say, sayCounted } from './language.ts'
import { readText } from './layout.ts'

type Tool = ConsentLevels['tools'][number]

const words: Readonly<Record<Permission, readonly [name: PlainMessage, what: PlainMessage]>> = {
  read: ['Read', 'look things up'],
  write: ['Write', 'create and change things'],
  execute: ['Destructive', 'delete or overwrite things'],
  admin: ['Administer', 'use restricted tools'],
}

const presets: readonly (readonly [Permission, PlainMessage])[] = [
  ['read', 'Read only'],
  ['write', 'Recommended'],
  ['execute', 'Everything'],
]

/** Tools of a group that are named one by one. */
const mostShown = 120

const count = (tools: readonly Tool[]): Markup => sayCounted(tools.length, '{n} tool', '{n} tools')

const has: Readonly<Partial<Record<string, PlainMessage>>> = {
  read: 'You have read access',
  write: 'You have write access',
  execute: 'You have execute access',
}

const lockedWhy = ({ locked }: Tool): Drawable => {
  if (locked?.code === 'policy.denied') return readText(locked.reason ?? '', 80) || say('Denied by a rule')
  const level = locked?.code === 'policy.permission' ? has[locked.have ?? ''] : undefined
  return say(level ?? 'Not available to you')
}

const said = ({ name, about }: Tool): Markup =>
  html`<code>${readText(name, 64)}</code>${about !== undefined && html` <span>${readText(about, 90)}</span>`}`

const toolRow = (tool: Tool, id: string): Markup =>
  tool.locked
    ? html`<li class="shut">${lockIcon}<span>${said(tool)} <em>${lockedWhy(tool)}</em></span></li>`
    : html`<li><input class="check" type="checkbox" id="${id}" name="tool" value="${tool.name}"${tool.ticked && ' checked'}><label for="${id}">${said(tool)}</label></li>`

interface Group {
  readonly need: Permission
  readonly tools: readonly Tool[]
  readonly open: readonly Tool[]
  /** Why nothing of it can be chosen; undefined: something can. */
  readonly shut: Drawable
  /** The person is asked for it for the first time, or allowed it before; undefined: neither is said. */
  readonly since: 'new' | 'old' | undefined
}

const groupOf = (need: Permission, { tools: all, ceiling, more, before }: ConsentLevels): Group => {
  const tools = all.filter((tool) => tool.need === need)
  const open = tools.filter(({ locked }) => !locked)
  const [first] = tools
  const denied = tools.find(({ locked }) => locked?.code === 'policy.denied' && locked.reason !== undefined)
  const reason = denied ? lockedWhy(denied) : say('Not allowed')
  const none = first && open.length === 0 ? reason : undefined
  const beyond = open.length > 0 || !first ? say('Not requested') : reason
  const known = more && before !== undefined && isEnough(before, need)
  const shut = isEnough(ceiling, need) ? none : beyond
  return {
    need,
    tools,
    open,
    shut,
    since: more && shut === undefined ? (known ? 'old' : 'new') : undefined,
  }
}

const stateOf = ({ open, shut, since }: Group): Drawable => {
  if (shut !== undefined) return shut
  if (since === 'new') return html`<span class="chip new">${say('New')}</span>`
  if (since === 'old') return say('Already allowed')
  return html`<span class="on">${open.length > 0 && count(open)}</span><span class="off">${say('Not included')}</span>`
}

/** Of what cannot be undone nothing is ticked: all of it is allowed on purpose, or single tools are. */
const hintOf = ({ need, open, shut }: Group, more: boolean): Drawable => {
  if (shut !== undefined || open.length === 0 || !isEnough(need, 'execute')) return undefined
  const all =
    need === 'admin'
      ? say('Administer covers all of these. Tick tools to allow only those.')
      : more
        ? say('Allow covers all of these. Tick tools to allow only those.')
        : say('Everything covers all of these. Tick tools to allow only those.')
  return html`<p class="on">${all}</p><p class="off">${say('Choose Everything to allow these.')}</p>`
}

const listOf = (group: Group, more: boolean): Drawable => {
  const shown = group.tools.slice(0, mostShown)
  const rest = group.tools.length - shown.length
  const rows = shown.map((tool, i) =>
    toolRow(group.shut === undefined ? tool : { ...tool, ticked: false }, `t-${group.need}-${i}`),
  )
  if (shown.length === 0) return html`<p>${say('The tools are named once an app has listed them.')}</p>`
  return html`${hintOf(group, more)}<ul class="tools">${rows}</ul>${rest > 0 && html`<p>${sayCounted(rest, 'And {n} more.', 'And {n} more.')}</p>`}`
}

const mark = ({ shut }: Group): Markup =>
  shut === undefined
    ? html`<span class="mark"><span class="on">${okIcon}</span><span class="off">${failedIcon}</span></span>`
    : html`<span class="mark">${lockIcon}</span>`

const detailsOf = (group: Group, { more }: ConsentLevels): Markup => {
  const [name, what] = words[group.need]
  const open = group.since === 'new' && group.shut === undefined
  return html`<details class="perm ${group.need}${group.shut !== undefined && ' locked'}"${open && ' open'}><summary>${mark(group)}<span class="what"><strong>${say(name)}</strong> <span>${say(what)}</span></span><span class="state">${stateOf(group)}</span>${chevron}</summary>${listOf(group, more)}</details>`
}

/** Administration has a box of its own, which no preset ticks. */
const adminOf = (group: Group, { before, more }: ConsentLevels): Markup => {
  const [name, what] = words.admin
  const ticked = before === 'admin'
  const state =
    group.since === 'new'
      ? html`<span class="chip new">${say('New')}</span>`
      : html`<span class="on">${count(group.open)}</span><span class="off">${say('Not included')}</span>`
  return html`<div class="perm admin"><div class="tick"><span class="off">${failedIcon}</span><input class="check" type="checkbox" id="admin" name="admin" value="on"${ticked && ' checked'}><label for="admin"><strong>${say(name)}</strong> <span>${say(what)}</span></label></div><details><summary><span class="vh">${say('Restricted')}: </span><span class="state">${state}</span>${chevron}</summary>${listOf(group, more)}</details></div>`
}

const presetsOf = ({ ceiling, chosen, more }: ConsentLevels): Drawable => {
  const kept = (level: Permission): Markup => html`<input type="hidden" name="preset" value="${level}">`
  const step = isEnough(chosen, 'execute') ? 'execute' : chosen
  // Of one step there is nothing to choose, and who is asked for more is asked for exactly that.
  if (more || ceiling === 'read') return kept(more && isEnough(ceiling, 'execute') ? 'execute' : step)
  return html`<div class="seg" role="radiogroup" aria-label="${say('Preset')}">${presets.map(([level, label]) => html`<label><input type="radio" name="preset" value="${level}"${level === step && ' checked'}>${say(label)}</label>`)}</div>`
}

/** The tools that stand on the page with a box, by what they need. */
const shownText = (groups: readonly Group[]): string =>
  JSON.stringify(
    Object.fromEntries(
      groups
        .filter(({ shut }) => shut === undefined)
        .map(({ need, tools }) => [
          need,
          tools.slice(0, mostShown).flatMap(({ name, locked }) => (locked ? [] : [name])),
        ]),
    ),
  )

/** `label`: a sentence that the groups go on with; `foot`: what stands below them. */
export const accessFields = (view: ConsentLevels, label: Drawable, foot: Drawable): Markup => {
  const groups = ladder
    .map((need) => groupOf(need, view))
    // Nobody is told of administration where there is none.
    .filter(({ need, tools, shut }) => need !== 'admin' || shut === undefined || tools.length > 0)
  const sorted = [
    ...groups.filter(({ since }) => since === 'new'),
    ...groups.filter(({ since }) => since !== 'new'),
  ]
  return html`<fieldset class="perms"><legend class="vh">${say('What the app can do')}</legend><p class="label">${label}</p>
${presetsOf(view)}<input type="hidden" name="shown" value="${shownText(groups)}">
${sorted.map((group) => (group.need === 'admin' && group.shut === undefined ? adminOf(group, view) : detailsOf(group, view)))}
${foot}</fieldset>`
}
