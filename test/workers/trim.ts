// What tests hide from the callers of services whose id begins with `trimmed`: whatever has `hidden` in its
// name, and one entry of each server that has no such name.
import type { TrimFor } from '../../src/proxy/lists.ts'

const alsoHidden = ['never', 'mirrored', 'test_error_handling']

const isHidden = (entry: unknown): boolean => {
  const { name } = (entry ?? {}) as { readonly name?: unknown }
  return typeof name === 'string' && (name.includes('hidden') || alsoHidden.includes(name))
}

export const trim: TrimFor = ({ service }) =>
  service.id.startsWith('trimmed')
    ? (result) =>
        Object.fromEntries(
          Object.entries(result).map(([name, value]) => [
            name,
            Array.isArray(value) ? value.filter((entry) => !isHidden(entry)) : value,
          ]),
        )
    : undefined
