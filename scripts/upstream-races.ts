// The part of `npm run prove races` about people's accounts at upstreams: one renewal for two processes, and
// what a kill -9 costs between the server's answer and its record.
import { connectAt, linkIn, logInThrough } from '../test/runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../test/runtimes/remote-server.ts'
import type { TestGateway } from '../test/runtimes/runtimes.ts'
import { person } from '../test/runtimes/login.ts'
import { callerOf } from '../test/runtimes/people.ts'
import { type PosternProcess, startProcess, temporaryState } from '../test/runtimes/process.ts'
import { call } from '../test/runtimes/proxied.ts'
import { freePort } from './harness/free-port.ts'
import type { Verdicts } from './harness/verdict.ts'

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))
const houseOf = ({ origin, fetch }: PosternProcess): TestGateway => ({
  origin,
  fetch,
  log: [],
  advance: () => undefined,
  close: () => Promise.resolve(),
})
const configFor = (far: FarServer) => ({
  local_users: [person],
  mcp_services: { far: { url: far.url, upstream_auth: { type: 'oauth' } } },
})

const together = async (verdicts: Verdicts, rounds: number, parallel: number): Promise<void> => {
  const far = await openFarServer()
  const state = temporaryState()
  const config = configFor(far)
  const first = await startProcess({ config, stateDir: state.dir })
  const port = await freePort()
  const second = await startProcess({
    config: { ...config, issuer: first.origin, allowed_hosts: [`localhost:${port}`] },
    stateDir: state.dir,
    port,
  })
  const wrong: string[] = []
  try {
    const { caller } = await logInThrough(houseOf(first), 'far')
    const other = callerOf(houseOf(first), caller.url.replace(/:\d+\//, `:${port}/`), caller.token)
    for (let round = 0; round < rounds; round++) {
      far.expire()
      const before = far.count('/token', 'refresh_token')
      const answers = await Promise.all(
        Array.from({ length: parallel }, (_, i) => (i % 2 === 0 ? caller : other).post(call())),
      )
      await Promise.all(answers.map((answer) => answer.text()))
      const good = answers.filter(({ status }) => status === 200).length
      const asked = far.count('/token', 'refresh_token') - before
      if (good !== parallel || asked !== 1) wrong.push(`round ${round}: ${good} × 200, ${asked} renewals`)
    }
  } finally {
    await Promise.all([first.end(), second.end()])
    await far.close()
    state.remove()
  }
  const seen =
    wrong.length === 0
      ? `${parallel} × 200 and one renewal in each of ${rounds} rounds`
      : `${wrong.length} of ${rounds} rounds differ: ${wrong.slice(0, 5).join('; ')}`
  verdicts.claim(
    wrong.length === 0,
    `2 processes on one SQLite file, one refused upstream token, ${parallel} parallel calls`,
    seen,
  )
}

/**
 * A server that answers a refresh token that was spent already as it did before, for a while; many do, for
 * clients that lost the answer.
 */
const forgiving = ({ script }: FarServer): void => {
  let spent: string | null
  let last: Record<string, unknown>
  script.tokens = (usual) => (last = usual)
  script.instead.set('/token', ({ body }) => {
    const token = body.get('refresh_token')
    if (token !== null && token === spent) return { body: last }
    spent = token
    return undefined
  })
}

const killed = async (verdicts: Verdicts, kind: 'strict' | 'forgiving'): Promise<void> => {
  const far = await openFarServer()
  const state = temporaryState()
  const config = configFor(far)
  let gateway = await startProcess({ config, stateDir: state.dir })
  const port = Number(new URL(gateway.origin).port)
  try {
    const { caller, browser } = await logInThrough(houseOf(gateway), 'far')
    await (await caller.post(call())).text()
    if (kind === 'forgiving') forgiving(far)
    far.expire()
    const before = far.count('/token', 'refresh_token')
    far.script.before.set('/token', async () => {
      far.script.before.clear()
      await gateway.end('SIGKILL')
    })
    await caller.post(call()).catch(() => undefined)
    gateway = await startProcess({ config, stateDir: state.dir, port })
    const since = Date.now()
    const odd: string[] = []
    let questions = 0
    let good = 0
    while (good < 5 && Date.now() - since < 60_000) {
      const answer = await caller.post(call(), { 'mcp-protocol-version': '2025-06-18' })
      const text = await answer.text()
      const link = linkIn(text)
      if (link !== '') {
        questions++
        await connectAt(houseOf(gateway), link, { browser })
      } else if (answer.status === 200) good++
      else if (answer.status === 503) await pause(500)
      else odd.push(`${answer.status} ${text.slice(0, 80)}`)
    }
    const renewals = far.count('/token', 'refresh_token') - before
    const expected = kind === 'strict' ? questions === 1 : questions === 0
    const claim = `kill -9 between a ${kind} upstream's renewal and its record`
    verdicts.claim(
      expected && good === 5 && odd.length === 0 && renewals === 2,
      claim,
      `${questions === 0 ? 'nobody is asked' : `the person is asked ${questions} ×`}, ${renewals} renewals, calls work after ${((Date.now() - since) / 1000).toFixed(0)} s${odd.length === 0 ? '' : `; also ${odd.join('; ')}`}`,
    )
  } finally {
    await gateway.end()
    await far.close()
    state.remove()
  }
}

export const raceUpstreams = async (verdicts: Verdicts, rounds: number, parallel: number): Promise<void> => {
  await together(verdicts, rounds, parallel)
  await killed(verdicts, 'strict')
  await killed(verdicts, 'forgiving')
}
