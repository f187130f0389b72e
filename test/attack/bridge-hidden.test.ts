// What isolation hides, wherever it lies: the state directory, the configuration, `.env`, and everybody
// else's homes.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import {
  saidBy,
  serverScript,
  type StdioClient,
  until,
  type World,
  type WorldOptions,
} from '../stdio/world.ts'
import { begun, useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()
const bubblewrap = findProgram('bwrap') !== undefined

/** Where the folder of an installed server may be; a link is made where the system has no such folder. */
const places = ['/opt', '/usr/local/lib', '/snap', '/srv', '/var/lib', tmpdir()] as const

interface Installed {
  readonly folder: string
  readonly stateDir: string
  readonly config: string
  readonly env: string
  readonly script: string
  isolated(options?: WorldOptions): World
}

/** A package with the server's script, and beside it all that is the gateway's. */
const install = (parent: string, { script = 'server.ts', state = 'state' } = {}): Installed => {
  const made = !existsSync(parent)
  if (made) mkdirSync(parent)
  const folder = mkdtempSync(join(parent, 'postern-installed-'))
  onTestFinished(() => rmSync(made ? parent : folder, { recursive: true, force: true }))
  const at = {
    folder,
    stateDir: join(folder, state),
    config: join(folder, 'postern.yaml'),
    env: join(folder, '.env'),
    script: join(folder, script),
  }
  for (const each of [at.stateDir, join(at.script, '..')]) mkdirSync(each, { recursive: true, mode: 0o700 })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  copyFileSync(serverScript, at.script)
  for (const secret of [join(at.stateDir, 'root.key'), join(at.stateDir, 'postern.db'), at.config, at.env])
    writeFileSync(secret, `secret of ${basename(secret)}`)
  const isolated = ({ plan, ...options }: WorldOptions = {}): World =>
    world({
      stateDir: at.stateDir,
      privateFiles: [at.config, at.env],
      ...options,
      plan: { args: [at.script], sandbox: 'bubblewrap', ...plan },
    })
  return { ...at, isolated }
}

const failure = async (client: StdioClient, tool: string, args: object): Promise<string> =>
  JSON.stringify((await client.tool(tool, args)).result)

/** Reads every secret by every path given, and expects none to be there. */
const expectHidden = async (
  client: StdioClient,
  { stateDir, config, env }: Pick<Installed, 'stateDir' | 'config' | 'env'>,
): Promise<void> => {
  for (const path of [join(stateDir, 'root.key'), join(stateDir, 'postern.db'), config, env]) {
    const said = await failure(client, 'read', { path })
    expect([path, said]).toEqual([path, expect.stringMatching(/ENOENT|EACCES|"text":"{\\"text\\":\\"\\"}"/)])
    expect(said).not.toContain('secret of')
  }
}

describe.skipIf(!bubblewrap && !inCI())("never seen: what is the gateway's", () => {
  it.each(places)(
    'never reads state, configuration or .env beside its own script below %s, and runs [B8]',
    async (parent) => {
      const here = install(parent)
      const { client } = here.isolated()
      const ana = await begun(client('ana'))
      await expectHidden(ana, here)
      expect(saidBy(await ana.tool('read', { path: join(here.folder, 'package.json') }))).toEqual({
        text: '{"type":"module"}',
      })
    },
    60_000,
  )

  it.each(places)(
    'never reads them where a package.json further up below %s leads there [B8]',
    async (parent) => {
      const here = install(parent, { script: 'servers/notes/server.ts', state: 'var/gateway/state' })
      const ana = await begun(here.isolated().client('ana'))
      await expectHidden(ana, here)
    },
    60_000,
  )

  it('never reads the home of another person beside its own, and keeps its own', async () => {
    const here = install('/opt')
    const { client } = here.isolated()
    const bea = await begun(client('bea'))
    const home = String(saidBy(await bea.tool('where'))['home'])
    await bea.tool('write', { path: join(home, 'diary') })
    expect(readFileSync(join(home, 'diary'), 'utf8')).toBe('written')
    const ana = await begun(client('ana'))
    expect(await failure(ana, 'read', { path: join(home, 'diary') })).toContain('ENOENT')
    const own = String(saidBy(await ana.tool('where'))['home'])
    await ana.tool('write', { path: join(own, 'diary') })
    expect(saidBy(await ana.tool('read', { path: join(own, 'diary') }))).toEqual({ text: 'written' })
  }, 60_000)

  it('never reads them through symbolic links, in either direction', async () => {
    const here = install('/opt')
    const link = `${here.folder}-link`
    symlinkSync(here.folder, link)
    onTestFinished(() => rmSync(link))
    // The gateway knows everything by the link; the server tries both names.
    const through = {
      stateDir: join(link, 'state'),
      config: join(link, 'postern.yaml'),
      env: join(link, '.env'),
    }
    const linked = await begun(
      here
        .isolated({
          stateDir: through.stateDir,
          privateFiles: [through.config, through.env],
          plan: { args: [join(link, 'server.ts')], cwd: link },
        })
        .client('ana'),
    )
    await expectHidden(linked, here)
    await expectHidden(linked, through)
    // The other way round, with the whole folder to be read by the link.
    const straight = await begun(here.isolated({ plan: { read: [link] } }).client('ana'))
    await expectHidden(straight, here)
    await expectHidden(straight, through)
  }, 60_000)

  it('never reads a state directory that is itself a link to where the server may read', async () => {
    const here = install('/opt')
    const other = install('/usr/local/lib')
    const state = join(other.folder, 'linked-state')
    symlinkSync(here.stateDir, state)
    const ana = await begun(other.isolated({ stateDir: state, plan: { read: [here.folder] } }).client('ana'))
    await expectHidden(ana, { ...other, stateDir: state })
    await expectHidden(ana, { ...other, stateDir: here.stateDir })
  }, 60_000)

  it('never reads them where they were named by relative paths', async () => {
    const here = install('/opt')
    const name = (path: string): string => relative(process.cwd(), path)
    const ana = await begun(
      here
        .isolated({
          stateDir: name(here.stateDir),
          privateFiles: [name(here.config), name(here.env)],
          plan: { args: [name(here.script)], cwd: process.cwd(), read: [name(here.folder)] },
        })
        .client('ana'),
    )
    await expectHidden(ana, here)
  }, 60_000)

  it('never reads a configuration that an editor puts in the place of the old one', async () => {
    const here = install('/opt')
    const ana = await begun(here.isolated().client('ana'))
    writeFileSync(`${here.config}.new`, 'secret of the new one')
    renameSync(`${here.config}.new`, here.config)
    await expectHidden(ana, here)
  }, 60_000)

  it('never reads, replaces or gets around them in a folder that it may write, and writes the rest of it', async () => {
    const here = install('/opt', { state: 'var/gateway/state' })
    const { client, bridge } = here.isolated({ plan: { write: [here.folder] } })
    const ana = await begun(client('ana'))
    await expectHidden(ana, here)
    await ana.tool('write', { path: join(here.folder, 'var', 'cache') })
    expect(readFileSync(join(here.folder, 'var', 'cache'), 'utf8')).toBe('written')
    expect(await failure(ana, 'write', { path: here.config })).toContain('EROFS')
    for (const path of ['var', 'var/gateway', 'var/gateway/state', 'postern.yaml', '.env']) {
      const from = join(here.folder, path)
      expect([path, await failure(ana, 'move', { from, to: `${from}-aside` })]).toEqual([
        path,
        expect.stringContaining('EBUSY'),
      ])
    }
    expect(readFileSync(here.config, 'utf8')).toBe('secret of postern.yaml')
    // A new file in the place of a masked one has no mask: whoever could read it is ended.
    writeFileSync(`${here.config}.new`, 'secret of the new one')
    renameSync(`${here.config}.new`, here.config)
    await until(() => bridge.processes().length === 0, 'its end')
  }, 60_000)

  it("never reads the home of the gateway's user below /opt, and runs from within it [B8]", async () => {
    const home = mkdtempSync('/opt/postern-home-')
    onTestFinished(() => rmSync(home, { recursive: true }))
    vi.stubEnv('HOME', home)
    onTestFinished(() => void vi.unstubAllEnvs())
    for (const name of ['.npmrc', 'package.json']) writeFileSync(join(home, name), '{"type":"module"}')
    const here = install(home)
    const ana = await begun(here.isolated().client('ana'))
    await expectHidden(ana, here)
    for (const name of ['.npmrc', 'package.json'])
      expect([name, await failure(ana, 'read', { path: join(home, name) })]).toEqual([
        name,
        expect.stringContaining('ENOENT'),
      ])
    const direct = join(home, 'server.ts')
    copyFileSync(serverScript, direct)
    const bea = await begun(here.isolated({ plan: { args: [direct] } }).client('bea'))
    expect(await failure(bea, 'read', { path: join(home, '.npmrc') })).toContain('ENOENT')
  }, 60_000)

  it('never sees more because it left a link where an argument of its command points', async () => {
    const secret = mkdtempSync(join(tmpdir(), 'postern-someone-'))
    writeFileSync(join(secret, 'diary'), 'secret of someone')
    onTestFinished(() => rmSync(secret, { recursive: true }))
    const here = install('/opt')
    const { client, stateDir } = here.isolated({ plan: { args: [here.script, 'notes'] } })
    const ana = await begun(client('ana'))
    const home = String(saidBy(await ana.tool('where'))['home'])
    expect(home.startsWith(stateDir)).toBe(true)
    symlinkSync(join(secret, 'diary'), join(home, 'notes'))
    const again = await begun(client('ana'))
    expect(await failure(again, 'read', { path: join(home, 'notes') })).toContain('ENOENT')
  }, 60_000)
})

describe.skipIf(!bubblewrap && !inCI())('what isolation hides or forbids', () => {
  const refusal =
    'The MCP server could not be started: isolation hides or protects a path in its configuration.'
  const start = async ({ client, log }: World): Promise<readonly unknown[]> => {
    const { error } = await client('ana').initialize()
    return [error?.message, log.find(({ event }) => event === 'process.ended')?.fields['why']]
  }

  it('is named where a script lies in the state directory, and where a place that was asked for is hidden', async () => {
    const here = install('/opt')
    copyFileSync(here.script, join(here.stateDir, 'server.ts'))
    const state = `it belongs to the gateway's state directory ${here.stateDir}: move it, or set \`sandbox: none\``
    expect(await start(here.isolated({ plan: { args: [join(here.stateDir, 'server.ts')] } }))).toEqual([
      refusal,
      `args refers to ${here.stateDir}/server.ts, which isolation hides because ${state}`,
    ])
    mkdirSync(join(here.stateDir, 'shared'))
    expect(await start(here.isolated({ plan: { write: [join(here.stateDir, 'shared')] } }))).toEqual([
      refusal,
      `sandbox_write refers to ${here.stateDir}/shared, which isolation hides because ${state}`,
    ])
    expect(await start(here.isolated({ plan: { read: [here.config] } }))).toEqual([
      refusal,
      `sandbox_read refers to ${here.config}, which isolation hides because it belongs to the gateway's configuration: move it, or set \`sandbox: none\``,
    ])
  }, 60_000)

  it('is named where a place to write is missing, is everything, or holds a link to what is hidden', async () => {
    const here = install('/opt')
    expect(await start(here.isolated({ plan: { write: ['/opt/nothing-here'] } }))).toEqual([
      refusal,
      'sandbox_write contains /opt/nothing-here, which does not exist: create it',
    ])
    expect(await start(here.isolated({ plan: { write: ['/'] } }))).toEqual([
      refusal,
      'sandbox_write contains /: list only the folders that the command may change, or set `sandbox: none`',
    ])
    const other = install('/usr/local/lib')
    symlinkSync(here.stateDir, join(other.folder, 'link'))
    expect(
      await start(other.isolated({ stateDir: join(other.folder, 'link'), plan: { write: [other.folder] } })),
    ).toEqual([
      refusal,
      `sandbox_write would allow changes to ${other.folder}/link, a symbolic link to the gateway's state directory ${other.folder}/link: list a folder that does not contain the link`,
    ])
  }, 60_000)

  it('is told once when a process starts, and with its end', async () => {
    const here = install('/opt')
    const { client, log } = here.isolated()
    const ana = await begun(client('ana'))
    await ana.tool('exit', { words: "Error: EROFS: read-only file system, open '/opt/cache'\n" })
    const kept = `isolated: ${here.config}, ${here.env}, ${here.stateDir} hidden; write access only to its home, /tmp and sandbox_write; read access only to the system, its own package and sandbox_read`
    expect(
      log
        .filter(({ event }) => event === 'process.isolated')
        .map(({ level, fields }) => [level, fields['message']]),
    ).toEqual([['info', kept]])
    expect(log.find(({ event }) => event === 'process.ended')?.fields['why']).toBe(
      `${process.execPath} exited with code 3; it tried to write outside its home: list the path in \`sandbox_write\` (/opt/cache); last stderr line: Error: EROFS: read-only file system, open '/opt/cache'; it was ${kept}`,
    )
  }, 60_000)
})
