// What somebody does with the audit trail on the command line is an event of it, signed as the others are.
import { rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { recordUse } from '../../src/cli/audit-secret.ts'
import { printJson } from '../../src/cli/output.ts'
import { showAudit } from '../../src/cli/audit.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import { createSigner, keyMaker } from '../../src/node/audit-keys.ts'
import { publicKeyOf, trailKey } from '../../src/stores/audit-keys.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { createRandomBytes, rootSecrets } from '../../src/node/crypto.ts'
import type { AuditKey } from '../../src/stores/audit-signatures.ts'
import { readSearch } from '../../src/stores/audit.ts'
import { row, start, useAuditFile } from './audit-world.ts'

const { file } = useAuditFile()
const config = { session_secret: undefined, previous_secrets: [], keys: { root: {} } } as never
const admin = () => Promise.resolve({ config })
const target = () => ({ stateDir: dirname(file()), admin, json: printJson })
const exported = { event: 'audit.exported', format: 'csv', filter: ['user:ana'], everybody: true }

let key: AuditKey
let said: string
beforeEach(async () => {
  said = ''
  const keep = (text: unknown) => {
    said += String(text)
    return true
  }
  vi.spyOn(process.stderr, 'write').mockImplementation(keep)
  vi.spyOn(process.stdout, 'write').mockImplementation(keep)
  const ring = await createKeyRing(rootSecrets(dirname(file()), undefined, []), createRandomBytes())
  const made = await trailKey([], ring, keyMaker)
  key = publicKeyOf(made)
  const writer = openAuditWriter(file(), {
    now: start,
    version: '1',
    retentionMs: 1e12,
    id: 'gateway',
    signing: { signer: createSigner(made), key: made },
  })
  const body = {
    hash: 'h1',
    text: '{"salt":"s","arguments":{"n":1}}',
    at: start,
    person: 'local:ana',
    request: 'r1',
  }
  writer.append([row(start, { request: 'r1', detail: '{"body":"h1"}' })], new Map(), [body])
  writer.close(start)
})
afterEach(() => void vi.restoreAllMocks())

const events = () => {
  const reader = openAuditReader(file())
  const rows = reader?.search(readSearch(['user:cli'], Date.now()), 10) ?? []
  reader?.close()
  return rows.map(({ kind, person, actor, detail }) => [
    kind,
    person,
    actor,
    JSON.parse(detail ?? '{}') as unknown,
  ])
}

it('is a chain of its own, signed with the key of the trail', async () => {
  await recordUse(target(), exported)
  const facts = { format: 'csv', filter: ['user:ana'], everybody: true, by: 'cli' }
  expect(events()).toEqual([['audit.exported', 'cli', 'cli', facts]])
  const reader = openAuditReader(file())
  expect(reader?.verify([key])).toMatchObject({ chains: 2, open: [], keys: [key.kid] })
  reader?.close()
  expect(said).toBe('')
})

it('is that arguments and results were read', async () => {
  await showAudit('r1', {}, target())
  expect(events()).toEqual([])
  expect(said).not.toContain('"arguments"')
  await showAudit('r1', { body: true }, target())
  expect(events()).toEqual([
    ['admin.viewed', 'cli', 'cli', { what: 'body', body: 'h1', of: 'r1', by: 'cli' }],
  ])
  expect(said).toContain('"arguments":{"n":1}')
})

it.each([
  ['without the root secret', () => rmSync(join(dirname(file()), 'root.key'))],
  [
    'with another one',
    () => writeFileSync(join(dirname(file()), 'root.key'), Buffer.alloc(32, 1), { mode: 0o600 }),
  ],
  ['without a configuration', undefined],
])('%s it is not recorded, and that is said', async (_, change) => {
  change?.()
  const other = change ? target() : { ...target(), admin: () => Promise.reject(new Error('no such file')) }
  await recordUse(other, exported)
  expect(events()).toEqual([])
  expect(said).toMatch(/This is not recorded in the audit trail: .+\.\n$/)
  const reader = openAuditReader(file())
  expect(reader?.verify([key])).toMatchObject({ chains: 1, keys: [key.kid] })
  reader?.close()
})
