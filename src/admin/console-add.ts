// Adding services in the console: a URL, a command, or what a client's configuration has. Each is checked as
// `postern services add` does, and the page shows each step when it has happened.
import { blockOfJson } from '../config/client-block.ts'
import { wordsOf } from '../config/environment.ts'
import { isEntryUrl } from '../config/registry-entry.ts'
import { idOf } from '../config/service-keys.ts'
import { faultText } from '../config/tree.ts'
import { utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages } from '../ports/console.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AddingEvent, Directory } from '../ports/services.ts'
import type { ServiceRegistry } from '../services/registry.ts'

export interface ConsoleAddDeps {
  readonly runtime: Pick<Runtime, 'log' | 'outbound'>
  readonly registry: Pick<ServiceRegistry, 'add' | 'remove' | 'list' | 'config'>
  readonly directory: Pick<Directory, 'service' | 'services' | 'addresses'>
  readonly record: Audit
  readonly consolePages: Pick<ConsolePages, 'add' | 'adding'>
}

interface Wanted {
  readonly id: string
  readonly service: Readonly<Record<string, unknown>>
}

/** Added at once; each is asked for several seconds, at worst. */
const mostAtOnce = 20
const longestSource = 100_000

const runners = /^(?:npx|bunx|uvx|pnpm|yarn|npm|bun|deno|uv|node|python3?|docker|podman|tsx|env)$/
const generic = new Set(['mcp', 'www', 'api', 'server', 'servers'])

/** A name for what was typed: the host of a URL, the package or program of a command. */
export const suggestedId = (source: string): string => {
  const host = URL.parse(source)?.hostname
  if (host !== undefined && /^(?:https?|wss?):/i.test(source)) {
    const labels = host.split('.')
    return idOf(labels.find((label) => !generic.has(label)) ?? labels[0] ?? 'server')
  }
  const [program = '', ...rest] = wordsOf(source)
  const named = runners.test(program)
    ? (rest.find((word) => !word.startsWith('-') && !/^(?:dlx|run|exec|x|tool)$/.test(word)) ?? program)
    : program
  const last = named.split(/[/\\]/).findLast((part) => part !== '') ?? ''
  return idOf(
    last
      .replace(/(?<=.)@.*$/, '')
      .replace(/\.(?:[cm]?[jt]s|py|exe)$/, '')
      .replace(/^(?:mcp-server-|server-|mcp-)(?=.)/, ''),
  )
}

const invalid = (say: string): Refusal => new Refusal('service.invalid', 'console form', { say })

/** What was typed or pasted, as services. Throws `service.invalid`. */
export const wantedFrom = (
  source: string,
  id: string,
): { readonly wanted: readonly Wanted[]; readonly notes: readonly string[] } => {
  if (source.length > longestSource) throw invalid('This text is too long.')
  if (source.startsWith('{')) {
    const block = blockOfJson(source)
    if (!block) throw invalid('This is not valid JSON. Paste the whole block, from { to }.')
    const wanted = Object.entries(block.services).map(([own, service]) => ({ id: own, service }))
    const notes = block.notes.map((note) => faultText({ ...note, origin: { from: 'default' } }))
    if (wanted.length === 0)
      throw invalid(
        notes[0] ??
          'There is no MCP server in this block. Paste one with "mcpServers" or "servers", or an entry of the MCP registry.',
      )
    if (wanted.length > mostAtOnce) throw invalid(`Add at most ${mostAtOnce} servers at once.`)
    const [only, second] = wanted
    return { wanted: only && !second && id !== '' ? [{ ...only, id }] : wanted, notes }
  }
  if (source === '') throw invalid('Enter the URL of an MCP server, a command, or an mcpServers block.')
  const own = id === '' ? suggestedId(source) || 'server' : id
  if (/^(?:https?|wss?):/i.test(source)) return { wanted: [{ id: own, service: { url: source } }], notes: [] }
  const [command = '', ...args] = wordsOf(source)
  return { wanted: [{ id: own, service: { command, args } }], notes: [] }
}

/** What stands at the URL of an entry of a registry, or what was typed. */
const fetched = async ({ outbound }: Pick<Runtime, 'outbound'>, source: string): Promise<string> => {
  if (!isEntryUrl(source)) return source
  const { status, body } = await outbound(source, { headers: { accept: 'application/json' } })
  if (status !== 200) throw invalid(`The registry answered ${status}.`)
  return utf8Text(body).trim()
}

/** Without what may be secret: no query, no arguments. */
const whereOf = ({ url, command }: Wanted['service']): string => {
  if (typeof url !== 'string') return typeof command === 'string' ? command : ''
  const parsed = URL.parse(url)
  return parsed ? `${parsed.origin}${parsed.pathname}` : ''
}

/** Tells what happens, and resolves when it is over. */
const createAddOne =
  ({ runtime, registry, directory, record }: ConsoleAddDeps) =>
  async ({ id, service }: Wanted, by: string, push: (event: AddingEvent) => void): Promise<void> => {
    push({ kind: 'service', id, where: whereOf(service) })
    try {
      if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(id))
        throw invalid(
          'A name has lower-case letters, digits, - and _ alone, and begins with one of the first two.',
        )
      await registry.add({
        id,
        service,
        by,
        onStep: ({ step, result, say }) =>
          // A server without authorization is not a failure.
          push({
            kind: 'step',
            result: step === 'authorization' && result === 'no' ? 'unknown' : result,
            say,
          }),
      })
      record({
        event: 'service.added',
        service: id,
        person: by,
        after: (await registry.list()).find((service) => service.id === id),
      })
      push({
        kind: 'added',
        id,
        url: directory.addresses.find((address) => address.service.id === id)?.resource ?? '',
      })
    } catch (error) {
      if (!(error instanceof Refusal)) {
        runtime.log('error', 'console.add-failed', { service: id, why: String(error) })
        push({ kind: 'failed', id, say: 'Something went wrong (internal error).', code: 'server.error' })
        return
      }
      push({ kind: 'failed', id, say: error.say, code: error.code })
    }
  }

export const createConsoleAdd = (deps: ConsoleAddDeps) => {
  const { runtime, registry, record, consolePages } = deps
  const commands = (): boolean => registry.config().admin_commands

  const addOne = createAddOne(deps)
  return {
    draw: async (frame: ConsoleFrame): Promise<Response> => consolePages.add(frame, { commands: commands() }),
    /** The page is sent while the servers are asked. */
    async add(frame: ConsoleFrame, form: ReadonlyMap<string, string>, by: string): Promise<Response> {
      const typed = {
        source: (form.get('source') ?? '').trim(),
        id: (form.get('id') ?? '').trim(),
        commands: commands(),
      }
      let parsed: ReturnType<typeof wantedFrom>
      try {
        parsed = wantedFrom(await fetched(runtime, typed.source), typed.id)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return consolePages.add(frame, { ...typed, problem: error.say })
      }
      const { wanted, notes } = parsed
      return consolePages.adding(frame, { ...typed, count: wanted.length }, async (push) => {
        for (const say of notes) push({ kind: 'note', say })
        for (const one of wanted) await addOne(one, by, push)
      })
    },
    /** Throws `service.configured` for one of the configuration. */
    async remove(id: string, by: string): Promise<string> {
      const before = (await registry.list()).find((service) => service.id === id)
      await registry.remove(id)
      record({ event: 'service.removed', service: id, person: by, before })
      return '/console/services'
    },
  }
}
