// What the network said, in one line for the operator: libraries hide it behind "fetch failed", and put what matters into the cause.

interface Thrown {
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
}

const mostLength = 300

const line = ({ code, message }: Thrown): string => {
  const text = typeof message === 'string' ? message : ''
  if (typeof code !== 'string' || /^(?:UND_ERR_|ERR_PROXY)/.test(code) || text.includes(code)) return text || (typeof code === 'string' ? code : 'no reason given')
  return text === '' ? code : `${code}: ${text}`
}

/** The innermost cause with its code, cut to one short line. Several attempts at one name (RFC 8305) are told one after the other. */
export const networkReason = (error: unknown): string => {
  let innermost = error
  for (let depth = 0; depth < 8 && (innermost as Thrown | undefined)?.cause instanceof Error; depth++) innermost = (innermost as Thrown).cause
  if (typeof innermost !== 'object' || innermost === null) return String(innermost).slice(0, mostLength)
  const { errors } = innermost as Thrown
  const lines = Array.isArray(errors) && errors.length > 0 ? errors.slice(0, 4).map((each) => line(each as Thrown)) : [line(innermost as Thrown)]
  return [...new Set(lines)].join('; ').replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, mostLength)
}

const causes: readonly (readonly [RegExp, string])[] = [
  [/(?:^|: )the proxy /, 'the HTTP proxy of this gateway could not connect to it'],
  [/ENOTFOUND|EAI_|getaddrinfo|resolves to nothing|DNS/, 'its name could not be resolved (DNS)'],
  [/ECONNREFUSED/, 'it refused the connection'],
  [/CERT|certificate|self.signed|UNABLE_TO_|SSL|TLS|EPROTO|ALTNAME/i, 'its TLS certificate is not trusted, or it does not support TLS'],
  [/timed? ?out|timeout|ETIMEDOUT|aborted due/i, 'it did not respond in time'],
  [/ENETUNREACH|EHOSTUNREACH/, 'there is no route to it'],
]

/** The kind of a reason in words for anybody: it names no address and no software. */
export const networkCause = (reason: string): string | undefined => causes.find(([form]) => form.test(reason))?.[1]

/** As Node, undici and workerd say it. Before TLS was agreed nothing was sent, so that is another fault. */
const lost = /ECONNRESET|EPIPE|ECONNABORTED|other side closed|socket hang up|UND_ERR_SOCKET|connection (?:was )?(?:closed|ended)|ended the connection/i

export const isLostConnection = (error: unknown): boolean => {
  const reason = networkReason(error)
  return lost.test(reason) && !/before secure TLS|connect ECONN|the proxy /.test(reason)
}
