// The host that stands for a server's domain: what to give a client, and whether anybody is served there.
import { isDomain, labelOfDomain, mostDomainBytes } from '../kit/encoded-hosts.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Handler } from '../ports/modules.ts'
import type { EncodeView, PagesFor } from '../ports/pages.ts'
import type { Address, Directory, Service } from '../ports/services.ts'

export interface EncodeDeps {
  readonly domainRoot: () => string | undefined
  readonly directory: Directory
  readonly pages: PagesFor
}

/** A domain as people write it: alone, or as part of a URL. Undefined for anything else. */
const domainIn = (text: string): string | undefined => {
  const url = /^https?:\/\//i.test(text) ? text : `https://${text}`
  const host = text.length <= 2048 && !/[\s@\\]/.test(text) && URL.canParse(url) ? new URL(url).hostname : ''
  return isDomain(host) ? host : undefined
}

const originOf = (issuer: string, host: string): string => {
  const { protocol, port } = new URL(issuer)
  return `${protocol}//${host}${port === '' ? '' : `:${port}`}`
}

const hostOf = ({ resource }: Address): string => new URL(resource).hostname

/**
 * Where the service is met at a host that encodes: at its domain's own where it has that, else at its alias.
 */
const servedAs = (
  { id, name }: Service,
  own: string,
  addresses: readonly Address[],
): NonNullable<EncodeView['served']> => {
  const host = addresses.some((address) => hostOf(address) === own)
    ? own
    : addresses[0] && hostOf(addresses[0])
  const there = addresses.filter((address) => hostOf(address) === host)
  const [streamable, sse] = [undefined, 'sse'].map(
    (transport) => there.find((address) => address.transport === transport)?.resource,
  )
  return streamable === undefined ? [] : [{ id, name, url: streamable, sse }]
}

export const createEncode = ({ domainRoot: rootNow, directory, pages }: EncodeDeps): Handler => {
  const servedAt = (domain: string, own: string, root: string): NonNullable<EncodeView['served']> => {
    const encoded = directory.addresses.filter((address) => hostOf(address).endsWith(`-enc.${root}`))
    const servers = directory.services.filter(
      ({ upstream }) => upstream.kind === 'http' && new URL(upstream.url).hostname === domain,
    )
    return servers.flatMap((service) =>
      servedAs(
        service,
        own,
        encoded.filter((address) => address.service === service),
      ),
    )
  }
  const view = (asked: string, domainRoot = rootNow()): EncodeView => {
    if (domainRoot === undefined)
      throw new Refusal('route.unknown', 'no domain_root', {
        say: 'Encoded hosts require domain_root (DOMAIN_ROOT) in the configuration.',
      })
    const domain = domainIn(asked)
    if (domain === undefined) return { asked, problem: 'Enter a public domain such as mcp.example.com.' }
    const label = labelOfDomain(domain)
    const served = servedAt(domain, `${label ?? ''}.${domainRoot}`, domainRoot)
    const [first] = served
    if (first === undefined && label === undefined) {
      return {
        asked,
        domain,
        problem: `The domain is too long: ${domain.length} bytes, and the limit is ${mostDomainBytes}. Set a short alias for the service in the configuration.`,
      }
    }
    return {
      asked,
      domain,
      served,
      host: first === undefined ? `${label ?? ''}.${domainRoot}` : new URL(first.url).hostname,
    }
  }
  return async (request) => {
    const asked = new URL(request.url).searchParams.get('domain')?.trim() ?? ''
    const page = (request.headers.get('accept') ?? '').includes('text/html')
    if (page && asked === '' && rootNow() !== undefined) return pages(request).encode({ asked: '' })
    if (asked === '') throw new Refusal('encode.domain', 'no domain')
    const found = view(asked)
    if (page) return pages(request).encode(found)
    if (found.problem !== undefined) throw new Refusal('encode.domain', found.problem, { say: found.problem })
    const { domain, host = '', served = [] } = found
    return Response.json(
      {
        domain,
        host,
        url: served[0]?.url ?? originOf(directory.issuer, host),
        registered: served.length > 0,
        services: served.map(({ id, url, sse }) => ({ id, url, sse })),
      },
      { headers: { 'cache-control': 'no-store' } },
    )
  }
}
