// `postern access`: stored access rules on the command line.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { ana } from '../runtimes/people.ts'

describe('postern access', () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-rules-'))
  afterAll(() => rmSync(dir, { recursive: true }))
  let access: object | undefined = { groups: { crew: { members: ['local:ana'] } } }
  const run = async (...words: readonly string[]): Promise<string> => {
    const file = join(dir, 'postern.json')
    writeFileSync(
      file,
      JSON.stringify({ issuer: 'http://localhost:1', local_users: [ana], access, mcp_services: {} }),
    )
    const out: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
    try {
      await createProgram().parseAsync(['access', ...words, '-c', file, '--state', dir], { from: 'user' })
    } finally {
      spy.mockRestore()
    }
    return out.join('')
  }

  it('stores, lists, shows and removes rules', async () => {
    expect(await run('ls')).toBe('No stored access rules.\n')
    const id = /Stored as (\w{12})\. /.exec(await run('grant', '--user', 'local:ana', '--group', 'crew'))?.[1]
    await run('deny', '--rule', '{"tools":["x"]}')
    expect(
      (await run('ls'))
        .replaceAll(/\w{12}|\d{4}-\d\d-\d\d/g, '#')
        .split('\n')
        .map((line) => line.trim()),
    ).toEqual([
      expect.stringMatching(/^ID +EFFECT +RULE +SINCE +BY$/),
      expect.stringMatching(/^# +user +local:ana: member of crew +# +cli$/),
      expect.stringMatching(/^# +deny +\{"tools":\["x"\]\} +# +cli$/),
      '',
    ])
    expect(JSON.parse(await run('show', id ?? '', '--json'))).toMatchObject({ record: { groups: ['crew'] } })
    access = undefined
    expect(await run('ls')).toMatch(/\nNo effect, by `access` in the configuration: \w{12}, \w{12}\n/)
    access = { groups: { crew: { members: ['local:ana'] } } }
    await run('revoke', id ?? '')
    await expect(run('revoke', '--user', 'local:ana')).rejects.toMatchObject({ code: 'rule.unknown' })
    await expect(run('grant', '--user', 'local:ana', '--service', 'x')).rejects.toThrow('no service "x"')
    await expect(run('grant', '--user', 'local:ana')).rejects.toThrow('Give --service or --group.')
  })
})
