// Administrators change nothing that cannot be written down.
import { expect, it } from 'vitest'
import { createAuthorization } from '../../src/admin/services-api.ts'
import type { BrowserSession } from '../../src/ports/modules.ts'
import type { Trail } from '../../src/ports/runtime.ts'
import { refusalOf } from '../../src/kit/log.ts'

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'passed',
    (error: unknown) => refusalOf(error).code,
  )

const session: BrowserSession = {
  id: 's1',
  signedInAt: 0,
  person: { provider: 'local', subject: 'ana', groups: [] },
  csrf: 'secret',
}
const request = (): Request =>
  new Request('http://localhost/api/services', { method: 'POST', headers: { 'x-csrf-token': 'secret' } })
const authorization = (available: boolean | undefined) => {
  const trail: Trail | undefined =
    available === undefined
      ? undefined
      : { record: () => undefined, available: () => available, keys: () => [] }
  return createAuthorization({
    sessions: { of: () => Promise.resolve(session), list: () => Promise.resolve([]) } as never,
    isAdmin: () => true,
    origins: ['http://localhost'],
    runtime: { trail },
  })
}

it.each([
  [false, 'audit.unavailable'],
  [true, 'passed'],
  [undefined, 'passed'],
])('while the trail is available: %s, a change is %s, and reading is not', async (available, code) => {
  const { requireAdmin, requireCsrfToken } = authorization(available)
  expect(await codeOf(requireCsrfToken(request()))).toBe(code)
  expect(await codeOf(requireAdmin(request()))).toBe('passed')
})
