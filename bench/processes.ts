// `--workers 2` beside one process. Load, upstream and gateway share all cores of this machine here, as they do where
// nobody keeps them apart: the second worker gains what the others leave it.
import { type Measured, measure } from './calls.ts'
import { type Candidate, startPostern, startUpstream } from './candidates.ts'

export const oneProcess = 'one process'

/** A session of 64 connections, as in the table that the number of workers was chosen by. */
const connections = 64

/** The candidates, and the turns of each. */
export const measureProcesses = async (
  folder: string,
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<{
  readonly candidates: readonly Candidate[]
  readonly turns: ReadonlyMap<string, readonly Measured[]>
}> => {
  const place = 'both'
  const upstream = await startUpstream(folder, place)
  const one = await startPostern(folder, upstream.origin, undefined, { place })
  const two = await startPostern(folder, upstream.origin, undefined, { place, more: { workers: 2 } })
  const candidates = [
    { ...one, name: oneProcess },
    { ...two, name: '--workers 2' },
  ]
  const turns = await measure(candidates, { workload: 'json', connections, rounds, seconds, folder, place })
  for (const { stop } of candidates) await stop()
  await upstream.process.stop()
  return { candidates, turns }
}
