// Rate limits of calls: what their patterns name.
import { type Path, printable } from '../tree.ts'
import { didYouMean } from '../shape.ts'
import { isOpenEscape, openEscape } from './access.ts'
import type { RawConfig, Rule } from './draft.ts'

const allRates = (draft: RawConfig): readonly Path[] => [
  ...draft.positions('rate_limits').map((i): Path => ['rate_limits', i]),
  ...draft
    .keys('mcp_services')
    .flatMap((id) =>
      draft
        .positions('mcp_services', id, 'rate_limits')
        .map((i): Path => ['mcp_services', id, 'rate_limits', i]),
    ),
]

const patterns: Rule = (draft, report) => {
  const known = draft.keys('mcp_services')
  for (const path of allRates(draft)) {
    for (const key of ['tools', 'services'])
      for (const { value, path: at } of draft.texts(...path, key))
        if (isOpenEscape(value)) report.fault(at, openEscape(draft.said(...at)))
    for (const { value, path: at } of draft.texts(...path, 'services'))
      if (!/[*?\\]/.test(value) && !known.includes(value))
        // It may be added while the gateway runs.
        report.warn(
          at,
          `names "${printable(value)}", which is not in mcp_services${didYouMean(value, known)}`,
        )
  }
}

export const rateLimitRules: readonly Rule[] = [patterns]
