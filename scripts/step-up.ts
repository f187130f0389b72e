// `npm run prove step-up`: the clients of both major versions of the SDK, where the person lets an app do less than it
// tries.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Sdk, declineTwice, openStepUpWorld } from '../test/runtimes/step-up.ts'
import { ensurePeer } from './harness/peers.ts'

const peers = await ensurePeer('clients')
const { resolve } = createRequire(join(peers, 'sdk.mjs'))
const load = async (...names: readonly string[]): Promise<Sdk> => {
  const modules = await Promise.all(
    names.map((name) => import(pathToFileURL(resolve(name)).href) as Promise<object>),
  )
  return Object.assign({}, ...modules) as Sdk
}

const client = '@modelcontextprotocol/sdk/client'
const versions: Readonly<Record<string, () => Promise<Sdk>>> = {
  'SDK 1': () => load(`${client}/index.js`, `${client}/streamableHttp.js`, `${client}/auth.js`),
  'SDK 2': () => load('@modelcontextprotocol/client'),
}

let failed = 0
for (const [name, sdk] of Object.entries(versions)) {
  const world = await openStepUpWorld()
  try {
    await declineTwice(await sdk(), world)
    console.log(`✓ ${name}: asked twice, kept its scopes, and opened no browser for a denial`)
  } catch (error) {
    failed++
    console.log(`✗ ${name}: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    await world.close()
  }
}
process.exit(failed === 0 ? 0 : 1)
