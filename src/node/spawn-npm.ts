// What the operator told npm about the network is passed on to commands, whose home is not the operator's: npx would ask the wrong registry, and wait.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** Settings that say where packages come from and how to get there. Tokens, passwords and keys of npm have other names and stay behind. */
const passed = new Set(
  'registry proxy https-proxy http-proxy noproxy cafile strict-ssl maxsockets fetch-retries fetch-timeout prefer-offline offline'.split(' '),
)
const scoped = /^@[a-z0-9][a-z0-9._~-]*:registry$/
const largest = 65_536

/** A value that holds a secret, or is made of one, is not passed on: `https://name:password@proxy`, `${TOKEN}`. */
const isOpen = (value: string): boolean => value !== '' && value.length < 2000 && !/\/\/[^/?#]*@|\$\{|_auth|token/i.test(value)

const nameOf = (key: string): string | undefined => {
  const name = key.trim().toLowerCase()
  if (scoped.test(name)) return name
  const usual = name.replaceAll('_', '-')
  return passed.has(usual) ? usual : undefined
}

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').slice(0, largest)
  } catch {
    return ''
  }
}

const ofFile = (path: string): (readonly [string, string])[] =>
  readText(path)
    .split(/\r?\n/)
    .flatMap((line) => {
      const [, key = '', value = ''] = /^\s*([^;#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line) ?? []
      return key === '' ? [] : [[key, value.replace(/^(["'])(.*)\1$/, '$2')] as const]
    })

const ofVariables = (env: Environment): (readonly [string, string])[] =>
  Object.entries(env).flatMap(([name, value]) => (/^npm_config_/i.test(name) && value !== undefined ? [[name.slice('npm_config_'.length), value] as const] : []))

/** As variables `npm_config_…`: those of the gateway's own environment before those of the user's `.npmrc`, as npm reads them. */
export const npmSettings = (env: Environment): Record<string, string> => {
  const file = env['NPM_CONFIG_USERCONFIG'] ?? env['npm_config_userconfig'] ?? (env['HOME'] === undefined ? undefined : join(env['HOME'], '.npmrc'))
  const settings: Record<string, string> = {}
  for (const [key, value] of [...(file === undefined ? [] : ofFile(file)), ...ofVariables(env)]) {
    const name = nameOf(key)
    if (name !== undefined && isOpen(value)) settings[`npm_config_${name.startsWith('@') ? name : name.replaceAll('-', '_')}`] = value
  }
  return settings
}
