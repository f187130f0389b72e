// The gateway signs in to a server with a JWT of its platform (RFC 7523), which is read anew for each request. One that
// was refused is not sent again, and no other grant is tried.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { signInAs } from '../runtimes/administrator.ts'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, openInProcess } from '../runtimes/runtimes.ts'

const jwt = (n: number): string => `eyJhbGciOiJFUzI1NiJ9.${btoa(`{"n":${n}}`).replaceAll('=', '')}.c2ln`

describe('an assertion of the platform', () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-assertion-'))
  const file = join(dir, 'token')
  let far: FarServer
  let house: TestGateway
  let ofFile: Caller
  let ofVariable: Caller
  beforeAll(async () => {
    far = await openFarServer()
    house = await openInProcess({
      upstream: far.url,
      config: {
        admins: ['local:ana'],
        local_users: [ana],
        mcp_services: {
          file: {
            url: far.url,
            upstream_auth: { type: 'workload', issuer: far.origin, assertion_file: file, scopes: ['read'] },
          },
          variable: {
            url: far.url,
            upstream_auth: {
              type: 'workload',
              issuer: far.origin,
              client_id: 'job',
              assertion_env: 'POSTERN_TEST_ASSERTION',
            },
          },
          strict: {
            url: far.url,
            upstream_auth: {
              type: 'workload',
              issuer: far.origin,
              assertion_env: 'POSTERN_TEST_ASSERTION',
              dpop: 'required',
            },
          },
        },
      },
    })
    const caller = async (id: string): Promise<Caller> => {
      const resource = `${house.origin}/${id}/mcp`
      return callerOf(house, resource, await tokenOf(house, ana, resource))
    }
    ;[ofFile, ofVariable] = [await caller('file'), await caller('variable')]
  })
  afterEach(() => far.script.instead.delete('/token'))
  afterAll(async () => {
    delete process.env['POSTERN_TEST_ASSERTION']
    await house.close()
    await far.close()
    rmSync(dir, { recursive: true })
  })
  const requests = () => far.asked.filter(({ path }) => path === '/token')
  const status = async (caller: Caller): Promise<number> => (await caller.post(call())).status

  it('that is not there is the operator’s to mend, and nothing is sent', async () => {
    expect([await status(ofFile), await status(ofVariable)]).toEqual([502, 502])
    expect(requests()).toEqual([])
    const log = JSON.stringify(house.log)
    expect(log).toContain('mcp_services.file.upstream_auth.assertion_file: ENOENT')
    expect(log).toContain('mcp_services.variable.upstream_auth.assertion_env: is empty or missing')
    house.advance(6_000)
  })

  it('is all that the gateway is known by, or its client says who it is', async () => {
    writeFileSync(file, `${jwt(1)}\n`)
    process.env['POSTERN_TEST_ASSERTION'] = jwt(2)
    expect([await status(ofFile), await status(ofVariable)]).toEqual([200, 200])
    const [first, second] = requests()
    const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer' }
    expect(first?.fields).toEqual({ ...grant, assertion: jwt(1), resource: far.url, scope: 'read' })
    expect(second?.fields).toEqual({ ...grant, assertion: jwt(2), resource: far.url, client_id: 'job' })
    expect([first, second].map((one) => one?.headers.authorization)).toEqual([undefined, undefined])
    expect(JSON.stringify(house.log)).not.toContain(jwt(1))
  })

  it('is read again for each token', async () => {
    process.env['POSTERN_TEST_ASSERTION'] = jwt(3)
    far.expire()
    expect(await status(ofVariable)).toBe(200)
    expect(requests().at(-1)?.fields['assertion']).toBe(jwt(3))
  })

  it('that was refused is not sent again, until it is another or a minute has passed', async () => {
    far.expire()
    far.script.instead.set('/token', () => ({ status: 400, body: { error: 'invalid_scope' } }))
    const from = requests().length
    const sent = () =>
      requests()
        .slice(from)
        .map(({ fields }) => fields['assertion'])
    expect(await status(ofFile)).toBe(403)
    house.advance(30_000)
    expect(await status(ofFile)).toBe(403)
    expect(sent()).toEqual([jwt(1)])
    writeFileSync(file, jwt(4))
    house.advance(10_000)
    expect(await status(ofFile)).toBe(403)
    expect(sent()).toEqual([jwt(1), jwt(4)])
    house.advance(61_000)
    far.script.instead.delete('/token')
    expect(await status(ofFile)).toBe(200)
    expect(sent()).toEqual([jwt(1), jwt(4), jwt(4)])
    expect(new Set(requests().map(({ fields }) => fields['grant_type'])).size).toBe(1)
  })

  it('brings no Bearer token where a bound one is required', async () => {
    const resource = `${house.origin}/strict/mcp`
    const before = far.calls.length
    const caller = callerOf(house, resource, await tokenOf(house, ana, resource))
    const text = await (await caller.post(call())).text()
    expect([text, far.calls.length]).toEqual([expect.stringContaining('connection.untrusted'), before])
    expect(requests().at(-1)?.headers['dpop']).toMatch(/^eyJ/)
    expect(JSON.stringify(house.log)).toContain('the token is not bound to a key')
  })

  it.each(['assertion_file', 'assertion_env'])(
    'is not for an administrator at a browser to send to a server of their choice (%s)',
    async (name) => {
      const auth = { type: 'workload', issuer: far.origin, [name]: file }
      const admin = await signInAs(house, ana)
      const service = { url: far.url, upstream_auth: auth }
      const answer = await admin.ask('POST', '/api/services', { id: 'mine', service })
      expect([answer.status, answer.body]).toEqual([
        400,
        expect.stringContaining("Assertions of the gateway's computer cannot be added here."),
      ])
    },
  )

  it('is no text of another kind', async () => {
    writeFileSync(file, 'password of the machine')
    far.expire()
    house.advance(6_000)
    expect(await status(ofFile)).toBe(502)
    expect(JSON.stringify([requests(), house.log])).not.toContain('password of the machine')
  })
})
