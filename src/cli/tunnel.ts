// `postern wrap` on the internet: what claude.ai and ChatGPT need that a gateway lacks, a tunnel program that is here, and
// the public URL tested from outside in. Programs are found and started, never downloaded.
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { refusedHost } from '../kit/addresses.ts'
import { examine } from './doctor/examine.ts'
import type { DoctorStep } from './doctor/findings.ts'
import { createDoctorNetwork } from './doctor/network.ts'
import { printStep } from './doctor/report.ts'
import { StartError, UsageError, printNote } from './output.ts'
import type { Given } from './verbs.ts'
import type { Ready, WrapOptions } from './wrap.ts'

type Environment = Readonly<Record<string, string | undefined>>

// What clients in the cloud need.

interface Need {
  /** As it follows "lacks". */
  readonly name: string
  readonly has: boolean
}

/** `addresses`: of the name of the public URL. */
export const needsOf = (issuer: URL, addresses: readonly string[]): readonly Need[] => [
  { name: 'HTTPS', has: issuer.protocol === 'https:' },
  { name: 'a public name', has: !refusedHost(issuer.hostname) && !addresses.some(refusedHost) },
  { name: 'an IPv4 address', has: addresses.some((address) => !address.includes(':')) },
  { name: 'port 443', has: issuer.protocol === 'https:' && issuer.port === '' },
]

/** What is missing, in a sentence; undefined where nothing is. `found`: a tunnel program that is here. */
export const lackOf = (needs: readonly Need[], found: string | undefined): string | undefined => {
  const lacks = needs.filter(({ has }) => !has).map(({ name }) => name)
  const last = lacks.pop()
  if (last === undefined) return undefined
  const all = lacks.length === 0 ? last : `${lacks.join(', ')} and ${last}`
  return `claude.ai and ChatGPT connect over the internet: for them this gateway lacks ${all}. ${
    found === undefined
      ? 'Put an HTTPS reverse proxy in front and set --public-url, or install cloudflared and add --tunnel.'
      : `${found} is installed: add --tunnel before the --.`
  }`
}

// Tunnel programs.

interface TunnelProgram {
  readonly name: string
  readonly args: (port: number) => readonly string[]
  /** The public URL in what it prints. */
  readonly url: RegExp
}

const programs: readonly TunnelProgram[] = [
  {
    name: 'cloudflared',
    args: (port) => ['tunnel', '--no-autoupdate', '--url', `http://127.0.0.1:${port}`],
    url: /https:\/\/[a-z0-9-]+\.trycloudflare\.com(?![a-z0-9.-])/,
  },
  {
    name: 'tailscale',
    args: (port) => ['funnel', String(port)],
    url: /https:\/\/[a-z0-9-]+(?:\.[a-z0-9-]+)*\.ts\.net(?![a-z0-9.-])/,
  },
  {
    name: 'ngrok',
    args: (port) => ['http', String(port), '--log', 'stdout', '--log-format', 'logfmt'],
    url: /https:\/\/[a-z0-9-]+(?:\.[a-z0-9-]+)*\.ngrok(?:-free)?\.(?:app|dev|io)(?![a-z0-9.-])/,
  },
]

const tunnelNames = programs.map(({ name }) => name)

const pathOf = (name: string, { PATH = '' }: Environment): string | undefined =>
  PATH.split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })

/** The first tunnel program on the PATH, or the one that is asked for. */
export const findTunnel = (
  env: Environment,
  name?: string,
): { program: TunnelProgram; path: string } | undefined => {
  for (const program of programs) {
    const path = name === undefined || name === program.name ? pathOf(program.name, env) : undefined
    if (path !== undefined) return { program, path }
  }
  return undefined
}

interface Tunnel {
  readonly name: string
  /** Without a slash at its end. */
  readonly url: string
  close(): void
}

const waitMs = 30_000
const mostKept = 16_384

/** The public URL that the program prints. Throws `StartError` for one that ends, or prints none in time. */
const printedUrl = (child: ChildProcess, { name, url }: TunnelProgram, ms: number): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = ''
    const fail = (why: string): void => {
      const last = said
        .trim()
        .split('\n')
        .at(-1)
        ?.replaceAll(/[^\x20-\x7e]/g, '?')
        .slice(0, 200)
      reject(new StartError('tunnel.failed', `${name} ${why}${last ? `. It said last: ${last}` : ''}`))
    }
    const timer = setTimeout(() => fail(`printed no public URL within ${Math.round(ms / 1000)} seconds`), ms)
    const hear = (piece: Buffer): void => {
      said = (said + piece.toString()).slice(-mostKept)
      const [found] = url.exec(said) ?? []
      if (found === undefined) return
      clearTimeout(timer)
      resolve(found)
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.on('error', (error) => fail(`could not be started: ${error.message}`))
    child.on('exit', (code) => {
      clearTimeout(timer)
      fail(`ended with code ${code ?? 'none'}`)
    })
  })

/** Starts a tunnel to the port. It ends with this process. */
export const openTunnel = async (
  port: number,
  env: Environment,
  { name, ms = waitMs }: { readonly name?: string | undefined; readonly ms?: number } = {},
): Promise<Tunnel> => {
  const found = findTunnel(env, name)
  if (!found)
    throw new StartError(
      'tunnel.none',
      `${name === undefined ? `None of ${tunnelNames.join(', ')} is` : `${name} is not`} on the PATH. Install one, or set --public-url to the URL of a reverse proxy.`,
    )
  const { program, path } = found
  const child = spawn(path, program.args(port), { stdio: ['ignore', 'pipe', 'pipe'], env })
  const close = (): void => void child.kill()
  process.once('exit', close)
  try {
    const url = await printedUrl(child, program, ms)
    child.on('exit', () => printNote(`${program.name} has ended: ${url} leads nowhere now.`))
    return {
      name: program.name,
      url,
      close() {
        process.removeListener('exit', close)
        child.removeAllListeners('exit')
        close()
      },
    }
  } catch (error) {
    process.removeListener('exit', close)
    close()
    throw error
  }
}

// From outside in.

const attempts = 6
const pauseMs = 3_000

/** Without a terminal, standard output is for events. */
const noteFailure = ({ result, say, findings }: DoctorStep): void => {
  if (result !== 'fail') return
  printNote([say, ...findings.map(({ code, evidence }) => `${code}: ${evidence}`)].join(' '))
}

/** Examines the public URL of a service as a client does, and prints each step. A new name takes its time in DNS. */
export const testFromOutside = async (mcp: string, env: Environment): Promise<void> => {
  const network = createDoctorNetwork(env)
  const url = new URL(mcp)
  for (let left = attempts; left > 1; left--) {
    if ((await network.addresses(url.hostname)).length > 0) break
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  printNote(`Testing ${url.href} from outside:`)
  const onStep = process.stdout.isTTY ? printStep : noteFailure
  await examine(url, { register: false, authorization: true }, network, onStep)
}

/** Says what clients in the cloud miss at this gateway. */
export const tellLacks = async (issuer: string, env: Environment): Promise<void> => {
  const url = new URL(issuer)
  const addresses = refusedHost(url.hostname) ? [] : await createDoctorNetwork(env).addresses(url.hostname)
  const lack = lackOf(needsOf(url, addresses), findTunnel(env)?.program.name)
  if (lack !== undefined) printNote(lack)
}

// The command.

const portOf = ({ port = process.env['PORT'] }: Given): number => {
  const chosen = Number(port ?? 8080)
  if (chosen > 0) return chosen
  throw new UsageError('--tunnel needs a port that is known: --port 8080.')
}

type Serve = (more: Given, ready?: Ready) => Promise<void>

/** Serves a wrapped command: at the URL of a tunnel, or where it is, with a note of what is missing there. */
export const serveWrapped = async (given: Given, { tunnel }: WrapOptions, serve: Serve): Promise<void> => {
  const { env } = process
  if (tunnel === undefined)
    return process.stdout.isTTY && given.workers === undefined
      ? serve({}, ({ directory: { issuer } }) => tellLacks(issuer, env))
      : serve({})
  if (given.publicUrl !== undefined)
    throw new UsageError('--tunnel has a public URL of its own: leave out --public-url.')
  const port = portOf(given)
  const open = await openTunnel(port, env, { name: tunnel === true ? undefined : tunnel })
  printNote(`${open.name} leads from ${open.url} to port ${port} of this computer.`)
  try {
    await serve({ port: String(port), publicUrl: open.url }, async ({ directory }) => {
      const [address] = directory.addresses
      if (address) await testFromOutside(address.resource, env)
    })
  } finally {
    open.close()
  }
}
