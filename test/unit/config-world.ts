// Loading a configuration from text, as the tests of configuration do it: what comes out, as lines people
// would read.
import type { Environment, SecretFile } from '../../src/config/environment-names.ts'
import type { Flags } from '../../src/config/flags.ts'
import { type Loaded, loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { faultText } from '../../src/config/tree.ts'
import { knownRevisions } from '../../src/known-revisions.ts'

export interface Around {
  readonly env?: Environment
  readonly flags?: Flags
  readonly secrets?: Readonly<Record<string, SecretFile>>
}

/** A configuration file called config.yaml; an empty text means that there is none. */
export const load = (text: string, around: Around = {}): Promise<Loaded> =>
  loadConfig({
    ...(text === '' ? {} : { file: { path: 'config.yaml', text } }),
    env: around.env ?? {},
    flags: around.flags,
    secrets: around.secrets,
    revisions: knownRevisions,
  })

/** The faults as lines; empty when it loads. */
export const faultsOf = async (text: string, around: Around = {}): Promise<readonly string[]> => {
  const loaded = await load(text, around)
  return loaded.ok ? [] : loaded.faults.map(faultText)
}

export const warningsOf = async (text: string, around: Around = {}): Promise<readonly string[]> =>
  (await load(text, around)).warnings.map(faultText)

/** The configuration; fails with its faults when there are any. */
export const configOf = async (text: string, around: Around = {}): Promise<Config> => {
  const loaded = await load(text, around)
  if (!loaded.ok) throw new Error(loaded.faults.map(faultText).join('\n'))
  return loaded.config
}
