// Guarded outbound fetch on Workers. The platform reaches only the public internet; private address literals
// and local host names are refused here as well.
import { refusedHost } from '../kit/addresses.ts'
import { atOrigin } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound, OutboundOptions } from '../ports/runtime.ts'

const publicOnly =
  'A Worker reaches only public https addresses. For a server on a private network, run the gateway on Node.'

const readAtMost = async (response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> => {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += (part as Uint8Array).length
    if (size > maxBytes) throw new Refusal('outbound.failed', `more than ${maxBytes} bytes`)
    parts.push(part as Uint8Array)
  }
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/**
 * Throws `outbound.refused` where the URL may not be fetched. `allows`: whether an origin may be plain http
 * and anywhere.
 */
const judge = (raw: string, allows: (url: URL) => boolean): URL => {
  const url = URL.canParse(raw) ? new URL(raw) : undefined
  if (!url || url.username || url.password) throw new Refusal('outbound.refused', 'not a plain URL')
  if (!allows(url) && (url.protocol !== 'https:' || refusedHost(url.hostname)))
    throw new Refusal('outbound.refused', url.origin, { say: publicOnly })
  return url
}

const exchange = async (
  url: URL,
  {
    method = 'GET',
    headers = {},
    body,
    timeoutMs = 5000,
    maxBytes = 1_048_576,
    headOnly = false,
  }: OutboundOptions,
) => {
  const response = await fetch(url, {
    method,
    headers,
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
    ...(body === undefined ? {} : { body }),
  })
  if (headOnly) await response.body?.cancel()
  return {
    status: response.status,
    headers: response.headers,
    body: headOnly ? new Uint8Array() : await readAtMost(response, maxBytes),
  }
}

export const createOutbound = ({ allowOrigins }: { readonly allowOrigins: readonly string[] }): Outbound => {
  const allowed = new Set(allowOrigins)
  return async (raw, options = {}) => {
    const url = judge(raw, (to) => allowed.has(to.origin) || atOrigin(to, options.origins ?? []))
    try {
      return await exchange(url, options)
    } catch (error) {
      if (error instanceof Refusal) throw error
      throw new Refusal('outbound.failed', `${url.origin}: ${String(error)}`)
    }
  }
}
