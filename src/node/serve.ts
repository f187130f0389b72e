// The Node door: one node:http server for both ways. A proxied address goes down the fast pipe, the rest the plain way.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import type { Gateway } from '../gateway.ts'
import { fieldOf } from '../kit/http.ts'
import type { Visit } from '../ports/runtime.ts'
import { createDrain, type DrainTimes } from './drain.ts'
import { createForward, type ForwardDeps } from './forward.ts'
import { harden, inspect, isRoutable, proceed, serverOptions } from './hygiene.ts'
import { listen } from './listen.ts'
import { createUpgrade } from './upgrade.ts'
import { retire } from './retire.ts'
import { createVisits } from './visits.ts'

export interface Listening {
  readonly port: number
  /** Gives the server its gateway. Requests that came earlier wait for it. */
  open(gateway: Gateway): void
  /** Stops listening, lets calls finish, ends idle streams. Resolves with true when all was finished, with false when what was left after `graceMs` was cut off. */
  drain(times: DrainTimes): Promise<boolean>
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly now: () => number
  /** Resolver for servers that may be on public addresses alone; default: the system's. */
  readonly lookup?: ForwardDeps['lookup']
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardDeps['proxies']
}

/** How often this process looks whether another one added or removed a service. */
const watchMs = 400

const pathOf = (target: string): string => {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

type Door = (request: IncomingMessage, response: ServerResponse) => void
type UpgradeDoor = NonNullable<NonNullable<Parameters<typeof harden>[1]>['upgrade']>

const createDoor = (gateway: Gateway, options: ServeOptions): { readonly door: Door; readonly upgrade: UpgradeDoor; close(): void } => {
  const visitOf = createVisits(options.trustedProxies)
  const forward = createForward({ admit: gateway.admit, refuse: gateway.refuse, now: options.now, lookup: options.lookup, proxies: options.proxies })
  const upgrades = createUpgrade(gateway)
  const visits = new WeakMap<IncomingMessage, Visit>()
  const plain = getRequestListener((request, env) => gateway.fetch(request, visits.get((env as { incoming: IncomingMessage }).incoming) as Visit), { overrideGlobalObjects: false })
  const door: Door = (request, response) => {
    const visit = visitOf(request)
    const refusal = inspect(request)
    if (refusal) {
      const answer = gateway.refuse(refusal, { method: request.method ?? '', target: request.url ?? '', rawHeaders: request.rawHeaders, ...visit })
      response.writeHead(answer.status, [...answer.headers, 'connection', 'close']).end(answer.body)
      return
    }
    const { method = '', url = '/' } = request
    const fields = method === 'POST' ? undefined : request.headers
    const host = gateway.directory.hosted ? fieldOf(request.rawHeaders, 'host') : undefined
    if (gateway.proxied(method, pathOf(url), fields?.accept, fields?.authorization !== undefined, host)) {
      forward.serve(request, response, visit)
      return
    }
    visits.set(request, isRoutable(url) ? visit : { ...visit, unroutable: true })
    proceed(request, response)
    // The plain way answers its own faults; what is left is a socket that died.
    plain(request, response).catch(() => response.destroy())
  }
  return {
    door,
    upgrade: (request, socket, head) => upgrades.serve(request, socket, head, visitOf(request)),
    close() {
      forward.close()
      upgrades.close()
    },
  }
}

/** Binds the address; `localhost` means both loopback addresses. Rejects with Node's own error (EADDRINUSE, EACCES, EADDRNOTAVAIL) when it cannot. */
export const serve = async (options: ServeOptions): Promise<Listening> => {
  let ready: (door: Door) => void
  const opened = new Promise<Door>((resolve) => {
    ready = resolve
  })
  let current: Door = (request, response) => void opened.then((door) => door(request, response))
  let currentUpgrade: UpgradeDoor = () => false
  let closeForward = (): void => undefined
  const leaving = createDrain()
  const port = await listen(options.host, options.port, () => {
    const server = createServer(serverOptions, (request, response) => current(request, response))
    harden(server, { upgrade: (request, socket, head) => currentUpgrade(request, socket, head) })
    leaving.watch(server)
    return server
  })
  return {
    port,
    open(gateway) {
      const { door, upgrade, close } = createDoor(gateway, options)
      currentUpgrade = upgrade
      const look = (): void => void gateway.supply.refresh()
      look()
      const watching = setInterval(look, watchMs).unref()
      gateway.supply.onGone((gone, locate) => retire(leaving.answers, gone, locate))
      closeForward = () => {
        clearInterval(watching)
        close()
      }
      current = door
      ready(door)
    },
    drain(times) {
      const door = current
      current = (request, response) => {
        response.shouldKeepAlive = false
        door(request, response)
      }
      closeForward()
      return leaving.drain(times)
    },
  }
}
