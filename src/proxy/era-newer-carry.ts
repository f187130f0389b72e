// Calls of clients of 2026-07-28 in their session at a server of before: begun, begun again where the server has forgotten the session, and taken up at the client's next try.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Rpc } from '../mcp/rpc.ts'
import { mayAsk } from '../mcp/translate.ts'
import { asRefusal, type Caller, type Tell } from './era-exchange.ts'
import { createHeldCalls, type HeldCalls, requestOf } from './era-held.ts'
import { createNewerCall, type NewerCall } from './era-newer-call.ts'
import { createEraReply, type EraReply } from './era-reply.ts'
import type { FarSession, FarSessions } from './era-sessions.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface NewerCarryDeps {
  readonly tell: Tell
  readonly sessions: FarSessions
  readonly service: string
  readonly random: Runtime['random']
  readonly digest: Runtime['digest']
  readonly keepAliveMs: number
  readonly lasting: boolean
  /** The session of such a call. */
  readonly begin: (caller: Caller, message: Rpc) => Promise<FarSession | Response | undefined>
}

export interface NewerCarry {
  call(caller: Caller, session: FarSession, message: Rpc): Promise<Response>
  /** The client's next try of a call that waits here under that state. Throws `era.state`. */
  resume(caller: Caller, message: Rpc, state: string): Promise<Response>
}

/** What a call needs on its way, whichever session it is in. */
interface Journey {
  readonly caller: Caller
  readonly message: Rpc
  readonly reply: EraReply
  /** The call as it is now, for whoever ends it. */
  call: NewerCall | undefined
}

type Attempt = (journey: Journey, session: FarSession) => Promise<'lost' | undefined>

const createAttempt = ({ tell, sessions, service, random, digest, lasting }: NewerCarryDeps, held: HeldCalls): Attempt => {
  /** Calls of a session that may be asked something, the latest last: what the server asks outside a call is for it. */
  const askable = new WeakMap<FarSession, Set<NewerCall>>()

  return async (journey, session) => {
    const { caller, message, reply } = journey
    const latest = askable.get(session) ?? new Set()
    askable.set(session, latest)
    const request = requestOf(digest, message)
    const ends: (() => void)[] = [() => latest.delete(call), () => sessions.done(session)]
    let over = false
    const call: NewerCall = createNewerCall({
      tell,
      service,
      session,
      message,
      caller,
      reply,
      name: encodeBase64url(random(12)),
      hold: () => (lasting ? held.hold(caller.owner, request, () => call) : undefined),
      over() {
        over = true
        for (const end of ends) end()
      },
    })
    journey.call = call
    if (session.stream && mayAsk.has(String(message['method'])) && Object.keys(session.capabilities).length > 0) {
      latest.add(call)
      // Before the call: what a server asks where nobody listens is lost.
      const stop = await session.stream.listen((heard) => heard['id'] !== undefined && [...latest].at(-1) === call && call.hear(heard))
      if (over) stop()
      else ends.push(stop)
    }
    const outcome = over ? undefined : await call.run()
    if (outcome === 'lost') for (const end of ends) end()
    return outcome
  }
}

export const createNewerCarry = (deps: NewerCarryDeps): NewerCarry => {
  const { sessions, service, random, digest, keepAliveMs, begin } = deps
  const held = createHeldCalls({ random, digest })
  const attempt = createAttempt(deps, held)

  const carry = async (journey: Journey, session: FarSession): Promise<void> => {
    if ((await attempt(journey, session)) !== 'lost') return
    await sessions.lost(session)
    const anew = await begin(journey.caller, journey.message)
    if (anew !== undefined && !(anew instanceof Response) && (await attempt(journey, anew)) !== 'lost') return
    throw new Refusal('upstream.session', `${service} forgets its sessions`)
  }

  return {
    call(caller, session, message) {
      const reply = createEraReply({ keepAliveMs, signal: caller.signal, gone: () => journey.call?.cancel() })
      const journey: Journey = { caller, message, reply, call: undefined }
      carry(journey, session).catch((error: unknown) => {
        reply.fail(error, () => caller.refused(asRefusal(error, service), message['id']))
      })
      return reply.response
    },
    async resume(caller, message, state) {
      const waiting = await held.take(state, caller.owner, message)
      const reply = createEraReply({ keepAliveMs, signal: caller.signal, gone: () => waiting.cancel() })
      await waiting.resume(caller, message, reply)
      return reply.response
    },
  }
}
