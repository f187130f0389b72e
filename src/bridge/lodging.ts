// A session together with its process, from the first `initialize` to the end of either: the process is the session's whole life.
import { Refusal } from '../kit/refusal.ts'
import type { BridgeCall, BridgeReply, Leave } from '../ports/bridge.ts'
import type { Channel } from './channel.ts'
import type { Pool } from './pool.ts'
import { isRecord, type Rpc, type Said } from '../mcp/rpc.ts'
import { createSession, type Session } from './session.ts'

export interface Lodging {
  readonly owner: string
  readonly session: Session
  readonly channel: Pick<Channel, 'call' | 'pending' | 'usedAt' | 'expire'>
  /** Of its process (`ServerProcess.complaint`). */
  complaint(): string
  /** Filled in when the session has a name. */
  id: string | undefined
  /** Ends session and process. */
  leave(): void
}

export interface LodgingDeps {
  readonly pool: Pool
  readonly now: () => number
  readonly primes: (version: string) => boolean
  /** Every call of a client that is primed gets an event stream, however soon it is answered. */
  readonly atOnce: boolean
  readonly stray: (what: string) => void
  /** The session is over, for whatever reason. */
  readonly forget: (lodging: Lodging) => void
}

/** A process with nobody in it yet but this session. Rejects as `Pool.start` does. */
export const lodge = async (owner: string, signal: Leave, { pool, now, primes, atOnce, stray, forget }: LodgingDeps): Promise<Lodging> => {
  const home: { channel?: Channel; lodging?: Lodging } = {}
  const session = createSession({ now, channel: () => home.channel as Channel, primes, atOnce, stray })
  const over = (): void => {
    session.streams.close()
    if (home.lodging) forget(home.lodging)
  }
  const leave = (): void => {
    over()
    home.channel?.stop()
  }
  const channel = await pool.start(
    owner,
    {
      ...session.events,
      idle: () => (!home.channel || home.channel.pending() > 0 ? 0 : now() - Math.max(home.channel.usedAt(), session.touchedAt)),
      busy: () => home.channel !== undefined && home.channel.pending() > 0,
      leave,
      ended: over,
    },
    signal,
  )
  home.channel = channel
  home.lodging = { owner, session, channel, id: undefined, leave, complaint: channel.process.complaint }
  return home.lodging
}

export interface Introduction {
  readonly lodging: Lodging
  readonly said: Said
  readonly call: BridgeCall
  /** Longest wait for the answer, milliseconds. */
  readonly startMs: number
  /** The server has accepted: names the session. */
  readonly accepted: (lodging: Lodging) => string
}

/** Sends `initialize`. The session begins with the server's yes; without one nothing is left behind. */
export const introduce = ({ lodging, said, call, startMs, accepted }: Introduction): Promise<BridgeReply> => {
  const { session, channel } = lodging
  const way = session.streams.way(call.signal)
  const over = (): void => {
    clearTimeout(late)
    call.signal.removeEventListener('abort', leave)
  }
  const leave = (): void => {
    over()
    lodging.leave()
  }
  const failed = (refusal: Refusal): void => {
    way.fail(refusal, () => call.refused(refusal, said.message['id']))
    leave()
  }
  const late = setTimeout(() => failed(new Refusal('upstream.timeout', `no answer to initialize${lodging.complaint()}`)), startMs)
  call.signal.addEventListener('abort', leave, { once: true })
  if (call.signal.aborted) leave()
  const answer = (text: string, { result }: Rpc): void => {
    if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') {
      // A server of 2026-07-28 alone names its revisions in the error (basic/versioning); the client should see it.
      way.answer(text, 400)
      leave()
      return
    }
    over()
    session.version = result['protocolVersion']
    session.touch()
    way.answer(text, 200, ['Mcp-Session-Id', accepted(lodging)])
  }
  try {
    channel.call(said, { answer, progress: way.tell, failed, patient: true })
  } catch (error) {
    failed(error as Refusal)
  }
  return way.reply
}
