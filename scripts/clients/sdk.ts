// The MCP TypeScript SDK, both majors, the second as a legacy and as a modern client: sign-in, tool call,
// refresh, tool call.
import { join } from 'node:path'
import { startProcess } from '../harness/process.ts'
import { type ClientTrial, expectAnswer } from './trial.ts'

interface Report {
  readonly version: string
  readonly first: string
  readonly second: string
  readonly refreshed: boolean
  readonly rotated: boolean
  readonly visits: number
}

const sdk = (name: string, major: '1' | '2', mode: 'legacy' | 'auto'): ClientTrial => ({
  name,
  run: async (trial) => {
    const { upstream, url, home, peers, allow } = trial
    const client = startProcess(process.execPath, {
      args: [join(peers, 'sdk.mjs'), major, mode, url, upstream.tool, JSON.stringify(upstream.input)],
      env: home.env,
      cwd: peers,
    })
    try {
      await Promise.race([home.opened().then(allow), client.exited])
      const [line] = await client.until(/^\{.*\}$/m, 30_000)
      const report = JSON.parse(line) as Report
      expectAnswer(trial, report.first)
      expectAnswer(trial, report.second)
      if (!report.refreshed || !report.rotated || report.visits !== 1)
        throw new Error(`not refreshed in silence: ${line}`)
      // Each client speaks the newest revision it knows, whichever the server behind speaks.
      const expected = mode === 'auto' ? '2026-07-28' : '2025-11-25'
      if (report.version !== expected) throw new Error(`spoke ${report.version}, not ${expected}`)
      return `${report.version}, called, refreshed, called`
    } finally {
      await client.stop()
    }
  },
})

export const sdkClients: readonly ClientTrial[] = [
  sdk('SDK 1.32', '1', 'legacy'),
  sdk('SDK 2.4 legacy', '2', 'legacy'),
  sdk('SDK 2.4 auto', '2', 'auto'),
]
