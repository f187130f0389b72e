// The binding STORE as the platform meters it: every call to an object is counted, and one invocation may make no more than a limit.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Environment } from '../../src/worker/environment.ts'

const invocations = new AsyncLocalStorage<{ calls: number }>()
const meter = { calls: 0, limit: Number.POSITIVE_INFINITY, names: [] as string[] }

/** Calls to objects since the last time this was asked, by method. */
export const takeCalls = (): readonly string[] => meter.names.splice(0)
/** Calls that one invocation may make; those beyond it throw, as the platform's do. */
export const limitCalls = (most: number): void => void (meter.limit = most)

const count = (name: string): void => {
  const invocation = invocations.getStore()
  meter.names.push(name)
  if (invocation && ++invocation.calls > meter.limit) throw new Error('Too many subrequests by single Worker invocation.')
}

const meteredStub = <T extends object>(stub: T): T =>
  new Proxy(stub, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown
      if (typeof member !== 'function' || typeof name !== 'string') return member
      // Kept off the stub's own `this` by name: a stub takes every name for a method of the object.
      const methods = target as unknown as Record<string, (...args: readonly unknown[]) => unknown>
      return (...args: readonly unknown[]): unknown => {
        count(`${name} ${String(args[0] instanceof Request ? new URL(args[0].url).searchParams.get('key') : args[0]).replace(/:.*/, '')}`)
        return methods[name]?.(...args)
      }
    },
  })

const meteredNamespace = <T extends object>(namespace: T): T =>
  new Proxy(namespace, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown
      if (typeof member !== 'function') return member
      return (...args: readonly unknown[]): unknown => {
        const made = (member as (...args: readonly unknown[]) => unknown).apply(target, [...args])
        if (name === 'jurisdiction') return meteredNamespace(made as object)
        return name === 'get' || name === 'getByName' ? meteredStub(made as object) : made
      }
    },
  })

const known = new WeakMap<object, Environment>()

/** The same environment with its STORE metered. */
export const metered = (env: Environment): Environment => {
  const before = known.get(env)
  if (before) return before
  const made = { ...env, ...(env.STORE && { STORE: meteredNamespace(env.STORE) }) }
  known.set(env, made)
  return made
}

/** Work as one invocation of its own. */
export const invocation = <T>(work: () => T): T => invocations.run({ calls: 0 }, work)
