// Access rules edited on the console: the matrix of groups and tools, what is fixed by the configuration, what a change
// would have meant, and why somebody may call a tool. What the matrix says is what calls meet.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type Caller, ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type TestGateway, openInProcess } from '../runtimes/runtimes.ts'

let upstream: RuledUpstream
let house: TestGateway
let [admin, other] = [] as unknown as [Administrator, Administrator]
let caller: Caller
/** All pages of the list, so that the gateway knows each tool. */
const listTools = async (cursor?: string): Promise<void> => {
  const params = cursor === undefined ? {} : { cursor }
  const answer = await caller.post({ jsonrpc: '2.0', id: 1, method: 'tools/list', params })
  const { nextCursor } = ((await answer.json()) as { result: { nextCursor?: string } }).result
  if (nextCursor !== undefined) await listTools(nextCursor)
}

beforeAll(async () => {
  upstream = await openRuledUpstream()
  house = await openInProcess({
    upstream: upstream.url,
    config: {
      audit: {},
      local_users: [ana, { ...yamada, groups: ['crew'] }],
      admins: ['local:ana'],
      auditors: ['local:ana'],
      access: { deny: [{ groups: ['crew'], tools: ['query'], services: ['ruled'] }] },
      mcp_services: {
        ruled: {
          url: upstream.url,
          access: { groups: ['crew', 'staff'], permissions: ['write'], tools: { unmarked: 'deny' } },
        },
      },
    },
  })
  admin = await signInAs(house, ana)
  other = await signInAs(house, yamada)
  caller = callerOf(
    house,
    `${house.origin}/ruled/mcp`,
    await tokenOf(house, yamada, `${house.origin}/ruled/mcp`),
  )
  await listTools()
})
afterAll(async () => {
  await house.close()
  await upstream.close()
})

const path = '/console/access?service=ruled'
const page = async (more = '', who = admin): Promise<string> => (await who.browser.go(path + more)).body
const textOf = (body: string): string =>
  body
    .slice(body.indexOf('<main'))
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
/** What a form sends; the page that the browser ends on. */
const send = async (fields: Record<string, string>, who = admin, to = path) =>
  who.browser.go(`${house.origin}${to}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'origin': house.origin,
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({ csrf: who.csrf, ...fields }).toString(),
  })
const columns = JSON.stringify([null, 'crew', 'staff'])
/** Chooses in the form as it is, and goes on to the page that tells of it. */
const review = (cells: Record<string, string>) => send({ action: 'review', columns, ...cells })
/** Presses the button of the page that tells of it. */
const save = async (body: string) => {
  const sets = [...body.matchAll(/name="(set\d+)" value="([^"]+)"/g)].map(([, name = '', value = '']) => [
    name,
    value,
  ])
  expect(sets.length).toBeGreaterThan(0)
  return send({ action: 'save', ...(Object.fromEntries(sets) as Record<string, string>) })
}
const cellsOf = (body: string): Record<string, string> =>
  Object.fromEntries(
    [...body.matchAll(/name="(\d\.[a-z_]+)" aria-label="[^"]*">.*?<option value="(\w+)" selected>/g)].map(
      ([, cell = '', is = '']) => [cell, is],
    ),
  )
const called = async (name: string): Promise<number | undefined> => {
  const answer = await caller.post({
    jsonrpc: '2.0',
    id: 2,
    method: 'tools/call',
    params: { name, arguments: {} },
  })
  return ((await answer.json()) as { error?: { code: number } }).error?.code
}
const storedRules = async () =>
  (JSON.parse((await admin.ask('GET', '/api/access')).body) as { rules: readonly Record<string, unknown>[] })
    .rules

it('offers what can be changed, and says where the rest is set', async () => {
  const body = await page()
  expect(cellsOf(body)).toEqual({
    '0.search': 'never',
    '1.search': 'allow',
    '2.search': 'allow',
    '0.create': 'never',
    '1.create': 'allow',
    '2.create': 'allow',
    '0.query': 'never',
    '2.query': 'allow',
    '0.delete_all': 'never',
    '1.delete_all': 'never',
    '2.delete_all': 'never',
  })
  expect(textOf(body)).toContain('access.deny[0]')
  expect((await other.browser.go(path)).status).toBe(403)
})

it('stores nothing before it was looked at, and says what it would have meant', async () => {
  expect(await called('create')).toBeUndefined()
  expect(await called('create')).toBeUndefined()
  const recorded = async () =>
    (JSON.parse((await admin.ask('GET', '/api/audit?q=tool:create')).body) as { events: object[] }).events
  await expect.poll(recorded).toHaveLength(2)
  const looked = await review({ ...cellsOf(await page()), '1.create': 'never' })
  expect(new URL(looked.url).search).toBe('?service=ruled&set=never%3Acrew%3Acreate')
  expect(textOf(looked.body)).toContain(
    '1 change. 2 calls of the last 7 days would have been refused, by local:yamada .',
  )
  expect(await storedRules()).toEqual([])
  expect(await called('create')).toBeUndefined()
  const saved = await save(looked.body)
  expect(new URL(saved.url).search).toBe('?service=ruled')
  expect(cellsOf(saved.body)).toMatchObject({ '1.create': 'never', '2.create': 'allow' })
  expect(await storedRules()).toMatchObject([
    { deny: { groups: ['crew'], services: ['ruled'], tools: ['create'] }, by: 'local:ana' },
  ])
  await expect.poll(() => called('create')).toBe(1403)
})

it('takes its own rule back, rather than adding another', async () => {
  const saved = await save((await review({ '1.create': 'allow' })).body)
  expect(cellsOf(saved.body)).toMatchObject({ '1.create': 'allow' })
  expect(await storedRules()).toEqual([])
  await expect.poll(() => called('create')).toBeUndefined()
})

it('grants one tool with the permission that it needs, and no more', async () => {
  expect(await called('delete_all')).toBe(1403)
  await save((await review({ '1.delete_all': 'allow' })).body)
  expect(await storedRules()).toMatchObject([
    { allow: { groups: ['crew'], services: ['ruled'], tools: ['delete_all'], permissions: ['execute'] } },
  ])
  const again = await review({ '1.delete_all': 'never' })
  await save(again.body)
  expect(await storedRules()).toEqual([])
})

it('says what a rule for everyone means for each group', async () => {
  const looked = await review({ '0.search': 'allow' })
  expect(textOf(looked.body)).toContain('1 change.')
  await save(looked.body)
  expect(cellsOf(await page())).toMatchObject({ '0.search': 'allow', '1.search': 'allow' })
  await save((await review({ '0.search': 'never' })).body)
  expect(await storedRules()).toEqual([])
})

it('makes an event of each change', async () => {
  const changes = async () =>
    (
      JSON.parse((await admin.ask('GET', '/api/audit?q=kind:access.changed')).body) as {
        events: readonly { actor: string; detail: { before?: unknown; after?: unknown } }[]
      }
    ).events
  await expect.poll(changes).toHaveLength(6)
  const events = await changes()
  expect(events.every(({ actor }) => actor === 'local:ana')).toBe(true)
  expect(events.at(-1)?.detail).toEqual({
    by: 'local:ana',
    after: { deny: { groups: ['crew'], services: ['ruled'], tools: ['create'] } },
  })
})

it('does not change what the configuration decides, what is unknown, and nothing for others', async () => {
  const fixed = await review({ '1.query': 'allow', '1.unmarked': 'allow' })
  expect(textOf(fixed.body)).toContain('2 changes cannot be made here.')
  expect(fixed.body).not.toContain('Save changes')
  const set = (value: string, who = admin) => send({ action: 'save', set0: value }, who)
  expect([
    (await set('allow:crew:query')).status,
    (await send({ action: 'save', set0: 'never:crew:search', csrf: other.csrf })).status,
    (await set('never:crew:search', other)).status,
    (await send({ action: 'save', set0: 'never:crew:search' }, admin, '/console/access?service=gone')).status,
    (await send({ action: 'save', set0: 'never:crew:search' }, admin, '/console/access')).status,
  ]).toEqual([400, 403, 403, 404, 404])
  // Not there, or no group: nothing happens.
  expect((await set('never:nobody:search')).status).toBe(200)
  expect((await set('never:crew:no_such_tool')).status).toBe(200)
  expect((await set('never')).status).toBe(200)
  expect((await review({ '9.search': 'never', 'columns.x': 'never', '1.search': 'sometimes' })).status).toBe(
    200,
  )
  expect(await storedRules()).toEqual([])
})

it('answers why as calls are answered', async () => {
  const why = async (tool: string) => textOf(await page(`&person=local:yamada&tool=${tool}`))
  expect(await why('query')).toMatch(
    /local:yamada can’t call query \..* Groups: crew .*Deny access\.deny\[0\] .*matches/,
  )
  expect(await why('search')).toMatch(/local:yamada can call search , by services\.ruled\.access\./)
  expect(await why('delete_all')).toContain('It needs execute, and the rules grant write.')
  expect(textOf(await page('&person=local:gone&tool=query'))).toContain('local:gone has no access.')
  expect(await page('&person=local:yamada&tool=query')).toContain(
    'postern policy explain --as local:yamada --tool ruled:query --groups crew',
  )
})

it('says of a recorded call who could make it today', async () => {
  const found = async () => (await admin.browser.go('/console/activity?q=tool:create')).body
  await expect.poll(found).toContain('row=')
  const row = /href="([^"]*row=[^"]+)"/.exec(await found())?.[1]?.replaceAll('&amp;', '&') ?? ''
  const { body } = await admin.browser.go(row)
  expect(textOf(body)).toContain('Who could do this today People in crew , staff')
  expect(body).toContain('/console/access?service=ruled&amp;person=local%3Ayamada&amp;tool=create#why')
})
