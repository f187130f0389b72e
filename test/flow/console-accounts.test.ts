// Service accounts and issuers of assertions on the console: their last use, what was refused, and the test of an assertion.
import { describe, expect, it } from 'vitest'
import { createAssertionIssuers } from '../../src/oauth/assertion-issuers.ts'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type Json, assertionWorld, bea } from '../runtimes/assertion-world.ts'
import { ana } from '../runtimes/people.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

const path = '/console/accounts'
const day = 86_400_000
const world = assertionWorld((options) =>
  openInProcess({ ...options, config: { ...options.config, audit: {} } }),
)
const { advance, claims, job, redeem, resource, run, send, signed, token } = world

const textOf = (body: string): string =>
  body
    .slice(body.indexOf('<main'))
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&quot;', '"')
const page = async (who: Pick<Administrator, 'browser'> = world.admin) =>
  textOf((await who.browser.go(path)).body)
const test = (assertion: string, fields: Record<string, string> = {}, csrf = world.admin.csrf) =>
  world.admin.browser.go(`${world.gateway.origin}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'origin': world.gateway.origin,
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({ csrf, action: 'test', assertion, ...fields }).toString(),
  })
const account = async (who = world.admin) =>
  JSON.parse((await who.ask('GET', '/api/service-accounts/nightly')).body) as Json

it('shows accounts and issuers to administrators alone', async () => {
  const text = await page()
  expect(text).toContain('1 service account and 5 issuers of assertions.')
  expect(text).toMatch(/ Nightly nightly No use recorded Not set Assertions of actions, mesh ruled /)
  expect(text).toMatch(/ corp http\S+ Users \(ID-JAG\) 1 key Fetched just now None /)
  expect(text).toMatch(/ mesh spiffe:\/\/prod\.example Programs 1 key In the configuration None /)
  const refused = await world.browser.go(`${world.gateway.origin}${path}`)
  expect([refused.status, refused.body.includes('nightly')]).toEqual([403, false])
})

it('counts what was refused in a day by issuer and code', async () => {
  const expired = { iat: world.now() - 900, exp: world.now() - 600 }
  for (const more of [expired, expired, { client_id: 'other' }]) await redeem(more)
  await run({ ref: 'refs/heads/main-evil' })
  await send(await signed({ iss: 'https://else.example' }))
  await expect.poll(() => page()).toMatch(/ No issuer Unreadable, [^.]+ 1 assertion\.issuer /)
  const text = await page()
  expect(text).toMatch(
    / corp http\S+ Users \(ID-JAG\) 1 key Fetched just now 2 assertion\.expired 1 assertion\.client /,
  )
  expect(text).toMatch(/ actions http\S+ Programs 1 key Fetched just now 1 assertion\.rule /)
})

it('tests an assertion gate by gate, and neither issues, uses up, shows nor logs anything', async () => {
  const assertion = await signed()
  const before = world.lastEvent('assertion.accepted')
  for (const _ of [1, 2]) {
    const { status, body } = await test(assertion)
    expect(status).toBe(200)
    expect(textOf(body)).toContain(
      `A token for corp:${bea} at ruled , with the scopes mcp mcp:read mcp:write`,
    )
    expect(textOf(body).match(/ Passed: /g)).toHaveLength(15)
    expect(body).not.toContain(assertion)
  }
  expect(world.lastEvent('assertion.accepted')).toBe(before)
  expect((await send(assertion)).status).toBe(200)
  const used = textOf((await test(assertion)).body)
  expect(used).toMatch(/ No token\. .* Refused: Not used before: assertion\.replayed \(jti /)
  const elsewhere = await world.company.sign(claims({ resource: resource(), aud: 'https://else.example' }), {
    typ: 'oauth-id-jag+jwt',
  })
  const text = textOf((await test(elsewhere)).body)
  expect(text).toMatch(
    / Passed: The signature is valid Refused: For this gateway: assertion\.audience \("https:\/\/else\.example"\) Not reached: /,
  )
  const log = JSON.stringify(world.gateway.log)
  expect([log.includes(assertion), log.includes(elsewhere)]).toEqual([false, false])
})

it('keeps what was said about the request, and takes no test without the form token', async () => {
  const { body } = await test('no <b>JWT</b>', { client_id: 'desk"><b>', resource: resource('second') })
  expect(textOf(body)).toMatch(/ Refused: A signed JWT: assertion\.malformed/)
  expect(body).toContain('value="desk&quot;&gt;&lt;b&gt;"')
  expect(body).toContain(`value="${resource('second')}"`)
  expect(body).not.toMatch(/<b>JWT|&lt;b&gt;JWT/)
  expect((await test('x', {}, 'wrong')).status).toBe(403)
})

it('knows the last use of an account after its tokens, and when it is idle', async () => {
  expect(await account()).not.toHaveProperty('last_used_at')
  expect((await world.call(token(await run()))).status).toBe(200)
  await expect.poll(() => page()).toContain(' Nightly nightly In use Not set ')
  const { last_used_at: at } = await account()
  advance(3 * day)
  const later = await signInAs(world.gateway, ana)
  expect(await account(later)).toMatchObject({ grants: 0, last_used_at: at })
  expect(await page(later)).toMatch(/ In use Not set Assertions of actions, mesh ruled \d{4}-\d\d-\d\d /)
  advance(88 * day)
  expect(await page(await signInAs(world.gateway, ana))).toContain(' Nightly nightly Idle for 90 days ')
  await run(job())
  const last = await signInAs(world.gateway, ana)
  await last.ask('POST', '/api/blocks', { user: 'service:nightly' })
  expect(await page(last)).toContain(' Nightly nightly Blocked ')
})

describe('an issuer that does not answer', () => {
  it('keeps nobody waiting', async () => {
    let pass = (): void => undefined
    const entry = { type: 'workload', issuer: 'https://slow.example', rules: [], clients: [] }
    const issuers = createAssertionIssuers({
      config: { assertion_issuers: { slow: entry } },
      runtime: {
        now: () => 1,
        digest: String,
        defer: () => undefined,
        cache: { get: () => Promise.resolve(undefined) },
        outbound: () => new Promise(() => undefined),
        timer: (_ms: number, run: () => void) => {
          pass = run
          return () => undefined
        },
      },
    } as never)
    const listed = issuers.list(2000)
    pass()
    expect(await listed).toEqual([
      { id: 'slow', type: 'workload', issuer: 'https://slow.example', failure: 'no response yet' },
    ])
  })
})
