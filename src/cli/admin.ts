// `postern admin link`: a new one-time sign-in link for the built-in user, from the state directory of a
// gateway.
import { text } from 'node:stream/consumers'
import { passwordFault } from '../config/rules/people.ts'
import type { Config } from '../config/schema.ts'
import { createGateway } from '../gateway.ts'
import { createPasswords, hashForWorkers } from '../node/passwords.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { StartError, UsageError, print, printJson } from './output.ts'
import { issuerOf, runningAt, stateError } from './state.ts'

export interface AdminLink {
  /** The whole URL. */
  readonly link: string
  /** Further gateways that run on the same state directory. */
  readonly others: readonly string[]
}

/** Throws `StartError` when the configuration has users of its own, or stores nothing on disk. */
export const adminLink = async ({
  config,
  stateDir,
}: {
  readonly config: Config
  readonly stateDir: string
}): Promise<AdminLink> => {
  const enabled = config.local_users.length === 0 && Object.keys(config.oauth_providers).length === 0
  if (!enabled)
    throw new StartError(
      'link.disabled',
      'Sign-in links exist only for the built-in user. This configuration has its own users: sign in as one of them.',
    )
  if (config.storage.type !== 'sqlite')
    throw new StartError(
      'link.memory',
      'With `storage.type: memory`, only the running gateway can create a link: press l in its terminal.',
    )
  const issuer = issuerOf(config, stateDir)
  if (issuer === undefined)
    throw new StartError(
      'link.port',
      'The port is chosen when the gateway starts (port 0). Start the gateway, then run this command again.',
    )
  const runtime = await createNodeRuntime({ config, stateDir, log: () => undefined, version: '' }).catch(
    (error: unknown) => {
      throw stateError(error)
    },
  )
  try {
    const gateway = createGateway({ config, runtime, issuer })
    const others = config.issuer === undefined ? runningAt(stateDir).filter((url) => url !== issuer) : []
    return { link: `${gateway.directory.issuer}/?t=${await gateway.links.mint()}`, others }
  } finally {
    await runtime.close()
  }
}

// `postern hash-password`: hashes a password from the terminal (hidden) or standard input, as a PHC string
// for local_users.

const interrupted = '\u0003'
const endOfInput = '\u0004'
const erase = new Set(['\u007f', '\b'])

/** One typed line; undefined after Control-C. Keys typed ahead stay for the next line. */
const lineOf = async (keys: AsyncIterator<string>): Promise<string | undefined> => {
  const line: string[] = []
  for (let next = await keys.next(); !next.done; next = await keys.next()) {
    const key = next.value
    if (key === interrupted) return undefined
    if (key === '\r' || key === '\n' || key === endOfInput) break
    if (erase.has(key)) line.pop()
    else line.push(key)
  }
  return line.join('')
}

async function* keysOf(input: NodeJS.ReadStream): AsyncGenerator<string> {
  for await (const chunk of input) yield* String(chunk)
}

/**
 * Asks the questions with the terminal's echo off from before the first question until after the last answer.
 */
const askHidden = async (questions: readonly string[]): Promise<readonly string[]> => {
  const { stdin, stderr } = process
  stdin.setEncoding('utf8')
  stdin.setRawMode(true)
  const keys = keysOf(stdin)
  const answers: string[] = []
  try {
    for (const question of questions) {
      stderr.write(question)
      const answer = await lineOf(keys)
      stderr.write('\n')
      // 128 and the number of SIGINT, as for any program that Control-C ended.
      if (answer === undefined) process.exit(130)
      answers.push(answer)
    }
    return answers
  } finally {
    stdin.setRawMode(false)
    await keys.return(undefined)
  }
}

const read = async (): Promise<string> => {
  if (!process.stdin.isTTY) return (await text(process.stdin)).replace(/\r?\n$/, '')
  const [password = '', again] = await askHidden(['Password: ', 'Repeat password: '])
  if (again !== password) throw new UsageError('The passwords do not match. Run the command again.')
  return password
}

/** Prints the hash. Throws `UsageError` for a password that local_users would refuse. */
export const hashPassword = async ({
  json,
  scrypt,
}: {
  readonly json: boolean
  readonly scrypt: boolean
}): Promise<void> => {
  const password = await read()
  const wrong = passwordFault(password)
  if (wrong) throw new UsageError(`The password ${wrong}.`)
  // Composed (NFC), as sign-in compares it (identity/local-users.ts): keyboards differ in how they encode é.
  const hash = await (scrypt ? hashForWorkers : createPasswords().hash)(password.normalize('NFC'))
  if (json) printJson({ password_hash: hash })
  else print(hash)
}
