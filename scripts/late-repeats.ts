// The part of `npm run prove races` about late repeats of a refresh token: a thief who keeps step with the
// client, and a client that loses answers, on two gateways with one store. Hours are simulated: the clocks of
// both gateways are moved.
import { type Client, logIn, refresh } from '../test/runtimes/login.ts'
import { fromNetwork } from '../test/runtimes/networks.ts'
import { createTwins, type Twin, type Twins } from '../test/runtimes/twins.ts'
import type { Verdicts } from './harness/verdict.ts'

const [home, office] = ['192.0.2.1', '198.51.100.7']
const minute = 60_000
const hour = 60 * minute
/**
 * What was seen by a report of 0.1.0: 60 refreshes in 30 hours, one by the client and one by the thief each
 * hour.
 */
const hours = 30

interface Scene {
  readonly twins: Twins
  readonly gateways: readonly [Twin, Twin]
}

const open = async (): Promise<Scene> => {
  const twins = createTwins('http://127.0.0.1:9/mcp')
  return { twins, gateways: [await twins.open({}), await twins.open({})] }
}

/** The next refresh token; undefined: `invalid_grant`, and the person has to sign in again. */
const present = async (
  gateway: Twin,
  client: Client,
  token: string,
  ip: string,
): Promise<string | undefined> => {
  const answer = await refresh(fromNetwork(gateway, ip), client, token)
  const body = (await answer.json()) as { refresh_token?: string; error?: string }
  if (answer.status !== 200 && body.error !== 'invalid_grant')
    throw new Error(`the token endpoint answered ${answer.status} ${body.error}`)
  return body.refresh_token
}

const told = ({ gateways }: Scene, event: string, client: Client): number =>
  gateways.reduce(
    (sum, { log }) =>
      sum + log.filter((line) => line.event === event && line.fields['client'] === client.id).length,
    0,
  )

interface Pursuit {
  /** How long after the first of the two the second presents the same token. */
  readonly behindMs: number
  readonly thiefFirst: boolean
  readonly thiefAt: string
}

/**
 * Both present what they hold, the second some time after the first, each hour; answers the round in which
 * either heard `invalid_grant`.
 */
const pursue = async (
  scene: Scene,
  { behindMs, thiefFirst, thiefAt }: Pursuit,
): Promise<{ readonly client: Client; readonly round: number | undefined }> => {
  const { client, tokens } = await logIn(scene.gateways[0])
  const places = thiefFirst ? [thiefAt, home] : [home, thiefAt]
  const held = [tokens.refresh_token, tokens.refresh_token]
  for (let round = 0; round < hours; round++) {
    for (const i of [0, 1] as const) {
      const next = await present(scene.gateways[i], client, held[i] ?? '', places[i] ?? '')
      if (next === undefined) return { client, round }
      held[i] = next
      scene.twins.advance(i === 0 ? behindMs : hour - behindMs)
    }
  }
  return { client, round: undefined }
}

const thieves = async (verdicts: Verdicts): Promise<void> => {
  const scene = await open()
  const rounds: (number | undefined)[] = []
  let silent = 0
  for (const thiefFirst of [true, false])
    for (const behindMs of [minute, 5 * minute, 30 * minute, 59 * minute]) {
      const { client, round } = await pursue(scene, { behindMs, thiefFirst, thiefAt: office })
      rounds.push(round)
      if (told(scene, 'refresh.reuse', client) !== 1) silent++
    }
  const held = rounds.every((round) => round !== undefined && round <= 1) && silent === 0
  verdicts.claim(
    held,
    'a thief keeps step with the client from another network',
    held
      ? `ended within one round in each of ${rounds.length} orders, with one refresh.reuse each`
      : `ended in rounds ${rounds.join(', ')}; ${silent} without refresh.reuse`,
  )
  const { client, round } = await pursue(scene, { behindMs: 30 * minute, thiefFirst: false, thiefAt: home })
  const events = told(scene, 'refresh.repeated', client)
  verdicts.claim(
    events === hours,
    `a thief keeps step for ${hours} hours from the client's own network`,
    `${events} × refresh.repeated for ${hours} late repeats${round === undefined ? '' : `, ended in round ${round}`}`,
  )
  await scene.twins.close()
}

/** Numbers that look random and are the same in every run. */
const createChance = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

interface Life {
  readonly refreshes: number
  readonly lost: number
  readonly moves: number
  readonly logins: number
}

/**
 * Two processes of one client on one computer for 30 hours. Each refreshes with what the common store holds,
 * or, when it was quick, with what it got itself; a third of all answers is lost; in the evening and in the
 * morning the computer changes its network, the first time with a lost answer; eleven hours it sleeps.
 */
const live = async ({ twins, gateways }: Scene, seed: number): Promise<Life> => {
  const chance = createChance(seed)
  const { client, tokens } = await logIn(gateways[0])
  let shared = tokens.refresh_token
  const own: [string | undefined, string | undefined] = [undefined, undefined]
  const life = { refreshes: 0, lost: 0, moves: 0, logins: 0 }
  let at = home
  let losing = false
  const step = async (i: 0 | 1): Promise<void> => {
    const token = own[i] ?? shared
    const next = await present(gateways[Math.floor(chance() * 2) as 0 | 1], client, token, at)
    life.refreshes++
    if (next === undefined) life.logins++
    else if (losing || chance() < 1 / 3) life.lost++
    else [own[i], shared] = [next, next]
  }
  for (let passed = 0; passed < hours * hour;) {
    const before = shared
    // At the same moment, a few seconds or some minutes after one another.
    const apart = chance() < 0.4 ? 0 : chance() < 0.5 ? 5_000 : Math.floor(chance() * 20) * minute
    if (apart === 0) await Promise.all([step(0), step(1)])
    else {
      await step(0)
      twins.advance(apart)
      // The other one read the store when the first did.
      if (before !== shared && chance() < 0.5) own[1] = before
      await step(1)
    }
    const night = passed < 12 * hour && passed + hour >= 12 * hour
    const pause = night ? 11 * hour : hour - apart
    own[0] = own[1] = undefined
    if (night || chance() < 0.15) {
      at = at === home ? office : home
      life.moves++
    }
    losing = !night && chance() < 0.1
    twins.advance(pause)
    passed += pause + apart
  }
  return life
}

const sharers = async (verdicts: Verdicts, lives: number): Promise<void> => {
  const scene = await open()
  const all: Life[] = []
  for (let seed = 1; seed <= lives; seed++) all.push(await live(scene, seed))
  await scene.twins.close()
  const sum = (of: keyof Life): number => all.reduce((total, each) => total + each[of], 0)
  const seen = `${sum('logins')} logins in ${sum('refreshes')} refreshes, ${sum('lost')} lost answers and ${sum('moves')} changes of network`
  verdicts.claim(
    sum('logins') === 0,
    `2 processes of one client on one store, ${lives} × ${hours} hours with lost answers`,
    seen,
  )
}

export const raceLateRepeats = async (verdicts: Verdicts, rounds: number): Promise<void> => {
  await thieves(verdicts)
  await sharers(verdicts, Math.max(1, Math.round(rounds / 10)))
}
