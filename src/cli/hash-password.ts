// `postern hash-password`: a password from the terminal (unseen) or from standard input, as the PHC string that local_users take.
import { text } from 'node:stream/consumers'
import { passwordFault } from '../config/rules-people.ts'
import { createPasswords } from '../node/passwords.ts'
import { UsageError, print, printJson } from './answer.ts'

const interrupted = '\u0003'
const endOfInput = '\u0004'

/** One line from the terminal without showing it. Control-C ends the process as a signal would. */
const askUnseen = (question: string): Promise<string> =>
  new Promise((resolve) => {
    const { stdin, stderr } = process
    let line = ''
    const done = (): void => {
      stdin.off('data', take)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
    }
    const take = (chunk: string): void => {
      for (const key of chunk) {
        if (key === interrupted) {
          done()
          process.kill(process.pid, 'SIGINT')
          return
        }
        if (key === '\r' || key === '\n' || key === endOfInput) {
          done()
          resolve(line)
          return
        }
        line = key === '\u007f' || key === '\b' ? [...line].slice(0, -1).join('') : line + key
      }
    }
    stderr.write(question)
    stdin.setRawMode(true)
    stdin.setEncoding('utf8')
    stdin.on('data', take)
    stdin.resume()
  })

const read = async (): Promise<string> => {
  if (!process.stdin.isTTY) return (await text(process.stdin)).replace(/\r?\n$/, '')
  const password = await askUnseen('Password: ')
  if ((await askUnseen('Once more: ')) !== password) throw new UsageError('The two passwords differ; nothing was hashed.')
  return password
}

/** Prints the hash. Throws `UsageError` for a password that local_users would refuse. */
export const hashPassword = async (json: boolean): Promise<void> => {
  const password = await read()
  const wrong = passwordFault(password)
  if (wrong) throw new UsageError(`The password ${wrong}.`)
  // Composed, as sign-in compares it (identity/local.ts): keyboards differ in how they write an é.
  const hash = await createPasswords().hash(password.normalize('NFC'))
  if (json) printJson({ password_hash: hash })
  else print(hash)
}
