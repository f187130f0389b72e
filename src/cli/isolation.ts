// Says at the start, plainly, when servers that are commands run with all the rights of the gateway's user.
import type { Config } from '../config/schema.ts'
import type { NodeRuntime } from '../node/runtime.ts'

const named = (ids: readonly string[]): string => (ids.length > 5 ? `${ids.slice(0, 5).join(', ')} and ${ids.length - 5} more` : ids.join(', '))

const loopback = /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/

/** An isolated command shares the network of the computer, and so reaches what listens on its loopback addresses only. */
const sayLoopback = (services: Config['mcp_services'], log: NodeRuntime['log']): void => {
  const online = Object.entries(services).filter(([, { command, sandbox, sandbox_network: network }]) => command !== undefined && sandbox !== 'none' && network)
  if (online.length === 0) return
  const local = Object.entries(services).filter(([, { url }]) => url !== undefined && loopback.test(new URL(url).hostname))
  const what = local.length === 0 ? 'programs on localhost' : `programs on localhost, including ${named(local.map(([id]) => id))}`
  const message = `${named(online.map(([id]) => id))} can connect to ${what}: bubblewrap can only block the network as a whole. Set \`sandbox_network: false\` for commands that need no network.`
  log(local.length === 0 ? 'info' : 'warn', 'process.loopback', { services: online.map(([id]) => id), message })
}

/** A warning for every kind of service that is not, or cannot be, isolated as its configuration leaves open or demands. */
export const sayIsolation = ({ mcp_services: services }: Config, { isolation, log }: Pick<NodeRuntime, 'isolation' | 'log'>): void => {
  const commands = Object.entries(services).filter(([, { command }]) => command !== undefined)
  const of = (sandbox: string): readonly string[] => commands.filter(([, service]) => service.sandbox === sandbox).map(([id]) => id)
  const [open, isolated] = [of('auto'), of('bubblewrap')]
  if (open.length + isolated.length === 0) return
  const found = isolation()
  if ('program' in found) {
    sayLoopback(services, log)
    return
  }
  if (open.length > 0) {
    const message = `${named(open)} will run without isolation, with all permissions of this user: ${found.missing}. Set \`sandbox: none\` to silence this warning.`
    log('warn', 'process.unisolated', { services: open, message })
  }
  if (isolated.length > 0) log('warn', 'process.unisolated', { services: isolated, message: `${named(isolated)} cannot start, because \`sandbox: bubblewrap\` requires isolation: ${found.missing}.` })
}
