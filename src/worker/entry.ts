// What wrangler.jsonc names: the Worker and its Durable Objects.
import { createWorkerHandler } from './handler.ts'
import type { WorkerEnvironment } from './configuration.ts'
import { createSessionObject } from './sessions.ts'
import { RecordObject } from './storage-object.ts'

export { TrailObject } from './trail-object.ts'

const handler = createWorkerHandler({ now: () => Date.now() })

class DeployedRecordObject extends RecordObject {
  protected override tellOf(issuer: string, deadlines: readonly string[]): Promise<void> {
    return handler.tellOf(this.env as WorkerEnvironment, issuer, deadlines)
  }
}

export { DeployedRecordObject as RecordObject }

export const SessionObject = createSessionObject(handler.session)

// oxlint-disable-next-line import/no-default-export -- the Workers runtime looks for the handlers in the default export
export default handler
