// Where the state directory is, and what is said when it, or the storage, cannot be used.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStateDirectory, stateDirectory, stateError } from '../../src/cli/state.ts'
import { Refusal } from '../../src/kit/refusal.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-state-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the state directory', () => {
  it('is named by flag, variable, XDG, or the home folder, in this order', () => {
    const env = { POSTERN_STATE: '/b', XDG_STATE_HOME: '/c' }
    expect(stateDirectory('/a', env, '/home/alex')).toBe('/a')
    expect(stateDirectory(undefined, env, '/home/alex')).toBe('/b')
    expect(stateDirectory(undefined, { XDG_STATE_HOME: '/c' }, '/home/alex')).toBe('/c/postern')
    expect(stateDirectory(undefined, { XDG_STATE_HOME: 'relative' }, '/home/alex')).toBe(
      '/home/alex/.local/state/postern',
    )
    expect(stateDirectory(undefined, { POSTERN_STATE: '' }, '/home/alex')).toBe(
      '/home/alex/.local/state/postern',
    )
    expect(stateDirectory('here', {}, '/home/alex')).toBe(join(process.cwd(), 'here'))
  })

  it('is made for its owner alone, and left as it is when it exists', () => {
    const path = join(folder, 'a', 'b')
    expect(openStateDirectory(path)).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o700)
    expect(openStateDirectory(path)).toBe(false)
  })

  it('cannot be a file', () => {
    const path = join(folder, 'file')
    writeFileSync(path, '')
    for (const place of [path, join(path, 'below')])
      expect(() => openStateDirectory(place)).toThrow(
        /^Cannot use the state directory .*: it is not a directory\. Choose another one with --state DIR or POSTERN_STATE\.$/,
      )
  })
})

it('an error of a storage names the place that holds it, and what to do about it', () => {
  const file = new Refusal('storage.unavailable', '/s/postern.db: file is not a database')
  expect(stateError(file, { storage: { type: 'sqlite' } })).toMatchObject({
    code: 'storage.unusable',
    message:
      'Cannot use the database: /s/postern.db: file is not a database. Repair it, restore a backup, or choose another state directory with --state.',
  })
  const server = new Refusal(
    'storage.unavailable',
    'redis://h:1: Redis asks for a password: set storage.redis.password',
  )
  expect(stateError(server, { storage: { type: 'redis' } })).toMatchObject({
    code: 'storage.unusable',
    message: 'Cannot use the storage: redis://h:1: Redis asks for a password: set storage.redis.password.',
  })
})
