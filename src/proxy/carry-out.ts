// A whole proxied call by fetch: the decision, the carrying, and the second try where there is one.
import type { Admission, Admit, Answer, Fetch, Head, ReadBody } from '../ports/calls.ts'
import { answerResponse } from './http.ts'

export interface CarryOut {
  readonly admit: Admit
  readonly head: Head
  readonly readBody: ReadBody
  readonly fetchFor: (admission: Admission) => Fetch
  readonly signal: AbortSignal
  /** Told of each try, before it goes. */
  readonly admitted?: (admission: Admission) => void
}

/** What follows a try that failed: another one, an answer, or its error. */
const another =
  (admitted: Admission) =>
  async (error: unknown): Promise<{ readonly next: Admission | Answer }> => {
    const again = admitted.again()
    if (again) return { next: await again }
    throw error
  }

/** Rejects with what the decision refuses, and with `upstream.*`. */
export const carryOut = async ({ admit, head, readBody, fetchFor, signal, admitted: told }: CarryOut): Promise<Response> => {
  for (let admitted = await admit(head, readBody); ; ) {
    if (admitted.kind === 'answer') return answerResponse(admitted)
    told?.(admitted)
    const tried: Response | { readonly next: Admission | Answer } = await admitted.byFetch(fetchFor(admitted), signal).catch(another(admitted))
    if (tried instanceof Response) return tried
    admitted = tried.next
  }
}
