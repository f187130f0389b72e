// Message authentication codes as text, for cookies and forms: each names the root it was made under, so that a change of the root ends none of them.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { Refusal } from '../kit/refusal.ts'

/** `<root id>.<base64url of the code>`, under the current root. */
export const macText = async (keys: KeyRing, purpose: string, message: string): Promise<string> => {
  const mac = await keys.mac(purpose, message)
  if (!mac) throw new Refusal('fault', 'the key ring lost its current root')
  return `${keys.current}.${encodeBase64url(mac)}`
}

/** Whether the text is that code, under whichever root of the ring it names. */
export const isMacText = async (keys: KeyRing, purpose: string, message: string, text: string): Promise<boolean> => {
  const [id = '', code = '', ...rest] = text.split('.')
  const mac = rest.length === 0 ? await keys.mac(purpose, message, id) : undefined
  return mac !== undefined && sameText(code, encodeBase64url(mac))
}
