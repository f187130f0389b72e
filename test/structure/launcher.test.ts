// bin/postern.mjs on a Node that is too old: it finds the pinned Node beside the package and becomes it.
import { spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readRoot } from './sources.ts'
import { root, runNode } from './tree.ts'

const pinnedName = /'linux-x64': '([^']+)'/.exec(readRoot('bin/postern.mjs'))?.[1] ?? ''
const platform = `${process.platform}-${process.arch}`
const nameHere = new RegExp(`'${platform}': '([^']+)'`).exec(readRoot('bin/postern.mjs'))?.[1] ?? pinnedName

/**
 * Makes this Node say that it is an old one; the Node that the launcher starts is told the same and does not
 * ask.
 */
const pretendOld = [
  '--import',
  `data:text/javascript,${encodeURIComponent("Object.defineProperty(process.versions, 'node', { value: '20.20.2' })")}`,
]

const places: string[] = []
afterEach(async () => {
  await Promise.all(places.splice(0).map((path) => rm(path, { recursive: true, force: true })))
})

const install = async (options: {
  readonly main?: string
  readonly source?: string
  readonly pinned?: boolean
}): Promise<string> => {
  const path = await mkdtemp(join(tmpdir(), 'postern-launcher-'))
  places.push(path)
  await mkdir(join(path, 'bin'))
  await copyFile(join(root, 'bin/postern.mjs'), join(path, 'bin/postern.mjs'))
  await writeFile(join(path, 'package.json'), '{ "type": "module" }')
  for (const [file, text] of [
    ['dist/cli/main.js', options.main],
    ['src/cli/main.ts', options.source],
  ] as const) {
    if (text === undefined) continue
    await mkdir(join(path, file, '..'), { recursive: true })
    await writeFile(join(path, file), text)
  }
  if (options.pinned !== false) {
    const folder = join(path, 'node_modules', nameHere)
    await mkdir(join(folder, 'bin'), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{}')
    await symlink(process.execPath, join(folder, 'bin', 'node'))
  }
  return path
}

const report = 'console.log(JSON.stringify({ args: process.argv.slice(2), parent: process.ppid }))\n'

describe('the postern command', () => {
  it('runs the built package on a new enough Node without another process', async () => {
    const path = await install({ main: `${report}process.exitCode = 3\n` })
    const { status, output } = await runNode(['bin/postern.mjs', 'validate', '--config', 'a b.yaml'], {
      cwd: path,
    })
    expect({ status, ...(JSON.parse(output) as object) }).toEqual({
      status: 3,
      args: ['validate', '--config', 'a b.yaml'],
      parent: process.pid,
    })
  })

  it('runs the sources when it stands in a checkout', async () => {
    const path = await install({
      main: "console.log('built')\n",
      source: "const said: string = 'sources'\nconsole.log(said)\n",
    })
    expect(await runNode(['bin/postern.mjs'], { cwd: path })).toEqual({ status: 0, output: 'sources\n' })
  })

  it('hands arguments and exit code through to the pinned Node when its own is too old', async () => {
    const path = await install({ main: `${report}process.exitCode = 4\n` })
    const { status, output } = await runNode([...pretendOld, 'bin/postern.mjs', 'validate', ''], {
      cwd: path,
    })
    const said = JSON.parse(output) as { args: string[]; parent: number }
    expect({ status, args: said.args }).toEqual({ status: 4, args: ['validate', ''] })
    expect(said.parent).not.toBe(process.pid)
  })

  it('hands signals through, and ends the way its Node ended', async () => {
    const path = await install({
      main: "process.on('SIGTERM', () => process.exit(7))\nconsole.log('ready')\nsetInterval(() => {}, 1000)\n",
    })
    const child = spawn(process.execPath, [...pretendOld, 'bin/postern.mjs'], {
      cwd: path,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    child.stdout.once('data', () => child.kill('SIGTERM'))
    const code = await new Promise((resolve) => child.on('exit', resolve))
    expect(code).toBe(7)
  })

  it('says in one sentence that it needs a newer Node when none came with it', async () => {
    const path = await install({ main: report, pinned: false })
    const { status, output } = await runNode([...pretendOld, 'bin/postern.mjs'], { cwd: path })
    expect(status).toBe(1)
    expect(output).toBe(
      `Postern needs Node 24.12 or newer, this is 20.20.2, and no Node came with the package for ${process.platform} ${process.arch}. Install a newer Node from https://nodejs.org.\n`,
    )
  })

  it('says in one sentence that it is not built', async () => {
    expect(await runNode(['bin/postern.mjs'], { cwd: await install({}) })).toEqual({
      status: 1,
      output: 'This copy of Postern is not built. In a checkout run: npm run build\n',
    })
  })

  it('knows the same Node packages as package.json pins', async () => {
    const { optionalDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      optionalDependencies: Record<string, string>
    }
    const known = [...readRoot('bin/postern.mjs').matchAll(/'(?:linux|darwin|win32)-\w+': '([^']+)'/g)].map(
      (match) => match[1],
    )
    expect(new Set(known)).toEqual(new Set(Object.keys(optionalDependencies)))
  })
})
