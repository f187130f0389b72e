// For `node --import`: the first SIGUSR2 begins to count which functions run, every later one appends the
// counts since the last to COVERAGE_REPORT, one JSON line.
import { appendFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'

const session = new Session()
session.connect()
let counting = false

const report = (answer: object): void =>
  appendFileSync(process.env['COVERAGE_REPORT'] as string, `${JSON.stringify(answer)}\n`)

process.on('SIGUSR2', () => {
  const take = async (): Promise<void> => {
    if (!counting) {
      counting = true
      await session.post('Profiler.enable')
      await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
      await session.post('Profiler.takePreciseCoverage')
      report({ began: true })
      return
    }
    report(await session.post('Profiler.takePreciseCoverage'))
  }
  void take()
})
