// How the program was started, and commands that can be pasted where they are printed.
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { commandFor, programName } from '../../src/cli/output.ts'
import { argumentsOf } from '../../src/cli/program.ts'

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

describe('words that begin with a dash and are no flags', () => {
  const id = '-bcdefghijklmnopqrstuvwxyz_12345'
  it.each([
    [
      ['grants', 'show', id, '--json'],
      ['grants', 'show', '--json', '--', id],
    ],
    [
      ['audit', 'query', 'user:ana', '-decision:allowed', '-o', 'json'],
      ['audit', 'query', 'user:ana', '-o', 'json', '--', '-decision:allowed'],
    ],
    [
      ['audit', 'query', '-code:a', '--', '-kind:b'],
      ['audit', 'query', '--', '-code:a', '-kind:b'],
    ],
  ])('%j', (words, read) => expect(argumentsOf(words)).toEqual(read))
  it.each([
    [['services', 'add', 'a', '--', 'npx', '-e:b', id]],
    [['wrap', '-e', '-a:b']],
    [['--json', '-h']],
  ])('nothing else is moved: %j', (words) => expect(argumentsOf(words)).toEqual(words))
})
