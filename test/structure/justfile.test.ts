// The justfile: thin names for commands that exist.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { proofs } from '../../scripts/proofs.ts'
import { createProgram } from '../../src/cli/program.ts'
import { root } from './tree.ts'

interface Recipe {
  readonly name: string
  readonly about: string
  readonly lines: readonly string[]
}

const text = readFileSync(join(root, 'justfile'), 'utf8')
const recipes = [...text.matchAll(/^# (.+)\n([a-z][\w-]*)[^:\n]*:([^\n]*)\n((?: {4}.+\n)*)/gm)].map(
  ([, about = '', name = '', after = '', body = '']): Recipe => ({
    name,
    about,
    lines: [
      ...(after.trim() === '' ? [] : [`just ${after.trim()}`]),
      ...body
        .split('\n')
        .map((line) => line.trim().replace(/^@/, ''))
        .filter(Boolean),
    ],
  }),
)
const lines = recipes.flatMap((recipe) => recipe.lines)
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}
const composed = /compose := "docker compose -f ([^"]+)"/.exec(text)?.[1] ?? ''

it('has the names that people know, each with a sentence', () => {
  expect(recipes.map(({ name }) => name)).toEqual(
    expect.arrayContaining(
      `setup network-create volumes-create up down logs rebuild test test-all test-verbose test-sidecar-coverage
      test-oauth-flow test-mcp-protocol test-claude-integration docs-build check-health generate-jwt-secret
      generate-github-token rebuild-auth rebuild-mcp-fetch rebuild-traefik analyze-oauth-logs`.split(/\s+/),
    ),
  )
  // Nothing stands in the file that was not read as a recipe.
  expect(text.match(/^[a-z][\w-]*[^:=\n]*:(?!=)/gm)).toHaveLength(recipes.length)
  for (const { lines: own } of recipes) expect(own.length).toBeGreaterThan(0)
})

it('names commands and options of postern that exist', () => {
  const calls = lines.filter((line) => line.startsWith('{{postern}} '))
  expect(calls.length).toBeGreaterThan(3)
  for (const line of calls) {
    const [, ...words] = line.replace(/ > .*$/, '').split(' ')
    let command = createProgram()
    for (const word of words) {
      const next = command.commands.find((one) => one.name() === word)
      if (next) command = next
      else if (word.startsWith('--'))
        expect([line, command.options.some(({ long }) => long === word)]).toEqual([line, true])
    }
    expect(command.commands).toEqual([])
  }
})

it('names npm scripts, proofs and services of the example that exist', () => {
  for (const [, script = ''] of lines.join('\n').matchAll(/npm run ([\w:-]+)/g))
    expect(scripts).toHaveProperty([script])
  for (const [, proof = ''] of lines.join('\n').matchAll(/npm run prove ([\w:-]+)/g))
    expect(proofs).toHaveProperty([proof])
  expect(existsSync(join(root, composed))).toBe(true)
  const { services } = parse(readFileSync(join(root, composed), 'utf8'), { merge: true }) as {
    services: object
  }
  for (const [, named = ''] of lines.join('\n').matchAll(/--force-recreate (.+)/g))
    for (const service of named.split(' ').filter((word) => word !== '{{service}}'))
      expect(services).toHaveProperty([service])
  for (const line of lines)
    expect(line).toMatch(
      /^(?:\{\{(?:compose|postern)\}\} |npm |node |just |mkdir -p |NODE_V8_COVERAGE=coverage npm )/,
    )
})

it('generates a secret that is long enough, another one each time', () => {
  const [line = ''] = recipes.find(({ name }) => name === 'generate-jwt-secret')?.lines ?? []
  const made = [1, 2].map(() => execFileSync('sh', ['-c', line], { encoding: 'utf8' }))
  for (const one of made) expect(one).toMatch(/^GATEWAY_JWT_SECRET=[\w-]{43}\n$/)
  expect(made[0]).not.toBe(made[1])
})
