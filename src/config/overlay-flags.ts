// The command line laid over file and environment; it wins over both.
import { coerce } from './coerce.ts'
import type { Fault, Path } from './fault.ts'
import { type Flags, configFlags, flagName } from './flags.ts'
import { shapeAt } from './shape.ts'
import type { Tree } from './tree.ts'

/** Puts every flag that was given into the tree. */
export const overlayFlags = (tree: Tree, flags: Flags): { readonly faults: readonly Fault[]; readonly lost: readonly Path[] } => {
  const faults: Fault[] = []
  const lost: Path[] = []
  if (flags.wrapped) tree.set(['mcp_services', flags.wrapped.id], flags.wrapped.service, { from: 'flag', name: 'wrap' })
  for (const { option, key } of configFlags) {
    const given = flags[key]
    const shape = shapeAt([key])
    if (given === undefined || !shape) continue
    const origin = { from: 'flag', name: flagName(option) } as const
    const result = coerce(String(given), shape)
    if ('value' in result) tree.set([key], result.value, origin)
    else {
      faults.push({ key, origin, what: result.what })
      lost.push([key])
    }
  }
  return { faults, lost }
}
