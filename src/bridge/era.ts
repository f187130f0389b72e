// Which era a server speaks, found out on a process that nothing else depends on (2026-07-28 basic/transports/stdio, backward compatibility).
import { Refusal } from '../kit/refusal.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { isModern, revisions } from '../mcp/revisions.ts'
import type { Channel } from './channel.ts'
import { isRecord, type Rpc } from './rpc.ts'

export type Era = 'modern' | 'legacy'

/** The revision the gateway itself asks in. */
export const askedVersion = (revisions.find(({ modern }) => modern) as { readonly version: string }).version

/** `params._meta` of the gateway's own requests. */
export const ownMeta = (about: { readonly version: string }): Rpc => ({
  [metaKeys.version]: askedVersion,
  [metaKeys.capabilities]: {},
  'io.modelcontextprotocol/clientInfo': { name: 'postern', version: about.version },
})

const unsupported = -32022

const hasModern = (list: unknown): boolean => Array.isArray(list) && list.some((version) => typeof version === 'string' && isModern(version))

/** What an answer to `server/discover` says. Every error but one is a server of before (the code is not specified), that one when it names a modern revision. */
const verdictOf = (answer: Rpc): Era => {
  const { result, error } = answer
  if (isRecord(result)) return hasModern(result['supportedVersions']) ? 'modern' : 'legacy'
  return isRecord(error) && error['code'] === unsupported && isRecord(error['data']) && hasModern(error['data']['supported']) ? 'modern' : 'legacy'
}

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
    const meta = { _meta: ownMeta(about) }
    try {
      channel.call({ jsonrpc: '2.0', id: 0, method: 'server/discover', params: meta }, { answer: (_, message) => done(() => resolve(verdictOf(message))), progress: () => undefined, failed: ended, patient: true })
    } catch (error) {
      reject(error as Error)
      return
    }
    // A server may start slowly, and an older one may leave unknown requests alone: `ping`, legal at any time, tells the two apart.
    timers.push(
      setTimeout(() => {
        if (channel.end()) return
        const alive = (): void => done(() => resolve('legacy'))
        channel.call({ jsonrpc: '2.0', id: 0, method: 'ping' }, { answer: () => void timers.push(setTimeout(alive, 500)), progress: () => undefined, failed: () => undefined, patient: true })
      }, patienceMs),
      setTimeout(() => done(() => reject(new Refusal('upstream.timeout', `said nothing after its start${channel.process.complaint()}`))), startMs),
    )
  })
