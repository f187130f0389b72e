// What wrangler.jsonc names: the Worker and its Durable Objects.
import { createWorkerHandler } from './handler.ts'
import { createSessionObject } from './sessions.ts'

export { RecordObject } from './storage-object.ts'

const handler = createWorkerHandler({ now: () => Date.now() })

export const SessionObject = createSessionObject(handler.session)

// oxlint-disable-next-line import/no-default-export -- the Workers runtime looks for the handlers in the default export
export default handler
