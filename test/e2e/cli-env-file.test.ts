// The file .env: read by every verb, below the variables that are really set, and named in what is said of
// it.
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Place, createPlace, errorOf, postern } from './cli-process.ts'

let place: Place
beforeEach(() => {
  place = createPlace()
})
afterEach(() => place.remove())

const explain = async (
  key: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<string> =>
  (await postern(place, ['config', 'explain', key, ...args], { env })).out.replace(/ +/g, ' ')

describe('.env', () => {
  it('in the working directory supplies variables, and what is really set wins', async () => {
    place.write(
      '.env',
      '# mine\nexport PORT="9001"\nMCP_DEBUG=true # yes\nLOCAL_USER=alex\nLOCAL_PASSWORD=\'correct horse\'\n',
    )
    expect(await explain('port')).toBe('port: 9001 # .env PORT\n')
    expect(await explain('debug')).toBe('debug: true # .env MCP_DEBUG\n')
    expect(await explain('local_users')).toBe(
      'local_users: [{"username":"alex","password":"********","groups":[]}] # .env LOCAL_USER\n',
    )
    expect(await explain('port', [], { PORT: '9002' })).toBe('port: 9002 # environment PORT\n')
    expect(await explain('port', [], { PORT: '' })).toBe('port: 8080 # default\n')
  })

  it('is replaced by the file that --env-file names, which must be there', async () => {
    place.write('.env', 'PORT=9001\nLOG_LEVEL=error\n')
    place.write('prod/vars', 'PORT=9003\n')
    expect(await explain('port', ['--env-file', 'prod/vars'])).toBe('port: 9003 # prod/vars PORT\n')
    expect(await explain('log_level', ['--env-file', 'prod/vars'])).toBe('log_level: "info" # default\n')
    // Node looks at a flag of this name itself, wherever it stands, and ends with code 9 where the file is
    // missing.
    const { code, err } = await postern(place, ['validate', '--env-file', 'absent'])
    expect([code, err]).toEqual([9, expect.stringContaining('absent: not found')])
  })

  it('fills ${…} of the configuration file, names that file and the state directory', async () => {
    place.write('conf/gateway.yaml', 'local_users: [{ username: a, password: "${PASSWORD}" }]\n')
    place.write(
      '.env',
      'PASSWORD=correct-horse\nMCP_CONFIG_PATH=conf/gateway.yaml\nPOSTERN_STATE=kept\nPORT=0\n',
    )
    expect(JSON.parse((await postern(place, ['validate', '--json'])).out)).toMatchObject({
      ok: true,
      file: 'conf/gateway.yaml',
      local_users: 1,
    })
    expect((await postern(place, ['services', 'ls'])).code).toBe(0)
    expect(() => chmodSync(join(place.path, 'kept/postern.db'), 0o600)).not.toThrow()
    place.write('.env', 'MCP_CONFIG_PATH=absent.yaml\n')
    expect(errorOf(await postern(place, ['validate']))).toMatchObject({
      message: '.env MCP_CONFIG_PATH – absent.yaml cannot be read: the file does not exist',
    })
  })

  it('never lets an access rule pass that it holds', async () => {
    place.write('.env', 'GITHUB_CLIENT_ID=x\nALLOWED_GITHUB_USERS=alex\n')
    const { code, faults } = errorOf(await postern(place, ['validate'])) as {
      code: string
      faults: readonly { source: string }[]
    }
    expect([code, faults.map(({ source }) => source).toSorted()]).toEqual([
      'config.invalid',
      ['.env ALLOWED_GITHUB_USERS', '.env GITHUB_CLIENT_ID'],
    ])
  })

  it('never drops a line that it does not understand', async () => {
    place.write(
      '.env',
      'PORT=9001\nKEY="-----BEGIN-----\nabc\n-----END-----"\nALLOWED_ORIGINS https://a.example\n',
    )
    expect(errorOf(await postern(place, ['validate']))).toMatchObject({
      message: '.env:5:1 – this line is neither NAME=value nor a comment',
    })
  })

  it('with secrets in it that everybody on the computer can read is told, as the configuration file is', async () => {
    const path = place.write('.env', 'LOCAL_USER=alex\nLOCAL_PASSWORD=correct-horse\n')
    chmodSync(path, 0o644)
    expect((await postern(place, ['validate'])).err).toBe(
      '⚠ .env:1:1 – contains secrets (LOCAL_PASSWORD) and is readable by every user of this computer: run chmod 600 .env\n',
    )
    chmodSync(path, 0o600)
    expect((await postern(place, ['validate'])).err).toBe('')
  })

  it('that is a folder is somebody’s virtual environment', async () => {
    mkdirSync(join(place.path, '.env'))
    expect((await postern(place, ['validate'])).code).toBe(0)
    mkdirSync(join(place.path, 'folder'))
    expect((await postern(place, ['validate', '--env-file', 'folder'])).code).not.toBe(0)
  })
})
