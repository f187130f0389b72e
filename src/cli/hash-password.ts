// `postern hash-password`: a password from the terminal (unseen) or from standard input, as the PHC string that local_users take.
import { text } from 'node:stream/consumers'
import { passwordFault } from '../config/rules-people.ts'
import { createPasswords, hashForWorkers } from '../node/passwords.ts'
import { UsageError, print, printJson } from './answer.ts'

const interrupted = '\u0003'
const endOfInput = '\u0004'
const erase = new Set(['\u007f', '\b'])

/** One line of what is typed; undefined when it ends with Control-C. Keys typed ahead stay for the next line. */
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

/** Asks each question and takes the answers unseen: the terminal's echo is off before the first question shows and until the last answer is in. */
const askUnseen = async (questions: readonly string[]): Promise<readonly string[]> => {
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
      // What a shell shows for a program that Control-C ended: 128 and the number of SIGINT.
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
  const [password = '', again] = await askUnseen(['Password: ', 'Repeat password: '])
  if (again !== password) throw new UsageError('The passwords do not match. Run the command again.')
  return password
}

/** Prints the hash. Throws `UsageError` for a password that local_users would refuse. */
export const hashPassword = async ({ json, scrypt }: { readonly json: boolean; readonly scrypt: boolean }): Promise<void> => {
  const password = await read()
  const wrong = passwordFault(password)
  if (wrong) throw new UsageError(`The password ${wrong}.`)
  // Composed, as sign-in compares it (identity/local.ts): keyboards differ in how they write an é.
  const hash = await (scrypt ? hashForWorkers : createPasswords().hash)(password.normalize('NFC'))
  if (json) printJson({ password_hash: hash })
  else print(hash)
}
