// The bindings STORE, SESSION_OBJECTS and TRAIL as the platform meters them: every call to an object is counted, and
// one invocation may make no more than a limit.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { WorkerEnvironment } from '../../src/worker/configuration.ts'

const invocations = new AsyncLocalStorage<{ calls: number }>()
const meter = { calls: 0, limit: Number.POSITIVE_INFINITY, names: [] as string[] }

/** Calls to objects since the last time this was asked, by method. */
export const takeCalls = (): readonly string[] => meter.names.splice(0)
/** Calls that one invocation may make; those beyond it throw, as the platform's do. */
export const limitCalls = (most: number): void => void (meter.limit = most)

const count = (name: string): void => {
  const invocation = invocations.getStore()
  meter.names.push(name)
  if (invocation && ++invocation.calls > meter.limit)
    throw new Error('Too many subrequests by single Worker invocation.')
}

/** `about`: what a call is about, by its first argument. */
const meteredStub = <T extends object>(stub: T, about: (argument: unknown) => string): T =>
  new Proxy(stub, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown
      if (typeof member !== 'function' || typeof name !== 'string') return member
      // Kept off the stub's own `this` by name: a stub takes every name for a method of the object.
      const methods = target as unknown as Record<string, (...args: readonly unknown[]) => unknown>
      return (...args: readonly unknown[]): unknown => {
        count(`${name} ${about(args[0])}`)
        return methods[name]?.(...args)
      }
    },
  })

const recordOf = (argument: unknown): string =>
  String(argument instanceof Request ? new URL(argument.url).searchParams.get('key') : argument).replace(
    /:.*/,
    '',
  )

const meteredNamespace = <T extends object>(namespace: T, about: (argument: unknown) => string): T =>
  new Proxy(namespace, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown
      if (typeof member !== 'function') return member
      return (...args: readonly unknown[]): unknown => {
        const made = (member as (...args: readonly unknown[]) => unknown).apply(target, [...args])
        if (name === 'jurisdiction') return meteredNamespace(made as object, about)
        return name === 'get' || name === 'getByName' ? meteredStub(made as object, about) : made
      }
    },
  })

const known = new WeakMap<object, WorkerEnvironment>()

/** The same environment with its objects metered. */
export const metered = (env: WorkerEnvironment): WorkerEnvironment => {
  const before = known.get(env)
  if (before) return before
  const made = {
    ...env,
    ...(env.STORE && { STORE: meteredNamespace(env.STORE, recordOf) }),
    ...(env.TRAIL && { TRAIL: meteredNamespace(env.TRAIL, () => 'trail') }),
    ...(env.SESSION_OBJECTS && { SESSION_OBJECTS: meteredNamespace(env.SESSION_OBJECTS, () => 'session') }),
  }
  known.set(env, made)
  return made
}

/** Work as one invocation of its own. */
export const invocation = <T>(work: () => T): T => invocations.run({ calls: 0 }, work)
