// `postern services add`: a server is looked at step by step from this computer, then served by every process of the gateway.
import { styleText } from 'node:util'
import type { Addition } from '../additions.ts'
import { createOutbound } from '../node/outbound.ts'
import { isInner } from '../node/public-hosts.ts'
import { print, printJson, UsageError } from './answer.ts'
import { forwardProxies } from './forward-proxies.ts'
import { addressesOf, atGateway, type Place } from './services.ts'

export interface AddOptions {
  readonly name?: string
  readonly description?: string
  readonly alias?: string
  /** Without login. */
  readonly public?: boolean
  /** Keeps it although nothing useful answers there yet. */
  readonly force?: boolean
}

const marks = { yes: ['green', '✓'], no: ['red', '✗'], unknown: ['yellow', '?'] } as const

const tell = ({ result, step, say }: Parameters<NonNullable<Addition['told']>>[0]): void => {
  // Wanting no token is no failure.
  const [colour, mark] = step === 'authorization' ? (['yellow', '·'] as const) : marks[result]
  print(`${styleText(colour, mark)} ${say}`)
}

/** A URL, or a command and its arguments. */
const serverOf = (words: readonly string[]): { readonly url: string } | { readonly command: string; readonly args: readonly string[] } => {
  const [first = '', ...rest] = words
  if (/^(?:https?|wss?):/i.test(first)) {
    if (rest.length > 0) throw new UsageError('Give one URL, or a command and its arguments after --.')
    return { url: first }
  }
  // What looks like neither is judged as a URL, whose fault names what is missing.
  return rest.length === 0 && !/^[\w./@-]+$/.test(first) ? { url: first } : { command: first, args: rest }
}

/** Whoever runs this may open any address from this computer anyway; it is noted where that was needed, so that a public name never becomes a way inside. */
const wayTo = async (url: string | undefined, { env }: Place): Promise<Pick<Addition, 'anywhere'>> => {
  const { protocol, hostname, origin } = url !== undefined && URL.canParse(url) ? new URL(url) : new URL('https://nowhere.invalid')
  const inner = protocol === 'http:' || protocol === 'ws:' || (await isInner(hostname))
  return inner ? { anywhere: createOutbound({ allowOrigins: [origin], proxies: forwardProxies(env) }) } : {}
}

export const addService = (place: Place, id: string, words: readonly string[], { name, description, alias, public: open, force = false }: AddOptions): Promise<void> =>
  atGateway(place, async (gateway) => {
    const server = serverOf(words)
    const url = 'url' in server ? server.url : undefined
    const service = { ...server, ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }), ...(alias === undefined ? {} : { alias }), ...(open ? { auth_required: false } : {}) }
    const way = await wayTo(url, place)
    const steps = await gateway.supply.add({ id, service, by: 'cli', commands: true, force, ...way, told: (step) => void (place.json || tell(step)) })
    const [address] = addressesOf(gateway, id)
    if (place.json) return printJson({ id, url: address, steps })
    if (way.anywhere) print(`${styleText('yellow', '·')} Private or plain-HTTP address, allowed because it was added locally.`)
    print(`${styleText('green', '✓')} ${id} is now served at ${String(address)}`)
  })
