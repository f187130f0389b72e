// A gateway that starts without its storage, and what it says of that.
import { afterEach, expect, it } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'

let state: ReturnType<typeof temporaryState> | undefined
let gateway: PosternProcess | undefined
afterEach(async () => {
  await gateway?.end('SIGKILL')
  state?.remove()
})

it('starts in memory where that was asked for, and says so until it is restarted', async () => {
  state = temporaryState()
  const port = await freePort()
  gateway = await startProcess({
    config: {
      storage: { type: 'redis', fallback: 'memory', redis: { host: '127.0.0.1', port } },
      mcp_services: { echo: { url: 'http://127.0.0.1:9/mcp' } },
    },
    stateDir: state.dir,
    port: 0,
  })
  const asked = async (path: string) => {
    const response = await fetch(`${gateway?.origin}${path}`)
    return [response.status, await response.json()]
  }
  const health = [
    200,
    expect.objectContaining({
      status: 'degraded',
      storage: {
        healthy: false,
        backend_type: 'memory',
        backend_class: 'MemoryStorage',
        cause: 'redis could not be used at the start: all records are in memory',
      },
    }),
  ]
  expect(await asked('/health')).toEqual(health)
  expect(await asked('/readyz')).toEqual([200, { ok: true }])
})
