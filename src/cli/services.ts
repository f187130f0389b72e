// `postern services`: services that come and go while the gateway runs, changed in its state directory; every process of the gateway sees it within a second.
import type { Config } from '../config/schema.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import type { SuppliedService } from '../supply.ts'
import { print, printJson } from './answer.ts'
import { forwardProxies } from './forward-proxies.ts'
import { issuerOf, ownServices } from './running.ts'
import { programName } from './started-as.ts'
import { StartRefused } from './start-refused.ts'
import { whyNoState } from './state.ts'

export interface Place {
  readonly config: Config
  readonly stateDir: string
  /** The variables, a `.env` file's among them. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly json: boolean
}

/** Stands in for an issuer that only the start of the gateway will tell. */
const unknownIssuer = 'http://localhost:0'

/** The very rules and records of the running gateway, without its socket. Refusals are told in their own words. */
export const atGateway = async <T>({ config, stateDir, env }: Place, work: (gateway: Gateway) => Promise<T>): Promise<T> => {
  if (config.storage.type !== 'sqlite') throw new StartRefused('services.memory', 'With `storage.type: memory`, this command cannot reach the running gateway. Add the service to the configuration file, which is reloaded when it changes.')
  const runtime = await createNodeRuntime({ config, stateDir, log: () => undefined, version: '', proxies: forwardProxies(env) }).catch((error: unknown) => {
    throw whyNoState(error)
  })
  try {
    const gateway = createGateway({ config, runtime, issuer: issuerOf(config, stateDir) ?? unknownIssuer })
    await gateway.supply.refresh()
    const done = await work(gateway)
    await gateway.bridges.close(0)
    return done
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new StartRefused(error.code, error.code === 'service.unusable' ? `${error.say} The service was not added; --force adds it anyway.` : error.say)
  } finally {
    await runtime.close()
  }
}

/** Where the service is reached; the path alone while nobody knows the port. */
export const addressesOf = ({ directory }: Gateway, id: string): readonly string[] =>
  directory.addresses.filter(({ service }) => service.id === id).flatMap(({ resource, path }) => (directory.issuer !== unknownIssuer ? resource : resource.startsWith(`${unknownIssuer}/`) ? path : []))

const placeOf = ({ url, command }: SuppliedService): string => url ?? command ?? ''

/** Those that only running gateways have: the demo, and what `postern wrap` serves. */
const runningOf = ({ stateDir }: Place, services: readonly SuppliedService[]) => ownServices(stateDir).filter(({ id }) => !services.some((service) => service.id === id))

export const listServices = (place: Place): Promise<void> =>
  atGateway(place, async ({ supply }) => {
    const services = await supply.list()
    const running = runningOf(place, services)
    if (place.json) return printJson({ services: [...services, ...running] })
    if (services.length + running.length === 0) return print(`No services yet. Add one: ${programName(process.env)} services add <id> <url>`)
    const rows = [...services.map((service) => [service.id, service.from, placeOf(service)]), ...running.map(({ id, from, at, command }) => [id, from, `${command === undefined ? '' : `${command} `}(running at ${at})`])]
    const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
    for (const row of rows) print(row.map((text, i) => text.padEnd(widths[i] ?? 0)).join('  ').trimEnd())
  })

export const showService = (place: Place, id: string): Promise<void> =>
  atGateway(place, async (gateway) => {
    const services = await gateway.supply.list()
    const own = runningOf(place, services).find((service) => service.id === id)
    if (own) {
      const { at, ...facts } = own
      const shown = { ...facts, addresses: [`${at}/${id}/mcp`] }
      if (place.json) return printJson(shown)
      for (const [name, value] of Object.entries(shown)) print(`${(name === 'addresses' ? 'address' : name).padEnd(9)} ${String(value)}`)
      return
    }
    const found = services.find((service) => service.id === id)
    if (!found) throw new Refusal('service.unknown', id)
    const addresses = addressesOf(gateway, id)
    if (place.json) return printJson({ ...found, addresses })
    for (const [name, value] of Object.entries({ ...found, ...(found.addedAt === undefined ? {} : { addedAt: new Date(found.addedAt).toISOString() }) })) print(`${name.padEnd(9)} ${String(value)}`)
    for (const address of addresses) print(`${'address'.padEnd(9)} ${address}`)
  })

export const removeService = (place: Place, id: string): Promise<void> =>
  atGateway(place, async (gateway) => {
    const own = runningOf(place, await gateway.supply.list()).find((service) => service.id === id)
    if (own) throw new StartRefused('service.running', `${id} is built into the gateway running at ${own.at} and cannot be removed. ${own.from === 'wrap' ? 'Stop that gateway instead.' : 'To replace it, configure a service and restart that gateway.'}`)
    await gateway.supply.remove(id)
    if (place.json) printJson({ id, removed: true })
    else print(`Removed ${id}. Its open streams end within five seconds.`)
  })
