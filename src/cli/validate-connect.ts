// `postern validate --connect`: the checks of everything that the configuration names, from this computer, with nothing kept.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../config/environment-names.ts'
import type { Config } from '../config/schema.ts'
import { type Check, checkConnections } from '../connection-checks.ts'
import { createOutbound } from '../node/outbound.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { forwardProxies } from './forward-proxies.ts'

export interface Around {
  readonly privateFiles: readonly string[]
  readonly env: Environment
}

/** Each check is told as it is known. Commands run in a state directory of their own, which is removed. */
export const connect = async (config: Config, { privateFiles, env }: Around, told: (check: Check) => void): Promise<readonly Check[]> => {
  const proxies = forwardProxies(env)
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-validate-'))
  const runtime = await createNodeRuntime({ config: { ...config, storage: { type: 'memory' } }, stateDir, privateFiles, log: () => undefined, version: '', proxies })
  try {
    return await checkConnections(config, { runtime, outboundTo: (...urls) => createOutbound({ allowOrigins: urls.map((url) => new URL(url).origin), proxies }) }, told)
  } finally {
    await runtime.close()
    rmSync(stateDir, { recursive: true, force: true })
  }
}
