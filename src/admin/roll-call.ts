// Which processes of this gateway have heard of an end, and how many calls run in them. Whoever ended something asks
// through the store; each process that serves reads that every half second, forgets what it remembers of
// grants, and answers in a record of its own.
import { encodeBase64url } from '../kit/bytes.ts'
import { type Records, createRecords, isNamed } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { isClientOfDomain } from '../kit/urls.ts'
import type { RunningCall, RunningCalls } from '../ports/call.ts'
import type { Confirmation, GrantFilter } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

interface Round {
  /** Counts the rounds. */
  readonly n: number
  /** Epoch ms. */
  readonly at: number
  /** Of the calls to be counted; absent: something was ended. */
  readonly filter?: GrantFilter | undefined
}

interface Presence {
  /** The newest round that this process has answered. */
  readonly n: number
  readonly running?: number | undefined
}

export interface RollCall {
  /** For a process that serves, every half second: it is there, and answers. */
  answer(): Promise<void>
  /** It serves no longer. */
  leave(): Promise<void>
  /**
   * Waits until every process has heard of what was ended before, at most a second. Undefined where no process says
   * that it is there: on Workers, or while none runs.
   */
  confirm(): Promise<Confirmation | undefined>
  /** Calls in progress in the processes that answered within a second; undefined as above. */
  runningCalls(filter: GrantFilter): Promise<number | undefined>
}

export interface RollCallDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'timer'>
  /** What this process remembers of grants counts no longer. */
  readonly forget: () => void
  readonly closures: { refresh(): Promise<void> }
  readonly running: Pick<RunningCalls, 'all'>
}

/** A process that was killed is on the list for so long, or until it has left a round unanswered. */
const listedMs = 600_000
const renewMs = 240_000
const silentMs = 3_000
const looks = 20
const lookEveryMs = 50
const maxAttempts = 10

const isMeant = (
  { principal, address }: RunningCall,
  { user, client, domain, service }: GrantFilter,
): boolean =>
  principal !== undefined &&
  (user === undefined || isNamed(principal.person, user) || principal.personKey === user) &&
  (client === undefined || principal.clientId === client) &&
  (domain === undefined || isClientOfDomain(principal.clientId, domain)) &&
  (service === undefined || address.service.id === service)

type Presences = Records<Presence>

interface Answering extends Pick<RollCall, 'answer' | 'leave'> {
  readonly serves: () => boolean
}

const createAnswering = (
  { runtime, forget, closures, running }: RollCallDeps,
  rounds: Records<Round>,
  processes: Presences,
): Answering => {
  const { now, random } = runtime
  const id = encodeBase64url(random(12))
  /** What this process said last; undefined before it serves, and after. */
  let own: (Presence & { readonly at: number }) | undefined
  let isOver = false
  return {
    serves: () => own !== undefined,
    async answer() {
      const asked = (await rounds.get(''))?.value
      const n = asked?.n ?? 0
      const isDue = own === undefined || own.n < n || now() - own.at > renewMs
      if (!isDue || isOver) return
      const filter = asked?.filter
      if (!filter) {
        forget()
        await closures.refresh()
      }
      const said = filter ? running.all().filter((call) => isMeant(call, filter)).length : undefined
      await processes.put(id, { n, running: said }, { ttlMs: listedMs })
      own = { n, at: now() }
    },
    async leave() {
      isOver = true
      own = undefined
      await processes.take(id)
    },
  }
}

/** The round as it stands in the store, and the one before it. */
const pose = async (
  rounds: Records<Round>,
  said: Omit<Round, 'n'>,
): Promise<readonly [Round, Round | undefined]> => {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const kept = await rounds.get('')
    const asked = { ...said, n: (kept?.value.n ?? 0) + 1 }
    if (await rounds.put('', asked, { only: kept?.mark ?? 'absent' })) return [asked, kept?.value]
  }
  throw new Refusal('storage.unavailable', 'the roll call changed again and again')
}

interface Answers {
  /** Of the processes that are taken for alive. */
  readonly live: readonly Presence[]
  readonly n: number
}

export const createRollCall = (deps: RollCallDeps): RollCall => {
  const { now, timer } = deps.runtime
  const rounds = createRecords<Round>(deps.runtime, 'roll-call')
  const processes: Presences = createRecords<Presence>(deps.runtime, 'gateway-process:')
  const { answer, leave, serves } = createAnswering(deps, rounds, processes)

  const ask = async (filter?: GrantFilter): Promise<Answers | undefined> => {
    if ((await processes.list({ limit: 1 })).length === 0) return undefined
    const [{ n, at }, before] = await pose(rounds, { at: now(), ...(filter && { filter }) })
    // What ends here ends in this process first.
    if (serves()) await answer()
    const isSilent = (said: Presence): boolean =>
      before !== undefined && said.n < before.n && at - before.at > silentMs
    for (let look = 0; ; look++) {
      const found = (await processes.list({ limit: 1000 })).map(({ value }) => value)
      const live = found.filter((said) => said.n >= n || !isSilent(said))
      if (look === looks || live.every((said) => said.n >= n)) return { live, n }
      await new Promise<void>((resolve) => void timer(lookEveryMs, resolve))
    }
  }

  return {
    answer,
    leave,
    async confirm() {
      const since = now()
      const answers = await ask()
      if (!answers) return undefined
      const applied = answers.live.filter((said) => said.n >= answers.n).length
      return { processes: answers.live.length, applied, ms: now() - since }
    },
    async runningCalls(filter) {
      const answers = await ask(filter)
      if (!answers) return undefined
      const counts = answers.live.flatMap((said) => (said.n === answers.n ? (said.running ?? []) : []))
      return counts.reduce((sum, count) => sum + count, 0)
    },
  }
}
