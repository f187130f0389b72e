// The Workers door: every request to its gateway, which sends it both ways.
import type { Gateway } from '../gateway.ts'
import { type Arrived, arrivedAt } from '../kit/arrived.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import type { Fetch } from '../ports/calls.ts'
import type { Berth } from '../ports/lines.ts'
import type { Visit } from '../ports/runtime.ts'
import type { Environment } from './environment.ts'
import { createFind, createTell, mostLoopback } from './find.ts'
import { createLog } from './log.ts'
import { isLoopback } from './loopback.ts'
import { upgrade } from './upgrade.ts'
import { answerFailed, answerUnready, refuseMalformed } from './unready.ts'

export interface DoorOptions {
  /** Epoch ms; the machine's clock unless a test moves it. */
  readonly now: () => number
}

export interface Door {
  fetch(request: Request, env: Environment): Promise<Response>
  /** For the object of a session with that id, at the gateway that a request to `url` reaches. Rejects where there is none. */
  berth(env: Environment, url: URL, id: string): Promise<Berth>
}

const fetchUpstream: Fetch = Object.assign((input: RequestInfo | URL, init?: RequestInit) => fetch(input, init), { endsWithRequest: true })

const [idBytes, idCharacters, drawn] = [12, 16, 256]

/** Ids of 96 random bits, drawn many at a time. */
const createIds = (): (() => string) => {
  let text = ''
  let at = 0
  return () => {
    if (at === text.length) [text, at] = [encodeBase64url(crypto.getRandomValues(new Uint8Array(idBytes * drawn))), 0]
    at += idCharacters
    return text.slice(at - idCharacters, at)
  }
}

/** A gateway, and what a URL says that it answers at. */
interface Known {
  readonly gateway: Gateway
  readonly at: Arrived
}

/** Clients call the same few URLs again and again; one that was met is neither read nor looked up a second time. */
const createMemory = () => {
  const [most, longest] = [500, 300]
  const known = new Map<string, Known>()
  const gateways = new Set<Gateway>()
  return {
    recall: (url: string) => known.get(url),
    keep(url: string, met: Known) {
      if (url.length > longest) return
      if (known.size >= most || (!gateways.has(met.gateway) && gateways.size >= mostLoopback)) {
        known.clear()
        gateways.clear()
      }
      known.set(url, met)
      gateways.add(met.gateway)
    },
  }
}

const pass = ({ gateway, at }: Known, request: Request, visit: Visit): Promise<Response> =>
  request.headers.get('upgrade')?.toLowerCase() === 'websocket' ? upgrade(gateway, request, visit) : gateway.handle(request, visit, fetchUpstream, at)

export const createDoor = ({ now }: DoorOptions): Door => {
  const tell = createTell(now)
  const find = createFind(now, tell)
  const memory = createMemory()
  const nextId = createIds()

  const meet = async (request: Request, env: Environment, visit: Visit): Promise<Response> => {
    const malformed = refuseMalformed(request, visit, createLog('info', now))
    if (malformed) return malformed
    const url = new URL(request.url)
    const found = await find(env, url).catch((error: unknown) => {
      createLog('error', now)('error', 'start.failed', { why: error instanceof Error ? (error.stack ?? error.message) : String(error), request_id: visit.requestId })
      return undefined
    })
    if (!found) return answerFailed(visit.requestId)
    if ('lacks' in found) {
      for (const lack of found.lacks) tell(lack)
      return answerUnready(found.lacks, { request, requestId: visit.requestId, loopback: isLoopback(url) })
    }
    const met = { gateway: found.gateway, at: arrivedAt(request.url) }
    memory.keep(request.url, met)
    return pass(met, request, visit)
  }

  return {
    async berth(env, url, id) {
      const found = await find(env, url)
      if ('lacks' in found) throw new RangeError(found.lacks.map(({ text }) => text).join('\n'))
      return found.gateway.berth(id)
    },
    fetch(request, env) {
      const visit = { requestId: nextId(), ip: request.headers.get('cf-connecting-ip') ?? '127.0.0.1', plainHttp: request.url.startsWith('http:') }
      const known = memory.recall(request.url)
      return known ? pass(known, request, visit) : meet(request, env, visit)
    },
  }
}
