// `postern export`: the services of this gateway in the words of clients and of the MCP registry.
import type { ExportForm } from '../config/flags.ts'
import { type AdminTarget, type ServiceUrl, serviceUrls } from './admin.ts'
import { StartError, UsageError, packageVersion, print, programName } from './output.ts'

export interface ExportServicesOptions {
  readonly form: ExportForm
  readonly service?: readonly string[]
}

/** https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json */
const serverSchema = 'https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json'

/** Names of the registry are a reverse domain name and the server: `com.example.mcp/jira`. */
const registryName = (id: string, url: URL): string =>
  `${url.hostname.split('.').toReversed().join('.')}/${id}`

const serverJson = ({ id, url }: ServiceUrl): object => ({
  $schema: serverSchema,
  name: registryName(id, new URL(url)),
  description: `${id}, behind a gateway that asks users to sign in.`,
  version: packageVersion(),
  remotes: [{ type: 'streamable-http', url }],
})

const block = (services: readonly ServiceUrl[]): object =>
  Object.fromEntries(services.map(({ id, url }) => [id, { type: 'http', url }]))

const chosen = (all: readonly ServiceUrl[], ids: readonly string[] | undefined): readonly ServiceUrl[] => {
  const unknown = ids?.find((id) => !all.some((service) => service.id === id))
  if (unknown !== undefined)
    throw new UsageError(
      `Unknown service ${JSON.stringify(unknown)}. Services: ${all.map(({ id }) => id).join(', ')}.`,
    )
  return ids ? all.filter(({ id }) => ids.includes(id)) : all
}

/** Prints JSON, whatever the output is. */
export const exportServices = async (
  target: AdminTarget,
  { form, service }: ExportServicesOptions,
): Promise<void> => {
  const services = chosen(await serviceUrls(target), service)
  if (services.length === 0)
    throw new StartError(
      'services.none',
      `There are no services yet. Add one: ${programName(process.env)} services add <id> <url>`,
    )
  const [first, second] = services
  if (form === 'server-json' && second)
    throw new UsageError(
      `A server.json is about one server. Name it with --service: ${services.map(({ id }) => id).join(', ')}.`,
    )
  const told =
    form === 'server-json'
      ? serverJson(first as ServiceUrl)
      : { [form === 'vscode' ? 'servers' : 'mcpServers']: block(services) }
  const show = target.json ?? ((value: unknown) => print(JSON.stringify(value, undefined, 2)))
  show(told)
}
