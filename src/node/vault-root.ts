// The root secret under a key of Vault's transit engine (API page: secret/transit): the engine makes it, and only what it
// encrypted is kept, beside the records. It is decrypted at each start, and held in memory only.
import type { TransitSettings } from '../config/storage-keys.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Mark, Store } from '../ports/store.ts'
import type { RootSource } from './crypto.ts'
import { unavailable } from './remote-store.ts'
import {
  type VaultAnswer,
  type VaultClient,
  type VaultClientOptions,
  VaultError,
  createVaultClient,
} from './vault-client.ts'

/** Not sealed: it is what everything else is opened with. */
const rootKeyRecord = 'meta:root-key'

interface TransitRootOptions extends VaultClientOptions {
  readonly transit: TransitSettings
  readonly store: Store
}

const dataOf = ({ body }: VaultAnswer): Readonly<Record<string, unknown>> =>
  (body['data'] ?? {}) as Readonly<Record<string, unknown>>

const errorsIn = ({ body }: VaultAnswer): string => {
  const { errors } = body as { readonly errors?: readonly string[] }
  return errors?.join('; ') ?? ''
}

const bytesOf = (text: unknown): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = new Uint8Array(Buffer.from(typeof text === 'string' ? text : '', 'base64'))
  return bytes.length === 32 ? bytes : undefined
}

const open = async (client: VaultClient, { mount, key }: TransitSettings, ciphertext: string) => {
  const answer = await client.call('POST', `${mount}/decrypt/${key}`, { body: { ciphertext } })
  const root = bytesOf(dataOf(answer)['plaintext'])
  if (root) return root
  throw unavailable(
    `Vault cannot decrypt the root secret with ${mount}/${key} (${errorsIn(answer) || String(answer.status)}): restore that key, or set keys.root.vault_transit to the one that encrypted it`,
  )
}

/** After the key was rotated: what is kept is encrypted with its newest version, if the policy allows it. */
const renew = async (
  client: VaultClient,
  { store, transit: { mount, key } }: TransitRootOptions,
  { value: ciphertext, mark }: { readonly value: string; readonly mark: Mark },
): Promise<void> => {
  const answer = await client
    .call('POST', `${mount}/rewrap/${key}`, { body: { ciphertext } })
    .catch(() => undefined)
  const renewed = answer && dataOf(answer)['ciphertext']
  if (typeof renewed !== 'string' || renewed.split(':')[1] === ciphertext.split(':')[1]) return
  await store.put(rootKeyRecord, renewed, { only: mark })
}

const make = async (client: VaultClient, { store, transit }: TransitRootOptions) => {
  const { mount, key } = transit
  const answer = await client.call('POST', `${mount}/datakey/plaintext/${key}`, { body: { bits: 256 } })
  const { plaintext, ciphertext } = dataOf(answer)
  const root = bytesOf(plaintext)
  if (!root || typeof ciphertext !== 'string')
    throw unavailable(
      `Vault makes no root secret with ${mount}/${key} (${errorsIn(answer) || String(answer.status)}): run \`vault write -f ${mount}/keys/${key}\``,
    )
  if (await store.put(rootKeyRecord, ciphertext, { only: 'absent' })) return root
  // Another process was first.
  const kept = await store.get(rootKeyRecord)
  return kept && open(client, transit, kept.value)
}

/** Rejects with `Refusal('storage.unavailable')`. */
export const createTransitRoot =
  (options: TransitRootOptions): RootSource =>
  async (isMade) => {
    const { store, transit, settings } = options
    const client = createVaultClient(options)
    try {
      const kept = await store.get(rootKeyRecord)
      if (!kept) return isMade ? await make(client, options) : undefined
      const root = await open(client, transit, kept.value)
      await renew(client, options, kept)
      return root
    } catch (error) {
      const why =
        error instanceof VaultError ? error.failure.why : error instanceof Refusal ? error.why : undefined
      throw why === undefined ? error : unavailable(`${settings.url}: ${why}`)
    } finally {
      client.close()
    }
  }
