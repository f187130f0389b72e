// The transit engine of the stand-in for Vault: keys that never leave it, in versions (API page: secret/transit).
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

interface Answer {
  readonly status: number
  readonly body: object
}

const answerOf = (data: object): Answer => ({ status: 200, body: { data } })
const fail = (error: string): Answer => ({ status: 400, body: { errors: [error] } })

const seal = (key: Buffer, version: number, text: string): string => {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const bytes = Buffer.concat([iv, cipher.update(text, 'base64'), cipher.final(), cipher.getAuthTag()])
  return `vault:v${version}:${bytes.toString('base64')}`
}

const unseal = (keys: readonly Buffer[], text: string): string | undefined => {
  const [, version = '', body = ''] = /^vault:v(\d+):(.+)$/.exec(text) ?? []
  const key = keys[Number(version) - 1]
  const bytes = Buffer.from(body, 'base64')
  if (!key || bytes.length < 28) return undefined
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12))
    decipher.setAuthTag(bytes.subarray(-16))
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('base64')
  } catch {
    return undefined
  }
}

/** `keys`: versions of each key, by its name. */
export const answerTransit = (
  keys: ReadonlyMap<string, readonly Buffer[]>,
  path: string,
  body: Readonly<Record<string, unknown>>,
): Answer => {
  const [action = '', ...rest] = path.split('/')
  const versions = keys.get(rest.at(-1) ?? '') ?? []
  const newest = versions.at(-1)
  if (!newest) return fail('encryption key not found')
  const sealed = (plaintext: string): string => seal(newest, versions.length, plaintext)
  if (action === 'datakey') {
    const plaintext = randomBytes(32).toString('base64')
    return answerOf({ plaintext, ciphertext: sealed(plaintext) })
  }
  if (action === 'encrypt') return answerOf({ ciphertext: sealed(String(body['plaintext'])) })
  const plaintext = unseal(versions, String(body['ciphertext']))
  if (plaintext === undefined) return fail('invalid ciphertext: could not decrypt')
  return answerOf(action === 'rewrap' ? { ciphertext: sealed(plaintext) } : { plaintext })
}
