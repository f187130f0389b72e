// The cap on connections, from what the system lets the process open.
import { expect, test } from 'vitest'
import { limitFor } from '../../src/node/request-guard.ts'

const limits = (files: number | string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax core file size        0                    unlimited            bytes     \nMax open files            ${files}                 524288               files     \n`

test.each([
  [1_048_576, 20_000],
  [20_400, 10_000],
  [1024, 312],
  [256, 64],
  ['unlimited', 20_000],
])('%s files: %d connections', (files, connections) => expect(limitFor(limits(files))).toBe(connections))
