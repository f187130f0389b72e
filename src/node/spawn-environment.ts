// What a server's process inherits: a home of its own and a handful of names. Nothing of the gateway's, and nothing of another service's.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessPlan } from '../ports/spawn.ts'
import { npmSettings } from './spawn-npm.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Passed on as they are. */
const inherited = ['PATH', 'LANG', 'LC_ALL', 'TZ']
/** Without these Windows starts hardly a program. */
const inheritedOnWindows = ['SystemRoot', 'SystemDrive', 'ComSpec', 'PATHEXT', 'windir', 'NUMBER_OF_PROCESSORS', 'PROCESSOR_ARCHITECTURE']

/** By this name whatever a process started is found again, wherever it went. */
export const markName = 'POSTERN_PROCESS'

/** `<state>/processes/<service>/<owner>`, made when missing and closed to other users. */
export const homeFor = (stateDir: string, { service, owner }: Pick<ProcessPlan, 'service' | 'owner'>): string => {
  const home = join(stateDir, 'processes', service, owner)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  return home
}

export const environmentFor = (own: Environment, home: string, mark: string, configured: Readonly<Record<string, string>>, platform: string = process.platform): Record<string, string> => {
  const env: Record<string, string> = {}
  for (const name of platform === 'win32' ? [...inherited, ...inheritedOnWindows] : inherited) {
    const value = own[name] ?? Object.entries(own).find(([other]) => platform === 'win32' && other.toLowerCase() === name.toLowerCase())?.[1]
    if (value !== undefined) env[name] = value
  }
  env['HOME'] = home
  Object.assign(env, npmSettings(own))
  if (platform === 'win32') Object.assign(env, { USERPROFILE: home, APPDATA: join(home, 'AppData', 'Roaming'), LOCALAPPDATA: join(home, 'AppData', 'Local'), TEMP: home, TMP: home })
  Object.assign(env, configured)
  env[markName] = mark
  return env
}
