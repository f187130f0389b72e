// The first file Node reads: keeps compiled code beside the package, so that every start but the first skips compiling, and goes on to the command line.
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// Inside the package, not in a directory for everybody's temporary files: what is loaded from there is run. Where it cannot be written Node goes on without.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/postern', import.meta.url)))

await import('./run.ts')
