// What a service is, in one short text: grants and remembered answers are bound to it, so that another service under the same id inherits none of them.
//
// A service that an administrator added is itself from one adding to its removal. One that the configuration names is where its calls go: scheme, host, port and path
// of its URL (the query may hold a key, which changes), or its program and the words that are no options, without their versions, so that an upgrade ends nothing.
import type { Config } from './config/schema.ts'
import type { Runtime } from './ports/runtime.ts'

type ServiceConfig = Config['mcp_services'][string]

/** `name@1.2.3`, `@scope/name@1.2.3`, `name==1.2.3` and `image:1.2.3` without what follows the name; a URL or a path stays as it is. */
const withoutVersion = (word: string): string =>
  word.includes('://') ? word : word.replace(/^(@?[\w./-]+)(?:@|==|:)[\w.^~*+-]+$/, '$1')

const placeOf = (url: string): string => {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname.replace(/\/$/, '')}`
}

const whatItIs = ({ url, command, args }: ServiceConfig): readonly string[] =>
  url === undefined ? ['command', command ?? '', ...args.filter((word) => !word.startsWith('-')).map(withoutVersion)] : ['url', placeOf(url)]

/** `addedAt`: of a service that came while the gateway ran, epoch ms. */
export const generationOf = (digest: Runtime['digest'], service: ServiceConfig, addedAt?: number): string =>
  digest(JSON.stringify(addedAt === undefined ? whatItIs(service) : ['added', addedAt])).slice(0, 22)
