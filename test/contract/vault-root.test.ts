// The root secret under a key of the transit engine: made once, kept encrypted only, opened at each start.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { vaultKeys } from '../../src/config/storage-keys.ts'
import { createRandomBytes, openKeys } from '../../src/node/crypto.ts'
import { timer } from '../../src/node/runtime.ts'
import { createTransitRoot } from '../../src/node/vault-root.ts'
import type { SweptStore } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { type VaultStandIn, startVault } from '../reference/vault.ts'

let vault: VaultStandIn
let store: SweptStore
let stateDir: string

beforeAll(async () => {
  vault = await startVault()
})
beforeEach(() => {
  vault.transit.set('postern', [randomBytes(32)])
  vault.state.sealed = false
  store = createMemoryStore({ now: Date.now })
  stateDir = mkdtempSync(join(tmpdir(), 'postern-root-'))
  return () => rmSync(stateDir, { recursive: true })
})
afterAll(() => vault.close())

const random = createRandomBytes()
const sourceOf = (key = 'postern', token = vault.addToken().id) =>
  createTransitRoot({
    settings: vaultKeys.parse({ url: vault.url, token }),
    ...{ transit: { mount: 'transit', key }, store, now: Date.now, timer, random, log: () => undefined },
  })
const opened = (config: { readonly previous?: string[]; readonly key?: string; readonly own?: true } = {}) =>
  openKeys(
    stateDir,
    { session_secret: undefined, previous_secrets: config.previous ?? [], storage: { type: 'redis' } },
    { store, location: 'redis', source: config.own ? undefined : sourceOf(config.key) },
    random,
  )

test('no secret is on the disk, only what Vault encrypted is kept, and each start has the same', async () => {
  const [one, two] = await Promise.all([opened(), opened()])
  const kept = (await store.get('meta:root-key'))?.value ?? ''
  const later = await opened()
  expect([two.current, later.current]).toEqual([one.current, one.current])
  expect([kept.startsWith('vault:v1:'), existsSync(join(stateDir, 'root.key'))]).toEqual([true, false])
  expect(await later.open(await one.seal('secret', 'x'), 'x')).toBe('secret')
})

test('after a rotation of the key it is encrypted anew, and what was sealed still opens', async () => {
  const before = await opened()
  vault.transit.get('postern')?.push(randomBytes(32))
  const after = await opened()
  expect((await store.get('meta:root-key'))?.value.startsWith('vault:v2:')).toBe(true)
  expect(after.current).toBe(before.current)
  // The old version may go.
  vault.transit.get('postern')?.splice(0, 1, randomBytes(32))
  expect((await opened()).current).toBe(before.current)
})

test('a gateway that had its own secret goes on: what root.key sealed opens beside the new one', async () => {
  const former = await opened({ own: true })
  await store.put('grant:1', await former.seal('one', 'grant:1'))
  const now = await opened()
  expect(now.current).not.toBe(former.current)
  expect(await now.open((await store.get('grant:1'))?.value ?? '', 'grant:1')).toBe('one')
})

test('Vault away, sealed, without the key or with another one refuses the start in words, and nothing is written', async () => {
  const why = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'opened',
      (error: Error & { readonly why?: string }) => error.why ?? error.message,
    )
  const none = await why(opened({ key: 'none' }))
  vault.state.sealed = true
  const sealed = await why(opened())
  vault.state.sealed = false
  expect(await store.list('')).toEqual([])
  const ring = await opened()
  await store.put('grant:1', await ring.seal('one', 'grant:1'))
  vault.transit.set('other', [randomBytes(32)])
  const other = await why(opened({ key: 'other' }))
  await store.take('meta:root-key')
  const lost = await why(opened())
  expect([none, sealed, other]).toEqual([
    `${vault.url}: Vault makes no root secret with transit/none (encryption key not found): run \`vault write -f transit/keys/none\``,
    `${vault.url}: Vault is sealed: unseal it`,
    `${vault.url}: Vault cannot decrypt the root secret with transit/other (invalid ciphertext: could not decrypt): restore that key, or set keys.root.vault_transit to the one that encrypted it`,
  ])
  expect(lost).toContain('Nothing was changed.')
  expect(await store.get('meta:root-key')).toBeUndefined()
})
