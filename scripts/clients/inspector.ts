// MCP Inspector without its window: `inspector --cli`, list and call, the second run with the stored login.
import { join } from 'node:path'
import { startProcess } from '../harness/process.ts'
import { type ClientTrial, expectAnswer, type Trial } from './trial.ts'

const inspect = (trial: Trial, args: readonly string[]) =>
  startProcess(process.execPath, {
    args: [
      join(trial.peers, 'node_modules/.bin/inspector'),
      '--cli',
      trial.url,
      '--transport',
      'http',
      '--protocol-era',
      'auto',
      '--format',
      'json',
      ...args,
    ],
    env: { ...trial.home.env, MCP_AUTO_OPEN_ENABLED: 'true', MCP_INSPECTOR_SECRET_STORE: 'file' },
    cwd: trial.home.path,
  })

export const inspector: ClientTrial = {
  name: 'Inspector CLI 2.12',
  run: async (trial) => {
    const { upstream, home, allow } = trial
    const listing = inspect(trial, ['--method', 'tools/list'])
    try {
      await Promise.race([home.opened().then(allow), listing.exited])
      const code = await listing.exited
      if (code !== 0 || !listing.stdout().includes(`"${upstream.tool}"`))
        throw new Error(`tools/list ended with ${code}:\n${listing.output().slice(-2000)}`)
    } finally {
      await listing.stop()
    }
    const input = Object.entries(upstream.input).flatMap(([name, value]) => [
      '--tool-arg',
      `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ])
    const call = inspect(trial, [
      '--stored-auth-only',
      '--method',
      'tools/call',
      '--tool-name',
      upstream.tool,
      ...input,
    ])
    try {
      const code = await call.exited
      if (code !== 0) throw new Error(`tools/call ended with ${code}:\n${call.output().slice(-2000)}`)
      expectAnswer(trial, call.stdout())
    } finally {
      await call.stop()
    }
    return 'listed, called with the stored login'
  },
}
