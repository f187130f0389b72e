// The room as a whole: what other rooms and the hall get of it.
import type { ConnectStep, Credentials, KeepTokens } from '../ports/connections.ts'
import type { Handler } from '../ports/rooms.ts'
import { type ActDeps, createAct } from './act.ts'
import { createCredentials } from './credentials.ts'
import { createDepart } from './depart.ts'
import { createDisconnect } from './disconnect.ts'
import { createDocument } from './document.ts'
import { type ConnectPage, type ConnectPageDeps, createConnectPage } from './page.ts'
import { createReturn } from './return.ts'
import { createStep } from './step.ts'
import { createTreasury, type TreasuryDeps } from './treasury.ts'
import { createTrips, isTripState } from './trips.ts'

export type ConnectionsDeps = TreasuryDeps & Pick<ConnectPageDeps, 'sessions' | 'pages'> & Pick<ActDeps, 'limit' | 'record'>

export interface Connections extends ConnectPage {
  /** POST /connect/:service */
  readonly act: Handler
  readonly credentials: Credentials
  readonly step: ConnectStep
  readonly keepTokens: KeepTokens
  /** GET /connect/callback/:id and /connect/callback */
  readonly callback: Handler
  /** Whether a request to an address where identity providers answer too carries a state of ours. */
  isReturn(request: Request): boolean
  /** GET /oauth/client-metadata/:id.json and /oauth/client-metadata.json */
  readonly document: Handler
}

export const createConnections = (deps: ConnectionsDeps): Connections => {
  const treasury = createTreasury(deps)
  const joined = { ...deps, ...treasury }
  const trips = createTrips(deps)
  const depart = createDepart({ ...joined, trips })
  const step = createStep({ ...joined, depart })
  return {
    ...createConnectPage({ ...joined, asks: step.asks }),
    act: createAct({ ...joined, depart, disconnect: createDisconnect(joined) }),
    keepTokens: treasury.keepTokens,
    credentials: createCredentials({ ...treasury, now: deps.runtime.now }),
    step,
    callback: createReturn({ ...joined, trips }),
    isReturn: (request) => isTripState(new URL(request.url).searchParams.get('state') ?? ''),
    document: createDocument(deps.directory.issuer),
  }
}
