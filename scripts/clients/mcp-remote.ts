// mcp-remote: a stdio server for clients without OAuth, in front of a remote one.
import { join } from 'node:path'
import { startProcess } from '../harness/process.ts'
import { type ClientTrial, expectAnswer } from './trial.ts'

const message = (fields: Readonly<Record<string, unknown>>): string =>
  `${JSON.stringify({ jsonrpc: '2.0', ...fields })}\n`

export const mcpRemote: ClientTrial = {
  name: 'mcp-remote 0.15',
  run: async (trial) => {
    const { upstream, url, home, peers, allow } = trial
    const client = startProcess(process.execPath, {
      args: [join(peers, 'node_modules/.bin/mcp-remote'), url],
      env: home.env,
      cwd: home.path,
    })
    try {
      client.write(
        message({
          id: 1,
          method: 'initialize',
          params: {
            protocolVersion: '2025-11-25',
            capabilities: {},
            clientInfo: { name: 'stdio client', version: '1.0.0' },
          },
        }),
      )
      await Promise.race([home.opened().then(allow), client.exited])
      await client.until(/"id":1\b.*\n/, 30_000)
      client.write(message({ method: 'notifications/initialized' }))
      client.write(
        message({ id: 2, method: 'tools/call', params: { name: upstream.tool, arguments: upstream.input } }),
      )
      await client.until(/"id":2\b.*\n/, 30_000)
      expectAnswer(
        trial,
        client
          .stdout()
          .split('\n')
          .find((line) => /"id":2\b/.test(line)) ?? '',
      )
      return 'called'
    } finally {
      await client.stop()
    }
  },
}
