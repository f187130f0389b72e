// The Workers door: the configuration once an isolate, then every request both ways through the one gateway.
import { encodeBase64url } from '../kit/bytes.ts'
import type { Berth } from '../ports/lines.ts'
import type { Fetch } from '../ports/calls.ts'
import type { Visit } from '../ports/runtime.ts'
import { type Configured, lacksIssuer, type Lack, readConfiguration } from './configured.ts'
import type { Environment } from './environment.ts'
import { createLog } from './log.ts'
import { isLoopback } from './loopback.ts'
import { type Found, makeGateway } from './make.ts'
import { upgrade } from './upgrade.ts'
import { answerFailed, answerMalformed, answerUnready } from './unready.ts'

export interface DoorOptions {
  /** Epoch ms; the machine's clock unless a test moves it. */
  readonly now: () => number
}

export interface Door {
  fetch(request: Request, env: Environment): Promise<Response>
  /** For the object of a session with that id, at the gateway that a request to `url` reaches. Rejects where there is none. */
  berth(env: Environment, url: URL, id: string): Promise<Berth>
}

/** A developer's computer has a port or two; who invents more shall not fill the isolate with gateways. */
const mostLoopback = 4

const randomId = (): string => encodeBase64url(crypto.getRandomValues(new Uint8Array(12)))

const fetchUpstream: Fetch = Object.assign((input: RequestInfo | URL, init?: RequestInit) => fetch(input, init), { endsWithRequest: true })

const visitOf = (request: Request): Visit => ({ requestId: randomId(), ip: request.headers.get('cf-connecting-ip') ?? '127.0.0.1' })

/**
 * What is kept for later requests are finished values alone, never a promise: a request that is cut off takes its unfinished work with it, and whoever
 * waited for that would wait for ever. A failure is not kept either; a configuration at fault is, because it does not change while the isolate lives.
 */
export const createDoor = ({ now }: DoorOptions): Door => {
  let configured: Configured | undefined
  const gateways = new Map<string, Found>()
  const told = new Set<string>()

  /** The same fault is told once, however many requests meet it. */
  const tell = ({ text }: Lack): void => {
    if (!told.has(text) && told.size < 100) createLog('error')('error', 'config.fault', { message: text })
    told.add(text)
  }

  const configuration = async (env: Environment): Promise<Configured> => {
    if (configured) return configured
    const read = await readConfiguration(env)
    if ('lacks' in read) for (const lack of read.lacks) tell(lack)
    else if (!configured) for (const message of read.warnings) createLog(read.config.log_level)('warn', 'config.warning', { message })
    return (configured ??= read)
  }

  /** The gateway of the pinned issuer, or that of this loopback port; a public one is never guessed from what a request says. */
  const find = async (env: Environment, url: URL): Promise<Found> => {
    const known = await configuration(env)
    if ('lacks' in known) return known
    const { config } = known
    if (config.issuer === undefined && !isLoopback(url)) return { lacks: [lacksIssuer(url.origin)] }
    const key = config.issuer ?? `${url.protocol}${url.port}`
    const made = gateways.get(key)
    if (made) return made
    const found = await makeGateway({ config, env, url, now })
    if (gateways.size >= mostLoopback) gateways.clear()
    if (!gateways.has(key)) gateways.set(key, found)
    return gateways.get(key) ?? found
  }

  return {
    async berth(env, url, id) {
      const found = await find(env, url)
      if ('lacks' in found) throw new RangeError(found.lacks.map(({ text }) => text).join('\n'))
      return found.gateway.berth(id)
    },
    async fetch(request, env) {
      const visit = visitOf(request)
      // Two Host fields, or one that is no host: the runtime writes into the URL what came.
      if (!URL.canParse(request.url)) return answerMalformed(visit.requestId)
      const url = new URL(request.url)
      const found = await find(env, url).catch((error: unknown) => {
        createLog('error')('error', 'start.failed', { why: error instanceof Error ? (error.stack ?? error.message) : String(error), request_id: visit.requestId })
        return undefined
      })
      if (!found) return answerFailed(visit.requestId)
      if ('lacks' in found) {
        for (const lack of found.lacks) tell(lack)
        return answerUnready(found.lacks, { request, requestId: visit.requestId, loopback: isLoopback(url) })
      }
      if (request.headers.get('upgrade')?.toLowerCase() === 'websocket') return upgrade(found.gateway, request, visit)
      return found.gateway.handle(request, visit, fetchUpstream)
    },
  }
}
