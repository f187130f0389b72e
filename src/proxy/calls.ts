// Calls over HTTP, joined: the decision, the ways beside the straight one, and what a line makes of its messages, which are calls again.
import type { Admit } from '../ports/calls.ts'
import { createDetour, type Detour, type DetourDeps } from './detour.ts'
import { type AdmitDeps, createAdmit } from './handle.ts'
import { createOpening, type OpeningDeps } from './opening.ts'
import { type AskOwn, createOwnCalls } from './own-calls.ts'

export interface CallsDeps extends Omit<DetourDeps, 'ask'>, Omit<OpeningDeps, 'detour' | 'runtime'>, Pick<AdmitDeps, 'knock' | 'guard'> {
  readonly runtime: DetourDeps['runtime'] & OpeningDeps['runtime']
}

export interface Calls {
  readonly admit: Admit
  readonly ask: AskOwn
  readonly server: Detour['server']
}

export const createCalls = (deps: CallsDeps): Calls => {
  const admit: Admit = (head, readBody) => decide(head, readBody)
  const ask = createOwnCalls({ admit, lines: deps.runtime.lines })
  const { upstream, server } = createDetour({ ...deps, ask })
  const decide = createAdmit({ ...deps, open: createOpening({ ...deps, detour: upstream }) })
  return { admit, ask, server }
}
