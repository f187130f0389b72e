// The gateway's own `requestState` (2026-07-28, multi-round-trip requests): sealed for the person and the very request, valid for minutes, and carrying whatever state
// the upstream's own round trip had, so that the retry goes on as if the gateway had never asked.
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

type Json = Readonly<Record<string, unknown>>

export interface RequestStates {
  /** For the result that asks the person. `message`: the parsed request. */
  seal(message: Json, principal: Principal, service: string): Promise<string>
  /** The request as the upstream is to see it, and whether the person said no. Throws `mcp.invalid` for a state that is not of this person and request. */
  open(message: Json, principal: Principal, service: string): Promise<{ readonly message: Json; readonly declined: boolean }>
}

/** The one key of our input request. */
export const inputKey = 'postern_connect'
const prefix = 'postern.'
const lifetimeMs = 15 * 60_000

export const isOwnState = (state: string | undefined): boolean => state?.startsWith(prefix) === true

interface Sealed {
  readonly request: string
  readonly until: number
  readonly inner: Json
}

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** One text for one value, whatever the order of its members. */
const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : isObject(value)
      ? Object.fromEntries(
          Object.keys(value)
            .toSorted()
            .map((key) => [key, canonical(value[key])]),
        )
      : value

const roundTrip = ['inputResponses', 'requestState']

const paramsOf = (message: Json): Json => (isObject(message['params']) ? message['params'] : {})
const without = (params: Json, names: readonly string[]): Json => Object.fromEntries(Object.entries(params).filter(([name]) => !names.includes(name)))
const only = (params: Json, names: readonly string[]): Json => Object.fromEntries(Object.entries(params).filter(([name]) => names.includes(name)))

/** One text for one request, whatever the round trip it is in. */
export const canonicalRequest = (message: Json): string => JSON.stringify([message['method'], canonical(without(paramsOf(message), [...roundTrip, '_meta']))])

const bad = (why: string, message: Json): Refusal => {
  const { id } = message
  return new Refusal('mcp.invalid', why, { say: 'requestState is invalid or has expired. Make the call again without it.', rpcId: typeof id === 'string' || typeof id === 'number' ? id : null })
}

export const createRequestStates = ({ runtime }: { readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest'> }): RequestStates => {
  const contextOf = ({ person }: Principal, service: string): string => `request-state\n${service}\n${personKey(person)}`
  const requestOf = (message: Json): string => runtime.digest(canonicalRequest(message))

  return {
    async seal(message, principal, service) {
      const sealed: Sealed = { request: requestOf(message), until: runtime.now() + lifetimeMs, inner: only(paramsOf(message), roundTrip) }
      return prefix + (await runtime.keys.seal(JSON.stringify(sealed), contextOf(principal, service)))
    },
    async open(message, principal, service) {
      const params = paramsOf(message)
      const state = params['requestState']
      const text = typeof state === 'string' ? await runtime.keys.open(state.slice(prefix.length), contextOf(principal, service)) : undefined
      if (text === undefined) throw bad('not of this person', message)
      const { request, until, inner } = JSON.parse(text) as Sealed
      if (until < runtime.now()) throw bad('expired', message)
      if (request !== requestOf(message)) throw bad('of another request', message)
      const responses = params['inputResponses']
      const said = isObject(responses) ? responses[inputKey] : undefined
      const declined = isObject(said) && (said['action'] === 'decline' || said['action'] === 'cancel')
      return { message: { ...message, params: { ...without(params, roundTrip), ...inner } }, declined }
    },
  }
}
