// What PostgreSQL tells of changed records (LISTEN), on a connection of its own: none while nobody follows a record.
import type { Client } from 'pg'
import { closuresKey } from '../kit/records.ts'
import type { Timer } from '../ports/runtime.ts'
import type { Notice, Subscribe } from '../ports/store.ts'
import { unavailable, within } from './remote-store.ts'

interface SubscriptionsOptions {
  readonly create: () => Client
  /** What records are told of on: the schema. */
  readonly channel: string
  readonly timer: Timer
}

type Heard = (notice: Notice) => void

/** It must stand within so many ms; a peer that went away without a word is noticed after so many. */
const [standMs, pingMs, answerMs] = [2000, 15_000, 5000]

interface Listener {
  readonly client: Client
  /** Resolves once every later change will be told. */
  readonly ready: Promise<void>
}

/** `over`: nothing more will be heard. */
const openListener = (
  { create, channel, timer }: SubscriptionsOptions,
  changed: (key: string) => void,
  over: (client: Client) => void,
): Listener => {
  const client = create()
  // Without a listener an error ends the process.
  client.on('error', () => over(client))
  client.on('end', () => over(client))
  client.on('notification', ({ payload }) => payload !== undefined && changed(payload))
  const standing = client.connect().then(() => client.query(`LISTEN ${channel}`))
  const ready = within(timer, standMs, standing).then(
    () => undefined,
    (error: unknown) => {
      over(client)
      throw unavailable(error instanceof Error ? error.message : String(error))
    },
  )
  ready.catch(() => undefined)
  return { client, ready }
}

export const createSubscriptions = (
  options: SubscriptionsOptions,
): { readonly subscribe: Subscribe; readonly close: () => void } => {
  const { timer } = options
  const followers = new Map<string, Set<Heard>>()
  let listener: Listener | undefined
  let cancelPing = (): void => undefined
  const tell = (of: Iterable<Set<Heard>>, notice: Notice): void => {
    for (const heard of [...of].flatMap((some) => [...some])) heard(notice)
  }
  // What is closed concerns everybody.
  const changed = (key: string): void =>
    tell(key === closuresKey ? followers.values() : [followers.get(key) ?? new Set()], 'changed')
  const end = (client: Client): void => {
    client.end().catch(() => undefined)
    client.connection.stream.destroy()
    if (listener?.client !== client) return
    listener = undefined
    cancelPing()
    const left = [...followers.values()]
    followers.clear()
    tell(left, 'lost')
  }
  const ping = (client: Client): void => {
    if (listener?.client !== client) return
    cancelPing = timer(pingMs, () => {
      if (followers.size === 0) return end(client)
      within(timer, answerMs, client.query('SELECT 1')).then(
        () => ping(client),
        () => end(client),
      )
    })
  }
  const open = (): Listener => {
    const opened = openListener(options, changed, end)
    opened.ready.then(
      () => ping(opened.client),
      () => undefined,
    )
    return opened
  }
  return {
    async subscribe(key, heard) {
      listener ??= open()
      const { client, ready } = listener
      await ready
      if (listener?.client !== client) throw unavailable('the connection was lost')
      const mine = followers.get(key) ?? new Set<Heard>()
      followers.set(key, mine.add(heard))
      return () => {
        mine.delete(heard)
        if (mine.size === 0 && followers.get(key) === mine) followers.delete(key)
      }
    },
    close() {
      followers.clear()
      if (listener) end(listener.client)
    },
  }
}
