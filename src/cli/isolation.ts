// Says at the start, plainly, when servers that are commands run with all the rights of the gateway's user.
import type { Config } from '../config/schema.ts'
import type { NodeRuntime } from '../node/runtime.ts'

const named = (ids: readonly string[]): string => (ids.length > 5 ? `${ids.slice(0, 5).join(', ')} and ${ids.length - 5} more` : ids.join(', '))

/** A warning for every kind of service that is not, or cannot be, isolated as its configuration leaves open or demands. */
export const sayIsolation = ({ mcp_services: services }: Config, { isolation, log }: Pick<NodeRuntime, 'isolation' | 'log'>): void => {
  const commands = Object.entries(services).filter(([, { command }]) => command !== undefined)
  const of = (sandbox: string): readonly string[] => commands.filter(([, service]) => service.sandbox === sandbox).map(([id]) => id)
  const [open, isolated] = [of('auto'), of('bubblewrap')]
  if (open.length + isolated.length === 0) return
  const found = isolation()
  if ('program' in found) return
  if (open.length > 0) {
    const message = `${named(open)} will run without isolation, with the files and rights of this user: ${found.missing}. sandbox: none says that this is meant.`
    log('warn', 'process.unisolated', { services: open, message })
  }
  if (isolated.length > 0) log('warn', 'process.unisolated', { services: isolated, message: `${named(isolated)} cannot start: isolation is demanded (sandbox: bubblewrap) and ${found.missing}.` })
}
