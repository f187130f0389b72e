// `postern services`: adds and removes services in the state directory while the gateway runs. Every process
// of the gateway sees the change within a second.
import { styleText } from 'node:util'
import type { Config } from '../config/schema.ts'
import { type Gateway, createGateway } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import { isPrivateHost } from '../node/http-client/pool.ts'
import { createOutbound } from '../node/outbound.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import type { ListedService } from '../services/live.ts'
import type { Addition } from '../services/validation.ts'
import { forwardProxies } from './configuration.ts'
import { StartError, UsageError, print, printJson, programName } from './output.ts'
import { issuerOf, localServices, stateError } from './state.ts'

export interface AdminTarget {
  readonly config: Config
  readonly stateDir: string
  /** The environment, with the variables of `.env`. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly json: boolean
}

/** Stands for an issuer that is not known before the gateway starts. */
const unknownIssuer = 'http://localhost:0'

/**
 * A gateway with the rules and records of the running one, without its socket. A refusal becomes a
 * StartError.
 */
export const withGateway = async <T>(
  { config, stateDir, env }: AdminTarget,
  work: (gateway: Gateway) => Promise<T>,
): Promise<T> => {
  if (config.storage.type !== 'sqlite')
    throw new StartError(
      'services.memory',
      'With `storage.type: memory`, this command cannot reach the running gateway. Add the service to the configuration file, which is reloaded when it changes.',
    )
  const runtime = await createNodeRuntime({
    config,
    stateDir,
    log: () => undefined,
    version: '',
    proxies: forwardProxies(env),
  }).catch((error: unknown) => {
    throw stateError(error)
  })
  try {
    const gateway = createGateway({ config, runtime, issuer: issuerOf(config, stateDir) ?? unknownIssuer })
    await gateway.registry.refresh()
    const done = await work(gateway)
    await gateway.bridges.close(0)
    return done
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new StartError(
      error.code,
      error.code === 'service.unusable'
        ? `${error.say} The service was not added; --force adds it anyway.`
        : error.say,
    )
  } finally {
    await runtime.close()
  }
}

/** The URLs of a service; only the path while the port is unknown. */
export const addressesOf = ({ directory }: Gateway, id: string): readonly string[] =>
  directory.addresses
    .filter(({ service }) => service.id === id)
    .flatMap(({ resource, path }) =>
      directory.issuer !== unknownIssuer ? resource : resource.startsWith(`${unknownIssuer}/`) ? path : [],
    )

const targetOf = ({ url, command }: ListedService): string => url ?? command ?? ''

/** Services that only running gateways have: the demo, and that of `postern wrap`. */
const runningOf = ({ stateDir }: AdminTarget, services: readonly ListedService[]) =>
  localServices(stateDir).filter(({ id }) => !services.some((service) => service.id === id))

export const listServices = (place: AdminTarget): Promise<void> =>
  withGateway(place, async ({ registry }) => {
    const services = await registry.list()
    const running = runningOf(place, services)
    if (place.json) return printJson({ services: [...services, ...running] })
    if (services.length + running.length === 0)
      return print(`No services yet. Add one: ${programName(process.env)} services add <id> <url>`)
    const rows = [
      ...services.map((service) => [service.id, service.from, targetOf(service)]),
      ...running.map(({ id, from, at, command }) => [
        id,
        from,
        `${command === undefined ? '' : `${command} `}(running at ${at})`,
      ]),
    ]
    const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
    for (const row of rows)
      print(
        row
          .map((text, i) => text.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd(),
      )
  })

export const showService = (place: AdminTarget, id: string): Promise<void> =>
  withGateway(place, async (gateway) => {
    const services = await gateway.registry.list()
    const own = runningOf(place, services).find((service) => service.id === id)
    if (own) {
      const { at, ...facts } = own
      const shown = { ...facts, addresses: [`${at}/${id}/mcp`] }
      if (place.json) return printJson(shown)
      for (const [name, value] of Object.entries(shown))
        print(`${(name === 'addresses' ? 'address' : name).padEnd(9)} ${String(value)}`)
      return
    }
    const found = services.find((service) => service.id === id)
    if (!found) throw new Refusal('service.unknown', id)
    const addresses = addressesOf(gateway, id)
    if (place.json) return printJson({ ...found, addresses })
    for (const [name, value] of Object.entries({
      ...found,
      ...(found.addedAt === undefined ? {} : { addedAt: new Date(found.addedAt).toISOString() }),
    }))
      print(`${name.padEnd(9)} ${String(value)}`)
    for (const address of addresses) print(`${'address'.padEnd(9)} ${address}`)
  })

export const removeService = (place: AdminTarget, id: string): Promise<void> =>
  withGateway(place, async (gateway) => {
    const own = runningOf(place, await gateway.registry.list()).find((service) => service.id === id)
    if (own)
      throw new StartError(
        'service.running',
        `${id} is built into the gateway running at ${own.at} and cannot be removed. ${own.from === 'wrap' ? 'Stop that gateway instead.' : 'To replace it, configure a service and restart that gateway.'}`,
      )
    await gateway.registry.remove(id)
    if (place.json) printJson({ id, removed: true })
    else print(`Removed ${id}. Its open streams end within five seconds.`)
  })

// `postern services add`: checks a server from this computer, step by step; then every process of the gateway
// serves it.

export interface AddOptions {
  readonly name?: string
  readonly description?: string
  readonly alias?: string
  /** Without sign-in. */
  readonly public?: boolean
  /** Adds it even if the check fails. */
  readonly force?: boolean
}

const marks = { yes: ['green', '✓'], no: ['red', '✗'], unknown: ['yellow', '?'] } as const

const printStep = ({ result, step, say }: Parameters<NonNullable<Addition['onStep']>>[0]): void => {
  // A server without authorization is not a failure.
  const [colour, mark] = step === 'authorization' ? (['yellow', '·'] as const) : marks[result]
  print(`${styleText(colour, mark)} ${say}`)
}

/** A URL, or a command and its arguments. */
const serverOf = (
  words: readonly string[],
): { readonly url: string } | { readonly command: string; readonly args: readonly string[] } => {
  const [first = '', ...rest] = words
  if (/^(?:https?|wss?):/i.test(first)) {
    if (rest.length > 0) throw new UsageError('Give one URL, or a command and its arguments after --.')
    return { url: first }
  }
  // Anything else is taken as a URL, whose error says what is missing.
  return rest.length === 0 && !/^[\w./@-]+$/.test(first) ? { url: first } : { command: first, args: rest }
}

/**
 * Anyone who can run this command can connect to any address from this computer. Whether that was needed is
 * recorded, so that a public name never leads to a private address.
 */
const outboundFor = async (
  url: string | undefined,
  { env }: AdminTarget,
): Promise<Pick<Addition, 'anywhere'>> => {
  const { protocol, hostname, origin } =
    url !== undefined && URL.canParse(url) ? new URL(url) : new URL('https://nowhere.invalid')
  const inner = protocol === 'http:' || protocol === 'ws:' || (await isPrivateHost(hostname))
  return inner ? { anywhere: createOutbound({ allowOrigins: [origin], proxies: forwardProxies(env) }) } : {}
}

export const addService = (
  place: AdminTarget,
  id: string,
  words: readonly string[],
  { name, description, alias, public: open, force = false }: AddOptions,
): Promise<void> =>
  withGateway(place, async (gateway) => {
    const server = serverOf(words)
    const url = 'url' in server ? server.url : undefined
    const service = {
      ...server,
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(alias === undefined ? {} : { alias }),
      ...(open ? { auth_required: false } : {}),
    }
    const way = await outboundFor(url, place)
    const steps = await gateway.registry.add({
      id,
      service,
      by: 'cli',
      commands: true,
      force,
      ...way,
      onStep: (step) => void (place.json || printStep(step)),
    })
    const [address] = addressesOf(gateway, id)
    if (place.json) return printJson({ id, url: address, steps })
    if (way.anywhere)
      print(
        `${styleText('yellow', '·')} Private or plain-HTTP address, allowed because it was added locally.`,
      )
    print(`${styleText('green', '✓')} ${id} is now served at ${String(address)}`)
  })
