// Stands for a gateway that dies without a word: starts servers that would outlive it, says which, and waits
// to be killed.
import { openWorld, saidBy } from './world.ts'

const [sandbox = 'none'] = process.argv.slice(2)
const { client, bridge } = openWorld({ flags: ['--stubborn'], plan: { sandbox: sandbox as 'none' } })
const ana = client('ana')
await ana.initialize()
const { left } = saidBy(await ana.tool('fork'))
console.log(JSON.stringify({ server: bridge.processes()[0]?.pid, left }))
