// The matrix of groups and tools of a service: a native select for each cell, what has been chosen and not saved, what
// that would have meant for the calls of the last days, and why somebody may call a tool.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame } from '../../ports/console.ts'
import type {
  CellChange,
  Consequence,
  MatrixCell,
  MatrixTool,
  MatrixView,
  Why,
  WhyView,
} from '../../ports/matrix.ts'
import type { Permission } from '../../ports/policy.ts'
import { named, post, readText } from '../layout.ts'
import { commandOf, counted, icons, off } from './shell.ts'

const path = '/console/access'

interface Of {
  readonly id: string
  readonly name: string
}

const setOf = ({ group = '', tool, to }: CellChange): string => `${to}:${encodeURIComponent(group)}:${tool}`

/** The page with these changes. */
const linkWith = (service: string, at: number, changes: readonly CellChange[]): string => {
  const query = new URLSearchParams({ service })
  if (at > 1) query.set('page', String(at))
  for (const change of changes) query.append('set', setOf(change))
  return `${path}?${query}`
}

const groupText = (group: string | undefined): Drawable =>
  group === undefined ? 'Everyone' : named(readText(group, 60))

// Cells.

const words = { allow: 'Allow', never: 'Never' } as const

const placeOf = (rule: string, where: MatrixView['where']): Drawable =>
  where[rule] ?? html`<code>${readText(rule, 80)}</code>`

/** The rule of the configuration or of the gateway that decides it, in place of a choice. */
const fixedCell = ({ is, rule }: MatrixCell, { where }: MatrixView): Markup =>
  html`<td><span class="verdict ${is === 'allow' ? 'ok-text' : 'faint'}">${is === 'allow' ? icons.ok : icons.dash}<span>${words[is]}</span></span>${is === 'never' && rule !== 'none' && html`<span class="sub">${placeOf(rule, where)}</span>`}</td>`

const choiceCell = (
  tool: string,
  cell: MatrixCell,
  about: { readonly column: number; readonly group: string | undefined; readonly changed: boolean },
): Markup => {
  const option = (value: MatrixCell['is']): Markup =>
    html`<option value="${value}"${cell.is === value && html` selected`}>${words[value]}</option>`
  const { column, group, changed } = about
  return html`<td><span class="cell${changed && ' changed'}"><span class="m m-allow">${icons.ok}</span><span class="m m-never">${icons.dash}</span><select class="pick" name="${column}.${tool}" aria-label="${readText(tool, 128)} for ${group === undefined ? 'everyone' : readText(group, 60)}">${option('allow')}${option('never')}</select>${changed && html`<span class="vh">Not saved yet</span>`}</span></td>`
}

const toolRow = (tool: MatrixTool, view: MatrixView): Markup => {
  const before = view.before.find(({ name }) => name === tool.name)
  const editable = view.bound === 'any' || view.bound === 'deny'
  return html`<tr${tool.held && html` class="mark"`}><th scope="row"><code class="strong">${readText(tool.name, 128)}</code>${tool.held && html` <span class="tag warn">Changed</span>`}<span class="sub">${readText(tool.about ?? '', 160)}</span></th>${tool.cells.map(
    (cell, column) => {
      const changed = before?.cells[column]?.is !== cell.is
      return editable && (!cell.fixed || changed)
        ? choiceCell(tool.name, cell, { column, group: view.groups[column], changed })
        : fixedCell(cell, view)
    },
  )}</tr>`
}

const levels = [
  ['read', 'Read', 'change nothing'],
  ['write', 'Write', 'create or change'],
  ['execute', 'Execute', 'run or delete'],
  ['admin', 'Admin', 'administer'],
  ['deny', 'Never', 'nobody may call them'],
] as const

interface LeveledTool {
  readonly need?: Permission | 'deny' | undefined
  readonly unmarked: boolean
}

/** Tools by the permission that their calls need; empty sections are left out. */
export const sectionsOf = <Tool extends LeveledTool>(tools: readonly Tool[]) =>
  [
    ...levels.map(([need, title, about]) => ({
      title,
      about,
      tools: tools.filter((tool) => tool.need === need && !tool.unmarked),
    })),
    {
      title: 'Unmarked',
      about: 'the server does not say what they can do',
      tools: tools.filter((tool) => tool.unmarked || tool.need === undefined),
    },
  ].filter((section) => section.tools.length > 0)

const table = ({ name }: Of, view: MatrixView): Markup => {
  const { groups, tools } = view
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Tools of ${name}"><table class="table tight matrix"><caption class="vh">Tools of ${name}, and which group may call them</caption>
<thead><tr><th scope="col">Tool</th>${groups.map((group) => html`<th scope="col">${groupText(group)}</th>`)}</tr></thead>
<tbody>${sectionsOf(tools).map((section) => html`<tr class="group"><th colspan="${groups.length + 1}" scope="colgroup">${section.title} <span class="faint">${section.tools.length}, ${section.about}</span></th></tr>${section.tools.map((tool) => toolRow(tool, view))}`)}</tbody></table></div>`
}

// What was chosen.

const number = (n: number): string => n.toLocaleString('en')

const mostNamed = 3

const byWhom = (people: readonly string[] | undefined): Drawable => {
  if (!people || people.length === 0) return undefined
  const shown = people.slice(0, mostNamed).map((one, i) => html`${i > 0 && ', '}${named(readText(one, 60))}`)
  return html`, by ${shown}${people.length > mostNamed && ` and ${people.length - mostNamed} more`}`
}

/** `41 calls of the last 7 days would have been refused; of 3 nothing can be said.` */
const consequenceText = (found: Consequence | undefined): Drawable => {
  if (!found) return 'Without an audit trail, nothing can be said about recent calls.'
  const { days, calls, refused, granted, unsaid, people, partial } = found
  const least = partial ? 'At least ' : ''
  return html`${refused === 0 ? `${partial ? 'Of those looked at, none' : 'None'} of the ${counted(calls, 'call')} of the last ${days} days would have been refused` : html`${least}${counted(refused, 'call')} of the last ${days} days would have been refused${byWhom(people)}`}.${granted > 0 && ` ${number(granted)} that ${granted === 1 ? 'was' : 'were'} refused would have been allowed.`}${unsaid > 0 && ` ${number(unsaid)} cannot be said.`}`
}

const impossibleNote = ({ impossible, where }: MatrixView): Drawable =>
  impossible.length > 0 &&
  html`<div class="note bad">${icons.bad}<div><b>${counted(impossible.length, 'change')} cannot be made here.</b> The configuration decides: ${impossible.map(({ tool, group, rule }, i) => html`${i > 0 && '; '}<code>${readText(tool, 80)}</code> for ${groupText(group)} (${placeOf(rule, where)})`)}.</div></div>`

/** Cells that change although nobody chose them: a rule for everyone counts for each group. */
const besides = ({ tools, before, changes }: MatrixView): number =>
  tools.reduce((sum, { name, cells }) => {
    const was = before.find((one) => one.name === name)
    return sum + cells.filter(({ is }, i) => was?.cells[i]?.is !== is).length
  }, 0) - changes.length

const saveForm = (of: Of, view: MatrixView, { csrf }: ConsoleFrame): Markup => {
  const { changes, page, impossible } = view
  const fields = Object.fromEntries(changes.map((change, i) => [`set${i}`, setOf(change)]))
  const more = page.count === 1 ? besides(view) : 0
  return html`<div class="savebar"><span><b>${counted(changes.length, 'change')}${more > 0 && `, and ${counted(more, 'other cell')} with ${changes.length === 1 ? 'it' : 'them'}`}.</b> ${consequenceText(view.consequence)}</span><span class="btns"><a class="btn sm" href="${linkWith(of.id, page.at, [])}">Discard</a>${impossible.length === 0 && post(linkWith(of.id, page.at, []), { csrf, action: 'save', ...fields }, html`<button class="btn sm primary">Save changes</button>`)}</span></div>`
}

// The part of the page.

const boundSay: Readonly<Record<MatrixView['bound'], string>> = {
  any: 'What people may do who are in one group and no other; Everyone is in none. Changes are stored rules, beside those of the configuration.',
  deny: 'What people may do who are in one group and no other; Everyone is in none. Only rules that deny can be stored (access.stored), so access can be taken here, and not given.',
  off: 'What people may do who are in one group and no other; Everyone is in none. Rules are changed in the configuration alone (access.stored is off).',
  open: 'There are no access rules: everyone who can sign in can call every tool. Add an access section to the configuration to limit it.',
}

const pagesOf = ({ id }: Of, { page, changes }: MatrixView): Drawable => {
  if (page.count === 1) return undefined
  const to = (at: number, label: string): Markup =>
    html`<a class="btn sm" href="${linkWith(id, at, changes)}">${label}</a>`
  return html`<span>Page ${page.at} of ${page.count}</span>${page.at > 1 && to(page.at - 1, 'Before')}${page.at < page.count && to(page.at + 1, 'Next')}`
}

export const matrixPart = (of: Of, view: MatrixView, { csrf, ...frame }: ConsoleFrame): Markup => {
  const { bound, changes, page, count, groups } = view
  if (count === 0)
    return off('No tools are known yet: they are remembered when a client lists them through this gateway.')
  const editable = bound === 'any' || bound === 'deny'
  const say = html`<p class="muted sm">${boundSay[bound]}</p>`
  if (!editable)
    return html`${say}<section class="card">${table(of, view)}<div class="card-foot">${pagesOf(of, view)}</div></section>`
  return html`${say}${impossibleNote(view)}${post(
    linkWith(of.id, page.at, changes),
    { csrf, action: 'review', columns: JSON.stringify(groups.map((group) => group ?? null)) },
    html`<section class="card">${table(of, view)}<div class="card-foot"><span class="btns">${pagesOf(of, view)}</span><button class="btn sm">Review changes</button></div></section>`,
  )}${changes.length > 0 && saveForm(of, view, { csrf, ...frame })}`
}

// Why.

const traceMark = (matched: boolean, effect: 'allow' | 'deny'): Drawable => {
  if (!matched) return html`<span class="faint">${icons.dash}</span>`
  return effect === 'allow'
    ? html`<span class="ok-text">${icons.ok}</span>`
    : html`<span class="bad-text">${icons.cross}</span>`
}

const ruleLine = ({ id, effect, matched, why }: Why['rules'][number], where: WhyView['where']): Markup =>
  html`<li>${traceMark(matched, effect)}<span>${effect === 'allow' ? 'Allow' : 'Deny'} <b>${readText(id, 100)}</b>${where[id] !== undefined && html` <span class="faint">${readText(where[id], 120)}</span>`} ${readText(why, 160)}</span></li>`

const cure = ({ allowed, code, groupsUnknown }: Why): Drawable => {
  if (allowed) return undefined
  if (groupsUnknown)
    return 'The identity provider did not send the groups of this user. Rules that deny count as if the user were in every group.'
  if (code === 'policy.denied')
    return 'A rule that denies comes before every rule that allows: remove it, or take the user out of the group that it names.'
  return code === 'policy.permission'
    ? 'To change it, allow the tool for one of the groups of this user above, or grant a higher permission.'
    : 'To change it, allow the tool for one of the groups of this user above.'
}

const verdictSay = (answer: Why): Drawable => {
  const { person, tool, allowed, open, rule, need, have, reason } = answer
  const who = named(readText(person, 80))
  const what = html`<code>${readText(tool, 128)}</code>`
  if (open) return html`<b>${who} can call ${what}.</b> There are no access rules.`
  if (allowed) return html`<b>${who} can call ${what}</b>, by ${readText(rule ?? '', 100)}.`
  return html`<b>${who} can’t call ${what}.</b>${need !== undefined && have !== undefined && ` It needs ${need}, and the rules grant ${have}.`}${reason !== undefined && html` ${named(readText(reason, 200))}`}`
}

const answerPart = (answer: Why, where: WhyView['where']): Markup => {
  const { rules, groups, allowed } = answer
  const matched = rules.filter((one) => one.matched)
  const others = rules.filter((one) => !one.matched)
  const say = cure(answer)
  return html`<div class="note ${allowed ? 'ok' : 'bad'}">${allowed ? icons.ok : icons.cross}<div>${verdictSay(answer)}
<ul class="trace"><li><span class="faint">${icons.people}</span><span>${groups.length === 0 ? 'In no group' : html`Groups: ${named(readText(groups.join(', '), 400))}`}</span></li>${matched.map((one) => ruleLine(one, where))}${matched.length === 0 && !answer.open && html`<li><span class="bad-text">${icons.cross}</span><span>No rule is about this user and this tool.</span></li>`}</ul></div></div>
${others.length > 0 && html`<details><summary class="more">${icons.chevron}${counted(others.length, 'rule')} that ${others.length === 1 ? 'does' : 'do'} not count</summary><ul class="trace">${others.slice(0, 100).map((one) => ruleLine(one, where))}</ul></details>`}
${say !== undefined && html`<p class="sm muted">${say}</p>`}`
}

export const whyPart = (service: string, { asked, people, tools, answer, where }: WhyView): Markup => {
  const input = (id: string, label: string, value: string | undefined, known: readonly string[]): Markup =>
    html`<span class="field"><label for="${id}">${label}</label><input class="input" id="${id}" name="${id}" list="${id}-known" value="${value}" autocomplete="off" autocapitalize="none" spellcheck="false" required><datalist id="${id}-known">${known.slice(0, 200).map((one) => html`<option value="${one}">`)}</datalist></span>`
  const missing = asked.person !== undefined && asked.tool !== undefined && !answer
  return html`<section class="card" aria-labelledby="why"><div class="card-head"><h2 id="why">Why can or can’t someone call a tool?</h2></div><div class="card-body stack">
<form class="explain" method="get" action="${path}#why"><input type="hidden" name="service" value="${service}">${input('person', 'User', asked.person, people)}${input('tool', 'Tool', asked.tool, tools)}<button class="btn">Explain</button></form>
${answer && answerPart(answer, where)}${missing && html`<p class="note">${icons.bad}<span><b>${named(readText(asked.person ?? '', 80))} has no access.</b> The groups of a user are known while an app has access for them. In a terminal, name the groups: <code>postern policy explain --groups</code>.</span></p>`}</div></section>`
}

export const whyCommand = (service: string, { asked, answer }: WhyView): readonly string[] => {
  const { person, tool } = asked
  if (person === undefined || tool === undefined) return []
  const groups = answer && answer.groups.length > 0 ? answer.groups.join(',') : undefined
  return [commandOf('policy explain', { as: person, tool: `${service}:${tool}`, groups })]
}
