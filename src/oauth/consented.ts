// What a person lets an app do, at a service with access rules: what the consent page offers, what its form says,
// and the scopes that say it to the client.
import { isEnough, ladder, lowerOf, scopesUpTo } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsentLevels } from '../ports/pages.ts'
import type { Consented } from '../ports/people.ts'
import type { ConsentChoices, ConsentTool, Permission } from '../ports/policy.ts'
import type { PendingRequest } from './authorization-requests.ts'
import { one } from './parameters.ts'

/** The most that this person can let this app do now: as much as the rules grant them, and as the app asks for. */
export const ceilingOf = ({ own }: ConsentChoices, { level }: Pick<PendingRequest, 'level'>): Permission =>
  level === undefined ? own : lowerOf(own, level)

/** Whether it is all that the app asked for and can have. */
export const isGiven = (
  consented: Consented | undefined,
  choices: ConsentChoices,
  pending: Pick<PendingRequest, 'level'>,
): boolean => consented !== undefined && isEnough(consented.level, ceilingOf(choices, pending))

/** What was allowed before, as far as the rules and the request still reach. */
export const withinReach = (
  consented: Consented | undefined,
  {
    choices,
    pending,
  }: { readonly choices: ConsentChoices | undefined; readonly pending: Pick<PendingRequest, 'level'> },
): Consented | undefined =>
  choices && consented
    ? { ...consented, level: lowerOf(consented.level, ceilingOf(choices, pending)) }
    : consented

/** Tools of these are never allowed by the way: who wants them chooses Everything, or ticks them. */
const isDestructive = (need: Permission): boolean => isEnough(need, 'execute')

/** Selected when nobody chose before. */
const recommended: Permission = 'write'

/** What the page shows; `before`: what the person let this app do the last time. */
export const consentLevelsOf = (
  choices: ConsentChoices,
  pending: Pick<PendingRequest, 'level'>,
  before: Consented | undefined,
): ConsentLevels => {
  const ceiling = ceilingOf(choices, pending)
  const more = before !== undefined && pending.level !== undefined && !isEnough(before.level, ceiling)
  const isTicked = ({ name, need, locked }: ConsentTool): boolean => {
    if (locked) return false
    const chosenBefore = before && isEnough(before.level, need)
    if (isDestructive(need))
      return chosenBefore === true && before.excluded.length > 0 && !before.excluded.includes(name)
    return !(chosenBefore && before.excluded.includes(name))
  }
  return {
    more,
    ceiling,
    chosen: more ? ceiling : lowerOf(before?.level ?? recommended, ceiling),
    ...(before && { before: lowerOf(before.level, ceiling) }),
    tools: choices.tools.map((tool) => ({ ...tool, ticked: isTicked(tool) })),
  }
}

// The form of the page.

/** Parameters and bytes of the form: one for each tool that is ticked. */
export const mostConsentParameters = 400
export const mostConsentBytes = 262_144

const presets: ReadonlySet<string> = new Set(['read', 'write', 'execute'])

const malformed = (why: string): Refusal =>
  new Refusal('request.malformed', why, { say: 'The form is not one of the consent page.' })

/** The tools that the page showed with a box, by what they need: another process may know others by now. */
const shownIn = (form: URLSearchParams): ReadonlyMap<string, readonly string[]> => {
  let shown: unknown
  try {
    shown = JSON.parse(one(form, 'shown') ?? '{}')
  } catch {
    throw malformed('shown is no JSON')
  }
  if (typeof shown !== 'object' || shown === null) throw malformed('shown is no object')
  return new Map(
    Object.entries(shown).map(([need, names]): [string, readonly string[]] => {
      if (!Array.isArray(names) || names.some((name) => typeof name !== 'string'))
        throw malformed('shown holds what is no name')
      return [need, names as readonly string[]]
    }),
  )
}

/**
 * What was chosen. Of what changes or deletes, Everything means all of it, or what was ticked; of the rest all that
 * was not unticked.
 */
export const consentedIn = (
  form: URLSearchParams,
  choices: ConsentChoices,
  pending: Pick<PendingRequest, 'level'>,
  before: Consented | undefined,
): Consented => {
  const preset = one(form, 'preset') ?? recommended
  if (!presets.has(preset)) throw malformed('preset')
  // Administration is the step above Everything: with less it would bring along what was left out.
  const chosen = preset === 'execute' && one(form, 'admin') === 'on' ? 'admin' : (preset as Permission)
  const level = lowerOf(chosen, ceilingOf(choices, pending))
  const ticked = new Set(form.getAll('tool'))
  const shown = shownIn(form)
  const excluded = ladder
    .filter((need) => isEnough(level, need))
    .flatMap((need) => {
      const names = shown.get(need) ?? []
      const left = names.filter((name) => !ticked.has(name))
      return isDestructive(need) && left.length === names.length ? [] : left
    })
  // What was unticked before stays so where this page did not show it.
  const asked = new Set([...shown.values()].flat())
  const kept = before?.excluded.filter((name) => !asked.has(name)) ?? []
  return { level, excluded: [...new Set([...excluded, ...kept])] }
}

/** The scopes of a token: those that were asked for, and the levels; `offline_access` stays the last. */
export const scopesWith = (
  scopes: readonly string[],
  consented: Consented | undefined,
): readonly string[] => {
  if (!consented) return scopes
  const last = scopes.filter((scope) => scope === 'offline_access')
  const first = scopes.filter((scope) => scope !== 'offline_access')
  return [...new Set([...first, ...scopesUpTo(consented.level), ...last])]
}
