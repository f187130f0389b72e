// `node --import` this file: the gateway that starts then gets undici-client.ts wherever it asks for its own
// HTTP/1.1 client.
import { registerHooks } from 'node:module'

const client = new URL('../src/node/http-client/pool.ts', import.meta.url).href
const other = new URL('./undici-client.ts', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context)
    return found.url === client ? { ...found, url: other } : found
  },
})
