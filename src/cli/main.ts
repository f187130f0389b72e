// The first file Node reads: keeps compiled code beside the package, so that every start but the first skips
// compiling, and goes on to the command line.
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'

// After many streams have been opened V8 takes every call for something long-lived and makes it where only a
// full collection frees it; measured, the slowest calls wait five times longer.
setFlagsFromString('--no-allocation-site-pretenuring')

// Inside the package, not in a directory for everybody's temporary files: what is loaded from there is run.
// Where it cannot be written Node goes on without.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/postern', import.meta.url)))

await import('./run.ts')
