// nginx and Caddy with the configuration of one test, in a folder that goes with it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Certificate } from '../../scripts/harness/certificate.ts'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'

export const without = (name: 'nginx' | 'caddy'): boolean => findProgram(name) === undefined && !inCI()

export interface FrontProxy {
  close(): Promise<void>
}

type Pair = Pick<Certificate, 'key' | 'cert'>

interface Started {
  readonly name: 'nginx' | 'caddy'
  readonly port: number
  readonly pair: Pair
  /** Writes what it needs into the folder, and answers the arguments. */
  readonly prepare: (folder: string) => readonly string[]
}

/** The certificate and its key are in `cert.pem` and `key.pem`. */
const start = async ({ name, port, pair, prepare }: Started): Promise<FrontProxy> => {
  const folder = mkdtempSync(join(tmpdir(), `postern-${name}-`))
  writeFileSync(join(folder, 'key.pem'), pair.key)
  writeFileSync(join(folder, 'cert.pem'), pair.cert)
  const args = prepare(folder)
  const env = { PATH: process.env['PATH'], HOME: folder }
  const proxy = spawn(findProgram(name) ?? name, args, {
    cwd: folder,
    env,
    // Caddy tells there of every request that fails.
    stdio: ['ignore', 'ignore', name === 'nginx' ? 'inherit' : 'ignore'],
  })
  for (let listening = false; !listening;) {
    if (proxy.exitCode !== null) throw new Error(`${name} ended before it listened`)
    const socket = connect(port, '127.0.0.1')
    listening = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
  }
  return {
    async close() {
      if (proxy.exitCode === null) {
        const ended = once(proxy, 'exit')
        proxy.kill('SIGKILL')
        await ended
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** `servers`: what stands in its `http` block; one of them listens at the port. */
export const startNginx = (port: number, servers: string, pair: Pair): Promise<FrontProxy> =>
  start({
    ...{ name: 'nginx', port, pair },
    prepare(folder) {
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (name) => `${name}_temp_path ${folder}/${name};`,
      )
      writeFileSync(
        join(folder, 'nginx.conf'),
        `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit;
events {}
http { access_log off; ${temporary.join(' ')}
${servers}}`,
      )
      return ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')]
    },
  })

/** `sites`: its Caddyfile but for the options of the process; one of them listens at the port. */
export const startCaddy = (port: number, sites: string, pair: Pair): Promise<FrontProxy> =>
  start({
    ...{ name: 'caddy', port, pair },
    prepare(folder) {
      const options = '{\n\tadmin off\n\tauto_https disable_redirects\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n'
      writeFileSync(join(folder, 'Caddyfile'), options + sites)
      return ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')]
    },
  })
