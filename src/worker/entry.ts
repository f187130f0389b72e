// What wrangler.jsonc names: the Worker and its Durable Object.
import { createDoor } from './door.ts'

export { RecordObject } from './object.ts'

// oxlint-disable-next-line import/no-default-export -- the Workers runtime looks for the handlers in the default export
export default createDoor({ now: () => Date.now() })
