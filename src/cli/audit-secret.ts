// What the commands of the audit trail need the root secret for: to find calls by their arguments, and to record that
// somebody has used the trail.
import { hash, randomBytes } from 'node:crypto'
import { createKeyRing } from '../kit/keyring.ts'
import { openAuditWriter } from '../node/audit-file.ts'
import { createSigner, readStoredKeys } from '../node/audit-keys.ts'
import { createMac } from '../node/audit-thread.ts'
import { createRandomBytes, rootSecrets } from '../node/crypto.ts'
import { rootSource, timer, trailFile } from '../node/runtime.ts'
import { openStorage } from '../node/store.ts'
import type { RecordedEvent } from '../ports/store.ts'
import { dayOf } from '../stores/audit-batches.ts'
import { createRows } from '../stores/audit-events.ts'
import { knownKey } from '../stores/audit-keys.ts'
import type { AdminTarget } from './admin.ts'
import { packageVersion, printNote } from './output.ts'

/** Those that there are; none is made. */
const secretsOf = async ({ config, stateDir }: Pick<AdminTarget, 'config' | 'stateDir'>) => {
  if (config.keys.root.vault_transit === undefined)
    return rootSecrets(stateDir, config.session_secret, config.previous_secrets, false)
  const random = createRandomBytes()
  const deps = { now: Date.now, timer, random, log: () => undefined }
  const { store, close } = await openStorage({ ...deps, config, stateDir, product: packageVersion() })
  try {
    const root = await (await rootSource({ ...deps, config }, store))?.(false)
    const former = rootSecrets(stateDir, undefined, config.previous_secrets, false)
    return root ? [root, ...former] : former
  } finally {
    close()
  }
}

/** Digests of a call, by each root secret that is known. */
export const createDigests = async ({ config, stateDir }: AdminTarget) => {
  const secrets = await secretsOf({ config, stateDir })
  const random = createRandomBytes()
  const rings = await Promise.all(secrets.map((secret) => createKeyRing([secret], random)))
  const known = new Map<number, Promise<readonly ((text: string) => string)[]>>()
  const macsOf = (day: number): Promise<readonly ((text: string) => string)[]> => {
    const made =
      known.get(day) ??
      Promise.all(rings.map((ring) => ring.mac('audit/arguments', String(day)))).then((keys) =>
        keys.filter((key) => key !== undefined).map(createMac),
      )
    known.set(day, made)
    return made
  }
  return async (at: number, text: string): Promise<readonly string[]> =>
    (await macsOf(dayOf(at))).map((mac) => mac(text))
}

// What somebody does with the trail is an event of it, as on the API: a chain of its own, signed with the key of the
// trail. Whoever has only a copy of the file cannot write one, and is told so.

export interface RecordingTarget {
  readonly stateDir: string
  /** Where the root secret is from; rejects where there is no usable configuration. */
  readonly admin: () => Promise<Pick<AdminTarget, 'config'>>
}

const keyOf = async ({ stateDir, admin }: RecordingTarget) => {
  const stored = readStoredKeys(trailFile(stateDir))
  const { config } = await admin()
  const secrets = await secretsOf({ config, stateDir })
  const key =
    secrets.length > 0 && (await knownKey(stored, await createKeyRing(secrets, createRandomBytes())))
  // With a key of its own it would look like somebody else's.
  if (!key) throw new Error('the key of the trail cannot be opened with the root secret')
  return key
}

/** Adds an event to the trail; where that is not possible, says so. */
export const recordUse = async (
  target: RecordingTarget,
  event: Readonly<Record<string, unknown>> & { readonly event: string },
): Promise<void> => {
  try {
    const key = await keyOf(target)
    const now = Date.now()
    const recorded: RecordedEvent = { ...event, by: 'cli' }
    const rows = createRows((text) => hash('sha256', text, 'base64url'))(recorded, now)
    const writer = openAuditWriter(trailFile(target.stateDir), {
      now,
      version: '',
      retentionMs: Infinity,
      id: randomBytes(8).toString('hex'),
      signing: { signer: createSigner(key), key },
    })
    try {
      writer.append(rows)
    } finally {
      writer.close(now)
    }
  } catch (error) {
    printNote(`This is not recorded in the audit trail: ${(error as Error).message}.`)
  }
}
