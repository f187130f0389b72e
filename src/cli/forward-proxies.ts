// The forward proxies that the environment names, or one sentence that says what is wrong with them.
import { type ForwardProxies, readForwardProxies } from '../node/forward-proxy.ts'
import { StartRefused } from './start-refused.ts'

/** Throws `StartRefused`. */
export const forwardProxies = (env: Readonly<Record<string, string | undefined>>): ForwardProxies => {
  try {
    return readForwardProxies(env)
  } catch (error) {
    throw new StartRefused('proxy.unusable', (error as RangeError).message)
  }
}
