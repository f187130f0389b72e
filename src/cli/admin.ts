// Commands for whoever runs a gateway: `postern admin link`, `postern services` and `postern hash-password`.
// They work on the state directory, whether a gateway runs there or not.
import { text } from 'node:stream/consumers'
import { styleText } from 'node:util'
import { passwordFault } from '../config/rules/people.ts'
import type { Config } from '../config/schema.ts'
import { type Gateway, createGateway } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import { isPrivateHost } from '../node/http-client/pool.ts'
import { createOutbound } from '../node/outbound.ts'
import { createPasswords, hashForWorkers } from '../node/passwords.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import type { Addition, ListedService } from '../services/from-config.ts'
import { forwardProxies } from './configuration.ts'
import {
  packageVersion,
  print,
  type Printer,
  printNote,
  printTable,
  programName,
  StartError,
  UsageError,
} from './output.ts'
import { issuerOf, localServices, runningAt, stateError } from './state.ts'

export interface AdminTarget {
  readonly config: Config
  readonly stateDir: string
  /** The environment, with the variables of `.env`. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly json: Printer | undefined
}

/** A gateway with the rules and records of the running one, without its socket. */
export const withGateway = async <T>(
  { config, stateDir, env }: AdminTarget,
  issuer: string,
  work: (gateway: Gateway) => Promise<T>,
): Promise<T> => {
  const runtime = await createNodeRuntime({
    config,
    stateDir,
    log: () => undefined,
    version: packageVersion(),
    proxies: forwardProxies(env),
  }).catch((error: unknown) => {
    throw stateError(error, config)
  })
  try {
    return await work(createGateway({ config, runtime, issuer }))
  } finally {
    await runtime.trail?.close()
    await runtime.close()
  }
}

// `postern admin link`: a new one-time sign-in link for the built-in user.

const requireBuiltInUser = (config: Config): void => {
  if (config.local_users.length > 0 || Object.keys(config.oauth_providers).length > 0)
    throw new StartError(
      'link.disabled',
      'Sign-in links exist only for the built-in user. This configuration has its own users: sign in as one of them.',
    )
  if (config.storage.type === 'memory')
    throw new StartError(
      'link.memory',
      'With `storage.type: memory`, only the running gateway can create a link: press l in its terminal.',
    )
}

/**
 * Prints the link. Throws `StartError` when the configuration has users of its own, or stores nothing on
 * disk.
 */
export const printLink = async (target: AdminTarget): Promise<void> => {
  const { config, stateDir, json } = target
  requireBuiltInUser(config)
  const issuer = issuerOf(config, stateDir)
  if (issuer === undefined)
    throw new StartError(
      'link.port',
      'The port is chosen when the gateway starts (port 0). Start the gateway, then run this command again.',
    )
  const link = await withGateway(
    target,
    issuer,
    async ({ directory, links }) => `${directory.issuer}/?t=${await links.mint()}`,
  )
  const others = config.issuer === undefined ? runningAt(stateDir).filter((url) => url !== issuer) : []
  if (json) return json({ sign_in_link: link, ...(others.length > 0 ? { other_gateways: others } : {}) })
  print(link)
  if (others.length > 0)
    printNote(
      `${others.length + 1} gateways use this state directory. The link opens ${new URL(link).origin}, which started last. To use another one, append its ?t=… to ${others.map((url) => `${url}/`).join(' or ')}.`,
    )
}

// `postern services`: adds and removes services in the state directory while the gateway runs. Every process
// of the gateway sees the change within a second.

/** Stands for an issuer that is not known before the gateway starts. */
export const unknownIssuer = 'http://localhost:0'

/** A refusal becomes a `StartError`. */
const withServices = async <T>(target: AdminTarget, work: (gateway: Gateway) => Promise<T>): Promise<T> => {
  const { config, stateDir } = target
  if (config.storage.type === 'memory')
    throw new StartError(
      'services.memory',
      'With `storage.type: memory`, this command cannot reach the running gateway. Add the service to the configuration file, which is reloaded when it changes.',
    )
  try {
    return await withGateway(target, issuerOf(config, stateDir) ?? unknownIssuer, async (gateway) => {
      await gateway.registry.refresh()
      const result = await work(gateway)
      await gateway.bridges.close(0)
      return result
    })
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new StartError(
      error.code,
      error.code === 'service.unusable'
        ? `${error.say} The service was not added; --force adds it anyway.`
        : error.say,
    )
  }
}

/** The URLs of a service; only the path while the port is unknown. */
const addressesOf = ({ directory }: Gateway, id: string): readonly string[] =>
  directory.addresses
    .filter(({ service }) => service.id === id)
    .flatMap(({ resource, path }) =>
      directory.issuer !== unknownIssuer ? resource : resource.startsWith(`${unknownIssuer}/`) ? path : [],
    )

const targetOf = ({ url, command }: ListedService): string => url ?? command ?? ''

/** Services that only running gateways have: the demo, and that of `postern wrap`. */
const runningOf = ({ stateDir }: AdminTarget, services: readonly ListedService[]) =>
  localServices(stateDir).filter(({ id }) => !services.some((service) => service.id === id))

export const listServices = (target: AdminTarget): Promise<void> =>
  withServices(target, async ({ registry }) => {
    const services = await registry.list()
    const running = runningOf(target, services)
    if (target.json) return target.json({ services: [...services, ...running] })
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
    printTable(rows)
  })

export interface ServiceUrl {
  readonly id: string
  readonly url: string
}

/** One URL for each service of the gateway of this state directory, those of running gateways included. */
export const serviceUrls = (target: AdminTarget): Promise<readonly ServiceUrl[]> =>
  withServices(target, async (gateway) => {
    const services = await gateway.registry.list()
    const stored = services.flatMap(({ id }) =>
      addressesOf(gateway, id)
        .slice(0, 1)
        .map((url) => ({ id, url })),
    )
    return [...stored, ...runningOf(target, services).map(({ at, id }) => ({ id, url: `${at}/${id}/mcp` }))]
  })

export const showService = (target: AdminTarget, id: string): Promise<void> =>
  withServices(target, async (gateway) => {
    const services = await gateway.registry.list()
    const own = runningOf(target, services).find((service) => service.id === id)
    if (own) {
      const { at, ...facts } = own
      const shown = { ...facts, addresses: [`${at}/${id}/mcp`] }
      if (target.json) return target.json(shown)
      for (const [name, value] of Object.entries(shown))
        print(`${(name === 'addresses' ? 'address' : name).padEnd(9)} ${String(value)}`)
      return
    }
    const found = services.find((service) => service.id === id)
    if (!found) throw new Refusal('service.unknown', id)
    const addresses = addressesOf(gateway, id)
    if (target.json) return target.json({ ...found, addresses })
    for (const [name, value] of Object.entries({
      ...found,
      ...(found.addedAt === undefined ? {} : { addedAt: new Date(found.addedAt).toISOString() }),
    }))
      print(`${name.padEnd(9)} ${String(value)}`)
    for (const address of addresses) print(`${'address'.padEnd(9)} ${address}`)
  })

export const removeService = (target: AdminTarget, id: string): Promise<void> =>
  withServices(target, async (gateway) => {
    const own = runningOf(target, await gateway.registry.list()).find((service) => service.id === id)
    if (own)
      throw new StartError(
        'service.running',
        `${id} is built into the gateway running at ${own.at} and cannot be removed. ${own.from === 'wrap' ? 'Stop that gateway instead.' : 'To replace it, configure a service and restart that gateway.'}`,
      )
    await gateway.registry.remove(id)
    if (target.json) target.json({ id, removed: true })
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
  target: AdminTarget,
  id: string,
  words: readonly string[],
  { name, description, alias, public: open, force = false }: AddOptions,
): Promise<void> =>
  withServices(target, async (gateway) => {
    const server = serverOf(words)
    const url = 'url' in server ? server.url : undefined
    const service = {
      ...server,
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(alias === undefined ? {} : { alias }),
      ...(open ? { auth_required: false } : {}),
    }
    const way = await outboundFor(url, target)
    const steps = await gateway.registry.add({
      id,
      service,
      by: 'cli',
      commands: true,
      force,
      ...way,
      onStep: (step) => void (target.json || printStep(step)),
    })
    const [address] = addressesOf(gateway, id)
    if (target.json) return target.json({ id, url: address, steps })
    if (way.anywhere)
      print(
        `${styleText('yellow', '·')} Private or plain-HTTP address, allowed because it was added locally.`,
      )
    print(`${styleText('green', '✓')} ${id} is now served at ${String(address)}`)
  })

// `postern hash-password`: hashes a password from the terminal (hidden) or standard input, as a PHC string
// for local_users.

const interrupted = '\u0003'
const endOfInput = '\u0004'
const erase = new Set(['\u007f', '\b'])

/** One typed line; undefined after Control-C. Keys typed ahead stay for the next line. */
const lineOf = async (keys: AsyncIterator<string>): Promise<string | undefined> => {
  const line: string[] = []
  for (let next = await keys.next(); !next.done; next = await keys.next()) {
    const key = next.value
    if (key === interrupted) return undefined
    if (key === '\r' || key === '\n' || key === endOfInput) break
    if (erase.has(key)) line.pop()
    else line.push(key)
  }
  return line.join('')
}

async function* keysOf(input: NodeJS.ReadStream): AsyncGenerator<string> {
  for await (const chunk of input) yield* String(chunk)
}

/**
 * Asks the questions with the terminal's echo off from before the first question until after the last answer.
 */
const askHidden = async (questions: readonly string[]): Promise<readonly string[]> => {
  const { stdin, stderr } = process
  stdin.setEncoding('utf8')
  stdin.setRawMode(true)
  const keys = keysOf(stdin)
  const answers: string[] = []
  try {
    for (const question of questions) {
      stderr.write(question)
      const answer = await lineOf(keys)
      stderr.write('\n')
      // 128 and the number of SIGINT, as for any program that Control-C ended.
      if (answer === undefined) process.exit(130)
      answers.push(answer)
    }
    return answers
  } finally {
    stdin.setRawMode(false)
    await keys.return(undefined)
  }
}

/** From the terminal (`repeat`: twice), or the standard input. `name`: Password. */
export const readHidden = async (name: string, repeat: boolean): Promise<string> => {
  if (!process.stdin.isTTY) return (await text(process.stdin)).replace(/\r?\n$/, '')
  const second = repeat ? [`Repeat ${name.toLowerCase()}: `] : []
  const [typed = '', again = typed] = await askHidden([`${name}: `, ...second])
  if (again !== typed) throw new UsageError(`The ${name.toLowerCase()}s do not match. Run the command again.`)
  return typed
}

/** Prints the hash. Throws `UsageError` for a password that local_users would refuse. */
export const hashPassword = async ({
  json,
  scrypt,
}: {
  readonly json: Printer | undefined
  readonly scrypt: boolean
}): Promise<void> => {
  const password = await readHidden('Password', true)
  const wrong = passwordFault(password)
  if (wrong) throw new UsageError(`The password ${wrong}.`)
  // Composed (NFC), as sign-in compares it (identity/local-users.ts): keyboards differ in how they encode é.
  const hash = await (scrypt ? hashForWorkers : createPasswords().hash)(password.normalize('NFC'))
  if (json) json({ password_hash: hash })
  else print(hash)
}
