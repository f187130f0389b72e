// What the console asks of the parts of the gateway: how services are, what rules say, what is set.
import { type ServiceOutlook, createServiceOutlook } from './consent-choices.ts'
import type { Person } from './ports/people.ts'
import type { Service, ServiceState } from './ports/services.ts'
import type { Settings } from './ports/settings.ts'
import { type SettingsDeps, createSettings } from './settings.ts'
import { isPublic, stateOf } from './status.ts'

type StateDeps = Parameters<typeof stateOf>[1]

export type ConsoleSourcesDeps = SettingsDeps &
  Parameters<typeof createServiceOutlook>[0] &
  Pick<StateDeps, 'bridges'> & {
    /** While there is one: nobody else can sign in. */
    readonly builtInUser: Person | undefined
  }

export interface ConsoleSources {
  readonly stateOf: (service: Service) => ServiceState
  readonly outlook: ServiceOutlook
  readonly settings: Settings
  /** Whether a method to sign in with is configured. */
  readonly signsIn: boolean
  /** Whether clients on the internet can reach the gateway. */
  readonly reachable: boolean
}

export const createConsoleSources = (
  deps: ConsoleSourcesDeps,
  { contextOf }: Pick<StateDeps, 'contextOf'>,
): ConsoleSources => ({
  stateOf: (service) => stateOf(service, { bridges: deps.bridges, contextOf }),
  outlook: createServiceOutlook(deps),
  settings: createSettings(deps),
  signsIn: deps.builtInUser === undefined,
  reachable: isPublic(deps.issuer),
})
