// The ladder of permissions, and the scopes that name its steps. A person consents to one step for an app
// (docs/guide/access.md); the access rules grant one to a person; a tool needs one.

/** A ladder: each holds those before it. */
export type Permission = 'read' | 'write' | 'execute' | 'admin'

export const ladder: readonly Permission[] = ['read', 'write', 'execute', 'admin']
const heightOf = (permission: Permission): number => ladder.indexOf(permission)

export const isEnough = (have: Permission, need: Permission): boolean => heightOf(have) >= heightOf(need)
export const lowerOf = (one: Permission, other: Permission): Permission =>
  isEnough(one, other) ? other : one
export const higherOf = (one: Permission, other: Permission): Permission =>
  isEnough(one, other) ? one : other

const upTo = ladder.map((_, i) => ladder.slice(0, i + 1))
/** A level and all below it; the same list each time. */
export const levelsUpTo = (level: Permission): readonly Permission[] =>
  upTo[heightOf(level)] as readonly Permission[]

const scopeOf = (permission: Permission): string => `mcp:${permission}`

/** All of them, as metadata advertises them. */
export const levelScopes: readonly string[] = ladder.map(scopeOf)

/** Those of a level and of all below it. */
export const scopesUpTo = (level: Permission): readonly string[] => levelScopes.slice(0, heightOf(level) + 1)

/**
 * The highest level that these scopes name. `own`: scopes that the service itself requires, which say nothing of
 * a level even where they are called alike.
 */
export const levelNamed = (scopes: readonly string[], own: readonly string[]): Permission | undefined =>
  ladder.findLast((level) => scopes.includes(scopeOf(level)) && !own.includes(scopeOf(level)))

/** What a person was asked before their service had access rules: everything but administration. */
export const beforeRules: Permission = 'execute'
