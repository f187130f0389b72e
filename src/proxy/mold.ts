// Header fields as web objects. On Workers making one is dearer than all the rest that is done for a call, so one is kept and only what differs is set anew.

export const headersOf = (flat: readonly string[]): Headers => {
  const headers = new Headers()
  for (let i = 0; i + 1 < flat.length; i += 2) if (flat[i]?.toLowerCase() !== 'connection') headers.append(flat[i] as string, flat[i + 1] as string)
  return headers
}

/**
 * The same fields, in an object that is good until the mold is asked again: for constructors that copy it before they return, as those of Request and
 * Response and fetch itself do (Fetch standard §5.4 to §5.6).
 */
export type Mold = (flat: readonly string[]) => Headers

/** Whether each name stands there once, in any spelling; what is said of a name then replaces all that was said of it before. */
const areSingle = (flat: readonly string[]): boolean => {
  const names = new Set<string>()
  for (let i = 0; i + 1 < flat.length; i += 2) names.add((flat[i] as string).toLowerCase())
  return names.size * 2 === flat.length && !names.has('connection')
}

const haveSameNames = (one: readonly string[], other: readonly string[]): boolean => {
  if (one.length !== other.length) return false
  for (let i = 0; i < one.length; i += 2) if (one[i] !== other[i]) return false
  return true
}

export const createMold = (): Mold => {
  /** Exactly what `headers` holds; undefined while that is not known. */
  let held: readonly string[] | undefined
  let headers = new Headers()
  return (flat) => {
    const before = held
    // A value that cannot be sent throws, and then the half that was set must not pass for what was there before.
    held = undefined
    if (before && haveSameNames(before, flat)) {
      for (let i = 1; i < flat.length; i += 2) if (flat[i] !== before[i]) headers.set(flat[i - 1] as string, flat[i] as string)
      held = flat
    } else {
      headers = headersOf(flat)
      if (areSingle(flat)) held = flat
    }
    return headers
  }
}
