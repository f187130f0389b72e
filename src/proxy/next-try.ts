// What follows from an upstream's answer before the caller hears it: the same at another path of its origin, or with another credential.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, Answer, Upstream } from '../ports/calls.ts'
import { mayMove, mostMoves } from './endpoint.ts'
import { type Finish, refusedOutcome } from './ending.ts'
import type { Passed } from './passed.ts'
import { noticing } from './rebuff.ts'
import type { Showing, Try } from './showing.ts'

/** Where the same is asked once more, within the endpoint's origin; undefined: the answer stands. */
const movedTo = ({ passed: { call, session }, moved }: Try, upstream: Upstream, status: number, rawHeaders: readonly string[]): Try['moved'] => {
  const times = moved?.times ?? 0
  if (upstream.kind !== 'http' || times >= mostMoves) return undefined
  const about = { method: call.head.method, path: upstream.path, session: session !== undefined, status }
  const path = call.place.endpoint?.elsewhere({ ...about, location: fieldOf(rawHeaders, 'location'), type: fieldOf(rawHeaders, 'content-type') })
  return path === undefined ? undefined : { path, times: times + 1 }
}

const straightOf = ({ passed: { call }, moved }: Try): Upstream => {
  const upstream = call.place.target.upstream(call.rest, call.query)
  return moved && upstream.kind === 'http' ? { ...upstream, path: moved.path } : upstream
}

/** Where this try goes. `heard`: told of what a server on a line refuses. */
export const upstreamFor = (tried: Try, detour: (passed: Passed) => Upstream | undefined, heard: (status: number, rawHeaders: readonly string[]) => void): Upstream =>
  noticing(detour(tried.passed), heard) ?? straightOf(tried)

/** Ends a try that another one follows; nobody is told of it. */
export const superseded = (service: string, status: number): Refusal => new Refusal('upstream.credential', `${service} answered ${status}`)

export interface NextTryDeps {
  readonly showing: Showing
  readonly finish: Finish
  readonly admit: (tried: Try, fields: readonly string[]) => Admission
}

/** Undefined, at once: the answer stands. */
export type NextTry = (tried: Try, fields: readonly string[], upstream: Upstream, status: number, rawHeaders: readonly string[]) => Promise<Admission | Answer> | undefined

export const createNextTry = ({ showing, finish, admit }: NextTryDeps): NextTry => {
  /** The try with another credential, or what the caller is told instead. The place is kept, and the record written, by whichever it is. */
  const withCredential = ({ passed, declined, moved }: Try, fields: readonly string[], credential: Promise<NonNullable<Try['credential']>>): Promise<Admission | Answer> =>
    credential
      .then((next): Admission | Answer => admit({ passed, credential: next, last: true, declined, moved }, fields))
      .catch((error: unknown) => {
        finish(passed, refusedOutcome(error))
        return showing.refuse({ passed, declined }, error)
      })

  return (tried, fields, upstream, status, rawHeaders) => {
    const { endpoint } = tried.passed.call.place
    const moved = endpoint && mayMove(endpoint, status) ? movedTo(tried, upstream, status, rawHeaders) : undefined
    if (moved) return Promise.resolve(admit({ ...tried, moved }, fields))
    const credential = showing.again(tried, status, rawHeaders)
    if (!credential) return undefined
    const next = withCredential(tried, fields, credential)
    // Whoever carries this call asks for it, and hears what became of it.
    next.catch(() => undefined)
    return next
  }
}
