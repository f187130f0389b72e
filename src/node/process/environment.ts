// The environment of a server's process: a home directory of its own and a few variables. Nothing of the
// gateway's, and nothing of another service's.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessPlan } from '../../ports/runtime.ts'

// npm's network settings are passed on to stdio servers, whose home is not the operator's: without them npx
// would wait for the wrong registry.

/**
 * Settings for the registry and the network. Tokens, passwords and keys of npm have other names and are not
 * passed on.
 */
const passedVariables = new Set(
  'registry proxy https-proxy http-proxy noproxy cafile strict-ssl maxsockets fetch-retries fetch-timeout prefer-offline offline'.split(
    ' ',
  ),
)
const scoped = /^@[a-z0-9][a-z0-9._~-]*:registry$/
const largest = 65_536

/**
 * A value that contains or refers to a secret is not passed on: `https://name:password@proxy`, `${TOKEN}`.
 */
const isOpen = (value: string): boolean =>
  value !== '' && value.length < 2000 && !/\/\/[^/?#]*@|\$\{|_auth|token/i.test(value)

const nameOf = (key: string): string | undefined => {
  const name = key.trim().toLowerCase()
  if (scoped.test(name)) return name
  const usual = name.replaceAll('_', '-')
  return passedVariables.has(usual) ? usual : undefined
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
  Object.entries(env).flatMap(([name, value]) =>
    /^npm_config_/i.test(name) && value !== undefined
      ? [[name.slice('npm_config_'.length), value] as const]
      : [],
  )

/**
 * As variables `npm_config_…`. As in npm, the gateway's own environment takes precedence over the user's
 * `.npmrc`.
 */
export const npmSettings = (env: Environment): Record<string, string> => {
  const file =
    env['NPM_CONFIG_USERCONFIG'] ??
    env['npm_config_userconfig'] ??
    (env['HOME'] === undefined ? undefined : join(env['HOME'], '.npmrc'))
  const settings: Record<string, string> = {}
  for (const [key, value] of [...(file === undefined ? [] : ofFile(file)), ...ofVariables(env)]) {
    const name = nameOf(key)
    if (name !== undefined && isOpen(value))
      settings[`npm_config_${name.startsWith('@') ? name : name.replaceAll('-', '_')}`] = value
  }
  return settings
}

type Environment = Readonly<Record<string, string | undefined>>

/** Passed on unchanged. */
const inherited = ['PATH', 'LANG', 'LC_ALL', 'TZ']
/** Most programs on Windows need these. */
const inheritedOnWindows = [
  'SystemRoot',
  'SystemDrive',
  'ComSpec',
  'PATHEXT',
  'windir',
  'NUMBER_OF_PROCESSORS',
  'PROCESSOR_ARCHITECTURE',
]

/** Marks a process and everything it starts, so that all of it can be found. */
export const markName = 'POSTERN_PROCESS'

/** `<state>/processes/<service>/<owner>`, created when missing, with access for its owner only. */
export const homeFor = (
  stateDir: string,
  { service, owner }: Pick<ProcessPlan, 'service' | 'owner'>,
): string => {
  const home = join(stateDir, 'processes', service, owner)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  return home
}

export const environmentFor = (
  own: Environment,
  home: string,
  mark: string,
  configured: Readonly<Record<string, string>>,
  platform: string = process.platform,
): Record<string, string> => {
  const env: Record<string, string> = {}
  for (const name of platform === 'win32' ? [...inherited, ...inheritedOnWindows] : inherited) {
    const value =
      own[name] ??
      Object.entries(own).find(
        ([other]) => platform === 'win32' && other.toLowerCase() === name.toLowerCase(),
      )?.[1]
    if (value !== undefined) env[name] = value
  }
  env['HOME'] = home
  Object.assign(env, npmSettings(own))
  if (platform === 'win32')
    Object.assign(env, {
      USERPROFILE: home,
      APPDATA: join(home, 'AppData', 'Roaming'),
      LOCALAPPDATA: join(home, 'AppData', 'Local'),
      TEMP: home,
      TMP: home,
    })
  Object.assign(env, configured)
  env[markName] = mark
  return env
}
