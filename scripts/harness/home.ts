// A home directory for one client, empty at first and gone afterwards, with a browser that only writes down
// what it was asked to open.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export interface Home {
  readonly path: string
  /** The whole environment of the client: nothing of ours but the PATH. */
  readonly env: Readonly<Record<string, string>>
  /** The next address the client opened; rejects after the time, in ms. */
  readonly opened: (timeoutMs?: number) => Promise<string>
  readonly remove: () => void
}

/** Names under which programs look for a browser, besides $BROWSER. */
const names = ['xdg-open', 'open', 'sensible-browser', 'x-www-browser', 'www-browser', 'gnome-open']

export const createHome = (): Home => {
  const path = mkdtempSync(join(tmpdir(), 'client-'))
  const opened = join(path, '.opened')
  const bin = join(path, '.bin')
  mkdirSync(opened)
  mkdirSync(bin)
  // It ends at once, as a launcher does; the file appears whole because it is renamed.
  const script = `#!/bin/sh\nfile=$(mktemp "${path}/.url-XXXXXX")\nprintf '%s' "$1" > "$file"\nmv "$file" "${opened}/$(date +%s%N)"\n`
  for (const name of ['browser', ...names]) writeFileSync(join(bin, name), script, { mode: 0o755 })
  const env = {
    HOME: path,
    BROWSER: join(bin, 'browser'),
    PATH: [bin, dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter),
    XDG_CONFIG_HOME: join(path, '.config'),
    TERM: 'xterm',
    LANG: 'C.UTF-8',
  }
  const next = async (timeoutMs = 30_000): Promise<string> => {
    for (const end = Date.now() + timeoutMs; Date.now() < end;) {
      const [file] = readdirSync(opened).toSorted()
      if (file !== undefined) {
        const url = readFileSync(join(opened, file), 'utf8')
        rmSync(join(opened, file))
        return url
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`The client opened no browser within ${timeoutMs} ms.`)
  }
  return { path, env, opened: next, remove: () => rmSync(path, { recursive: true, force: true }) }
}
