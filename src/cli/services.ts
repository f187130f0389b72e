// `postern services`: services that come and go while the gateway runs, changed in its state directory; every process of the gateway sees it within a second.
import { styleText } from 'node:util'
import type { Config } from '../config/schema.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import { createOutbound } from '../node/outbound.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { Refusal } from '../kit/refusal.ts'
import { print, printJson } from './answer.ts'
import { StartRefused } from './start-refused.ts'

export interface Place {
  readonly config: Config
  readonly stateDir: string
  readonly json: boolean
}

export interface AddOptions {
  readonly name?: string
  readonly description?: string
  readonly alias?: string
  /** Without login. */
  readonly public?: boolean
  /** Keeps it although nothing useful answers there yet. */
  readonly force?: boolean
}

/** The very rules and records of the running gateway, without its socket. Refusals are told in their own words. */
const atGateway = async <T>({ config, stateDir }: Place, work: (gateway: Gateway, now: () => number) => Promise<T>): Promise<T> => {
  if (config.storage.type !== 'sqlite') throw new StartRefused('services.memory', 'With storage.type memory nothing is shared with the running gateway: write the service into the configuration file, which is read again while it runs.')
  const runtime = await createNodeRuntime({ config, stateDir, log: () => undefined, version: '' })
  try {
    const gateway = createGateway({ config, runtime, issuer: config.issuer ?? `http://localhost:${config.port}` })
    await gateway.supply.refresh()
    return await work(gateway, () => runtime.now())
  } catch (error) {
    throw error instanceof Refusal ? new StartRefused(error.code, error.say) : error
  } finally {
    await runtime.close()
  }
}

const urlOf = (gateway: Gateway, id: string): string | undefined => gateway.directory.addresses.find(({ service }) => service.id === id)?.resource

export const listServices = (place: Place): Promise<void> =>
  atGateway(place, async (gateway) => {
    const services = await gateway.supply.list()
    if (place.json) return printJson({ services })
    if (services.length === 0) return print('No services. Add one: postern services add <id> <url>')
    const widths = (['id', 'from', 'url'] as const).map((key) => Math.max(...services.map((service) => service[key].length)))
    for (const { id, from, url } of services) print([id, from, url].map((text, i) => text.padEnd(widths[i] ?? 0)).join('  ').trimEnd())
  })

export const showService = (place: Place, id: string): Promise<void> =>
  atGateway(place, async (gateway) => {
    const found = (await gateway.supply.list()).find((service) => service.id === id)
    if (!found) throw new Refusal('service.unknown', id)
    const addresses = gateway.directory.addresses.filter(({ service }) => service.id === id).map(({ resource }) => resource)
    if (place.json) return printJson({ ...found, addresses })
    for (const [name, value] of Object.entries({ ...found, ...(found.addedAt === undefined ? {} : { addedAt: new Date(found.addedAt).toISOString() }) })) print(`${name.padEnd(9)} ${String(value)}`)
    for (const address of addresses) print(`${'address'.padEnd(9)} ${address}`)
  })

const marks = { yes: ['green', '✓'], no: ['red', '✗'], unknown: ['yellow', '?'] } as const

export const addService = (place: Place, id: string, url: string, { name, description, alias, public: open, force = false }: AddOptions): Promise<void> =>
  atGateway(place, async (gateway) => {
    const service = { url, ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }), ...(alias === undefined ? {} : { alias }), ...(open ? { auth_required: false } : {}) }
    const steps = await gateway.supply.add({
      id,
      service,
      by: 'cli',
      force,
      // Whoever runs this may open any address from this computer anyway.
      ...(URL.canParse(url) ? { outbound: createOutbound({ allowOrigins: [new URL(url).origin] }) } : {}),
      told({ result, step, say }) {
        // Wanting no token is no failure.
        const [colour, mark] = step === 'authorization' ? (['yellow', '·'] as const) : marks[result]
        if (!place.json) print(`${styleText(colour, mark)} ${say}`)
      },
    })
    const address = urlOf(gateway, id)
    if (place.json) printJson({ id, url: address, steps })
    else print(`${styleText('green', '✓')} ${id} is served at ${String(address)}`)
  })

export const removeService = (place: Place, id: string): Promise<void> =>
  atGateway(place, async (gateway) => {
    await gateway.supply.remove(id)
    if (place.json) printJson({ id, removed: true })
    else print(`${id} is gone; its open streams end within five seconds.`)
  })
