// The API about access rules that do not count yet: what they would have said of the calls in the audit trail. The same
// as `postern policy replay`, for programs; the console asks it for its own changes.
import { loadConfig } from '../config/load.ts'
import { type Config, configSchema } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Handler } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Replayed } from '../ports/policy.ts'
import { literal } from '../services/from-config.ts'
import { type AdminAuthorization, bodyOf, json } from './services-api.ts'
import { invalidRule } from './stored-rules.ts'

/** What they would have said; `partial`: not of all calls, because that would have taken too long. */
export type ReplayCalls = (
  after: Config,
  asked: { readonly since: string; readonly groups: 'then' | 'now' },
) => Promise<(Replayed & { readonly partial: boolean }) | undefined>

export interface ReplayApi {
  /** POST /api/policy/replay: `{ access, since?, groups? }` */
  readonly replay: Handler
}

export interface ReplayApiDeps {
  readonly registry: { config(): Config }
  readonly directory: { readonly issuer: string }
  readonly replayCalls: ReplayCalls
  readonly isAuditor: (person: Person) => boolean
}

/** The configuration with this section in place of its own. Throws `rule.invalid` with what is wrong with it. */
const withAccess = async ({ registry, directory }: ReplayApiDeps, access: unknown): Promise<Config> => {
  const config = registry.config()
  const { session_secret: _, previous_secrets: __, access: ___, ...rest } = config
  const document = { ...(literal({ ...rest }) as object), access, issuer: directory.issuer }
  const loaded = await loadConfig({ file: { path: 'access', text: JSON.stringify(document) }, env: {} })
  // Of the rest, which is in use, nothing is said: the secrets are not in the document.
  const faults = (loaded.ok ? [] : loaded.faults).filter(({ key }) => /^access(?:$|[.[])/.test(key))
  const parsed = configSchema.safeParse({ access }).data?.access
  if (faults.length === 0 && parsed) return { ...config, access: parsed }
  throw invalidRule(
    faults.map((fault) => faultText({ ...fault, origin: { from: 'default' } })).join(' ') ||
      'These are no access rules.',
  )
}

const malformed = (say: string): Refusal => new Refusal('request.malformed', say, { say })

export const createReplayApi = (deps: ReplayApiDeps, { requireAdmin }: AdminAuthorization): ReplayApi => ({
  async replay(request) {
    const { person } = await requireAdmin(request)
    const { access, since = '7d', groups = 'then' } = await bodyOf(request)
    if (typeof access !== 'object' || access === null || Array.isArray(access))
      throw malformed('Send {"access": {…}}, the section as it would stand in the configuration.')
    if (typeof since !== 'string' || !/^\d{1,4}[smhdw]$|^\d{4}-\d{2}-\d{2}/.test(since))
      throw malformed('since must be like 24h, 7d or 2026-11-29.')
    if (groups !== 'then' && groups !== 'now') throw malformed('groups must be then or now.')
    const found = await deps.replayCalls(await withAccess(deps, access), { since, groups })
    if (!found) throw new Refusal('audit.none', 'no audit trail is kept, or it cannot be read again')
    const { people, tools, byRule, byPerson, byTool, examples, shutOut, ...counts } = found
    return json({
      ...counts,
      by_rule: byRule,
      by_tool: byTool,
      tools,
      // Who did what is for auditors.
      ...(deps.isAuditor(person) && { people, by_person: byPerson, examples, shut_out: shutOut }),
    })
  },
})
