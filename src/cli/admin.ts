// `postern admin link`: a new one-time login link for the built-in person, from the state directory of a gateway that runs or will run.
import type { Config } from '../config/schema.ts'
import { createGateway } from '../gateway.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { issuerOf, runningAt } from './running.ts'
import { StartRefused } from './start-refused.ts'
import { whyNoState } from './state.ts'

export interface AdminLink {
  /** The whole URL. */
  readonly link: string
  /** Further gateways that run on the same state directory. */
  readonly others: readonly string[]
}

/** Throws `StartRefused` when the configuration has its own people, or keeps nothing on disk. */
export const adminLink = async ({ config, stateDir }: { readonly config: Config; readonly stateDir: string }): Promise<AdminLink> => {
  const enabled = config.local_users.length === 0 && Object.keys(config.oauth_providers).length === 0
  if (!enabled) throw new StartRefused('link.disabled', 'Sign-in links exist only for the built-in user. This configuration has its own users: sign in as one of them.')
  if (config.storage.type !== 'sqlite') throw new StartRefused('link.memory', 'With `storage.type: memory`, only the running gateway can create a link: press l in its terminal.')
  const issuer = issuerOf(config, stateDir)
  if (issuer === undefined) throw new StartRefused('link.port', 'The port is chosen when the gateway starts (port 0). Start the gateway, then run this command again.')
  const runtime = await createNodeRuntime({ config, stateDir, log: () => undefined, version: '' }).catch((error: unknown) => {
    throw whyNoState(error)
  })
  try {
    const gateway = createGateway({ config, runtime, issuer })
    const others = config.issuer === undefined ? runningAt(stateDir).filter((url) => url !== issuer) : []
    return { link: `${gateway.directory.issuer}/?t=${await gateway.links.mint()}`, others }
  } finally {
    await runtime.close()
  }
}
