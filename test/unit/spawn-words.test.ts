// Why a command did not start, or ended, in words: for the caller without details, for the operator with what to do.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { complaintOf, endOf, findCommand } from '../../src/node/spawn-words.ts'

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
    expect([found('server'), found('./server', ''), found(join(folder, 'server'), '')]).toEqual([join(folder, 'server'), join(folder, 'server'), join(folder, 'server')])
  })

  it('that is missing is explained: npx and asdf, a whole line in one word, a path', () => {
    expect(found('npx')).toEqual([notFound, `npx is not in PATH (ENOENT): npx comes with Node.js; where asdf, nvm or Volta manage it, put the directory of the real npx in PATH before the gateway starts; PATH is ${folder}`])
    expect(found('uvx')).toEqual([notFound, `uvx is not in PATH (ENOENT): uvx comes with uv (https://docs.astral.sh/uv); PATH is ${folder}`])
    expect(found('npx -y some-server')).toEqual([notFound, 'there is no program called "npx -y some-server" (ENOENT): the command is one program; what follows it belongs into args'])
    expect(found('./nothing')).toEqual([notFound, 'there is no program ./nothing (ENOENT)'])
  })

  it.skipIf(process.platform === 'win32')('that may not be run says which file and what helps', () => {
    expect(found('plain')).toEqual(['The MCP server could not be started: its command may not be run by this user.', `${join(folder, 'plain')} is not executable for this user (EACCES): chmod +x it, or name its interpreter as the command`])
  })
})

describe('the end of a process', () => {
  it.each([
    [1, null, 'npm error code E404\n', 'The MCP server ended with code 1.', 'x ended with code 1; npm knows no such package; it last wrote: npm error code E404'],
    [1, null, 'No version is set for command npx\n', 'The MCP server ended with code 1.', 'x ended with code 1; asdf has no version for this command: set one for the user of the gateway, or name the program itself; it last wrote: No version is set for command npx'],
    [1, null, 'Error: GITHUB_TOKEN is required\n', 'The MCP server ended with code 1.', 'x ended with code 1; it may lack a key that belongs into env; it last wrote: Error: GITHUB_TOKEN is required'],
    [1, null, 'Unexpected token } in JSON\n', 'The MCP server ended with code 1.', 'x ended with code 1; it last wrote: Unexpected token } in JSON'],
    [127, null, '', 'The MCP server ended with code 127.', 'x ended with code 127: something it runs was not found'],
    [null, 'SIGKILL', '', 'The MCP server was killed (SIGKILL), by the system for want of memory or by somebody.', 'x was killed (SIGKILL), by the system for want of memory or by somebody'],
    [null, 'SIGSEGV', '', 'The MCP server was ended by SIGSEGV.', 'x was ended by SIGSEGV'],
    [0, null, 'token missing\n', 'The MCP server ended by itself.', 'x ended by itself'],
  ] as const)('with code %s, signal %s and %j on standard error', (code, signal, stderr, say, why) => {
    expect(endOf('x', code, signal, stderr)).toEqual({ kind: 'exit', say, why })
  })

  it('is no complaint where nothing was written', () => {
    expect(complaintOf(' \n\n')).toBe('')
  })
})

describe('the last error of a process', () => {
  it.each([
    ['of many lines is told whole, and not by its bracket', 'listening\nUnhandled error: [\n  {\n    "code": "custom",\n    "message": "FIELD_URL must be set"\n  }\n]\n', 'Unhandled error: [ { "code": "custom", "message": "FIELD_URL must be set" } ]'],
    ['of Node.js is told without its stack', "/srv/x.mjs:3\n    throw new Error('x')\n    ^\n\nError: no key\n    at f (file:///srv/x.mjs:3:9)\n    at node:internal/x:1:2\n\nNode.js v24.0.0\n", 'Error: no key'],
    ['of Python is told with what it says below', 'Traceback (most recent call last):\n  File "/srv/x.py", line 1, in <module>\n    main()\nValidationError: 1 validation error for Settings\napi_key\n  Field required\n', 'ValidationError: 1 validation error for Settings api_key Field required'],
    ['of npm is all its lines', 'up\nnpm error code E404\nnpm error 404 no-such-package\n', 'npm error code E404 npm error 404 no-such-package'],
    ['is the last line where nothing is called an error', 'one\ntwo\n', 'two'],
    ['is what a bracket closes where nothing is called an error', 'up\nSettings {\n  url: undefined\n}\n', 'Settings { url: undefined }'],
    ['that is long is told by its two ends', `Error: ${'a'.repeat(700)}z\n`, `Error: ${'a'.repeat(293)} … ${'a'.repeat(299)}z`],
  ])('%s', (_what, stderr, told) => {
    expect(endOf('x', 1, null, stderr).why.split('; it last wrote: ')[1]).toBe(told)
  })
})
