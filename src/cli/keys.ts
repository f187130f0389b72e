// Keys at the terminal while the gateway runs: l prints a new login link, h says which keys there are, q stops.
import type { Gateway } from '../gateway.ts'

const help = '  l  new sign-in link      q  stop      h  help\n'

/** Listens on standard input, which is a terminal in the foreground; returns the function that gives it back. */
export const listenKeys = (gateway: Gateway): (() => void) => {
  const { stdin, stdout } = process
  const printLink = (): void => {
    gateway.links.mint().then(
      (secret) => stdout.write(`  Sign-in link  ${gateway.directory.issuer}/?t=${secret}   (one-time link, valid 15 minutes)\n`),
      () => stdout.write('  Cannot create a link: the storage is not responding.\n'),
    )
  }
  const press = (text: string): void => {
    for (const key of text) {
      if (key === 'l' && gateway.links.enabled) printLink()
      else if (key === 'h') stdout.write(gateway.links.enabled ? help : help.slice(help.indexOf('q') - 2))
      else if (key === 'q' || key === '\u0003') process.kill(process.pid, 'SIGINT')
    }
  }
  // A terminal that is gone reads as a fault; SIGHUP says so too.
  stdin.on('error', () => undefined)
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
