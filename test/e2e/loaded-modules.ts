// For `node --import`: writes down, when the process ends, which modules it has loaded.
import { writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const loaded: string[] = []
registerHooks({
  load(url, context, next) {
    loaded.push(url)
    return next(url, context)
  },
})
process.on('exit', () => writeFileSync(process.env['LOADED_MODULES'] as string, JSON.stringify(loaded)))
