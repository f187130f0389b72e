// Which era a server speaks, found out on a process that nothing else depends on (2026-07-28 basic/transports/stdio, backward compatibility).
import { Refusal } from '../kit/refusal.ts'
import { envelopeOf, type Era, eraOf, ownClient } from '../mcp/era.ts'
import { saying } from '../mcp/rpc.ts'
import type { Channel } from './channel.ts'

/** How long a server may leave `server/discover` alone before it is asked something that every older one answers. */
const patienceMs = 2000

export interface ProbeOptions {
  readonly about: { readonly version: string }
  /** Longest wait for the process to say anything, milliseconds. */
  readonly startMs: number
}

/**
 * Asks. Resolves to the era; the channel may be used on when it is `modern`. An end of the process is a legacy server too: some end on
 * any request before `initialize`. Rejects when it cannot be started, or says nothing at all in time.
 */
export const probe = (channel: Channel, { about, startMs }: ProbeOptions): Promise<Era> =>
  new Promise((resolve, reject) => {
    const timers: ReturnType<typeof setTimeout>[] = []
    const done = (settle: () => void): void => {
      for (const timer of timers) clearTimeout(timer)
      settle()
    }
    const ended = (refusal: Refusal): void => done(() => (channel.end()?.kind === 'exit' ? resolve('legacy') : reject(refusal)))
    const meta = { _meta: envelopeOf(ownClient(about)) }
    try {
      channel.call(saying({ jsonrpc: '2.0', id: 0, method: 'server/discover', params: meta }), { answer: (_, message) => done(() => resolve(eraOf(message))), progress: () => undefined, failed: ended, patient: true })
    } catch (error) {
      reject(error as Error)
      return
    }
    // A server may start slowly, and an older one may leave unknown requests alone: `ping`, legal at any time, tells the two apart.
    timers.push(
      setTimeout(() => {
        if (channel.end()) return
        const alive = (): void => done(() => resolve('legacy'))
        channel.call(saying({ jsonrpc: '2.0', id: 0, method: 'ping' }), { answer: () => void timers.push(setTimeout(alive, 500)), progress: () => undefined, failed: () => undefined, patient: true })
      }, patienceMs),
      setTimeout(() => done(() => reject(new Refusal('upstream.timeout', `said nothing after its start${channel.process.complaint()}`))), startMs),
    )
  })
