// `postern issuers`: keys of issuers, and an assertion gate by gate.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { type AssertionIssuer, openAssertionIssuer } from '../providers/assertion-issuer.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-issuers-'))
const issuer = 'http://localhost:1'
let platform: AssertionIssuer

beforeAll(async () => {
  platform = await openAssertionIssuer()
  const of = (url: string) => ({
    type: 'workload',
    issuer: url,
    allow_origins: [url],
    rules: [{ claims: { repository_id: '7' }, service_account: 'nightly' }],
  })
  const config = {
    issuer,
    local_users: [{ username: 'ana', password: 'a long enough password' }],
    mcp_services: { jira: { url: 'http://localhost:2/mcp' } },
    service_accounts: { nightly: { services: ['jira'] } },
    assertion_issuers: { ci: of(platform.url), away: of('http://localhost:9') },
  }
  writeFileSync(join(dir, 'postern.json'), JSON.stringify(config))
})
afterAll(async () => {
  await platform.close()
  rmSync(dir, { recursive: true })
})

const run = async (...words: readonly string[]): Promise<string> => {
  const out: string[] = []
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
  try {
    const more = ['-c', join(dir, 'postern.json'), '--state', dir]
    await createProgram().parseAsync(['issuers', ...words, ...more], { from: 'user' })
  } finally {
    spy.mockRestore()
    process.exitCode = undefined
  }
  return out.join('')
}

const assertion = async (more: object = {}): Promise<string> => {
  const file = join(dir, 'assertion')
  const now = Math.floor(Date.now() / 1000)
  const claims = { aud: issuer, sub: 'job', repository_id: '7', iat: now, exp: now + 300, ...more }
  writeFileSync(file, `${await platform.sign(claims)}\n`)
  return file
}

it('lists them with their keys, or why there are none', async () => {
  expect(await run('ls')).toMatch(
    /^ID +TYPE .*\nci +workload +http:\/\/127\.0\.0\.1:\d+ +1\naway +workload +http:\/\/localhost:9 +away: http:/,
  )
})

it('an assertion passes each gate, twice, because nothing is used up', async () => {
  const file = await assertion()
  for (const _ of [1, 2]) {
    const tested = JSON.parse(await run('test', file, '--json')) as { gates: { result: string }[] }
    expect(new Set(tested.gates.map(({ result }) => result))).toEqual(new Set(['passed']))
    expect(tested).toMatchObject({
      issuer: 'ci',
      accepted: {
        person: 'service:nightly',
        service: 'jira',
        scopes: ['mcp'],
        rule: 'assertion_issuers.ci.rules[0]',
      },
    })
  }
})

it('says at which gate another one stops, and why', async () => {
  const text = await run('test', await assertion({ repository_id: '8' }))
  expect(text).toMatch(
    /✓ The signature is valid\n.*✗ About somebody who has access: assertion\.rule \(ci: job\)\n· /s,
  )
  expect(await run('test', await assertion({ aud: 'https://else.example' }))).toContain('assertion.audience')
})
