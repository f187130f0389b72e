// The page of the console about access: definitions of tools that wait for a decision, and for the service that is chosen,
// the matrix of groups and tools, changes of it before and after they are saved, and why somebody may call a tool.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ChangesView, ConsoleFrame, ConsolePages, HeldDefinition } from '../ports/console.ts'
import type {
  Cell,
  CellChange,
  Consequence,
  MatrixPlan,
  MatrixTool,
  MatrixView,
  WhoToday,
  Why,
  WhyView,
} from '../ports/matrix.ts'
import type { GrantAdmin } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { LearnedTool, ListedPin, PinAdmin, StoredRule, StoredRules } from '../ports/policy.ts'
import type { Directory, Service } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import { isHeld, isWaiting, pinningOf } from './console-attention.ts'
import { type Outlook, namedGroups } from './console-services.ts'
import type { RulesAdmin } from './stored-rules.ts'

interface MatrixOf {
  readonly config: Config
  readonly service: string
  readonly groups: readonly (string | undefined)[]
  readonly tools: readonly LearnedTool[]
}

/** What the rules say, and would say (access-matrix.ts). */
export interface AccessEditor {
  /** Whether there are rules at all. */
  isRuled(config: Config): boolean
  read(of: MatrixOf, stored: readonly StoredRule[]): readonly MatrixTool[]
  plan(of: MatrixOf, stored: readonly StoredRule[], changes: readonly CellChange[]): MatrixPlan
  /** What the recorded calls of a service would have met with other stored rules; undefined where it cannot be asked. */
  consequence(service: string, after: readonly StoredRule[], names: boolean): Promise<Consequence | undefined>
  why(of: MatrixOf, stored: readonly StoredRule[], about: { person: Person; tool: string }): Why
  /** Where a rule of the configuration stands. */
  placeOf(rule: string): string | undefined
}

export interface ConsoleAccessDeps {
  readonly directory: Pick<Directory, 'services' | 'service'>
  readonly registry: { config(): Config }
  readonly policy: { readonly pins: PinAdmin }
  readonly accessAdmin: Pick<AccessAdmin, 'tools' | 'list'>
  readonly grantAdmin: Pick<GrantAdmin, 'person'>
  readonly stored: Pick<StoredRules, 'now'>
  readonly rules: Pick<RulesAdmin, 'edit'>
  readonly outlook: Outlook
  readonly accessEditor: AccessEditor
  readonly isAuditor: (person: Person) => boolean
  readonly consolePages: Pick<ConsolePages, 'changes'>
}

const nameOf = ({ id, name }: Service) => ({ id, name })

// Definitions.

/** Definitions on one page; each is compared word by word. */
const mostHeld = 12

const heldDefinition = async (
  { accessAdmin }: ConsoleAccessDeps,
  service: Service,
  { pin, held }: { readonly pin: ListedPin; readonly held: boolean },
): Promise<HeldDefinition | undefined> => {
  const { kind, name, account, state, digest, seenAt, approved, blocked } = pin
  const shown = await accessAdmin.tools.show({ service: service.id, kind, name })
  const last = approved.at(-1)
  return {
    service: nameOf(service),
    kind,
    name,
    account,
    state,
    digest,
    at: seenAt,
    held,
    ...(last && { approved: { by: last.by, at: last.at } }),
    ...(blocked && { blocked: { by: blocked.by, at: blocked.at } }),
    changes: shown.find((one) => one.account === account)?.changes ?? [],
  }
}

const definitionsOf = async (
  deps: ConsoleAccessDeps,
  service: string | undefined,
): Promise<Pick<ChangesView, 'pinned' | 'held' | 'more' | 'known'>> => {
  const { directory, registry, policy } = deps
  const config = registry.config()
  const pinned = directory.services.filter((one) => pinningOf(config, one))
  const looked = pinned.filter(({ id }) => service === undefined || id === service)
  const found = await Promise.all(
    looked.map(async (one) => (await policy.pins.list(one)).map((pin) => ({ one, pin }))),
  )
  const all = found.flat()
  const open = [
    ...all.filter(({ pin }) => isWaiting(pin)),
    ...all.filter(({ pin }) => pin.state === 'blocked'),
  ]
  const held = await Promise.all(
    open.slice(0, mostHeld).map(({ one, pin }) => {
      const pinning = pinningOf(config, one)
      return heldDefinition(deps, one, { pin, held: pinning !== undefined && isHeld(pinning, pin) })
    }),
  )
  return {
    pinned: pinned.map(nameOf),
    held: held.filter((one) => one !== undefined),
    more: open.slice(mostHeld).filter(({ pin }) => isWaiting(pin)).length,
    known: all.length,
  }
}

// The matrix.

/** More are not drawn. */
const mostGroups = 12
/** A form holds at most 16 KiB, with everything in it. */
const mostForm = 11_000
const mostChanges = 40

const matrixOf = async (deps: ConsoleAccessDeps, service: Service): Promise<MatrixOf> => {
  await deps.outlook.fresh()
  const config = deps.registry.config()
  const declared = Object.keys(config.access?.groups ?? {})
  const groups = new Set([...declared, ...namedGroups(config, deps.stored.now(), service)])
  return {
    config,
    service: service.id,
    groups: [undefined, ...[...groups].toSorted().slice(0, mostGroups - 1)],
    tools: await deps.outlook.listed(service),
  }
}

/** The tools of each page: their cells fit in one form. */
const pagesOf = ({ tools, groups }: MatrixOf): readonly (readonly string[])[] => {
  const pages: string[][] = [[]]
  let size = 0
  for (const { name } of tools) {
    const more = groups.length * (encodeURIComponent(name).length + 18)
    if (size > 0 && size + more > mostForm) {
      pages.push([])
      size = 0
    }
    pages.at(-1)?.push(name)
    size += more
  }
  return pages
}

/** Of parameters `set`: `never:<group>:<tool>`, the group with its colons encoded; the last of a cell counts. */
export const readChanges = (given: readonly string[]): readonly CellChange[] => {
  const cells = new Map<string, CellChange>()
  for (const text of given) {
    const [, to, group = '', tool = ''] = /^(allow|never):([^:]*):(.+)$/s.exec(text) ?? []
    if (to === undefined) continue
    cells.delete(`${group}:${tool}`)
    cells.set(`${group}:${tool}`, {
      tool,
      to: to as Cell,
      ...(group !== '' && { group: decoded(group) }),
    })
  }
  return [...cells.values()].slice(0, mostChanges)
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const writeChange = ({ group = '', tool, to }: CellChange): string =>
  `${to}:${encodeURIComponent(group)}:${tool}`

/** Changes that are none, because it is so already, are left out. */
const effective = (
  tools: readonly MatrixTool[],
  groups: MatrixOf['groups'],
  wanted: readonly CellChange[],
): readonly CellChange[] =>
  wanted.filter(({ group, tool, to }) => {
    const cell = tools.find(({ name }) => name === tool)?.cells[groups.indexOf(group)]
    return cell !== undefined && cell.is !== to
  })

const boundOf = ({ config }: MatrixOf, isOpen: boolean): MatrixView['bound'] =>
  isOpen ? 'open' : (config.access?.stored ?? 'any')

const placesOf = (
  { accessEditor, stored }: ConsoleAccessDeps,
  rules: readonly string[],
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...new Set(rules)].flatMap((rule) => {
      const own = stored.now().find(({ id }) => rule === `stored:${id}`)
      const place = own
        ? `set by ${own.by}, ${new Date(own.at).toISOString().slice(0, 10)}`
        : accessEditor.placeOf(rule)
      return place === undefined ? [] : [[rule, place]]
    }),
  )

const drawMatrix = async (
  deps: ConsoleAccessDeps,
  of: MatrixOf,
  { searchParams }: URL,
  { names, isOpen }: { readonly names: boolean; readonly isOpen: boolean },
): Promise<MatrixView> => {
  const { accessEditor } = deps
  const stored = deps.stored.now()
  const before = accessEditor.read(of, stored)
  const changes = effective(before, of.groups, readChanges(searchParams.getAll('set')))
  const plan = changes.length > 0 ? accessEditor.plan(of, stored, changes) : undefined
  const pages = pagesOf(of)
  const at = Math.min(pages.length, Math.max(1, Math.trunc(Number(searchParams.get('page'))) || 1))
  const shown = new Set(pages[at - 1])
  const onPage = ({ name }: MatrixTool): boolean => shown.has(name)
  const tools = (plan?.tools ?? before).filter(onPage)
  const ruled = [...tools, ...before.filter(onPage)].flatMap(({ cells }) => cells.map(({ rule }) => rule))
  const { impossible = [] } = plan ?? {}
  return {
    groups: of.groups,
    tools,
    before: before.filter(onPage),
    count: before.length,
    page: { at, count: pages.length },
    changes,
    impossible,
    bound: boundOf(of, isOpen),
    where: placesOf(deps, [...ruled, ...impossible.map(({ rule }) => rule)]),
    ...(plan && { consequence: await accessEditor.consequence(of.service, plan.stored, names) }),
  }
}

// Why.

const mostPeople = 50

const drawWhy = async (deps: ConsoleAccessDeps, of: MatrixOf, { searchParams }: URL): Promise<WhyView> => {
  const { accessAdmin, grantAdmin, accessEditor, stored } = deps
  const asked = {
    person: searchParams.get('person')?.trim().slice(0, 300) || undefined,
    tool: searchParams.get('tool')?.trim().slice(0, 300) || undefined,
  }
  const { grants } = await accessAdmin.list({ service: of.service })
  const person = asked.person === undefined ? undefined : await grantAdmin.person(asked.person)
  const answer =
    person && asked.tool !== undefined
      ? accessEditor.why(of, stored.now(), { person, tool: asked.tool })
      : undefined
  return {
    asked,
    people: [...new Set(grants.map(({ user }) => user))].slice(0, mostPeople),
    tools: of.tools.map(({ name }) => name),
    answer,
    where: placesOf(deps, answer?.rules.map(({ id }) => id) ?? []),
  }
}

// The page, and what its forms ask for.

type Form = ReadonlyMap<string, string>

/** Who could call a tool by the rules of now; undefined for a service that is not there. */
const createToday =
  (deps: ConsoleAccessDeps) =>
  async (id: string, tool: string): Promise<WhoToday | undefined> => {
    const service = deps.directory.service(id)
    if (!service) return undefined
    const of = await matrixOf(deps, service)
    const known = of.tools.find(({ name }) => name === tool) ?? { name: tool, hint: undefined }
    const [row] = deps.accessEditor.read({ ...of, tools: [known] }, deps.stored.now())
    const may = of.groups.filter((_, i) => row?.cells[i]?.is === 'allow')
    return { everyone: may.includes(undefined), groups: may.filter((group) => group !== undefined) }
  }

export const createConsoleAccess = (deps: ConsoleAccessDeps) => {
  const { directory, rules, accessEditor, stored, consolePages, isAuditor } = deps
  const serviceIn = ({ searchParams }: URL): Service => {
    const id = searchParams.get('service') ?? ''
    const service = directory.service(id)
    if (!service) throw new Refusal('service.unknown', id.slice(0, 80))
    return service
  }
  return {
    async draw(frame: ConsoleFrame, asked: URL): Promise<Response> {
      const id = asked.searchParams.get('service')?.trim().slice(0, 2048) || undefined
      const chosen = id === undefined ? undefined : directory.service(id)
      const of = chosen && (await matrixOf(deps, chosen))
      const isOpen = of !== undefined && !accessEditor.isRuled(of.config)
      const [definitions, matrix, why] = await Promise.all([
        definitionsOf(deps, id),
        of && drawMatrix(deps, of, asked, { names: isAuditor(frame.person), isOpen }),
        of && drawWhy(deps, of, asked),
      ])
      return consolePages.changes(frame, { ...definitions, service: id, matrix, why })
    },
    today: createToday(deps),
    /** The page with what a form chose, to be looked at before it is saved. */
    async review(form: Form, asked: URL): Promise<string> {
      const of = await matrixOf(deps, serviceIn(asked))
      const before = accessEditor.read(of, stored.now())
      const columns = readColumns(form.get('columns'))
      const chosen = [...form].flatMap(([name, value]): CellChange[] => {
        const [, column = '', tool = ''] = /^(\d+)\.(.+)$/s.exec(name) ?? []
        if (!['allow', 'never'].includes(value) || !Object.hasOwn(columns, column)) return []
        const group = columns[Number(column)]
        return [{ tool, to: value as Cell, ...(group !== undefined && { group }) }]
      })
      // What was chosen on other pages stays chosen.
      const others = readChanges(asked.searchParams.getAll('set')).filter(
        ({ group, tool }) => !chosen.some((one) => one.tool === tool && one.group === group),
      )
      const changes = effective(before, of.groups, [...others, ...chosen])
      if (changes.length > mostChanges)
        throw new Refusal('rule.invalid', 'too many changes', {
          say: `At most ${mostChanges} changes can be saved at once.`,
        })
      return linkTo(asked, changes)
    },
    /** Stores what was looked at. */
    async save(form: Form, asked: URL, by: string): Promise<string> {
      const of = await matrixOf(deps, serviceIn(asked))
      const wanted = readChanges([...form].flatMap(([name, value]) => (/^set\d+$/.test(name) ? [value] : [])))
      const now = stored.now()
      const plan = accessEditor.plan(of, now, effective(accessEditor.read(of, now), of.groups, wanted))
      const [first] = plan.impossible
      if (first)
        throw new Refusal('rule.invalid', `${first.rule} decides about ${first.tool}`, {
          say: `${first.tool} cannot be changed here: ${first.rule} decides about it.`,
        })
      if (plan.edit.add.length + plan.edit.remove.length > 0) await rules.edit(plan.edit, by)
      return linkTo(asked, [])
    },
  }
}

const readColumns = (text: string | undefined): readonly (string | undefined)[] => {
  try {
    const columns: unknown = JSON.parse(text ?? '[]')
    return Array.isArray(columns) ? columns.map((one) => (typeof one === 'string' ? one : undefined)) : []
  } catch {
    return []
  }
}

const linkTo = ({ pathname, searchParams }: URL, changes: readonly CellChange[]): string => {
  const query = new URLSearchParams()
  for (const name of ['service', 'page']) {
    const value = searchParams.get(name)
    if (value !== null) query.set(name, value)
  }
  for (const change of changes) query.append('set', writeChange(change))
  return `${pathname}?${query}`
}
