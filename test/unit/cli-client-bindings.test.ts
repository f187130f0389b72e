// `postern clients bind`, `unbind` and `bindings`: registrations that are in the state directory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import { createRegistrations } from '../../src/oauth/clients.ts'
import { verbIn } from '../runtimes/printed.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-bindings-'))
const config = {
  issuer: 'http://localhost:1',
  local_users: [{ username: 'ana', password: 'a long enough password' }],
  mcp_services: { jira: { url: 'http://localhost:2/mcp' } },
  service_accounts: { nightly: { services: ['jira'] } },
  dynamic_registration: { grant_types: ['client_credentials' as const] },
}
const ids: string[] = []

beforeAll(async () => {
  writeFileSync(join(dir, 'postern.json'), JSON.stringify(config))
  const log = () => undefined
  const parsed = parseConfig(config)
  const runtime = await createNodeRuntime({ config: parsed, stateDir: dir, log, version: '0' })
  const registrations = createRegistrations({ runtime, lifetimeMs: 90 * 86_400_000 })
  const common = { redirect_uris: [], token_endpoint_auth_method: 'client_secret_basic' } as const
  for (const grant_types of [['client_credentials'], ['refresh_token']] as const)
    ids.push((await registrations.create({ ...common, grant_types, response_types: [] })).registration.id)
  await runtime.close()
})
afterAll(() => rmSync(dir, { recursive: true }))

const run = verbIn(dir, 'clients')

it('binds a client, lists it, and ends that', async () => {
  const [id = '', other = ''] = ids
  const none = 'No client is bound to a service account.'
  expect(await run('bindings')).toMatch(
    new RegExp(
      `^${none}\\n\\nRegistered, and not bound\\. Anyone can use these names:\\nCLIENT +NAME +AUTHENTICATES WITH +REGISTERED\\n${id} +Unnamed app +client_secret_basic +[\\d-]{10}\\n$`,
    ),
  )
  expect(await run('bind', id, '--account', 'nightly')).toBe(
    `${id} now gets tokens with client_credentials, as service:nightly.\n`,
  )
  expect(await run('bindings')).toMatch(
    new RegExp(`^CLIENT +ACCOUNT +SINCE +BY\\n${id} +nightly +\\S+ +cli\\n$`),
  )
  expect(JSON.parse(await run('bindings', '--json'))).toMatchObject({
    client_bindings: [{ client: id, account: 'nightly', by: 'cli' }],
    unbound_clients: [],
    truncated: false,
  })
  await expect(run('bind', other, '--account', 'nightly')).rejects.toThrow('client_credentials')
  await expect(run('bind', id, '--account', 'nobody')).rejects.toThrow('There is no such service account.')
  await expect(run('bind', 'x', '--account', 'nightly')).rejects.toThrow('No client has this client_id.')
  expect(await run('unbind', id)).toBe(
    'Unbound. Grants that ended: 0. What users allowed this client stays.\n',
  )
  await expect(run('unbind', id)).rejects.toThrow('bound to no service account')
})
