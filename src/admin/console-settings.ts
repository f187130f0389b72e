// The settings page of the console: what is set, and tests of what is set, whose last results are kept.
import type { Config } from '../config/schema.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame } from '../ports/console.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { LastCheck, Settings, SettingsView } from '../ports/settings.ts'

export interface ConsoleSettingsDeps {
  readonly settings: Settings
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'trail' | 'about'>
  readonly registry: { config(): Config }
  readonly directory: { readonly issuer: string }
  readonly record: Audit
  readonly consolePages: { settings(frame: ConsoleFrame, view: SettingsView): Response }
}

const keptMs = 90 * 86_400_000

export const createConsoleSettings = (deps: ConsoleSettingsDeps) => {
  const { settings, runtime, registry, directory, record, consolePages } = deps
  const checks = createRecords<LastCheck>(runtime, 'check:')
  const lastOf = async (key: string): Promise<LastCheck | undefined> => (await checks.get(key))?.value
  return {
    async draw(frame: ConsoleFrame): Promise<Response> {
      const began = runtime.now()
      const lastProbe = await lastOf('issuer')
      const storageMs = Math.max(0, runtime.now() - began)
      const listed = settings.providers()
      const [keys, ...lasts] = await Promise.all([
        settings.keys(),
        ...listed.map(({ id }) => lastOf(`oauth_providers.${id}`)),
      ])
      const {
        mcp_services: services,
        local_users: users,
        clients,
        service_accounts: accounts,
      } = registry.config()
      return consolePages.settings(frame, {
        settings: settings.list(),
        providers: listed.map((one, i) => ({ ...one, last: lasts[i] })),
        keys,
        publicUrl: directory.issuer,
        lastProbe,
        about: runtime.about,
        storageMs,
        trail: runtime.trail ? (runtime.trail.available() ? 'written' : 'failing') : 'off',
        counts: {
          mcp_services: Object.keys(services).length,
          local_users: users.length,
          clients: Object.keys(clients).length,
          service_accounts: Object.keys(accounts).length,
        },
      })
    },
    /** The next signing key, made now. */
    async rotate(by: string): Promise<string> {
      await settings.rotateKey(by)
      return '/console/settings#keys'
    },
    /** Tests what a key names, and keeps what came of it. Throws `request.malformed` for what cannot be tested. */
    async test(key: string, by: string): Promise<void> {
      const result = await settings.check(key)
      if (!result) throw new Refusal('request.malformed', 'nothing to test under this key')
      const { ok, say } = result
      record({ event: 'settings.tested', key, ok, why: say, by })
      await checks.put(key, { ok, say: say.slice(0, 600), at: runtime.now(), by }, { ttlMs: keptMs })
    },
  }
}
