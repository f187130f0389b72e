// Postern in workerd, beside a Worker that passes calls on and does nothing else, and beside one that makes
// only the web calls which cannot be done without.
import { randomBytes } from 'node:crypto'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { logIn, person } from '../test/runtimes/login.ts'
import { startWorkerd, type Workerd, type WorkerdOptions } from '../test/runtimes/workerd.ts'
import type { Candidate } from './candidates.ts'
import type { Build } from './gateway.ts'
import { pin } from './machine.ts'

interface Way {
  readonly path: string
  readonly token: string
}

const startWorker = async (
  folder: string,
  about: Pick<Candidate, 'name' | 'job'>,
  options: WorkerdOptions,
  way: (workerd: Workerd) => Promise<Way>,
): Promise<Candidate> => {
  const workerd = await startWorkerd({ ...options, stdout: openSync(join(folder, 'worker-log'), 'a') })
  pin('gateway', workerd.pid)
  const { path, token } = await way(workerd)
  // Of the names of this computer wrk asks for every address.
  const origin = workerd.origin.replace('localhost', '127.0.0.1')
  return {
    ...about,
    pids: [workerd.pid],
    url: (workload) => (workload === 'json' ? `${origin}${path}` : undefined),
    token: () => token,
    stop: () => workerd.close(),
  }
}

const plain = async (): Promise<Way> => ({ path: '/json', token: 'none' })

const loggedIn = async ({ origin }: Workerd): Promise<Way> => {
  const { tokens } = await logIn({ origin, fetch: (to, init) => fetch(to, { redirect: 'manual', ...init }) })
  return { path: '/echo/mcp', token: tokens.access_token }
}

export const startPosternWorker = (
  folder: string,
  upstream: string,
  level: 'info' | 'warn',
  build?: Build,
): Promise<Candidate> => {
  const services = { echo: { url: `${upstream}/json` } }
  const config = { local_users: [person], mcp_services: services, max_concurrent_calls: 100_000 }
  const vars = {
    SESSION_SECRET: randomBytes(32).toString('hex'),
    LOG_LEVEL: level,
    POSTERN_CONFIG: config,
  }
  const job = 'token, audience, policy input, identity, assertion'
  const named =
    level === 'info'
      ? { name: 'Postern on Workers', job: `${job}, audit record` }
      : { name: 'with LOG_LEVEL=warn', job }
  const options = { entry: 'src/worker/entry.ts', vars, ...(build && { checkout: build.path }) }
  return startWorker(folder, build ? { ...named, name: build.name } : named, options, loggedIn)
}

export const plainWorker = 'a plain Worker'

/** Each in a workerd of its own. */
export const startWorkers = async (folder: string, upstream: string): Promise<readonly Candidate[]> => {
  const vars = { UPSTREAM: upstream }
  return [
    await startPosternWorker(folder, upstream, 'info'),
    await startPosternWorker(folder, upstream, 'warn'),
    await startWorker(
      folder,
      { name: 'the web calls alone', job: 'reads fields and bodies, sends as many; judges nothing' },
      { entry: 'test/workers/floor.ts', vars },
      plain,
    ),
    await startWorker(
      folder,
      { name: plainWorker, job: 'nothing' },
      { entry: 'test/workers/plain.ts', vars },
      plain,
    ),
  ]
}
