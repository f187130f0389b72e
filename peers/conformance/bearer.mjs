// Preloaded into the conformance suite, which has no option for a token: adds the bearer to requests to one origin that carry none.
//   POSTERN_ORIGIN=http://localhost:8080 POSTERN_TOKEN=… node --import ./bearer.mjs …/conformance/dist/index.js server --url …
// The suite speaks HTTP through three stacks: global fetch, the `request` of npm's undici, and node:http.
import http from 'node:http'
import { createRequire, syncBuiltinESMExports } from 'node:module'

const { POSTERN_ORIGIN: origin, POSTERN_TOKEN: token } = process.env
if (!origin || !token) throw new Error('Set POSTERN_ORIGIN and POSTERN_TOKEN.')
const bearer = `Bearer ${token}`

const isOurs = (target) => {
  try {
    return new URL(String(target?.url ?? target)).origin === origin
  } catch {
    return false
  }
}

/** The same headers in the same form (Headers, pairs, flat list or record) with the bearer added where none is. */
const signed = (headers) => {
  if (headers instanceof Headers) {
    const copy = new Headers(headers)
    if (!copy.has('authorization')) copy.set('authorization', bearer)
    return copy
  }
  if (Array.isArray(headers)) {
    const flat = !Array.isArray(headers[0])
    const names = headers.flatMap((entry, at) => (flat ? (at % 2 === 0 ? [entry] : []) : [entry[0]]))
    if (names.some((name) => String(name).toLowerCase() === 'authorization')) return headers
    return flat ? [...headers, 'authorization', bearer] : [...headers, ['authorization', bearer]]
  }
  if (Object.keys(headers ?? {}).some((name) => name.toLowerCase() === 'authorization')) return headers
  return { ...headers, authorization: bearer }
}

const plainFetch = globalThis.fetch
globalThis.fetch = (input, init) => {
  if (!isOurs(input)) return plainFetch(input, init)
  return plainFetch(input, { ...init, headers: signed(init?.headers ?? (input instanceof Request ? input.headers : undefined)) })
}

// The named exports of a CommonJS module are read when it is first imported, so a change made now is what the suite gets.
const undici = createRequire(import.meta.url)('undici')
const plainRequest = undici.request
undici.request = (url, options, ...rest) => plainRequest(url, isOurs(url) ? { ...options, headers: signed(options?.headers) } : options, ...rest)

for (const name of ['request', 'get']) {
  const plain = http[name]
  http[name] = (first, second, third) => {
    const byUrl = typeof first === 'string' || first instanceof URL
    const options = (byUrl ? (typeof second === 'object' ? second : {}) : first) ?? {}
    const target = byUrl ? first : `http://${options.hostname ?? options.host ?? 'localhost'}:${options.port ?? 80}`
    if (!isOurs(target)) return plain(first, second, third)
    const more = { ...options, headers: signed(options.headers) }
    const done = typeof second === 'function' ? second : third
    return byUrl ? plain(first, more, done) : plain(more, done)
  }
}
syncBuiltinESMExports()
