// The walls stand: who may import whom, as a table, held against what lint says about every cell of it; and
// every other rule, broken once on purpose.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { plantTree, root, type Tree } from './tree.ts'

const targets = {
  kit: 'kit/target.ts',
  ports: 'ports/target.ts',
  config: 'config/target.ts',
  mcp: 'mcp/target.ts',
  room: 'audit/target.ts',
  stdio: 'stdio/target.ts',
  services: 'services/target.ts',
  stores: 'stores/target.ts',
  hall: 'target.ts',
  door: 'node/target.ts',
  demo: 'demo/target.ts',
  node: 'node:fs',
  cloudflare: 'cloudflare:workers',
  undici: 'undici',
} as const

type Target = keyof typeof targets
type Leave = 'yes' | 'types' | 'no'

const room = { kit: 'yes', ports: 'types', config: 'types', mcp: 'yes' } as const
const door = { kit: 'yes', ports: 'yes', config: 'yes', stores: 'yes', services: 'yes', hall: 'yes' } as const
const control = {
  kit: 'yes',
  ports: 'yes',
  config: 'yes',
  mcp: 'yes',
  stdio: 'yes',
  services: 'yes',
} as const

/** Folder of the importing file → what it may import. What is not named is forbidden. */
const table: Readonly<Record<string, Partial<Record<Target, Leave>>>> = {
  kit: { kit: 'yes' },
  ports: { kit: 'types', ports: 'yes' },
  config: { kit: 'yes', ports: 'types', config: 'yes' },
  'config/rules': { kit: 'yes', ports: 'types', config: 'yes' },
  mcp: { kit: 'yes', mcp: 'yes' },
  oauth: room,
  identity: room,
  'identity/providers': room,
  connections: room,
  stdio: { ...room, stdio: 'yes' },
  policy: room,
  proxy: room,
  pages: room,
  services: control,
  admin: control,
  audit: { ...room, room: 'yes' },
  flows: room,
  stores: { kit: 'yes', ports: 'types', stores: 'yes' },
  '': {
    kit: 'yes',
    ports: 'yes',
    config: 'yes',
    mcp: 'yes',
    room: 'yes',
    stdio: 'yes',
    services: 'yes',
    hall: 'yes',
  },
  node: { ...door, door: 'yes', node: 'yes', undici: 'yes' },
  'node/process': { ...door, door: 'yes', node: 'yes', undici: 'yes' },
  cli: { ...door, door: 'yes', demo: 'yes', node: 'yes', undici: 'yes' },
  worker: { ...door, demo: 'yes', cloudflare: 'yes' },
  demo: { kit: 'yes', demo: 'yes' },
}

const specifier = (folder: string, target: string): string => {
  if (!target.endsWith('.ts')) return target
  if (folder === '') return `./${target}`
  const [own] = target.split('/')
  return folder === own
    ? `./${target.slice(folder.length + 1)}`
    : `${'../'.repeat(folder.split('/').length)}${target}`
}

/** Every way of importing one file: as values, as types, passed on, and while running. */
const importers = (from: string): Record<string, string> => ({
  value: `import { target } from '${from}'\nexport const used = target\n`,
  type: `import type { Target } from '${from}'\nexport type Used = Target\n`,
  onward: `export { target } from '${from}'\n`,
  later: `export const load = async (): Promise<unknown> => await import('${from}')\n`,
})

const cells = Object.keys(table).flatMap((folder) =>
  (Object.keys(targets) as Target[]).map((target) => ({
    folder,
    target,
    leave: table[folder]?.[target] ?? ('no' as const),
  })),
)
const fileOf = (folder: string, target: string, form: string): string =>
  ['src', folder, `to-${target}-${form}.ts`].filter(Boolean).join('/')

const matrix = (): Record<string, string> => {
  const files: Record<string, string> = {}
  for (const path of Object.values(targets).filter((target) => target.endsWith('.ts')))
    files[`src/${path}`] = 'export const target = 1\nexport type Target = number\n'
  for (const { folder, target } of cells) {
    for (const [form, text] of Object.entries(importers(specifier(folder, targets[target]))))
      files[fileOf(folder, target, form)] = text
  }
  return files
}

describe('the walls between the rooms', () => {
  let tree: Tree
  let lint: Awaited<ReturnType<Tree['lint']>>
  beforeAll(async () => {
    tree = await plantTree(matrix())
    lint = await tree.lint()
    // The lint of a whole tree, on a machine that may have other work.
  }, 120_000)
  afterAll(() => tree.remove())

  it.each(Object.keys(table).map((folder) => ({ folder, name: `src/${folder}` })))(
    'let $name import what the table says and nothing else',
    ({ folder }) => {
      const forms = Object.keys(importers(''))
      const row = cells.filter((cell) => cell.folder === folder)
      const forbidden = (target: string): string[] =>
        forms.filter((form) => lint.rulesOf(fileOf(folder, target, form)).includes('no-restricted-imports'))
      const expected: Record<Leave, string[]> = { yes: [], types: ['value', 'onward', 'later'], no: forms }
      expect(Object.fromEntries(row.map(({ target }) => [target, forbidden(target)]))).toEqual(
        Object.fromEntries(row.map(({ target, leave }) => [target, expected[leave]])),
      )
    },
  )

  it('are drawn around every folder of the sources, so that no file escapes them', () => {
    const folders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map((entry) => entry.parentPath.slice(join(root, 'src').length + 1))
    const rooms = [
      'oauth',
      'identity',
      'connections',
      'proxy',
      'stdio',
      'policy',
      'audit',
      'flows',
      'pages',
      'node',
      'config',
      'cli',
    ]
    const unknown = [...new Set(folders)].filter(
      (folder) =>
        !(folder in table) &&
        !(folder.split('/').length === 2 && rooms.includes(folder.split('/')[0] as string)),
    )
    expect(unknown).toEqual([])
  })
})

/** One broken rule a file: path → text and the rule that must speak. */
const breaches: Readonly<Record<string, { readonly text: string; readonly rule: string }>> = {
  'src/oauth/detour.ts': {
    rule: 'no-restricted-imports',
    text: "import { clean } from '../kit/../audit/clean.ts'\nexport const used = clean\n",
  },
  'src/oauth/process.ts': {
    rule: 'no-restricted-globals',
    text: 'export const home = (): unknown => process.env\n',
  },
  'src/oauth/hidden-process.ts': {
    rule: 'no-restricted-globals',
    text: 'export const home = (): unknown => globalThis.process\n',
  },
  'src/oauth/buffer.ts': {
    rule: 'no-restricted-globals',
    text: "export const bytes = (): unknown => Buffer.from('x')\n",
  },
  'src/oauth/fetch.ts': {
    rule: 'no-restricted-globals',
    text: "export const ask = (): Promise<Response> => fetch('https://example.com')\n",
  },
  'src/oauth/now.ts': {
    rule: 'no-restricted-properties',
    text: 'export const now = (): number => Date.now()\n',
  },
  'src/oauth/timer.ts': {
    rule: 'no-restricted-globals',
    text: 'export const later = (run: () => void): unknown => setTimeout(run, 1)\n',
  },
  'src/oauth/chance.ts': {
    rule: 'no-restricted-properties',
    text: 'export const chance = (): number => Math.random()\n',
  },
  'src/oauth/uuid.ts': {
    rule: 'no-restricted-properties',
    text: 'export const id = (): string => crypto.randomUUID()\n',
  },
  'src/oauth/cycle-a.ts': {
    rule: 'no-cycle',
    text: "import type { B } from './cycle-b.ts'\nexport type A = { b: B }\n",
  },
  'src/oauth/cycle-b.ts': {
    rule: 'no-cycle',
    text: "import type { A } from './cycle-a.ts'\nexport type B = { a?: A }\n",
  },
  'src/oauth/floating.ts': {
    rule: 'no-floating-promises',
    text: 'const work = async (): Promise<void> => {}\nexport const start = (): void => {\n  work()\n}\n',
  },
  'src/oauth/voided.ts': {
    rule: 'no-floating-promises',
    text: 'const work = async (): Promise<void> => {}\nexport const start = (): void => {\n  void work()\n}\n',
  },
  'src/oauth/misused.ts': {
    rule: 'no-misused-promises',
    text: 'export const each = (list: string[]): void => {\n  list.forEach(async (item) => await Promise.resolve(item))\n}\n',
  },
  'src/oauth/long.ts': {
    rule: 'max-lines',
    text: Array.from({ length: 351 }, (_, i) => `export const long${i} = 1\n`).join(''),
  },
  'src/oauth/long-function.ts': {
    rule: 'max-lines-per-function',
    text: `export const long = (): number => {\n${'  Math.abs(1)\n'.repeat(60)}  return 1\n}\n`,
  },
  'src/oauth/many.ts': {
    rule: 'max-dependencies',
    text: `${Array.from({ length: 21 }, (_, i) => `import type { clean as clean${i} } from './clean.ts?${i}'`).join('\n')}\nexport type All = [${Array.from({ length: 21 }, (_, i) => `typeof clean${i}`).join(', ')}]\n`,
  },
  'src/oauth/default.ts': { rule: 'no-default-export', text: 'const clean = 1\nexport default clean\n' },
  'src/oauth/barrel.ts': { rule: 'no-barrel-file', text: "export * from './clean.ts'\n" },
  'src/oauth/any.ts': {
    rule: 'no-explicit-any',
    text: 'export const open = (value: any): unknown => value\n',
  },
  'src/oauth/ignored.ts': {
    rule: 'ban-ts-comment',
    text: "// @ts-ignore\nexport const wrong: number = 'x'\n",
  },
  'src/oauth/thrown.ts': {
    rule: 'only-throw-error',
    text: "export const no = (): never => {\n  throw 'no'\n}\n",
  },
  'src/oauth/printed.ts': { rule: 'no-console', text: "export const say = (): void => console.log('x')\n" },
  'src/oauth/extension.ts': {
    rule: 'extensions',
    text: "import { clean } from './clean'\nexport const used = clean\n",
  },
}

/** What a good citizen of each part looks like. */
const clean: Readonly<Record<string, string>> = {
  'src/kit/clean.ts': '// Kit.\nexport const clean = (text: string): string => text.trim()\n',
  'src/ports/clean.ts': '// Ports.\nexport interface Clean {\n  now(): number\n  work(): Promise<void>\n}\n',
  'src/audit/clean.ts': '// A room.\nexport const clean = 1\n',
  'src/oauth/clean.ts':
    "// Another room.\nimport { clean as trim } from '../kit/clean.ts'\nimport type { Clean } from '../ports/clean.ts'\n\nexport const createClean = (runtime: Clean): (() => Promise<string>) => async () => {\n  await runtime.work()\n  return trim(` ${runtime.now()} `) + (await crypto.subtle.digest('SHA-256', new Uint8Array(1))).byteLength\n}\n\nexport const clean = 1\n",
  'src/gateway.ts':
    "// The hall.\nimport { createClean } from './oauth/clean.ts'\nimport type { Clean } from './ports/clean.ts'\n\nexport const createGateway = (runtime: Clean): (() => Promise<string>) => createClean(runtime)\n",
  'src/node/clean.ts':
    "// A door.\nimport { hostname } from 'node:os'\nimport { createGateway } from '../gateway.ts'\n\nexport const serve = (): Promise<string> => createGateway({ now: () => Date.now() + hostname().length, work: async () => {} })()\n",
  'src/worker/clean.ts':
    "// The other door.\nimport { createGateway } from '../gateway.ts'\n\nexport const serve = (): Promise<string> => createGateway({ now: () => Date.now(), work: async () => {} })()\n",
}

describe('the rules of the house', () => {
  let good: Tree
  let bad: Tree
  let lint: Awaited<ReturnType<Tree['lint']>>
  beforeAll(async () => {
    good = await plantTree(clean)
    bad = await plantTree({
      ...clean,
      ...Object.fromEntries(Object.entries(breaches).map(([file, { text }]) => [file, text])),
      'src/oauth/node.ts':
        "import { readFileSync } from 'node:fs'\nexport const read = (): string => readFileSync('x', 'utf8')\n",
    })
    lint = await bad.lint()
  })
  afterAll(() => Promise.all([good.remove(), bad.remove()]))

  it('let a clean house pass lint and all three type checks', async () => {
    const { status, all } = await good.lint()
    expect(all).toEqual([])
    expect(status).toBe(0)
    for (const project of ['core', 'node', 'worker'] as const)
      expect(await good.types(project)).toEqual({ status: 0, output: '' })
  }, 60_000)

  it('make lint fail when one is broken', () => expect(lint.status).not.toBe(0))

  it.each(Object.entries(breaches).map(([file, { rule }]) => ({ file, rule })))(
    '$file breaks $rule',
    ({ file, rule }) => {
      expect(lint.rulesOf(file)).toContain(rule)
    },
  )

  it('make the type check of the core fail for process, Buffer and node: as well', async () => {
    const { status, output } = await bad.types('core')
    expect(status).not.toBe(0)
    for (const file of ['process', 'buffer', 'node']) expect(output).toContain(`src/oauth/${file}.ts(`)
  })
})
