// A message authentication code as text, for cookies and forms.
import { encodeBase64url } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { Refusal } from '../kit/refusal.ts'

/** base64url of the code under the current root. Never answers an empty text: that would equal a missing field. */
export const macText = async (keys: KeyRing, purpose: string, message: string): Promise<string> => {
  const mac = await keys.mac(purpose, message)
  if (!mac) throw new Refusal('fault', 'the key ring lost its current root')
  return encodeBase64url(mac)
}
