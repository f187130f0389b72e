// What wrangler.jsonc names: the Worker and its Durable Objects.
import { createDoor } from './door.ts'
import { createLineObject } from './line-object.ts'

export { RecordObject } from './object.ts'

const door = createDoor({ now: () => Date.now() })

export const LineObject = createLineObject(door)

// oxlint-disable-next-line import/no-default-export -- the Workers runtime looks for the handlers in the default export
export default door
