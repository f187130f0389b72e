// The commands that the documentation prints: each `postern` command is one that the program takes, and is run against one
// gateway, unless a comment before its block says why not: <!-- not run: reason -->, or for one of its lines
// <!-- not run (postern verb): reason -->. Other programs are run by nobody here, so their blocks say why, too.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { argumentsOf, createProgram } from '../../src/cli/program.ts'
import { logIn } from '../runtimes/login.ts'
import { call } from '../runtimes/proxied.ts'
import { callerOf } from '../runtimes/people.ts'
import { type TestGateway, configOf, openOnSocket } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'
import { pages } from '../docs/markdown.ts'

interface Line {
  readonly at: string
  /** As it is typed, without comments. */
  readonly text: string
  /** Why it is not run. */
  readonly reason: string | undefined
}

const marker = /<!-- not run(?: \(([^)]+)\))?: ([^>]+?) -->\s*/g

/** Lines that go on behind a backslash are one. */
const linesOf = (block: string): readonly string[] =>
  block
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/\s+# .*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'))

const lines: readonly Line[] = pages().flatMap(({ path, text }) =>
  [
    ...text.matchAll(/((?:<!-- not run[^>]*-->\s*)*)^ *```(?:sh|bash|shell|console)\n([\s\S]*?)^ *```/gm),
  ].flatMap(([whole, said = '', block = '']) => {
    const reasons = [...said.matchAll(marker)].map(([, of, reason = '']) => ({ of, reason }))
    const number = text.slice(0, text.indexOf(whole) + whole.indexOf('```')).split('\n').length
    return linesOf(block).map((line) => ({
      at: `${path}:${number} ${line}`,
      text: line,
      reason: reasons.find(({ of }) => of === undefined || line.includes(of))?.reason,
    }))
  }),
)

/** Words as a shell makes them: quotes of both kinds, no expansion. */
const wordsOf = (text: string): readonly string[] =>
  [...text.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
    word.replaceAll(/'([^']*)'|"([^"]*)"/g, (_, one?: string, two?: string) => one ?? two ?? ''),
  )

/** What the program is given: also in a substitution, without what the shell does with it. */
const commandOf = (text: string): readonly string[] | undefined => {
  const [, found] = /(?:^(?:\w+=\S+ )*|\$\(|<\()postern(?: (.*))?$/.exec(text) ?? []
  if (found === undefined) return undefined
  return wordsOf(found.replace(/\)$/, '').replace(/ [<>] \S+$/, ''))
}

const commands = lines.flatMap((line) => {
  const words = commandOf(line.text)
  return words === undefined ? [] : [{ ...line, words }]
})

/** Parses the words and runs nothing. */
const parse = (words: readonly string[]): unknown => {
  let met: unknown
  const hook = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => undefined })
    command.action(() => void (met = command))
    for (const one of command.commands) hook(one)
  }
  const program = createProgram()
  hook(program)
  program.parse(argumentsOf([...words]), { from: 'user' })
  return met
}

it.each(commands)('$at: is a command', ({ words }) => {
  const command = parse(words) as Command
  expect(command.name()).toBe(words.find((word) => word === command.name()) ?? 'postern')
})

it('says of every other program why nobody runs it here', () =>
  expect(lines.filter((line) => line.reason === undefined && commandOf(line.text) === undefined)).toEqual([]))

describe('against one gateway', () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-commands-'))
  let house: TestGateway
  let upstream: Upstream
  /** What stands in the documentation for an ID that a gateway gives out. */
  const given = new Map<string, () => Promise<string> | string>()

  const run = async (words: readonly string[]): Promise<string> => {
    const out: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
    try {
      const more = ['-c', join(dir, 'postern.json'), '--state', house.stateDir ?? '']
      await createProgram().parseAsync(argumentsOf([...words, ...more]), { from: 'user' })
    } finally {
      spy.mockRestore()
    }
    return out.join('')
  }
  const lastOf = async (words: readonly string[], list: string): Promise<string> => {
    const found = JSON.parse(await run([...words, '--json'])) as Record<string, readonly { id: string }[]>
    return found[list]?.at(-1)?.id ?? ''
  }

  beforeAll(async () => {
    upstream = await openUpstream()
    const config = {
      audit: {},
      flows: {},
      local_users: [
        { username: 'ana', password: 'correct horse battery', email: 'ana@example.com', groups: ['staff'] },
        { username: 'ben', password: 'battery horse correct' },
      ],
      admins: ['local:ana', 'local:ben'],
      service_accounts: { nightly: { owner: 'local:ben', services: ['jira'] } },
      access: {
        groups: { engineering: { members: ['local:ben'] }, contractors: { members: ['local:ben'] } },
        allow: [{ everyone: true as const, permissions: ['write' as const] }],
      },
      mcp_services: { jira: { url: upstream.url }, wiki: { url: upstream.url } },
    }
    house = await openOnSocket({ upstream: upstream.url, config })
    writeFileSync(
      join(dir, 'postern.json'),
      JSON.stringify({ ...configOf({ upstream: upstream.url, config }), issuer: house.origin }),
    )
    const resource = `${house.origin}/jira/mcp`
    const { client, tokens } = await logIn(house, resource)
    await callerOf(house, resource, tokens.access_token).post(call())
    writeFileSync(join(dir, 'keys.json'), await (await house.fetch(`${house.origin}/audit/jwks`)).text())
    writeFileSync(join(dir, 'changed.yaml'), 'access: { allow: [{ everyone: true, permissions: [read] }] }\n')
    given.set('ppat_…', async () =>
      (await run(['token', 'create', '--service', 'jira', '--expires', '1h', '--user', 'local:ben'])).trim(),
    )
    given.set('client_Zk3xQ1bT7vR9mW2nY5cJ8A', () => client.id)
    given.set('Gk1dDhBq2vZ8x0mT4sYw7nRcE5uLpJ3f', () => lastOf(['grants', 'ls'], 'grants'))
    given.set('3f9a0c51d27e', () => lastOf(['access', 'ls'], 'rules'))
    given.set('o0ZldFXcCFxA', () => lastOf(['token', 'ls'], 'tokens'))
    given.set('zd2xedxi780352affaf4e', () => lastOf(['flows', 'ls'], 'flows'))
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
    rmSync(dir, { recursive: true })
  })

  it.each(commands.filter(({ reason }) => reason === undefined))('$at: works', async ({ text, words }) => {
    const fileOf = (word: string): string => (existsSync(join(dir, word)) ? join(dir, word) : word)
    const out = await run(
      await Promise.all(words.map(async (word) => (await given.get(word)?.()) ?? fileOf(word))),
    )
    const [, file] = / > (\S+)$/.exec(text) ?? []
    if (file !== undefined) writeFileSync(join(dir, file), out)
  })
})
