// A gateway in front of a server whose lists change, and what callers and administrators see of it.
import type { ConfigInput } from '../../src/config/schema.ts'
import { signInAs } from './administrator.ts'
import { type Caller, ana, callerOf, tokenOf } from './people.ts'
import { openPinnedUpstream } from './pinned-upstream.ts'
import { serverScript } from '../stdio/world.ts'
import { until } from './proxied.ts'
import type { RuntimeGateway, TestGatewayOptions } from './runtimes.ts'

interface Told {
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: {
    readonly code: number
    readonly message: string
    readonly data?: Record<string, unknown>
  }
}

export const rpc = (method: string, params: Readonly<Record<string, unknown>> = {}) => ({
  jsonrpc: '2.0',
  id: 7,
  method,
  params,
})

export const read = {
  name: 'read',
  description: 'Reads a file.',
  inputSchema: { type: 'object' },
  annotations: { readOnlyHint: true },
}
export const write = { name: 'write', description: 'Writes a file.', inputSchema: { type: 'object' } }

export const isChanged = ({ state }: Record<string, unknown>): boolean => state === 'changed'

const quarantine = { pinning: 'quarantine' }
/** By what their tests are about. */
export const services = {
  approved: quarantine,
  commanded: quarantine,
  reviewed: quarantine,
  announced: quarantine,
  warned: { pinning: 'warn' },
  allowed: { pinning: 'allow' },
  first: { pinning: { first: 'hold' } },
  prompted: quarantine,
  paged: quarantine,
  twice: { pinning: 'warn' },
  unhashable: { pinning: 'allow' },
  reverted: quarantine,
  blocked: quarantine,
  moved: quarantine,
  aged: quarantine,
  silent: quarantine,
  doubted: { pinning: 'warn' },
  away: quarantine,
  trusting: { pinning: 'warn' },
  unasked: quarantine,
  many: quarantine,
  command: quarantine,
  ruled: { groups: ['staff'], permissions: ['read'], tools: { '*': 'read' }, pinning: 'quarantine' },
  hinted: { groups: ['staff'], permissions: ['write'], pinning: 'warn' },
} as const

export const createPinnedWorld = async (
  open: (options: TestGatewayOptions) => Promise<RuntimeGateway>,
  only: readonly (keyof typeof services)[],
  store?: TestGatewayOptions['store'],
) => {
  const server = await openPinnedUpstream()
  const entries = only.map((id) => [
    id,
    {
      ...(id === 'command'
        ? { command: process.execPath, args: [serverScript], sandbox: 'none' }
        : { url: server.url }),
      access: services[id],
    },
  ])
  const config = {
    local_users: [ana],
    admins: ['ana@example.com'],
    access: { default: 'everyone' as const },
    mcp_services: Object.fromEntries(entries) as NonNullable<ConfigInput['mcp_services']>,
  }
  const options: TestGatewayOptions = { upstream: server.url, config, ...(store && { store }) }
  const gateway = await open(options)
  const admin = await signInAs(gateway, ana)
  const told = async (caller: Caller, message: unknown): Promise<Told & { readonly status: number }> => {
    const response = await caller.post(message)
    return { ...((await response.json()) as Told), status: response.status }
  }
  const pinsOf = async (id: string, query = ''): Promise<Record<string, unknown>[]> => {
    const { body } = await admin.ask('GET', `/api/tools?service=${id}${query}`)
    return (JSON.parse(body) as { tools: Record<string, unknown>[] }).tools
  }
  return {
    server,
    gateway,
    options,
    admin,
    told,
    /** Each test has a service of its own: nothing of it has been seen. */
    async begin(id: keyof typeof services): Promise<Caller> {
      server.tools = [[read, write]]
      server.prompts = undefined
      server.broken = false
      server.heard.length = 0
      const resource = `${gateway.origin}/${id}/mcp`
      return callerOf(gateway, resource, await tokenOf(gateway, ana, resource))
    },
    async listed(caller: Caller, cursor?: string): Promise<unknown[]> {
      const { result } = await told(caller, rpc('tools/list', cursor === undefined ? {} : { cursor }))
      return ((result?.['tools'] ?? []) as { name: string }[]).map(({ name }) => name)
    },
    async codeOf(caller: Caller, name: string, method = 'tools/call'): Promise<unknown> {
      const { error } = await told(caller, rpc(method, { name, arguments: {} }))
      return error ? (error.data?.['code'] ?? error.code) : 'passed'
    },
    pinsOf,
    /** What a list said is written down a little later. */
    async pinOf(id: string, query: string, isThere: (pin: Record<string, unknown>) => boolean) {
      let found: Record<string, unknown> | undefined
      await until(async () => {
        found = (await pinsOf(id, query)).find(isThere)
        return found !== undefined
      }, `the pin of ${query}`)
      return found as Record<string, unknown>
    },
    untilStates(id: string, states: readonly string[]) {
      const are = async () => (await pinsOf(id)).map(({ name, state }) => `${String(name)} ${String(state)}`)
      return until(async () => (await are()).toSorted().join() === states.join(), states.join())
    },
    async decide(decision: object): Promise<readonly [number, Record<string, unknown>]> {
      const { status, body } = await admin.ask('POST', '/api/tools', decision)
      // What was decided is read a second later.
      gateway.advance(1001)
      return [status, JSON.parse(body) as Record<string, unknown>]
    },
    events: (name: string) =>
      gateway.log.filter(({ event, fields }) => event === name || fields['event'] === name),
    async close() {
      await gateway.close()
      await server.close()
    },
  }
}
export type PinnedWorld = Awaited<ReturnType<typeof createPinnedWorld>>
