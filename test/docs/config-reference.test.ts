// What the reference says of files, variables and flags is what the program does.
import { describe, expect, it } from 'vitest'
import { searchPath } from '../../src/cli/configuration.ts'
import { createProgram } from '../../src/cli/program.ts'
import { environmentNames } from '../../src/config/environment-names.ts'
import { configFlags, otherFlags } from '../../src/config/flags.ts'
import { shapeAt } from '../../src/config/shape.ts'
import { readRoot, sourcesIn } from '../structure/sources.ts'

const page = readRoot('docs/reference/config.md')

describe('the configuration reference', () => {
  it('lists the files in the order in which they are looked for', () => {
    const listed = [...page.matchAll(/^\d\. `(.+)`$/gm)].map(([, file]) => file)
    expect(searchPath({}, '/home/alex').map(({ shown }) => shown)).toEqual(listed)
  })

  it('names every flag that the command line has, and no other', () => {
    const shown = createProgram().options.filter(({ hidden }) => !hidden)
    const flags = shown.map((option) => option.flags)
    const ours = ['-V, --version', '--json']
    expect(flags.filter((flag) => !ours.includes(flag)).toSorted()).toEqual(
      [...otherFlags, ...configFlags].map(({ option }) => option).toSorted(),
    )
    for (const { option } of [...otherFlags, ...configFlags]) expect(page).toContain(`\`${option}\``)
  })

  it('names every environment variable that the sources read', () => {
    const known = new Set([
      ...environmentNames.map(({ name }) => name),
      'XDG_CONFIG_HOME',
      'XDG_STATE_HOME',
      'HOME',
      'PATH',
      'PATHEXT',
      'POSTERN_STARTED_AS',
      'NO_COLOR',
      'FORCE_COLOR',
      'NPM_CONFIG_USERCONFIG',
      // Whether a browser is at hand, as the system says it.
      'DISPLAY',
      'WAYLAND_DISPLAY',
      'SSH_CONNECTION',
      'SSH_TTY',
    ])
    const read = [
      ...sourcesIn('src/cli', '.ts'),
      ...sourcesIn('src/config', '.ts'),
      ...sourcesIn('src/node', '.ts'),
    ].flatMap(({ path, text }) =>
      [...text.matchAll(/\benv(?:\.|\[')([A-Z][A-Z0-9_]+)/g)].map(([, name = '']) => ({ path, name })),
    )
    expect(read.filter(({ name }) => !known.has(name))).toEqual([])
    for (const { name } of environmentNames) expect(page).toContain(`| \`${name}\` |`)
  })

  it('gives every fixed name a key that exists', () => {
    const wrong = environmentNames.filter(
      ({ key }) => key !== undefined && shapeAt(key.split('.')) === undefined,
    )
    expect(wrong).toEqual([])
  })
})
