// For `node --expose-gc --import`: on SIGUSR2 collects garbage and appends what memory the process then holds
// to the file it was told, one JSON line.
import { appendFileSync } from 'node:fs'

process.on('SIGUSR2', () => {
  // Twice, and once more later: finalizers of the first round free what only the next one sees.
  globalThis.gc?.()
  globalThis.gc?.()
  setTimeout(() => {
    globalThis.gc?.()
    appendFileSync(process.env['MEMORY_REPORT'] as string, `${JSON.stringify(process.memoryUsage())}\n`)
  }, 200)
})
