// Starts an identity provider as a process of its own and waits for the line in which it says where it is.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { compileCache } from '../runtimes/process.ts'

export interface RunningProvider {
  /** Where it is, no trailing slash. */
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  close(): Promise<void>
}

/** `script` from the root of the repository. Rejects with what it printed when it ends before it listens. */
export const runProvider = async (
  script: string,
  environment: Readonly<Record<string, string>>,
): Promise<RunningProvider> => {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url))
  const child = spawn(process.execPath, [path], {
    env: { ...process.env, ...compileCache, MOCK_PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once('line', resolve)
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code}: ${said}`)))
  })
  const { url, client_id, client_secret } = JSON.parse(line) as {
    url: string
    client_id: string
    client_secret: string
  }
  return {
    url,
    clientId: client_id,
    clientSecret: client_secret,
    async close() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
