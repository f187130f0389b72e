// `postern connections`: lists and ends accounts at MCP servers that are in the state directory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import type { Account, Accounts } from '../../src/connections/accounts.ts'
import { createRecords } from '../../src/kit/records.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import { verbIn } from '../runtimes/printed.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-connections-'))
const config = {
  issuer: 'http://localhost:1',
  local_users: [{ username: 'ana', password: 'a long enough password', email: 'ana@example.com' }],
  service_accounts: { nightly: { services: ['far'] } },
  mcp_services: {
    far: { url: 'https://far.example/mcp' },
    fixed: { url: 'https://fixed.example/mcp', upstream_auth: { type: 'static' as const, token: 'x' } },
  },
}
let ids: Readonly<Record<'ana' | 'before' | 'gateway' | 'fixed' | 'provider', string>>

beforeAll(async () => {
  writeFileSync(join(dir, 'postern.json'), JSON.stringify(config))
  const log = () => undefined
  const runtime = await createNodeRuntime({ config: parseConfig(config), stateDir: dir, log, version: '0' })
  const records = createRecords<Accounts>(runtime, 'connection:')
  const now = runtime.now()
  const account = (name: string, more: Partial<Account> = {}): Account => ({
    name,
    at: 'https://far.example',
    issuer: 'https://login.far.example',
    tokenEndpoint: 'https://login.far.example/token',
    clientId: 'c',
    method: 'none',
    asked: [],
    granted: ['read'],
    connectedAt: now - 60_000,
    since: now - 60_000,
    generation: 1,
    refreshable: true,
    sealed: '',
    ...more,
  })
  const of = (key: string, service: string): string => `${runtime.digest(key)}:${service}`
  ids = {
    ana: of('local:ana', 'far'),
    before: of('local:zoe', 'far'),
    gateway: of('gateway:', 'far'),
    fixed: of('local:ana', 'fixed'),
    provider: of('local:ana', 'idp:google'),
  }
  const hour = 3_600_000
  const kept: readonly (readonly [string, Accounts])[] = [
    [
      ids.ana,
      {
        owner: 'local:ana',
        chosen: 'default',
        list: [
          account('default', { since: now }),
          account('work', { ended: 'refused by the server', since: now - 1 }),
          account('moved', { at: 'https://other.example', since: now - 2 }),
          account('short', { refreshable: false, expiresAt: now + hour, since: now - 3 }),
          account('over', { refreshable: false, expiresAt: now - hour, since: now - 4 }),
          account('more', { wanted: ['write'], since: now - 5 }),
        ],
      },
    ],
    [ids.before, { chosen: 'default', list: [account('default', { since: now - 6 })] }],
    [ids.gateway, { chosen: 'default', list: [account('default', { since: now - 7 })] }],
    [ids.fixed, { owner: 'local:ana', chosen: 'default', list: [account('default', { since: now - 8 })] }],
    [ids.provider, { owner: 'local:ana', chosen: 'default', list: [account('default')] }],
  ]
  for (const [id, accounts] of kept) await records.put(id, accounts)
  await runtime.close()
})
afterAll(() => rmSync(dir, { recursive: true }))

const run = verbIn(dir, 'connections')
interface Listed {
  readonly id: string
  readonly account: string
  readonly user?: string
  readonly state: string
  readonly why?: string
}
const listed = async (...words: readonly string[]): Promise<readonly Listed[]> =>
  (JSON.parse(await run('ls', '--json', ...words)) as { connections: readonly Listed[] }).connections

it('lists accounts with whose they are and how they stand, and no token of an identity provider', async () => {
  expect((await listed()).map(({ account, user, state, why }) => [account, user, state, why])).toEqual([
    ['default', 'local:ana', 'connected', undefined],
    ['work', 'local:ana', 'reconnect', 'refused by the server'],
    ['moved', 'local:ana', 'reconnect', 'the service has moved to https://far.example'],
    ['short', 'local:ana', 'expiring', undefined],
    ['over', 'local:ana', 'reconnect', 'expired, without a refresh token'],
    ['more', 'local:ana', 'reconnect', 'the server asks for more permissions: write'],
    // Written before the owner was kept, and nobody with access has this key.
    ['default', undefined, 'connected', undefined],
    ['default', 'gateway', 'connected', undefined],
    ['default', 'local:ana', 'unused', 'upstream_auth.type is static now'],
  ])
  expect((await listed('--service', 'fixed')).map(({ id }) => id)).toEqual([ids.fixed])
  expect((await listed('--user', 'local:ana')).length).toBe(7)
  expect(await run('ls')).toMatch(/^ID +ACCOUNT +USER .*\n.*:far +default +local:ana +far +connected /)
})

it('ends one account and leaves the others', async () => {
  expect(await run('rm', ids.ana, '--account', 'work')).toMatch(/^Disconnected\./)
  expect((await listed('--service', 'far', '--user', 'local:ana')).map(({ account }) => account)).toEqual([
    'default',
    'moved',
    'short',
    'over',
    'more',
  ])
  await expect(run('rm', ids.ana, '--account', 'work')).rejects.toThrow('There is no such connection')
  await expect(run('rm', ids.provider)).rejects.toThrow('There is no such connection')
  expect(JSON.parse(await run('rm', ids.before, '--json'))).toEqual({
    id: ids.before,
    account: 'default',
    disconnected: true,
  })
})

it('prints a one-time link for the account of a service account', async () => {
  const spy = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  expect(await run('connect', 'far', '--as', 'service:nightly')).toMatch(
    /^http:\/\/localhost:1\/connect\/far\?link=[\w-]{43}\n$/,
  )
  expect(String(spy.mock.calls[0]?.[0])).toContain('service:nightly')
  spy.mockRestore()
  await expect(run('connect', 'fixed', '--as', 'service:nightly')).rejects.toThrow()
  await expect(run('connect', 'far', '--as', 'service:other')).rejects.toThrow('no such service account')
})
