// How the program was started, and commands that can be pasted where they are printed.
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandFor, programName } from '../../src/cli/output.ts'

describe('the words before a verb', () => {
  it.each([
    ['npm start --', { npm_lifecycle_event: 'start', npm_package_name: 'postern' }, '/x/bin/postern.mjs'],
    [
      'npx postern',
      { npm_command: 'exec', npm_lifecycle_event: 'npx' },
      '/x/node_modules/postern/bin/postern.mjs',
    ],
    ['npx postern', {}, '/project/node_modules/.bin/postern'],
    ['postern', {}, '/usr/local/bin/postern'],
    ['postern', { npm_lifecycle_event: 'start', npm_package_name: 'another' }, '/usr/local/bin/postern'],
    ['node bin/postern.mjs', {}, resolve('bin/postern.mjs')],
    ['node bin/postern.mjs', { POSTERN_STARTED_AS: resolve('bin/postern.mjs') }, '/x/src/cli/main.ts'],
    ['postern', { POSTERN_STARTED_AS: '/usr/local/bin/postern' }, '/x/src/cli/main.ts'],
    ['postern', {}, undefined],
  ])('%s', (wanted, env, started) => expect(programName({ ...env }, started ?? '')).toBe(wanted))
})

it('a command finds the same configuration and state', () => {
  const env = { npm_lifecycle_event: 'start', npm_package_name: 'postern' }
  expect(commandFor(env, {})('admin link')).toBe('npm start -- admin link')
  expect(commandFor(env, { config: 'a.yaml', envFile: 'prod env', state: "/o'x" })('validate')).toBe(
    `npm start -- validate --config a.yaml --env-file 'prod env' --state '/o'\\''x'`,
  )
})
