// The last step to an admission: what the upstream is to see of the call, and what it is shown of the caller's right to make it.
import type { Admission, Answer } from '../ports/calls.ts'
import { type AdmissionDeps, createAdmission } from './admission.ts'
import { awayOf, createFinish, refusedOutcome } from './ending.ts'
import type { Passed } from './passed.ts'
import { createShowing, type ShowingDeps } from './showing.ts'

export interface ShownDeps extends Omit<AdmissionDeps, 'runtime' | 'showing'>, ShowingDeps {}

/** Rejects with the refusal where the caller cannot be answered otherwise; then the place is still theirs to give back. */
export const createShown = (deps: ShownDeps): ((came: Passed) => Promise<Admission | Answer>) => {
  const showing = createShowing(deps)
  const admission = createAdmission({ ...deps, showing })
  const finish = createFinish({ now: () => deps.runtime.now(), record: deps.record })

  return async (came) => {
    const unwrapping = showing.unwrap(came)
    const { passed, declined } = unwrapping === undefined ? { passed: came, declined: false } : await unwrapping
    const well = came.call.place.health?.gate() ?? true
    // Before a credential is taken, or even renewed, for nothing.
    if (well !== true && !(await well)) throw awayOf(passed)
    try {
      const credential = showing.credential(passed)
      // Most services are shown nothing, and what is shown is mostly at hand: no call waits for what it need not wait for.
      return admission({ passed, credential: credential instanceof Promise ? await credential : credential, last: false, declined })
    } catch (error) {
      const answer = await showing.refuse({ passed, declined }, error)
      finish(passed, { ...refusedOutcome(error), status: answer.status })
      return answer
    }
  }
}
