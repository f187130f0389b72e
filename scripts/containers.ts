// `npm run prove containers`: builds the image of the Dockerfile and starts it as it should be run: read-only, without
// capabilities, network and new privileges. No registry of images is needed: the base image is made of this machine's
// Node. Needs buildah, podman and runc (Debian: apt-get install buildah podman runc), and root.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createVerdicts } from './harness/verdict.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const verdicts = createVerdicts('containers')
const base = 'localhost/postern-proof-node'
const image = 'localhost/postern-proof'
const name = `postern-proof-${process.pid}`

const run = (program: string, args: readonly string[], input?: string) => {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
    maxBuffer: 64 * 1024 * 1024,
  })
  return { ok: status === 0, out: stdout.trim(), err: stderr.trim() }
}

/** Ends the proof where it cannot go on. */
const need = (program: string, args: readonly string[]): string => {
  const { ok, out, err } = run(program, args)
  if (ok) return out
  throw new Error(`${program} ${args.slice(0, 3).join(' ')} failed: ${err.split('\n').slice(-12).join(' ')}`)
}

const missing = ['buildah', 'podman', 'runc'].filter((program) => !run('which', [program]).ok)
if (missing.length > 0 || process.getuid?.() !== 0) {
  console.error(
    `This proof needs root and ${['buildah', 'podman', 'runc'].join(', ')}${missing.length > 0 ? `; missing: ${missing.join(', ')}` : ''}.`,
  )
  process.exit(1)
}

// The base image: Node, npm, a shell, and the libraries that they load.

/** The shared libraries of a program, with the loader. */
const librariesOf = (program: string): readonly string[] =>
  need('ldd', [program])
    .split('\n')
    .flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? [])

const copyInto = (folder: string, path: string, target = path): void => {
  mkdirSync(dirname(join(folder, target)), { recursive: true })
  cpSync(realpathSync(path), join(folder, target), { recursive: true })
}

const makeBase = (folder: string): void => {
  const programs = {
    [process.execPath]: '/usr/bin/node',
    '/bin/sh': '/bin/sh',
    '/usr/bin/env': '/usr/bin/env',
  }
  for (const [path, target] of Object.entries(programs)) {
    copyInto(folder, path, target)
    for (const library of librariesOf(path)) copyInto(folder, library)
  }
  const npm = dirname(dirname(realpathSync(need('which', ['npm']))))
  cpSync(npm, join(folder, 'usr/lib/npm'), { recursive: true })
  writeFileSync(join(folder, 'usr/bin/npm'), '#!/bin/sh\nexec node /usr/lib/npm/bin/npm-cli.js "$@"\n', {
    mode: 0o755,
  })
  mkdirSync(join(folder, 'tmp'), { mode: 0o1777 })
  mkdirSync(join(folder, 'root'))
  if (existsSync('/etc/ssl/certs/ca-certificates.crt')) copyInto(folder, '/etc/ssl/certs/ca-certificates.crt')
  writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n')
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\n')
}

const buildah = ['--storage-driver', 'vfs', 'bud', '--isolation', 'chroot', '--format', 'docker']
const podman = ['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--runtime', 'runc']

const buildImages = (folder: string): void => {
  mkdirSync(join(folder, 'rootfs/etc'), { recursive: true })
  makeBase(join(folder, 'rootfs'))
  writeFileSync(
    join(folder, 'Dockerfile'),
    'FROM scratch\nCOPY rootfs /\nENV PATH=/usr/bin:/bin NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt\n',
  )
  need('buildah', [...buildah, '-t', base, folder])
  // Where npm fetches from is this machine's business, and does not get into the image.
  const registry = need('npm', ['config', 'get', 'registry'])
  need('buildah', [
    ...buildah,
    ...['--build-arg', `NODE_IMAGE=${base}`, '--env', `npm_config_registry=${registry}`, '-t', image, '.'],
  ])
}

// The container.

const start = (): string =>
  need('podman', [
    ...podman,
    ...['run', '-d', '--name', name, '--network', 'none', '--no-healthcheck', '--read-only'],
    ...[
      '--ulimit',
      'nofile=1024:1024',
      '--ulimit',
      'nproc=4096:4096',
      '--memory',
      '256m',
      '--pids-limit',
      '64',
    ],
    ...['--tmpfs', '/tmp:rw,noexec,nosuid,size=16m,mode=1777', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges', image],
  ])

const inside = (code: string): string =>
  need('podman', [...podman, 'exec', name, 'node', '--input-type=module', '-e', code])

const postern = (...args: readonly string[]) =>
  run('podman', [...podman, 'exec', name, 'node', '/app/bin/postern.mjs', ...args])

const untilHealthy = async (): Promise<boolean> => {
  for (let i = 0; i < 60; i++) {
    if (postern('healthcheck').ok) return true
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  return false
}

const facts = `
import { readFileSync, writeFileSync } from 'node:fs'
const status = readFileSync('/proc/1/status', 'utf8')
const field = (name) => new RegExp('^' + name + ':\\\\s*(\\\\S+)', 'm').exec(status)?.[1]
const tried = (path) => { try { writeFileSync(path, ''); return 'written' } catch (error) { return error.code } }
const answer = await fetch('http://127.0.0.1:8080/demo/mcp', { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: '{}' })
console.log(JSON.stringify({ uid: field('Uid'), caps: field('CapEff'), privileges: field('NoNewPrivs'), app: tried('/app/x'), data: tried('/data/x'), memory: process.constrainedMemory(), status: answer.status, challenge: answer.headers.get('www-authenticate') }))`

const checkContainer = async (): Promise<void> => {
  start()
  verdicts.claim(await untilHealthy(), 'the health check passes', postern('healthcheck').out)
  const seen = JSON.parse(inside(facts)) as Readonly<Record<string, unknown>>
  verdicts.claim(seen['uid'] === '10001', 'it runs as user 10001', String(seen['uid']))
  verdicts.claim(/^0+$/.test(String(seen['caps'])), 'it has no capabilities', String(seen['caps']))
  verdicts.claim(seen['privileges'] === '1', 'it gets no new privileges', String(seen['privileges']))
  verdicts.claim(seen['app'] === 'EROFS', 'its code cannot be changed', String(seen['app']))
  verdicts.claim(seen['data'] === 'written', 'its state can be written', String(seen['data']))
  verdicts.claim(seen['memory'] === 268_435_456, 'it knows its memory limit', String(seen['memory']))
  verdicts.claim(
    seen['status'] === 401 && String(seen['challenge']).includes('resource_metadata='),
    'a client is told where to sign in',
    `${String(seen['status'])} ${String(seen['challenge'])}`,
  )
  const listed = inside(
    "const { components } = JSON.parse((await import('node:fs')).readFileSync('/app/sbom.cdx.json', 'utf8')); console.log(components.map(({ name }) => name).join())",
  ).split(',')
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>
  }
  const absent = Object.keys(dependencies).filter((one) => !listed.includes(one))
  verdicts.claim(
    absent.length === 0,
    'its list of packages has every dependency',
    absent.join(', ') || `${listed.length} packages`,
  )
  need('podman', [...podman, 'kill', '--signal', 'TERM', name])
  const code = need('podman', [...podman, 'wait', name])
  verdicts.claim(code === '0', 'SIGTERM ends it in order', `exit code ${code}`)
}

/** The most that systemd-analyze may find a unit exposed, in tenths, with the drop-ins that it is tried with. */
const units: readonly (readonly [most: number, dropIn: string | undefined])[] = [
  [15, undefined],
  [30, 'stdio-servers.conf'],
]

/** What needs no container: the systemd unit, and the manifests for Kubernetes. */
const checkFiles = (folder: string): void => {
  for (const [most, dropIn] of run('which', ['systemd-analyze']).ok ? units : []) {
    const unit = join(folder, 'postern.service')
    cpSync(join(root, 'examples/systemd/postern.service'), unit)
    const more = join(folder, 'postern.service.d')
    rmSync(more, { recursive: true, force: true })
    if (dropIn !== undefined) {
      mkdirSync(more)
      cpSync(join(root, 'examples/systemd', dropIn), join(more, dropIn))
    }
    const { ok, out } = run('systemd-analyze', [
      ...['security', '--offline=true', '--no-pager', `--threshold=${most}`, unit],
    ])
    const level = /exposure level for \S+: ([\d.]+)/.exec(out)?.[1] ?? 'unknown'
    verdicts.claim(
      ok,
      `the systemd unit${dropIn ? ` with ${dropIn}` : ''} is at most ${most / 10} exposed`,
      level,
    )
  }
  for (const name of run('which', ['kubectl']).ok ? ['base', 'redis'] : []) {
    const { ok, out, err } = run('kubectl', ['kustomize', `examples/kubernetes/kustomize/${name}`])
    const kinds = [...out.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind)
    verdicts.claim(ok && kinds.includes('Deployment'), `kubectl renders ${name}`, ok ? kinds.join(', ') : err)
  }
}

const folder = mkdtempSync(join(tmpdir(), 'postern-containers-'))
try {
  checkFiles(folder)
  buildImages(folder)
  await checkContainer()
} finally {
  run('podman', [...podman, 'rm', '--force', name])
  run('podman', [...podman, 'rmi', '--force', image, base])
  rmSync(folder, { recursive: true, force: true })
}
verdicts.end()
