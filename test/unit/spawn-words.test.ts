// Why a command did not start, or ended, in words: for the caller without details, for the operator with what
// to do.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { stderrReason, endOf, findCommand } from '../../src/node/process/exit-reason.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-words-'))
writeFileSync(join(folder, 'plain'), '#!/bin/sh\n')
writeFileSync(join(folder, 'server'), '#!/bin/sh\n')
chmodSync(join(folder, 'server'), 0o755)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const found = (command: string, path = folder) => {
  const result = findCommand(command, path, folder)
  return 'path' in result ? result.path : [result.end.say, result.end.why]
}
const notFound = 'The MCP server could not be started: its command was not found.'

describe('a command', () => {
  it('is a name in PATH or a path from its working directory', () => {
    expect([found('server'), found('./server', ''), found(join(folder, 'server'), '')]).toEqual([
      join(folder, 'server'),
      join(folder, 'server'),
      join(folder, 'server'),
    ])
  })

  it('that is missing is explained: npx and asdf, a whole line in one word, a path', () => {
    expect(found('npx')).toEqual([
      notFound,
      `npx is not in PATH (ENOENT): npx comes with Node.js; with asdf, nvm or Volta, put the directory of the real npx in PATH before starting the gateway; PATH is ${folder}`,
    ])
    expect(found('uvx')).toEqual([
      notFound,
      `uvx is not in PATH (ENOENT): uvx comes with uv (https://docs.astral.sh/uv); PATH is ${folder}`,
    ])
    expect(found('npx -y some-server')).toEqual([
      notFound,
      'program "npx -y some-server" does not exist (ENOENT): `command` is the program only, list its arguments in `args`',
    ])
    expect(found('./nothing')).toEqual([notFound, './nothing does not exist (ENOENT)'])
  })

  it.skipIf(process.platform === 'win32')('that may not be run says which file and what helps', () => {
    expect(found('plain')).toEqual([
      'The MCP server could not be started: this user may not run its command.',
      `${join(folder, 'plain')} is not executable by this user (EACCES): run chmod +x on it, or set its interpreter as \`command\``,
    ])
  })
})

describe('the end of a process', () => {
  it.each([
    [
      1,
      null,
      'npm error code E404\n',
      'The MCP server exited with code 1.',
      'x exited with code 1; npm did not find the package; last stderr line: npm error code E404',
    ],
    [
      1,
      null,
      'No version is set for command npx\n',
      'The MCP server exited with code 1.',
      'x exited with code 1; asdf has no version for this command: set one for the user of the gateway, or use the full path of the program; last stderr line: No version is set for command npx',
    ],
    [
      1,
      null,
      'Error: GITHUB_TOKEN is required\n',
      'The MCP server exited with code 1.',
      'x exited with code 1; an API key or token may be missing in `env`; last stderr line: Error: GITHUB_TOKEN is required',
    ],
    [
      1,
      null,
      'Unexpected token } in JSON\n',
      'The MCP server exited with code 1.',
      'x exited with code 1; last stderr line: Unexpected token } in JSON',
    ],
    [
      127,
      null,
      '',
      'The MCP server exited with code 127.',
      'x exited with code 127: a program it runs was not found',
    ],
    [
      null,
      'SIGKILL',
      '',
      'The MCP server was killed (SIGKILL), possibly because the system ran out of memory.',
      'x was killed (SIGKILL), possibly because the system ran out of memory',
    ],
    [null, 'SIGSEGV', '', 'The MCP server was terminated by SIGSEGV.', 'x was terminated by SIGSEGV'],
    [0, null, 'token missing\n', 'The MCP server exited normally.', 'x exited normally'],
  ] as const)('with code %s, signal %s and %j on standard error', (code, signal, stderr, say, why) => {
    expect(endOf('x', code, signal, stderr)).toEqual({ kind: 'exit', say, why })
  })

  it('is no complaint where nothing was written', () => {
    expect(stderrReason(' \n\n')).toBe('')
  })
})

describe('the last error of a process', () => {
  it.each([
    [
      'of many lines is told whole, and not by its bracket',
      'listening\nUnhandled error: [\n  {\n    "code": "custom",\n    "message": "FIELD_URL must be set"\n  }\n]\n',
      'Unhandled error: [ { "code": "custom", "message": "FIELD_URL must be set" } ]',
    ],
    [
      'of Node.js is told without its stack',
      "/srv/x.mjs:3\n    throw new Error('x')\n    ^\n\nError: no key\n    at f (file:///srv/x.mjs:3:9)\n    at node:internal/x:1:2\n\nNode.js v24.0.0\n",
      'Error: no key',
    ],
    [
      'of Python is told with what it says below',
      'Traceback (most recent call last):\n  File "/srv/x.py", line 1, in <module>\n    main()\nValidationError: 1 validation error for Settings\napi_key\n  Field required\n',
      'ValidationError: 1 validation error for Settings api_key Field required',
    ],
    [
      'of npm is all its lines',
      'up\nnpm error code E404\nnpm error 404 no-such-package\n',
      'npm error code E404 npm error 404 no-such-package',
    ],
    ['is the last line where nothing is called an error', 'one\ntwo\n', 'two'],
    [
      'is what a bracket closes where nothing is called an error',
      'up\nSettings {\n  url: undefined\n}\n',
      'Settings { url: undefined }',
    ],
    [
      'that is long is told by its two ends',
      `Error: ${'a'.repeat(700)}z\n`,
      `Error: ${'a'.repeat(293)} … ${'a'.repeat(299)}z`,
    ],
  ])('%s', (_what, stderr, told) => {
    expect(endOf('x', 1, null, stderr).why.split('; last stderr line: ')[1]).toBe(told)
  })
})
