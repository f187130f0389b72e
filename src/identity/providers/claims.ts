// What a provider says of a person, member by member: bounded, without control characters, and in one shape.

export type Claims = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Claims =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const most = { text: 256, groups: 500, url: 2048 } as const

export const short = (value: unknown, length: number = most.text): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= length && !/\p{Cc}/u.test(value)
    ? value
    : undefined

/**
 * Plain addresses only: one `@`, no quotes, no space. What needs more to be read could be read in two ways.
 */
export const plainEmail = (value: unknown): string | undefined => {
  const email = short(value, 254)
  return email && /^[^@\s"(),:;<>[\\\]]+@[^@\s"(),:;<>[\\\]]+$/.test(email) ? email : undefined
}

const own = (value: unknown, name: string): unknown =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

/**
 * A claim by its name or by its path: `groups`, `cognito:groups`, `https://example.com/roles`,
 * `realm_access.roles`. A name may hold dots itself, so the longest name that is there comes first.
 */
export const claimAt = (value: unknown, path: string): unknown => {
  const whole = own(value, path)
  if (whole !== undefined) return whole
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const found = claimAt(own(value, path.slice(0, dot)), path.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

export const groupsOf = (value: unknown): readonly string[] => {
  const list = Array.isArray(value) ? value : [value]
  return [...new Set(list.map((entry) => short(entry)).filter((entry) => entry !== undefined))].slice(
    0,
    most.groups,
  )
}

export const httpsUrl = (value: unknown): string | undefined => {
  const url = short(value, most.url)
  return url && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : undefined
}
