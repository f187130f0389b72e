// rsyslog of the machine, where it is installed: a server that reads RFC 5424 and says what it has read.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'

const program = '/usr/sbin/rsyslogd'

export interface ReadMessage {
  readonly kind: string
  readonly facility: string
  readonly severity: string
  readonly host: string
  readonly message: string
  /** Structured data: SD-ID → facts. */
  readonly data: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export interface Rsyslog {
  readonly port: number
  start(): Promise<void>
  stop(): Promise<void>
  messages(): readonly ReadMessage[]
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

const configuration = (folder: string, port: number): string => `
global(workDirectory="${folder}" parser.escapeControlCharactersOnReceive="off" maxMessageSize="64k")
module(load="imtcp")
module(load="imudp")
module(load="mmpstrucdata")
template(name="read" type="list" option.jsonf="on") {
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="facility" name="syslogfacility" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
  property(outname="data" name="$!rfc5424-sd" format="jsonf")
}
ruleset(name="keep") {
  action(type="mmpstrucdata" sd_name.lowercase="off")
  action(type="omfile" file="${join(folder, 'read.jsonl')}" template="read")
}
input(type="imtcp" address="127.0.0.1" port="${port}" ruleset="keep")
input(type="imudp" address="127.0.0.1" port="${port}" ruleset="keep")
`

/** Undefined where it is not installed. `folder`: one of its own. */
export const openRsyslog = async (folder: string): Promise<Rsyslog | undefined> => {
  try {
    accessSync(program, constants.X_OK)
  } catch {
    return undefined
  }
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const file = join(folder, 'rsyslog.conf')
  writeFileSync(file, configuration(folder, port))
  let running: ChildProcess | undefined
  return {
    port,
    async start() {
      running = spawn(program, ['-n', '-f', file, '-i', join(folder, 'pid')], { stdio: 'inherit' })
      for (let tries = 0; tries < 100 && !(await isOpen(port)); tries++)
        await new Promise((resolve) => setTimeout(resolve, 100))
    },
    async stop() {
      if (!running) return
      const ended = once(running, 'exit')
      running.kill('SIGTERM')
      await ended
      running = undefined
    },
    messages() {
      const read = join(folder, 'read.jsonl')
      if (!existsSync(read)) return []
      return readFileSync(read, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => {
          const read = JSON.parse(line) as Omit<ReadMessage, 'data'> & { readonly data: string }
          return { ...read, data: JSON.parse(read.data) as ReadMessage['data'] }
        })
    },
  }
}
