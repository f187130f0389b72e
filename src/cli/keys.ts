// Keys at the terminal while the gateway runs: l prints a new login link, h says which keys there are, q stops.
import type { Gateway } from '../gateway.ts'

const help = '  l  a new login link      q  stop      h  this help\n'

/** Listens on standard input; returns the function that gives the terminal back. */
export const listenKeys = (gateway: Gateway): (() => void) => {
  const { stdin, stdout } = process
  if (!stdin.isTTY) return () => undefined
  const printLink = (): void => {
    gateway.links.mint().then(
      (secret) => stdout.write(`  Login link  ${gateway.directory.issuer}/?t=${secret}   (works once, 15 min)\n`),
      () => stdout.write('  The link could not be made: the storage does not answer.\n'),
    )
  }
  const press = (key: string): void => {
    if (key === 'l') printLink()
    else if (key === 'h') stdout.write(help)
    else if (key === 'q' || key === '\u0003') process.kill(process.pid, 'SIGINT')
  }
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.on('data', press)
  stdin.unref()
  return () => {
    stdin.off('data', press)
    stdin.setRawMode(false)
    stdin.pause()
  }
}
