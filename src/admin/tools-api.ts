// The API about pinned tools and prompts for administrators: what changed since it was approved, and their decision.
// The command line does the same (cli/tools.ts).
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Handler } from '../ports/modules.ts'
import type { ListedPin, PinAdmin, PinKind, PinState } from '../ports/policy.ts'
import type { Directory, Service } from '../ports/services.ts'
import { type DefinitionChange, changesOf } from './definition-changes.ts'
import { type AdminAuthorization, bodyOf, json, timeOf } from './services-api.ts'

export interface ToolFilter {
  readonly service?: string | undefined
  readonly state?: string | undefined
}

export interface NamedTool {
  readonly service: string
  readonly kind: PinKind
  readonly name: string
}

/** A tool or a prompt, as it is printed. */
export interface ListedTool {
  readonly service: string
  readonly kind: PinKind
  readonly name: string
  readonly account?: string
  readonly state: PinState
  /** Of the definition that was listed last. */
  readonly digest?: string
  readonly seen_at: string
  readonly approved: readonly { readonly digest: string; readonly by: string; readonly at: string }[]
  readonly blocked?: { readonly by: string; readonly at: string }
}

export interface ShownTool extends ListedTool {
  /** As the server lists it now, and as it was approved last. Texts of the server are untrusted. */
  readonly definition?: unknown
  readonly approved_definition?: unknown
  /** From the one to the other, or all of it where nothing was approved. In these texts nothing is invisible. */
  readonly changes: readonly DefinitionChange[]
}

export interface ToolsAdmin {
  list(filter: ToolFilter): Promise<readonly ListedTool[]>
  /** One for each account. Each of these throws `service.unknown` and `pin.unknown`. */
  show(tool: NamedTool): Promise<readonly ShownTool[]>
  /** Throws `pin.moved`. */
  approve(tool: NamedTool, digest: string, by: string): Promise<void>
  block(tool: NamedTool, by: string): Promise<void>
}

export interface ToolsAdminDeps {
  readonly policy: { readonly pins: PinAdmin }
  readonly directory: Pick<Directory, 'service' | 'services'>
}

const listedTool = (service: string, pin: ListedPin): ListedTool => {
  const { kind, name, account, state, digest, seenAt, approved, blocked } = pin
  return {
    service,
    kind,
    name,
    ...(account !== undefined && { account }),
    state,
    ...(digest !== undefined && { digest }),
    seen_at: timeOf(seenAt),
    approved: approved.map((one) => ({ digest: one.digest, by: one.by, at: timeOf(one.at) })),
    ...(blocked && { blocked: { by: blocked.by, at: timeOf(blocked.at) } }),
  }
}

export const createToolsAdmin = ({ policy: { pins }, directory }: ToolsAdminDeps): ToolsAdmin => {
  const serviceOf = (id: string): Service => {
    const service = directory.service(id)
    if (!service) throw new Refusal('service.unknown', id.slice(0, 80))
    return service
  }
  return {
    async list({ service, state }) {
      const services = service === undefined ? directory.services : [serviceOf(service)]
      const found = await Promise.all(
        services.map(async (each) => (await pins.list(each)).map((pin) => listedTool(each.id, pin))),
      )
      return found.flat().filter((tool) => state === undefined || tool.state === state)
    },
    async show({ service: id, kind, name }) {
      const service = serviceOf(id)
      const found = (await pins.list(service)).filter((pin) => pin.kind === kind && pin.name === name)
      if (found.length === 0) throw new Refusal('pin.unknown', name.slice(0, 80))
      return Promise.all(
        found.map(async (pin): Promise<ShownTool> => {
          const before = pin.approved.findLast(({ digest }) => digest !== pin.digest)
          const textOf = async (digest: string | undefined): Promise<unknown> => {
            const text = digest === undefined ? undefined : await pins.text(service, pin, digest)
            return text === undefined ? undefined : JSON.parse(text)
          }
          const [now, approved] = await Promise.all([textOf(pin.digest), textOf(before?.digest)])
          return {
            ...listedTool(id, pin),
            ...(now !== undefined && { definition: now }),
            ...(approved !== undefined && { approved_definition: approved }),
            changes:
              now === undefined ? [] : changesOf(approved, now, { before: before?.hint, after: pin.hint }),
          }
        }),
      )
    },
    approve: async ({ service, kind, name }, digest, by) =>
      pins.approve(serviceOf(service), { kind, name }, digest, by),
    block: async ({ service, kind, name }, by) => pins.block(serviceOf(service), { kind, name }, by),
  }
}

// The API.

export interface ToolsApi {
  /** GET /api/tools?service=&state=, ?service=&tool=, ?service=&prompt= */
  readonly tools: Handler
  /** POST /api/tools: `{ service, tool or prompt, action, digest? }` */
  readonly decide: Handler
}

const namedTool = (service: unknown, tool: unknown, prompt: unknown): NamedTool | undefined => {
  const name = tool ?? prompt
  if (typeof service !== 'string' || typeof name !== 'string') return undefined
  return { service, kind: tool === undefined || tool === null ? 'prompt' : 'tool', name }
}

export const createToolsApi = (
  admin: ToolsAdmin,
  { requireAdmin, requireCsrfToken }: AdminAuthorization,
): ToolsApi => ({
  async tools(request) {
    await requireAdmin(request)
    const { searchParams: asked } = new URL(request.url)
    const tool = namedTool(asked.get('service'), asked.get('tool'), asked.get('prompt'))
    if (tool) return json({ tools: await admin.show(tool) })
    return json({
      tools: await admin.list({
        service: asked.get('service') ?? undefined,
        state: asked.get('state') ?? undefined,
      }),
    })
  },
  async decide(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    const { service, tool, prompt, action, digest } = await bodyOf(request)
    const named = namedTool(service, tool, prompt)
    if (named && action === 'approve' && typeof digest === 'string') await admin.approve(named, digest, by)
    else if (named && action === 'block') await admin.block(named, by)
    else
      throw new Refusal('request.malformed', 'neither approve nor block', {
        say: 'Send {"service": "ID", "tool": "name", "action": "approve", "digest": "the one that was shown"}, or "action": "block". Of a prompt, "prompt" in place of "tool".',
      })
    return json({ tools: await admin.show(named) })
  },
})
