// One process for each person who calls in 2026-07-28, once it is known that the server speaks it (SEP-2567: the key is the authenticated principal).
import { Refusal } from '../kit/refusal.ts'
import type { Channel } from './channel.ts'
import { envelopeOf, type Era, ownClient } from '../mcp/era.ts'
import { probe } from './era.ts'
import { createPersonal, type Personal } from './personal.ts'
import type { Pool } from './pool.ts'
import { createTools, type Tools } from './tools.ts'

/** A server once found to be of before may have been replaced since: it is asked again. */
const legacyMs = 600_000
/** Whoever waits for a process leaves its making to those who come later. */
const never = new AbortController().signal

export interface Home {
  readonly personal: Personal
  readonly tools: Tools
  readonly channel: Channel
  /** The process is what it was asked to be, and lives on. */
  settle(): void
}

export interface HomesOptions {
  readonly pool: Pool
  readonly now: () => number
  readonly about: { readonly version: string }
  /** Longest wait for a process to say anything, milliseconds. */
  readonly startMs: number
  readonly shared: boolean
  readonly stray: (what: string) => void
}

export interface Homes {
  /** This owner's process, begun when there is none. Rejects with `mcp.legacy` when the server speaks older revisions only, and as `Pool.start` does. */
  of(owner: string): Promise<Home>
  readonly settled: Iterable<Home>
  /** Whether this owner's process runs, and has answered. */
  ready(owner: string): boolean
}

type Make = (owner: string, probing: boolean, forget: (home: Home) => void) => Promise<Home>

const createMake =
  ({ pool, now, about, shared, stray }: HomesOptions): Make =>
  async (owner, probing, forget) => {
    const home: { channel?: Channel; whole?: Home; probing: boolean } = { probing }
    const own = (): Channel => home.channel as Channel
    const personal = createPersonal({ channel: own, alone: !shared, stray })
    const over = (): void => {
      if (home.whole) forget(home.whole)
    }
    const channel = await pool.start(
      owner,
      {
        ...personal.events,
        idle: () => (home.channel?.pending() === 0 ? now() - home.channel.usedAt() : 0),
        busy: () => personal.calls > 0,
        leave() {
          over()
          personal.close()
          home.channel?.stop()
        },
        ended: over,
        probing: () => home.probing,
      },
      never,
    )
    home.channel = channel
    home.whole = { personal, channel, tools: createTools({ channel: own, now, meta: envelopeOf(ownClient(about)) }), settle: () => void (home.probing = false) }
    return home.whole
  }

/** What the process is; one of this era goes on living, another is ended. */
const ask = async (home: Home, options: HomesOptions): Promise<{ readonly era: Era; readonly home: Home | undefined }> => {
  const era = await probe(home.channel, options).catch((error: unknown) => {
    home.channel.stop()
    throw error
  })
  if (era === 'modern') home.settle()
  else home.channel.stop()
  return { era, home: era === 'modern' ? home : undefined }
}

export const createHomes = (options: HomesOptions): Homes => {
  const { now } = options
  const make = createMake(options)
  const homes = new Map<string, Promise<Home>>()
  const settled = new Map<string, Home>()
  let verdict: { readonly era: Era; readonly until: number } | undefined
  /** The process that is being asked; everybody else waits for what it says. */
  const asking: { now?: Promise<unknown> } = {}

  const begin = (owner: string, probing: boolean): Promise<Home> =>
    make(owner, probing, (home) => {
      if (settled.get(owner) !== home) return
      settled.delete(owner)
      homes.delete(owner)
    })

  const enter = async (owner: string): Promise<Home> => {
    while (asking.now) await asking.now.catch(() => undefined)
    if (!verdict || now() >= verdict.until) {
      const asked = begin(owner, true).then((home) => ask(home, options))
      asking.now = asked
      const { era, home } = await asked.finally(() => delete asking.now)
      verdict = { era, until: era === 'legacy' ? now() + legacyMs : Number.POSITIVE_INFINITY }
      if (home) return home
    }
    if (verdict?.era === 'legacy') throw new Refusal('mcp.legacy', 'server speaks a legacy revision only')
    return begin(owner, false)
  }

  return {
    of(owner) {
      const known = homes.get(owner)
      if (known) return known
      const made = enter(owner)
      homes.set(owner, made)
      made.then(
        (home) => {
          // It may have ended between its first word and this moment.
          if (home.channel.end()) homes.delete(owner)
          else settled.set(owner, home)
        },
        () => homes.delete(owner),
      )
      return made
    },
    ready: (owner) => settled.has(owner),
    settled: { [Symbol.iterator]: () => settled.values() },
  }
}
