// `postern wrap` on the internet: what is said to be missing, and a tunnel program that is found, started and ended.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { findTunnel, lackOf, needsOf, openTunnel, serveWrapped } from '../../src/cli/tunnel.ts'
import { listen } from '../runtimes/printed.ts'

const lack = (url: string, addresses: readonly string[], found?: string) =>
  lackOf(needsOf(new URL(url), addresses), found)

describe('what clients in the cloud need', () => {
  it.each([
    ['http://localhost:8080', [], 'HTTPS, a public name, an IPv4 address and port 443'],
    ['https://gw.internal.example', ['10.0.0.7'], 'a public name'],
    ['https://gw.example.com', ['2001:4860:4860::8888'], 'an IPv4 address'],
    ['https://gw.example.com:8443', ['93.184.215.14'], 'port 443'],
    ['http://gw.example.com', ['93.184.215.14'], 'HTTPS and port 443'],
  ])('%s lacks what it lacks', (url, addresses, lacks) => {
    expect(lack(url, addresses)).toBe(
      `claude.ai and ChatGPT connect over the internet: for them this gateway lacks ${lacks}. Put an HTTPS reverse proxy in front and set --public-url, or install cloudflared and add --tunnel.`,
    )
    expect(lack(url, addresses, 'tailscale')).toMatch(/tailscale is installed: add --tunnel before the --\.$/)
  })

  it('says nothing where nothing is missing', () =>
    expect(lack('https://gw.example.com', ['93.184.215.14', '2001:4860:4860::8888'])).toBeUndefined())
})

describe('a tunnel program', () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-tunnel-'))
  afterAll(() => rmSync(dir, { recursive: true }))
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.restoreAllMocks()
  })
  let folders = 0
  /** A PATH with programs of these names, each a shell script. */
  const pathWith = (scripts: Readonly<Record<string, string>>): string => {
    const folder = join(dir, String(folders++))
    mkdirSync(folder)
    for (const [name, script] of Object.entries(scripts)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`)
      chmodSync(join(folder, name), 0o755)
    }
    return [folder, process.env['PATH']].join(delimiter)
  }
  const cloudflared = [
    'echo "INF Requesting new quick Tunnel on https://api.trycloudflare.com.example" >&2',
    'echo "INF |  https://quiet-river-42.trycloudflare.com  | to $4 $*" >&2',
    'exec sleep 60',
  ].join('\n')

  it('is the first that is installed, or the one that is asked for', () => {
    const env = { PATH: pathWith({ ngrok: 'exit 1', tailscale: 'exit 1' }).split(delimiter)[0] }
    expect(findTunnel(env)?.program.name).toBe('tailscale')
    expect(findTunnel(env, 'ngrok')?.program.name).toBe('ngrok')
    expect(findTunnel(env, 'cloudflared')).toBeUndefined()
    expect(findTunnel({})).toBeUndefined()
  })

  it('gives the gateway its public URL, and ends with it', async () => {
    vi.stubEnv('PATH', pathWith({ cloudflared }))
    const heard = listen()
    const served: unknown[] = []
    await serveWrapped({ port: '8123' }, { tunnel: true }, async (more, ready) => {
      served.push(more, typeof ready)
      await Promise.resolve()
    })
    expect(served).toEqual([
      { port: '8123', publicUrl: 'https://quiet-river-42.trycloudflare.com' },
      'function',
    ])
    expect(heard('err')).toContain(
      'cloudflared leads from https://quiet-river-42.trycloudflare.com to port 8123 of this computer.',
    )
  })

  it('is killed when the tunnel is closed', async () => {
    const env = { PATH: pathWith({ cloudflared: `echo $$ > ${dir}/pid\n${cloudflared}` }) }
    const tunnel = await openTunnel(8080, env)
    expect(tunnel).toMatchObject({ name: 'cloudflared', url: 'https://quiet-river-42.trycloudflare.com' })
    const pid = Number(readFileSync(join(dir, 'pid'), 'utf8'))
    expect(process.kill(pid, 0)).toBe(true)
    tunnel.close()
    await expect.poll(() => isAlive(pid), { timeout: 20_000 }).toBe(false)
  })

  it.each([
    [
      'ends',
      'echo "failed to authenticate" >&2; exit 3',
      30_000,
      'cloudflared ended with code 3. It said last: failed to authenticate',
    ],
    [
      'names no URL in time',
      'echo waiting; exec sleep 60',
      200,
      'cloudflared printed no public URL within 0 seconds',
    ],
  ])('that %s is told of', async (_, script, ms, said) => {
    const env = { PATH: pathWith({ cloudflared: script }) }
    await expect(openTunnel(8080, env, { ms })).rejects.toThrow(said)
  })

  it('that is not there is told of, and nothing is downloaded', async () => {
    await expect(openTunnel(8080, { PATH: dir })).rejects.toThrow(
      'None of cloudflared, tailscale, ngrok is on the PATH. Install one, or set --public-url to the URL of a reverse proxy.',
    )
    await expect(openTunnel(8080, { PATH: dir }, { name: 'ngrok' })).rejects.toThrow(
      'ngrok is not on the PATH',
    )
  })

  it('is refused beside a public URL, and for a port that nobody knows', async () => {
    const none = () => Promise.reject(new Error('served'))
    await expect(serveWrapped({ publicUrl: 'https://a.example' }, { tunnel: true }, none)).rejects.toThrow(
      '--tunnel has a public URL of its own',
    )
    await expect(serveWrapped({ port: '0' }, { tunnel: true }, none)).rejects.toThrow('a port that is known')
  })
})

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
