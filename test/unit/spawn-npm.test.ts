// What of the operator's npm configuration reaches commands, and what never does.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { npmSettings } from '../../src/node/process/spawn.ts'

const homeWith = (npmrc: string): string => {
  const home = mkdtempSync(join(tmpdir(), 'postern-npm-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  writeFileSync(join(home, '.npmrc'), npmrc)
  return home
}

describe("the operator's npm configuration", () => {
  it('passes on where packages come from: the file, and variables before it', () => {
    const HOME = homeWith(
      '# mine\nregistry = https://registry.example/npm/\n@acme:registry="https://acme.example/"\r\nhttps-proxy=http://proxy.example:3128\nnoproxy=localhost\ncafile=/etc/ca.pem\nstrict-ssl=true\n',
    )
    expect(npmSettings({ HOME, NPM_CONFIG_REGISTRY: 'https://other.example/' })).toEqual({
      npm_config_registry: 'https://other.example/',
      'npm_config_@acme:registry': 'https://acme.example/',
      npm_config_https_proxy: 'http://proxy.example:3128',
      npm_config_noproxy: 'localhost',
      npm_config_cafile: '/etc/ca.pem',
      npm_config_strict_ssl: 'true',
    })
  })

  it('never passes on tokens, passwords or keys, whatever they are written in', () => {
    const HOME = homeWith(
      '//registry.example/:_authToken=npm_secret\n_auth=secret\n_password=secret\nusername=me\nemail=me@x.example\nkey=secret\ncert=secret\n//r.example/:certfile=/x\nregistry=https://me:secret@r.example/\nproxy=http://me@proxy.example\n@acme:registry=https://${SECRET}.example/\nscript-shell=/bin/evil\n',
    )
    expect(
      npmSettings({
        HOME,
        npm_config__authToken: 'secret',
        'npm_config_//r.example/:_authToken': 'secret',
        NPM_TOKEN: 'secret',
        npm_config_https_proxy: 'http://a:secret@p.example',
      }),
    ).toEqual({})
  })

  it('is read from the file that NPM_CONFIG_USERCONFIG names, and may be missing', () => {
    const other = homeWith('registry=https://named.example/\n')
    expect(npmSettings({ HOME: '/nowhere', NPM_CONFIG_USERCONFIG: join(other, '.npmrc') })).toEqual({
      npm_config_registry: 'https://named.example/',
    })
    expect([npmSettings({ HOME: '/nowhere' }), npmSettings({})]).toEqual([{}, {}])
  })
})
