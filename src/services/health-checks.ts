// Whether servers respond, asked at an interval by a real `initialize`, where the configuration wants it. What is found is
// shown by `/health`, the console and the metrics. It refuses no call, and is no part of readiness: a gateway whose
// servers are away is still the one to ask.
import { readBounded } from '../kit/http.ts'
import type {
  Log,
  Outbound,
  Runtime,
  RuntimeTransports,
  Timer,
  TransportConnectors,
} from '../ports/runtime.ts'
import type { Service, ServiceState } from '../ports/services.ts'
import { isUsable, probeServer } from './probe.ts'

/** Checks in a row that must fail before a server counts as away: one may fall into its restart. */
const mostFailed = 3
/** The first check, ms: shortly after the start, and not in its way. */
const firstMs = 1000
const defaultTimeoutMs = 5000
const defaultBytes = 1_048_576

/** Servers that the operator configured may be anywhere, unlike those of `Outbound`. */
const outboundBy =
  ({ fetch }: TransportConnectors): Outbound =>
  async (
    url,
    { method = 'GET', headers = {}, body, timeoutMs = defaultTimeoutMs, maxBytes = defaultBytes } = {},
  ) => {
    const response = await fetch(url, {
      method,
      headers,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined ? {} : { body }),
    })
    return {
      status: response.status,
      headers: response.headers,
      body: await readBounded(response.body, maxBytes),
    }
  }

interface HealthCheckDeps {
  readonly transports: RuntimeTransports
  readonly timer: Timer
  readonly log: Log
  readonly defer: Runtime['defer']
}

export interface HealthCheck {
  readonly everyMs: number
  /** The other URL where the server may be, for a URL without a path. */
  readonly alternative: string | undefined
  /** Whether the service is still the one that is served under its id. */
  readonly isCurrent: () => boolean
}

/** Why the server of a service cannot be used; undefined where it can. A server that wants a token responds. */
const faultOf = async (
  { upstream }: Service,
  { transports, timer }: HealthCheckDeps,
  alternative: string | undefined,
): Promise<string | undefined> => {
  if (upstream.kind !== 'http') return undefined
  const connectors = upstream.publicOnly ? transports.publicOnly : transports
  const steps = await probeServer(
    upstream.url,
    { outbound: outboundBy(connectors), timer, transports: connectors, alternative },
    () => undefined,
  )
  return isUsable(steps) ? undefined : (steps.findLast(({ result }) => result === 'no')?.say ?? 'no response')
}

const createCheck =
  (deps: HealthCheckDeps, isServed: (service: Service) => boolean) =>
  (service: Service, { everyMs, alternative, isCurrent }: HealthCheck): Service => {
    const checked: { state: ServiceState } = { state: 'unknown' }
    const own: Service = { ...service, checked }
    let failed = 0
    const found = (fault: string | undefined): void => {
      deps.log('debug', 'service.checked', { service: service.id, why: fault })
      failed = fault === undefined ? 0 : failed + 1
      const before = checked.state
      if (fault === undefined) checked.state = 'healthy'
      else if (failed >= mostFailed) checked.state = 'degraded'
      if (before === checked.state) return
      if (checked.state === 'degraded')
        deps.log('warn', 'service.down', { service: service.id, checks: failed, why: fault })
      else if (before === 'degraded') deps.log('info', 'service.up', { service: service.id })
    }
    const look = async (): Promise<void> => {
      if (!isCurrent()) return
      // Removed for now, perhaps.
      if (isServed(own)) found(await faultOf(own, deps, alternative).catch(String))
      deps.timer(everyMs, again)
    }
    const again = (): void => deps.defer(look())
    deps.timer(firstMs, again)
    return own
  }

/**
 * What makes a service one that is checked, until it is replaced. Undefined where nothing runs between requests
 * (Workers).
 */
export const createHealthChecks = (deps: HealthCheckDeps, isServed: (service: Service) => boolean) =>
  deps.transports.sessionLocations ? undefined : createCheck(deps, isServed)
