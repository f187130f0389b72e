// Every way to a service: a call over HTTP, a WebSocket, a line of HTTP+SSE, each judged by the same checks; here, or in the berth of one session.
import { publishedVersions } from '../mcp/revisions.ts'
import type { Admit } from '../ports/calls.ts'
import type { Credentials } from '../ports/connections.ts'
import { createBodyBudget } from './body-budget.ts'
import { type Calls, type CallsDeps, createCalls } from './calls.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createMoved } from './moved.ts'
import { createSlots } from './slots.ts'
import { createWatch, type WatchDeps } from './watch.ts'
import { type AdmitSocket, createAdmitSocket } from './websocket.ts'

export interface WaysDeps extends Omit<CallsDeps, 'watch' | 'streamSlot' | 'callSlot' | 'budget' | 'supported' | 'keepAliveMs' | 'runtime'>, WatchDeps {
  readonly config: CallsDeps['config'] & { readonly heartbeat: number; readonly protocol_versions?: readonly string[] | undefined }
  readonly credentials: Credentials
  readonly runtime: CallsDeps['runtime'] & WatchDeps['runtime'] & Pick<Runtime, 'bodyBytes'>
}

export interface Ways {
  readonly admit: Admit
  readonly admitSocket: AdmitSocket
  /** Requests about sessions that live elsewhere; absent where all live here. */
  readonly moved: ReturnType<typeof createMoved> | undefined
  readonly server: Calls['server']
}

export const createWays = (deps: WaysDeps): Ways => {
  const { lines, defer, now, log } = deps.runtime
  const watch = createWatch(deps)
  const supported = deps.config.protocol_versions ?? publishedVersions
  const streamSlot = createSlots(deps.config.max_open_streams)
  const callSlot = createSlots(deps.config.max_concurrent_calls)
  const budget = createBodyBudget(deps.runtime.bodyBytes)
  const keepAliveMs = deps.config.heartbeat * 1000
  const { admit, ask, server } = createCalls({ ...deps, watch, streamSlot, callSlot, budget, supported, keepAliveMs })
  return {
    admit,
    admitSocket: createAdmitSocket({ ...deps, lines, defer, now, log, watch, ask, streamSlot, callSlot, budget, supported, heartbeatMs: keepAliveMs }),
    moved: lines.berths && createMoved({ ...deps, berths: lines.berths, streamSlot }),
    server,
  }
}
