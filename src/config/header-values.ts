// What the value of a configured header may hold, in words.

/**
 * What is wrong with a value that is sent as it stands; undefined when nothing is. It may be a secret, so the character is counted and not shown.
 * RFC 9110 §5.5 has no control characters in a field value, and no runtime sends what Latin-1 (ISO 8859-1) cannot say.
 */
export const headerValueFault = (value: string): string | undefined => {
  const at = [...value].findIndex((char) => /[\u0000-\u001f\u007f]|[^\u0000-\u00ff]/.test(char))
  if (at < 0) return value.trim() === '' && value !== '' ? 'must not consist of spaces only' : undefined
  const where = `character ${at + 1} of the value`
  return /[\u0000-\u001f\u007f]/.test([...value][at] as string)
    ? `must not contain line breaks or other control characters (${where})`
    : `must not contain characters outside Latin-1 (${where}): HTTP headers cannot carry them`
}

/** RFC 6750 §2.1: what stands after `Bearer`. */
export const bearerFault = (token: string): string | undefined => (/^[\x21-\x7e]+$/.test(token) ? undefined : (headerValueFault(token) ?? 'must not contain spaces or non-ASCII characters: it is sent as Authorization: Bearer <token>'))
