// The mock provider lets anybody in, so it must stay on this computer.
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

test.each(['0.0.0.0', '::', '192.0.2.1', 'example.test'])(
  'the mock provider does not start on %s, and says why [H-U12]',
  (host) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/mock-idp.ts'], {
      env: { ...process.env, MOCK_HOST: host, MOCK_PORT: '0' },
      encoding: 'utf8',
      timeout: 25_000,
    })
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toContain('loopback only')
  },
)
