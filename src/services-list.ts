// The list of services that anybody may read. Where they are is told to people of this gateway.
import { isFromElsewhere } from './kit/own-page.ts'
import { Refusal } from './kit/refusal.ts'
import type { Handler, Sessions } from './ports/rooms.ts'
import type { Address, Directory } from './ports/services.ts'

export interface ServicesList {
  /** GET /services */
  readonly services: Handler
  /** GET /services/:id */
  readonly service: Handler
}

interface ServicesListOptions {
  readonly directory: Directory
  readonly sessions: Sessions
  /** Whether a page of that origin may use services that ask for no token. */
  readonly allows: (origin: string, open: true) => boolean
}

const json = (body: unknown): Response => Response.json(body, { headers: { 'cache-control': 'no-store' } })

export const isLoopback = (origin: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(new URL(origin).hostname)

/** The address of a service that names it. */
export const mainAddress = ({ addresses }: Directory, id: string): Address | undefined => {
  const own = addresses.filter(({ service }) => service.id === id)
  return own.find(({ path }) => path !== '/mcp') ?? own[0]
}

/** Nobody is told of some services alone, or that one is not there, while not all of them are known. */
const complete = (directory: Directory): Directory => {
  directory.assertComplete()
  return directory
}

const unknownService = (directory: Directory, id: string): Refusal => {
  complete(directory)
  return new Refusal('route.unknown', `service ${id}`, { say: `Service '${id.slice(0, 64)}' not found` })
}

export const createServicesList = ({ directory, sessions, allows }: ServicesListOptions): ServicesList => {
  /** A signed-in person is no stranger, nor is anybody at the computer that the gateway runs on. */
  const isStranger = async (request: Request): Promise<boolean> => {
    if (await sessions.of(request)) return false
    const origin = request.headers.get('origin')
    if (!isLoopback(directory.issuer) || isFromElsewhere(request.headers)) return true
    return origin !== null && !allows(origin, true)
  }
  const describe = (id: string, stranger: boolean) => {
    const address = mainAddress(directory, id)
    const service = address?.service
    if (!address || !service) throw unknownService(directory, id)
    return {
      name: service.name,
      ...(stranger ? {} : { url: address.resource }),
      auth_required: service.authRequired,
      scopes: service.scopes,
      ...(service.provider === undefined ? {} : { oauth_provider: service.provider }),
    }
  }
  return {
    async services(request) {
      const stranger = await isStranger(request)
      return json({ services: Object.fromEntries(complete(directory).services.map(({ id }) => [id, describe(id, stranger)])) })
    },
    async service(request) {
      const id = new URL(request.url).pathname.slice('/services/'.length)
      return json(describe(id, await isStranger(request)))
    },
  }
}
