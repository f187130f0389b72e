// The host that stands for a server's domain: what to give a client, and whether anybody is served there.
import { labelOfDomain, mostDomainBytes, isDomain } from './kit/encoded-host.ts'
import { Refusal } from './kit/refusal.ts'
import type { EncodeView, Pages } from './ports/pages.ts'
import type { Handler } from './ports/rooms.ts'
import type { Directory } from './ports/services.ts'

export interface EncodeDeps {
  readonly domainRoot: () => string | undefined
  readonly directory: Directory
  readonly pages: Pages
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

export const createEncode = ({ domainRoot: rootNow, directory, pages }: EncodeDeps): Handler => {
  const view = (asked: string, domainRoot = rootNow()): EncodeView => {
    if (domainRoot === undefined) throw new Refusal('route.unknown', 'no domain_root', { say: 'Encoded hosts need domain_root (DOMAIN_ROOT) in the configuration.' })
    const domain = domainIn(asked)
    if (domain === undefined) return { asked, problem: 'That is no public domain. Write it like mcp.example.com.' }
    const label = labelOfDomain(domain)
    const long = `This domain has ${domain.length} bytes, and ${mostDomainBytes} fit into one DNS label. Give its service a short alias in the configuration.`
    const served = directory.services.filter(({ upstream }) => upstream.kind === 'http' && new URL(upstream.url).hostname === domain)
    const mine = directory.addresses.filter((address) => served.includes(address.service) && new URL(address.resource).hostname.endsWith(`-enc.${domainRoot}`))
    // Its own host where it has it; several servers of one domain that each have an alias are met there alone.
    const best = mine.find(({ resource }) => new URL(resource).hostname === `${label}.${domainRoot}`) ?? mine[0]
    const host = best ? new URL(best.resource).hostname : label === undefined ? undefined : `${label}.${domainRoot}`
    return {
      asked,
      domain,
      ...(host === undefined ? { problem: long } : { host, url: best?.resource ?? originOf(directory.issuer, host) }),
      registered: best !== undefined,
    }
  }
  return async (request, visit) => {
    const asked = new URL(request.url).searchParams.get('domain')?.trim() ?? ''
    const page = (request.headers.get('accept') ?? '').includes('text/html')
    if (page && asked === '' && rootNow() !== undefined) return pages.encode({ asked: '' }, visit.requestId)
    if (asked === '') throw new Refusal('encode.domain', 'no domain')
    const found = view(asked)
    if (page) return pages.encode(found, visit.requestId)
    if (found.problem !== undefined) throw new Refusal('encode.domain', found.problem, { say: found.problem })
    const { domain, host, url, registered } = found
    return Response.json({ domain, host, url, registered }, { headers: { 'cache-control': 'no-store' } })
  }
}
